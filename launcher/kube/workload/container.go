package workload

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// defaultContainer is the annotation that kubectl goes by.
const defaultContainer = "kubectl.kubernetes.io/default-container"

// sidecars are containers that others add to a pod; the user means the one beside them.
var sidecars = []string{"istio-init", "istio-proxy", "kuma-init", "kuma-sidecar", "linkerd-init", "linkerd-proxy", "queue-proxy", "traffic-agent",
	"vault-agent", "vault-agent-init"}

// choose returns the container that a user means: the one that was asked for, the pod's default, or the first that is no sidecar. passed are those before it.
func choose(pod *corev1.Pod, asked string) (name string, passed []string, err error) {
	var names []string
	for _, container := range pod.Spec.Containers {
		names = append(names, container.Name)
	}
	for _, init := range pod.Spec.InitContainers { // those that go on running can be asked for
		if init.RestartPolicy != nil && *init.RestartPolicy == corev1.ContainerRestartPolicyAlways && init.Name == asked {
			return asked, nil, nil
		}
	}
	if asked != "" {
		if !slices.Contains(names, asked) {
			return "", nil, fmt.Errorf("the pod %s has no container %q\nhint: it has %s", pod.Name, asked, strings.Join(names, ", "))
		}
		return asked, nil, nil
	}
	if preferred := pod.Annotations[defaultContainer]; slices.Contains(names, preferred) {
		return preferred, nil, nil
	}
	for _, name := range names {
		if !slices.Contains(sidecars, name) {
			return name, passed, nil
		}
		passed = append(passed, name)
	}
	return names[0], nil, nil
}

// placeIn is the place in a pod, if that is ready.
func placeIn(pod *corev1.Pod, asked string) (*Place, error) {
	name, passed, err := choose(pod, asked)
	if err != nil {
		return nil, err
	}
	look := fmt.Sprintf("`kubectl describe pod %s -n %s` tells more", pod.Name, pod.Namespace)
	switch {
	case pod.DeletionTimestamp != nil:
		return nil, fmt.Errorf("the pod %s is being deleted\nhint: name another, or the workload that it belongs to", pod.Name)
	case pod.Status.Phase != corev1.PodRunning:
		return nil, fmt.Errorf("the pod %s does not run, it is %s%s\nhint: %s", pod.Name, pod.Status.Phase, ReasonOf(pod), look)
	}
	status := StatusOf(pod, name)
	if status == nil || status.State.Running == nil {
		return nil, fmt.Errorf("the container %s of the pod %s does not run%s\nhint: %s", name, pod.Name, stateOf(status), look)
	}
	if !status.Ready {
		return nil, fmt.Errorf("the container %s of the pod %s is not ready yet\nhint: its readiness probe fails; %s", name, pod.Name, look)
	}
	_, id, ok := strings.Cut(status.ContainerID, "://")
	if !ok {
		return nil, fmt.Errorf("the container %s of the pod %s has no id yet\nhint: try again", name, pod.Name)
	}
	return &Place{Container: name, ContainerID: id, Passed: passed, Pod: pod}, nil
}

// ContainerOf is what a pod's specification says of a container, an init container too, but none that was added later; an empty one if it does not.
func ContainerOf(pod *corev1.Pod, name string) *corev1.Container {
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return new(corev1.Container)
}

// StatusOf is a container's status, of whatever kind that is; nil if the kubelet has not told of it.
func StatusOf(pod *corev1.Pod, name string) *corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

// stateOf tells why a container does not run.
func stateOf(s *corev1.ContainerStatus) string {
	switch {
	case s == nil:
		return ""
	case s.State.Waiting != nil && s.State.Waiting.Message != "":
		return ": " + s.State.Waiting.Reason + ", " + s.State.Waiting.Message
	case s.State.Waiting != nil:
		return ": " + s.State.Waiting.Reason
	case s.State.Terminated != nil:
		return fmt.Sprintf(": it has ended with status %d (%s)", s.State.Terminated.ExitCode, s.State.Terminated.Reason)
	}
	return ""
}

// ReasonOf tells why a pod does not run, as the end of a sentence; empty if that cannot be told.
func ReasonOf(pod *corev1.Pod) string {
	if pod.Status.Reason != "" { // of one that the kubelet has ended
		return strings.TrimSuffix(": "+pod.Status.Reason+", "+pod.Status.Message, ", ")
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			return ": " + condition.Reason + ", " + condition.Message
		}
	}
	for _, container := range pod.Spec.Containers {
		if s := StatusOf(pod, container.Name); s != nil && s.State.Waiting != nil {
			return stateOf(s)
		}
	}
	return ""
}
