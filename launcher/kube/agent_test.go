package kube

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"mirrord/agent/wire"
)

// Which rights are tried, which suffice, and what is said of the others.
func TestRights(t *testing.T) {
	refused, broken := refusal{errors.New("a policy forbids it\nhint: ask")}, errors.New("no image\nhint: load it")
	lacking := func(names ...string) error { return errors.New("lacks " + strings.Join(names, " ")) }
	for _, c := range []struct {
		name     string
		o        AgentOptions
		host     bool
		outcomes map[wire.Rights]error // an agent that lacks something, or none; rights that are not here are not to be tried
		want     wire.Rights
		lacks    string // of what is had at last
		err      string
		said     int
	}{
		{"all is well", AgentOptions{Incoming: true}, false, map[wire.Rights]error{"network": nil}, "network", "", "", 0},
		{"steal, and all is well", AgentOptions{Incoming: true, Needs: []string{"files", "incoming"}}, false, map[wire.Rights]error{"network": nil}, "network", "", "", 0},
		{"nobody wants incoming connections", AgentOptions{}, false, map[wire.Rights]error{"target": nil}, "target", "", "", 0},
		{"nobody asked for incoming connections", AgentOptions{Incoming: true}, false, map[wire.Rights]error{"network": lacking("incoming")}, "network", "incoming", "", 0},
		{"restricted", AgentOptions{Incoming: true, Needs: []string{"files"}}, false, map[wire.Rights]error{"network": refused, "target": nil}, "target", "", "", 1},
		{"restricted, and steal", AgentOptions{Incoming: true, Needs: []string{"incoming"}}, false, map[wire.Rights]error{"network": refused, "node": nil}, "node", "", "", 1},
		{"steal that the network's rights are not enough for", AgentOptions{Incoming: true, Needs: []string{"incoming"}}, false,
			map[wire.Rights]error{"network": lacking("incoming"), "node": nil}, "node", "", "", 1},
		{"steal that cannot be", AgentOptions{Incoming: true, Needs: []string{"incoming"}}, false, map[wire.Rights]error{"network": lacking("incoming"), "node": refused}, "", "",
			"an agent with the rights \"network\" cannot serve incoming connections: why; and a policy forbids it\nhint: without --steal", 1},
		{"nothing may be", AgentOptions{Incoming: true}, false, map[wire.Rights]error{"network": refused, "target": refused, "node": refused}, "", "", "a policy forbids it\nhint: ask", 3},
		{"files that only the node's rights show", AgentOptions{Incoming: true, Needs: []string{"files"}}, false, map[wire.Rights]error{"network": lacking("files"), "node": nil}, "node", "", "", 1},
		{"files that nobody shows", AgentOptions{Needs: []string{"files"}}, false, map[wire.Rights]error{"target": lacking("files", "env"), "node": refused}, "target", "env files", "", 1},
		{"a node that has trouble is no reason to end", AgentOptions{Needs: []string{"files"}}, false, map[wire.Rights]error{"target": lacking("files"), "node": broken}, "target", "files", "", 1},
		{"no Jobs", AgentOptions{Beside: true, Needs: []string{"files"}}, false, map[wire.Rights]error{"target": lacking("files")}, "target", "files", "", 0},
		{"an image that is not there", AgentOptions{Incoming: true}, false, map[wire.Rights]error{"network": broken}, "", "", "no image\nhint: load it", 0},
		{"only these", AgentOptions{Rights: "target", Incoming: true}, false, map[wire.Rights]error{"target": refused}, "", "", "a policy forbids it", 1},
		{"the node's network", AgentOptions{Incoming: true}, true, map[wire.Rights]error{"target": nil}, "target", "", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			said, running := 0, 0
			c.o.Say = func(string) { said++ }
			place := &Place{pod: &corev1.Pod{Spec: corev1.PodSpec{HostNetwork: c.host}}}
			start := func(rights wire.Rights) (*Agent, error) {
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

func TestNetworkRights(t *testing.T) {
	own := &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"BPF", "CHOWN"}}}
	s := networkFor(own, &corev1.Container{SecurityContext: own})
	if got := fmt.Sprint(*s.RunAsUser, *s.RunAsGroup, *s.RunAsNonRoot, s.Capabilities.Drop, s.Capabilities.Add); got != "0 0 false [ALL] [BPF CHOWN NET_ADMIN SETUID SETGID]" {
		t.Error(got)
	}
	if len(own.Capabilities.Add) != 2 {
		t.Error("the target's own were changed")
	}
}

func TestEnvironmentOf(t *testing.T) {
	c := &corev1.Container{Name: "app", Env: []corev1.EnvVar{
		{Name: "A", Value: "b"}, {Name: "CPUS", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.cpu"}}},
	}, EnvFrom: []corev1.EnvFromSource{{Prefix: "X_"}}}
	env, from := environmentOf(c)
	if env[0].Value != "b" || env[1].ValueFrom.ResourceFieldRef.ContainerName != "app" || from[0].Prefix != "X_" {
		t.Errorf("%+v %+v", env, from)
	}
	if c.Env[1].ValueFrom.ResourceFieldRef.ContainerName != "" {
		t.Error("the target's own was changed")
	}
}
