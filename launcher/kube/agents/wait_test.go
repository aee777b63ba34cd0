package agents

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"mirrord/agent/startup"
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

func TestEar(t *testing.T) {
	var line strings.Builder
	if err := startup.WriteReport(&line, startup.Report{Port: 4321}); err != nil {
		t.Fatal(err)
	}
	// Who begins to listen in the middle hears the rest of a line first.
	said := line.String()[5:] + "something else\n" + line.String() + line.String()
	for size := 1; size <= len(said); size++ {
		var heard []startup.Report
		e := &ear{heard: func(r startup.Report) { heard = append(heard, r) }}
		for rest := said; rest != ""; rest = rest[min(size, len(rest)):] {
			piece := rest[:min(size, len(rest))]
			if n, err := e.Write([]byte(piece)); n != len(piece) || err != nil {
				t.Fatal(n, err)
			}
		}
		if len(heard) != 1 || heard[0].Port != 4321 {
			t.Fatalf("in pieces of %d: %v", size, heard)
		}
	}
	e := &ear{heard: func(startup.Report) { t.Error("heard") }}
	endless := make([]byte, 64<<10)
	var err error
	for range 2*maxLog/len(endless) + 1 {
		if _, err = e.Write(endless); err != nil {
			break
		}
	}
	if err == nil {
		t.Error("an endless line is kept")
	}
}
