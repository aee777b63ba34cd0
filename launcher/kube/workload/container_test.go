package workload

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"mirrord/launcher/kube/kubetest"
)

func TestChoose(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	pod := kubetest.Pod("p", 0, "istio-proxy", "vault-agent", "app", "log")
	pod.Spec.InitContainers = []corev1.Container{{Name: "setup"}, {Name: "native", RestartPolicy: &always}}
	for asked, want := range map[string]string{"": "app [istio-proxy vault-agent]", "log": "log []", "native": "native []", "istio-proxy": "istio-proxy []", "setup": ""} {
		name, passed, err := choose(pod, asked)
		if got := fmt.Sprint(name, " ", passed); (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%q: %s, %v", asked, got, err)
		}
	}
	pod.Annotations = map[string]string{defaultContainer: "log"}
	if name, _, _ := choose(pod, ""); name != "log" {
		t.Error(name)
	}
	pod.Annotations[defaultContainer] = "gone"
	if name, _, _ := choose(pod, ""); name != "app" {
		t.Error(name)
	}
	if name, passed, _ := choose(kubetest.Pod("p", 0, "queue-proxy", "istio-proxy"), ""); name != "queue-proxy" || passed != nil {
		t.Error(name, passed)
	}
}
