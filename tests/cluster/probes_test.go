package cluster

import (
	"strings"
	"testing"
)

// TestProbes steals a port that the kubelet probes, for a program that has nothing at the probe's path: the pod's own program answers the probes, and the pod stays ready.
func TestProbes(t *testing.T) {
	needCluster(t)
	need(t, "python3")
	needIncoming(t)
	ask(t, "apply", "-f", write(t, "pod.yaml", `{apiVersion: v1, kind: Pod, metadata: {name: probed}, spec: {terminationGracePeriodSeconds: 0,
		containers: [{name: app, image: "mirrord-test:dev", imagePullPolicy: IfNotPresent, readinessProbe: {httpGet: {path: /ready, port: 8080}, periodSeconds: 1, failureThreshold: 1}}]}}`))
	t.Cleanup(func() { kubectl("delete", "pod", "-n", namespace, "probed", "--wait=false") })
	ask(t, "wait", "pod", "probed", "--for=condition=Ready", "--timeout=2m")
	since := func() string {
		return ask(t, "get", "pod", "probed", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="Ready")].lastTransitionTime}`)
	}
	probes := func() int { return strings.Count(ask(t, "logs", "probed", "-c", "app"), "probed") }
	before := since()

	k := startTaker(t, "-t", "pod/probed", "--steal")
	eventually(t, "a request that the session took", func() bool { answer, _ := answered("probed", "/"); return answer == "session took it\n" })
	seen := probes()
	eventually(t, "five probes that the pod's own program answered", func() bool { return probes() >= seen+5 })
	if k.saw("/ready") {
		t.Error("the session's program was asked for a probe")
	}
	// What is no probe is the session's, at the same path too.
	if answer, err := answered("probed", "/ready"); err == nil {
		t.Errorf("the pod's own program answered %q", answer)
	}
	k.end()
	if after := since(); after != before || !strings.HasPrefix(after, "True ") {
		t.Errorf("the pod was ready: %s, and is: %s", before, after)
	}
}
