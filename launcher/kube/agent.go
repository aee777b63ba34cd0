package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"mirrord/agent/wire"
)

// AgentOptions say what agent is started.
type AgentOptions struct {
	Session string // tells this session's agent from others; a part of a name in Kubernetes
	Image   string
	Pull    corev1.PullPolicy // empty: as Kubernetes has it for the image's tag
	Lease   time.Duration     // how long it lives without a launcher
	Startup time.Duration     // how long it may take to start
}

// Agent is one that runs beside a target.
type Agent struct {
	Name  string            // of its container
	Lacks map[string]string // what it cannot do here → why
	// Crowd is how many containers were added to the pod while it runs; Kubernetes never removes them, though those that have ended cost nothing.
	Crowd int

	cluster *Cluster
	place   *Place
	port    uint16
	token   wire.Token
	ahead   *ahead // nil: used, or none
}

// StartAgent adds an agent's container to the target's pod, as a user of the target's kind, and waits until it listens.
func (c *Cluster) StartAgent(ctx context.Context, place *Place, o AgentOptions) (*Agent, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.Startup, errSlow)
	defer cancel()
	security, sure := securityFor(place.pod, containerOf(place.pod, place.Container))
	agent, report, err := c.tryAgent(ctx, place, o, "mirrord-"+o.Session, security)
	if err == nil && report.User != nil && !sure {
		// What the image's user is only a process of the container tells.
		agent, report, err = c.tryAgent(ctx, place, o, "mirrord-"+o.Session+"-u", asUser(security, *report.User))
	}
	if err != nil {
		return nil, err
	}
	if report.Error != "" {
		return nil, fmt.Errorf("the agent in the pod %s could not start: %s", place.Pod(), report.Error)
	}
	return agent, nil
}

var errSlow = errors.New("the agent took too long")

// tryAgent starts one agent and returns what it reports.
func (c *Cluster) tryAgent(ctx context.Context, place *Place, o AgentOptions, name string, security *corev1.SecurityContext) (_ *Agent, report wire.Report, err error) {
	a := &Agent{Name: name, cluster: c, place: place, token: wire.NewToken()}
	start := wire.Start{TokenHash: a.token.Hash(), Container: place.ContainerID, Name: place.Name(), Lease: o.Lease}
	pod, err := c.addContainer(ctx, place, corev1.EphemeralContainer{
		TargetContainerName: place.Container,
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name: name, Image: o.Image, ImagePullPolicy: o.Pull, Args: start.Args(), SecurityContext: security,
			TerminationMessagePolicy: corev1.TerminationMessageReadFile,
		},
	})
	if err != nil {
		return nil, wire.Report{}, err
	}
	a.Crowd = len(pod.Spec.EphemeralContainers)
	a.ahead = c.dialAhead(ctx, pod.Name)
	defer func() {
		if err != nil || report.Error != "" {
			a.ahead.close()
		}
	}()
	report, err = c.awaitReport(ctx, pod, name, o.Image)
	if err != nil {
		return nil, wire.Report{}, err
	}
	if report.Error == "" && report.Version != wire.Version {
		return nil, report, fmt.Errorf("the agent speaks version %d of the protocol, this mirrord version %d\nhint: use an agent's image of the same release as mirrord",
			report.Version, wire.Version)
	}
	a.port, a.Lacks = report.Port, report.Lacks
	return a, report, nil
}

func (c *Cluster) addContainer(ctx context.Context, place *Place, container corev1.EphemeralContainer) (*corev1.Pod, error) {
	const resource = "pods/ephemeralcontainers"
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"ephemeralContainers": []corev1.EphemeralContainer{container}}})
	if err != nil {
		return nil, err
	}
	pod, err := c.client.CoreV1().Pods(c.namespace).Patch(ctx, place.Pod(), types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "ephemeralcontainers")
	switch {
	case err == nil:
		return pod, nil
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("the pod %s is gone\nhint: try again; naming its workload, such as deployment/NAME, finds another", place.Pod())
	case apierrors.IsForbidden(err) && isPolicy(err):
		return nil, fmt.Errorf("a policy of the cluster forbids the agent in the pod %s: %w\nhint: ask who sets the policies of the namespace %s", place.Pod(), err, c.namespace)
	case apierrors.IsInvalid(err):
		return nil, fmt.Errorf("the cluster does not take the agent's container: %w", err)
	}
	return nil, c.explain(err, "start an agent in the pod "+place.Pod(), "patch", resource)
}

// isPolicy tells an admission's refusal from a missing permission, which the API server words with the user's name first.
func isPolicy(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Details != nil && len(status.Status().Details.Causes) > 0
}

// awaitContainer waits until a container has begun, whatever became of it then.
func (c *Cluster) awaitContainer(ctx context.Context, pod *corev1.Pod, name, image string) error {
	options := metav1.ListOptions{FieldSelector: "metadata.name=" + pod.Name, ResourceVersion: pod.ResourceVersion}
	for {
		watch, err := c.client.CoreV1().Pods(c.namespace).Watch(ctx, options)
		if err != nil {
			return c.explain(slow(ctx, err), "wait for the agent", "watch", "pods")
		}
		for event := range watch.ResultChan() {
			seen, ok := event.Object.(*corev1.Pod)
			if !ok {
				break // the version that was asked for is too old: from now on will do
			}
			begun, err := begun(seen, name, image)
			if event.Type == "DELETED" {
				err = fmt.Errorf("the pod %s was deleted meanwhile\nhint: naming its workload, such as deployment/NAME, finds another", pod.Name)
			}
			if begun || err != nil {
				watch.Stop()
				return err
			}
		}
		watch.Stop()
		options.ResourceVersion = ""
		if ctx.Err() != nil {
			return c.explain(slow(ctx, ctx.Err()), "wait for the agent", "watch", "pods")
		}
	}
}

func slow(ctx context.Context, err error) error {
	if context.Cause(ctx) == errSlow {
		return fmt.Errorf("%w\nhint: `kubectl describe pod` tells what it waits for; agent.startup_timeout allows more time", errSlow)
	}
	return err
}

// begun says whether a container has been started, or why it never will be.
func begun(pod *corev1.Pod, name, image string) (bool, error) {
	s := statusOf(pod, name)
	switch {
	case s == nil:
		return false, nil
	case s.State.Running != nil, s.State.Terminated != nil:
		return true, nil
	case s.State.Waiting == nil:
		return false, nil
	}
	w := s.State.Waiting
	switch w.Reason {
	case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError", "RegistryUnavailable":
		return false, fmt.Errorf("the node %s cannot get the agent's image %s: %s, %s\nhint: name one that it can get with --agent-image; packaging/README.md says how to make and load it",
			pod.Spec.NodeName, image, w.Reason, w.Message)
	case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
		return false, fmt.Errorf("the node %s cannot start the agent: %s, %s", pod.Spec.NodeName, w.Reason, w.Message)
	}
	return false, nil
}
