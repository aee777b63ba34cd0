package kube

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// What becomes of an agent's container is a reason to go on waiting, to read its log, to try other rights, or to give up.
func TestBegun(t *testing.T) {
	waits := func(reason string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "why"}}
	}
	ended := func(reason string) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: reason, Message: "why"}}
	}
	for _, c := range []struct {
		state   corev1.ContainerState
		want    string
		refused bool
	}{
		{corev1.ContainerState{}, "false", false},
		{waits("ContainerCreating"), "false", false},
		{corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, "true", false},
		{ended("Completed"), "true", false}, // its log says why
		{ended("StartError"), "false the node n cannot start the agent: StartError, why", true},
		{waits("CreateContainerError"), "false the node n cannot start the agent: CreateContainerError, why", true},
		{waits("ErrImagePull"), "false the node n cannot get the agent's image agent:1: ErrImagePull, why\nhint: ", false}, // other rights have the same image
	} {
		pod := &corev1.Pod{Spec: corev1.PodSpec{NodeName: "n"}}
		pod.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{{Name: "other"}, {Name: "a", State: c.state}}
		done, err := begun(pod, "a", "agent:1")
		got := fmt.Sprint(done)
		if err != nil {
			got += " " + err.Error()
		}
		var refused refusal
		if !strings.HasPrefix(got, c.want) || err != nil && c.want == "true" || errors.As(err, &refused) != c.refused {
			t.Errorf("%+v: %s, %v", c.state, got, errors.As(err, &refused))
		}
	}
}
