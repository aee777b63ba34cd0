package agents

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/streaming/pkg/httpstream"

	"mirrord/agent/links"
	"mirrord/agent/startup"
	"mirrord/launcher/kube"
	"mirrord/launcher/kube/workload"
)

// Dial makes the two connections of a link to the agent, side by side. It may be called again when they are lost; an error that wraps links.ErrGone says
// that this is in vain.
func (a *Agent) Dial(ctx context.Context) (requests, bulk net.Conn, err error) {
	id, ahead := startup.NewLinkID(), a.ahead
	a.ahead = nil
	var conns [2]net.Conn
	var errs [2]error
	var dialling sync.WaitGroup
	for i := range conns {
		dialling.Go(func() {
			conns[i], errs[i] = a.cluster.Forward(ctx, ahead.take(i), a.pod, a.port)
			switch {
			case apierrors.IsNotFound(errs[i]):
				errs[i] = fmt.Errorf("%w: %w", links.ErrGone, errs[i])
			case errs[i] == nil:
				errs[i] = (&startup.Knock{Token: a.token, Link: id, Bulk: i == 1}).Enter(ctx, conns[i])
			}
		})
	}
	dialling.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
		if gone := gone(ctx, a.cluster, a.pod, a.container()); gone != nil {
			return nil, nil, gone
		}
		return nil, nil, err
	}
	return conns[0], conns[1], nil
}

// ahead are the connections for a link's two forwards, dialled while the agent's port is not known yet. Each is taken once, or all are closed.
type ahead [2]<-chan httpstream.Connection

func dialAhead(ctx context.Context, c *kube.Cluster, pod string) *ahead {
	all := new(ahead)
	for i := range all {
		dialled := make(chan httpstream.Connection, 1)
		all[i] = dialled
		go func() { // ends with ctx
			defer close(dialled)
			if conn, err := c.Dial(ctx, pod); err == nil { // whoever needs it meets the error again
				dialled <- conn
			}
		}()
	}
	return all
}

// take waits for one; nil: there is none.
func (a *ahead) take(i int) httpstream.Connection {
	if a == nil {
		return nil
	}
	return <-a[i]
}

func (a *ahead) close() {
	for i := range a {
		go func() {
			if conn := a.take(i); conn != nil {
				conn.Close()
			}
		}()
	}
}

// goneError is why an agent is there no more.
type goneError string

func (e goneError) Error() string { return string(e) }

func (goneError) Unwrap() error { return links.ErrGone }

// gone says why an agent that cannot be reached will never be again, wrapping links.ErrGone. nil: it may be, or that cannot be told now.
func gone(ctx context.Context, c *kube.Cluster, podName, container string) error {
	pod, err := c.Client.CoreV1().Pods(c.Namespace).Get(ctx, podName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return goneError(fmt.Sprintf("the pod %s was deleted", podName))
	case err != nil:
		return nil
	}
	agent := workload.StatusOf(pod, container)
	switch {
	case !hasContainer(pod, container):
		return goneError(fmt.Sprintf("the pod %s was deleted; another has its name", podName))
	case pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded:
		return goneError(fmt.Sprintf("the pod %s has ended%s", podName, workload.ReasonOf(pod)))
	case agent == nil || agent.State.Terminated == nil:
		return nil
	}
	for _, e := range pod.Spec.EphemeralContainers {
		if e.Name != container {
			continue
		}
		// The agent is a process of the target's own namespace for processes, which the kernel ends with its first.
		target := workload.StatusOf(pod, e.TargetContainerName)
		if target != nil && (target.State.Running == nil || !target.State.Running.StartedAt.Before(&agent.State.Terminated.StartedAt)) {
			return goneError(fmt.Sprintf("the container %s of the pod %s has ended or was restarted, and the agent with it", e.TargetContainerName, podName))
		}
	}
	return goneError(fmt.Sprintf("the agent in the pod %s has ended, with exit code %d", podName, agent.State.Terminated.ExitCode))
}

// container is the name of the agent's in its pod.
func (a *Agent) container() string {
	if a.Rights == startup.RightsNode || a.Rights == startup.RightsNone {
		return jobContainer
	}
	return a.Name
}

func hasContainer(pod *corev1.Pod, name string) bool {
	for _, e := range pod.Spec.EphemeralContainers {
		if e.Name == name {
			return true
		}
	}
	return workload.ContainerOf(pod, name).Name == name
}
