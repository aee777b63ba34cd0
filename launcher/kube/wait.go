package kube

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// awaitContainer waits until a container has begun, whatever became of it then.
func (c *Cluster) awaitContainer(ctx context.Context, pod *corev1.Pod, name, image string) error {
	options := metav1.ListOptions{FieldSelector: "metadata.name=" + pod.Name, ResourceVersion: pod.ResourceVersion}
	return c.awaitPod(ctx, options, func(seen *corev1.Pod) (bool, error) { return begun(seen, name, image) })
}

// awaitPod waits until done says so of a pod. It is asked whenever one changes.
func (c *Cluster) awaitPod(ctx context.Context, options metav1.ListOptions, done func(*corev1.Pod) (bool, error)) error {
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
			enough, err := done(seen)
			if event.Type == "DELETED" {
				err = fmt.Errorf("the pod %s was deleted meanwhile\nhint: naming its workload, such as deployment/NAME, finds another", seen.Name)
			}
			if enough || err != nil {
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

// notStarted are the reasons of containers that ended before their program began: containerd's, and what others say of a capability that they do not know.
var notStarted = []string{"StartError", "ContainerCannotRun"}

// begun says whether a container has been started, or why it never will be.
func begun(pod *corev1.Pod, name, image string) (bool, error) {
	s := statusOf(pod, name)
	switch {
	case s == nil:
		return false, rejected(pod)
	case s.State.Terminated != nil && slices.Contains(notStarted, s.State.Terminated.Reason):
		return false, refusal{fmt.Errorf("the node %s cannot start the agent: %s, %s", pod.Spec.NodeName, s.State.Terminated.Reason, s.State.Terminated.Message)}
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
		return false, refusal{fmt.Errorf("the node %s cannot start the agent: %s, %s", pod.Spec.NodeName, w.Reason, w.Message)}
	}
	return false, nil
}
