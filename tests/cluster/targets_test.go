package cluster

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// what wants what a target's WHO is.
func what(t *testing.T, target, want string) {
	t.Helper()
	if got := strings.TrimSpace(inside(t, target, "printenv", "WHO")); got != want {
		t.Errorf("%s: %q, not %q", target, got, want)
	}
}

// line is what `mirrord ls` says of a target.
func line(t *testing.T, target string) string {
	t.Helper()
	kind, _, _ := strings.Cut(target, "/")
	r := mirrord(t, "ls", "-n", namespace, "-t", kind)
	for l := range strings.Lines(r.out) {
		if words := strings.Fields(l); words[0] == target {
			return strings.Join(words[1:], " ")
		}
	}
	t.Fatalf("%s is not in\n%s%s", target, r.out, r.err)
	return ""
}

// A cronjob's job that runs is its target, also one that somebody has made of it by the hint's words.
func TestCronJob(t *testing.T) {
	needCluster(t)
	r := mirrord(t, "exec", "-n", namespace, "-t", "cronjob/nightly", "--", "true")
	_, hint, found := strings.Cut(r.err, "hint: start one: kubectl ")
	if r.status != 125 || !found {
		t.Fatalf("status %d\n%s", r.status, r.err)
	}
	if got := line(t, "cronjob/nightly"); got != "0/0 - -" {
		t.Error(got)
	}
	if _, err := kubectl(strings.Fields(hint)...); err != nil {
		t.Fatal(err)
	}
	ask(t, "wait", "pod", "-l", "job-name=nightly-now", "--for=condition=Ready", "--timeout=2m")
	eventually(t, "a job that counts its pod", func() bool { return ask(t, "get", "job", "nightly-now", "-o", "jsonpath={.status.active}") == "1" })
	what(t, "cronjob/nightly", "nightly")
	if got := line(t, "cronjob/nightly"); got != "1/1 app -" {
		t.Error(got)
	}
}

const rollouts = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rollouts.argoproj.io}
spec:
  group: argoproj.io
  scope: Namespaced
  names: {plural: rollouts, singular: rollout, kind: Rollout}
  versions: [{name: v1alpha1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`

const rollout = `
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: own}
spec: {selector: {matchLabels: {app: copies}}}
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: referring}
spec: {workloadRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: dangling}
spec: {workloadRef: {apiVersion: apps/v1, kind: Deployment, name: nowhere}}
`

// Rollouts are found by their own selector, or by the workload that they stand for. Argo itself is not needed: its pods are those of a ReplicaSet and a Deployment.
func TestRollout(t *testing.T) {
	needCluster(t)
	if _, err := kubectl("get", "crd", "rollouts.argoproj.io"); err == nil {
		t.Skip("the cluster has Argo's rollouts, whose controller would take those of the test for its own")
	}
	if got := mirrord(t, "exec", "-n", namespace, "-t", "rollout/own", "--", "true"); !strings.Contains(got.err, "error: there is no rollout own in the namespace") {
		t.Error(got.err)
	}
	if _, err := kubectl("apply", "-f", write(t, "crd.yaml", rollouts)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := kubectl("delete", "crd", "rollouts.argoproj.io"); err != nil {
			t.Error(err)
		}
	})
	if _, err := kubectl("wait", "crd", "rollouts.argoproj.io", "--for=condition=Established", "--timeout=1m"); err != nil {
		t.Fatal(err)
	}
	file := write(t, "rollouts.yaml", rollout)
	eventually(t, "rollouts that can be made", func() bool {
		_, err := kubectl("apply", "-n", namespace, "-f", file)
		return err == nil
	})
	what(t, "rollout/own", "copies")
	if got := strings.TrimSpace(inside(t, "rollout/referring", "printenv", "GREETING")); got != "hello" {
		t.Error(got)
	}
	if got := mirrord(t, "exec", "-n", namespace, "-t", "rollout/dangling", "--", "true"); !strings.Contains(got.err, "error: there is no deployment nowhere in the namespace") {
		t.Error(got.err)
	}
	for target, want := range map[string]string{"rollout/own": "1/1 app -", "rollout/referring": "2/2 web 8080", "rollout/dangling": "0/0 - -"} {
		if got := line(t, target); got != want {
			t.Errorf("%s: %s, not %s", target, got, want)
		}
	}
}

// Containers of one pod share its network, and nothing else.
func TestTwoContainers(t *testing.T) {
	needCluster(t)
	need(t, "curl")
	for container, who := range map[string]string{"first": "two-first", "second": "two-second"} {
		got := inside(t, "pod/two/container/"+container, "sh", "-c", "printenv WHO; curl -sS http://127.0.0.1:8080 http://127.0.0.1:8081")
		compare(t, strings.Split(got, "\n"), []string{who, "two first from 127.0.0.1", "two second from 127.0.0.1", ""})
	}
	r := mirrord(t, "exec", "-n", namespace, "-t", "deployment/web", "--", "true")
	if !strings.Contains(r.err, "the container is web; passed over as a sidecar: istio-proxy") || !strings.Contains(r.err, "/container/NAME behind the target names another") {
		t.Error(r.err)
	}
}

// The namespace is the flag's, the variable's, the configuration's or the context's, in this order.
func TestNamespaces(t *testing.T) {
	needCluster(t)
	here := kubeconfigFile(t, []string{"set-context", "--current", "--namespace", namespace})
	config := func(target string) string {
		text, err := json.Marshal(map[string]any{"kubeconfig": here, "target": map[string]string{"path": "pod/by-pod", "namespace": target}})
		if err != nil {
			t.Fatal(err)
		}
		return write(t, "mirrord.json", string(text))
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-t", "pod/by-pod", "-f", configFor(t, here)}, "by-pod"},
		{[]string{"-f", config(restricted)}, "restricted-by-pod"},
		{[]string{"-f", config(restricted), "-n", namespace}, "by-pod"},
		{[]string{"-f", config(namespace), "--target-namespace=" + restricted}, "restricted-by-pod"},
	} {
		r := mirrord(t, append(append([]string{"exec"}, c.args...), "--", "printenv", "WHO")...)
		if r.status != 0 || strings.TrimSpace(r.out) != c.want {
			t.Errorf("%q: %q, not %q\n%s", c.args, r.out, c.want, r.err)
		}
	}
}

// What a person, or a window, needs for choosing.
func TestChoices(t *testing.T) {
	needCluster(t)
	file := kubeconfigFile(t, []string{"set-context", "--current", "--namespace", namespace})
	config := configFor(t, file)
	var contexts struct {
		Contexts []struct {
			Name, Server, Namespace string
			Current                 bool
		}
	}
	decode(t, mirrord(t, "ls", "contexts", "-f", config, "-o", "json"), &contexts)
	if len(contexts.Contexts) != 1 || !contexts.Contexts[0].Current || contexts.Contexts[0].Namespace != namespace || !strings.HasPrefix(contexts.Contexts[0].Server, "http") {
		t.Errorf("%+v", contexts)
	}
	var namespaces struct {
		Namespace  string
		Namespaces []string
	}
	decode(t, mirrord(t, "ls", "namespaces", "-f", config, "-o", "json"), &namespaces)
	if all := " " + strings.Join(namespaces.Namespaces, " ") + " "; namespaces.Namespace != namespace || !strings.Contains(all, " "+namespace+" ") || !strings.Contains(all, " "+restricted+" ") {
		t.Errorf("%+v", namespaces)
	}
	var targets struct {
		Namespace string
		Targets   []struct{ Target string }
	}
	decode(t, mirrord(t, "ls", "targets", "-f", config, "-t", "statefulset", "-o", "json"), &targets)
	if fmt.Sprint(targets) != fmt.Sprintf("{%s [{statefulset/db}]}", namespace) {
		t.Errorf("%+v", targets)
	}
	// Who may see only a part is told what is left out.
	r := mirrord(t, "ls", "-n", namespace, "-f", asUser(t, tokenOf(t, "reader")))
	if r.status != 0 || !strings.Contains(r.err, "warning: without deployments.apps, ") || !strings.Contains(r.out, "pod/two") || strings.Contains(r.out, "deployment/") {
		t.Errorf("status %d\n%s%s", r.status, r.out, r.err)
	}
	r = mirrord(t, "ls", "namespaces", "-f", asUser(t, tokenOf(t, "reader")))
	if r.status != 125 || !strings.Contains(r.err, "error: cannot list namespaces: your user may not list namespaces of context") {
		t.Errorf("status %d\n%s", r.status, r.err)
	}
}

func decode(t *testing.T, r result, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.out), into); err != nil || r.status != 0 {
		t.Fatalf("%v, status %d\n%s%s", err, r.status, r.out, r.err)
	}
}
