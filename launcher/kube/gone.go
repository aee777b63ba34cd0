package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mirrord/agent/wire"
)

// goneError is why an agent is there no more.
type goneError string

func (e goneError) Error() string { return string(e) }

func (goneError) Unwrap() error { return wire.ErrGone }

// gone says why an agent that cannot be reached will never be again, wrapping wire.ErrGone. nil: it may be, or that cannot be told now.
func (c *Cluster) gone(ctx context.Context, podName, container string) error {
	pod, err := c.client.CoreV1().Pods(c.namespace).Get(ctx, podName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return goneError(fmt.Sprintf("the pod %s was deleted", podName))
	case err != nil:
		return nil
	}
	agent := statusOf(pod, container)
	switch {
	case !hasContainer(pod, container):
		return goneError(fmt.Sprintf("the pod %s was deleted; another has its name", podName))
	case pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded:
		return goneError(fmt.Sprintf("the pod %s has ended%s", podName, reasonOf(pod)))
	case agent == nil || agent.State.Terminated == nil:
		return nil
	}
	for _, e := range pod.Spec.EphemeralContainers {
		if e.Name != container {
			continue
		}
		// The agent is a process of the target's own namespace for processes, which the kernel ends with its first.
		target := statusOf(pod, e.TargetContainerName)
		if target != nil && (target.State.Running == nil || !target.State.Running.StartedAt.Before(&agent.State.Terminated.StartedAt)) {
			return goneError(fmt.Sprintf("the container %s of the pod %s has ended or was restarted, and the agent with it", e.TargetContainerName, podName))
		}
	}
	return goneError(fmt.Sprintf("the agent in the pod %s has ended, with exit code %d", podName, agent.State.Terminated.ExitCode))
}

// container is the name of the agent's in its pod.
func (a *Agent) container() string {
	if a.Rights == wire.RightsNode || a.Rights == wire.RightsNone {
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
	return containerOf(pod, name).Name == name
}
