package agents

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mirrord/agent/startup"
	"mirrord/launcher/kube/workload"
)

// Which rights are tried, which suffice, and what is said of the others.
func TestRights(t *testing.T) {
	refused, broken := refusal{errors.New("a policy forbids it\nhint: ask")}, errors.New("no image\nhint: load it")
	lacking := func(names ...string) error { return errors.New("lacks " + strings.Join(names, " ")) }
	for _, c := range []struct {
		name     string
		o        Options
		host     bool
		outcomes map[startup.Rights]error // an agent that lacks something, or none; rights that are not here are not to be tried
		want     startup.Rights
		lacks    string // of what is had at last
		err      string
		said     int
	}{
		{"all is well", Options{Incoming: true}, false, map[startup.Rights]error{"network": nil}, "network", "", "", 0},
		{"steal, and all is well", Options{Incoming: true, Needs: []string{"files", "incoming"}}, false, map[startup.Rights]error{"network": nil}, "network", "", "", 0},
		{"nobody wants incoming connections", Options{}, false, map[startup.Rights]error{"target": nil}, "target", "", "", 0},
		{"nobody asked for incoming connections", Options{Incoming: true}, false, map[startup.Rights]error{"network": lacking("incoming")}, "network", "incoming", "", 0},
		{"restricted", Options{Incoming: true, Needs: []string{"files"}}, false, map[startup.Rights]error{"network": refused, "target": nil}, "target", "", "", 1},
		{"restricted, and steal", Options{Incoming: true, Needs: []string{"incoming"}}, false, map[startup.Rights]error{"network": refused, "node": nil}, "node", "", "", 1},
		{"steal that the network's rights are not enough for", Options{Incoming: true, Needs: []string{"incoming"}}, false,
			map[startup.Rights]error{"network": lacking("incoming"), "node": nil}, "node", "", "", 1},
		{"steal that cannot be", Options{Incoming: true, Needs: []string{"incoming"}}, false, map[startup.Rights]error{"network": lacking("incoming"), "node": refused}, "", "",
			"an agent with the rights \"network\" cannot serve incoming connections: why; and a policy forbids it\nhint: without --steal", 1},
		{"nothing may be", Options{Incoming: true}, false, map[startup.Rights]error{"network": refused, "target": refused, "node": refused}, "", "", "a policy forbids it\nhint: ask", 3},
		{"files that only the node's rights show", Options{Incoming: true, Needs: []string{"files"}}, false, map[startup.Rights]error{"network": lacking("files"), "node": nil}, "node", "", "", 1},
		{"files that nobody shows", Options{Needs: []string{"files"}}, false, map[startup.Rights]error{"target": lacking("files", "env"), "node": refused}, "target", "env files", "", 1},
		{"a node that has trouble is no reason to end", Options{Needs: []string{"files"}}, false, map[startup.Rights]error{"target": lacking("files"), "node": broken}, "target", "files", "", 1},
		{"no Jobs", Options{Beside: true, Needs: []string{"files"}}, false, map[startup.Rights]error{"target": lacking("files")}, "target", "files", "", 0},
		{"an image that is not there", Options{Incoming: true}, false, map[startup.Rights]error{"network": broken}, "", "", "no image\nhint: load it", 0},
		{"only these", Options{Rights: "target", Incoming: true}, false, map[startup.Rights]error{"target": refused}, "", "", "a policy forbids it", 1},
		{"the node's network", Options{Incoming: true}, true, map[startup.Rights]error{"target": nil}, "target", "", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			said, running := 0, 0
			c.o.Say = func(string) { said++ }
			place := &workload.Place{Pod: &corev1.Pod{Spec: corev1.PodSpec{HostNetwork: c.host}}}
			start := func(rights startup.Rights) (*Agent, error) {
				outcome, ok := c.outcomes[rights]
				if !ok {
					return nil, fmt.Errorf("%q was tried", rights)
				}
				delete(c.outcomes, rights)
				a := &Agent{Rights: rights, Lacks: map[string]string{}}
				if outcome == nil || strings.HasPrefix(outcome.Error(), "lacks ") {
					for _, name := range strings.Fields(fmt.Sprint(outcome))[1:] {
						a.Lacks[name] = "why"
					}
					running++
					return a, nil
				}
				return nil, outcome
			}
			got, err := c.o.climb(ladder(place, c.o), start, func(*Agent) { running-- })
			if (err == nil) != (c.err == "") || err != nil && !strings.HasPrefix(err.Error(), c.err) {
				t.Fatal(err)
			}
			if said != c.said || len(c.outcomes) > 0 {
				t.Errorf("%d words, %v were not tried", said, c.outcomes)
			}
			if err != nil {
				if running != 0 {
					t.Errorf("%d agents go on", running)
				}
				return
			}
			var lacks []string
			for name := range got.Lacks {
				lacks = append(lacks, name)
			}
			slices.Sort(lacks)
			if got.Rights != c.want || strings.Join(lacks, " ") != c.lacks || running != 1 {
				t.Errorf("%q, lacks %v, %d agents", got.Rights, lacks, running)
			}
		})
	}
}

func TestPolicy(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	for want, err := range map[string]error{
		`violates PodSecurity "restricted:latest"`:                apierrors.NewForbidden(pods, "x", errors.New(`violates PodSecurity "restricted:latest": runAsUser=0 (container "a" must not set runAsUser=0)`)),
		`exceeded quota: small, requested: pods=1`:                apierrors.NewForbidden(pods, "x", errors.New("exceeded quota: small, requested: pods=1")),
		`admission webhook "x.example" denied the request: never`: &apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonForbidden, Code: 403, Message: `admission webhook "x.example" denied the request: never`}},
	} {
		if got := policyOf(err); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
	for _, err := range []error{
		apierrors.NewForbidden(pods, "x", errors.New(`User "ann" cannot patch resource "pods/ephemeralcontainers" in API group "" in the namespace "shop"`)),
		apierrors.NewNotFound(pods, "x"), errors.New("other"),
	} {
		if got := policyOf(err); got != "" {
			t.Errorf("%v is taken for a policy: %s", err, got)
		}
	}
}
