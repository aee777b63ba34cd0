package kube

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mirrord/agent/wire"
)

func TestGone(t *testing.T) {
	began := metav1.NewTime(time.Unix(1000, 0))
	with := func(name string, agent corev1.ContainerState, target *corev1.ContainerStateRunning) *corev1.Pod {
		return change(runningPod(name, 0, "app"), func(p *corev1.Pod) {
			p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{TargetContainerName: "app", EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "mirrord-1"}}}
			p.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{{Name: "mirrord-1", State: agent}}
			p.Status.ContainerStatuses[0].State.Running = target
		})
	}
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, StartedAt: began}}
	before := &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(time.Unix(999, 0))}
	c := clusterWith(
		with("well", corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, before),
		with("killed", ended, before),
		with("restarted", ended, &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(time.Unix(1001, 0))}),
		with("crashed", ended, nil),
		runningPod("again", 0, "app"),
		change(with("evicted", ended, nil), func(p *corev1.Pod) { p.Status.Phase, p.Status.Reason = corev1.PodFailed, "Evicted" }),
		change(runningPod("job", 0, "mirrord-1"), func(p *corev1.Pod) { p.Status.ContainerStatuses[0].State = ended }),
	)
	for pod, want := range map[string]string{
		"well":      "",
		"killed":    "the agent in the pod killed has ended, with exit code 137",
		"restarted": "the container app of the pod restarted has ended or was restarted, and the agent with it",
		"crashed":   "the container app of the pod crashed has ended or was restarted, and the agent with it",
		"again":     "the pod again was deleted; another has its name",
		"evicted":   "the pod evicted has ended: Evicted",
		"job":       "the agent in the pod job has ended, with exit code 137",
		"nowhere":   "the pod nowhere was deleted",
	} {
		got, err := "", c.gone(t.Context(), pod, "mirrord-1")
		if err != nil {
			got = err.Error()
		}
		if got != want || got != "" && !errors.Is(err, wire.ErrGone) {
			t.Errorf("%s: %q", pod, got)
		}
	}
}
