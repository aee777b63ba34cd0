package cluster

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// applyRights makes what only these tests need, once.
var applyRights = sync.OnceValue(func() error {
	if _, err := kubectl("apply", "-n", namespace, "-f", "rights.yaml"); err != nil {
		return err
	}
	_, err := kubectl("wait", "-n", namespace, "pod/changed", "--for=condition=Ready", "--timeout=2m")
	return err
})

func needRights(t *testing.T) {
	t.Helper()
	needCluster(t)
	if err := applyRights(); err != nil {
		t.Fatal(err)
	}
}

// run is a session of a target that must be as it should: what the program has written, and what was said of the session.
func run(t *testing.T, target, config string, words ...string) (out, said string) {
	t.Helper()
	r := mirrord(t, append([]string{"exec", "-n", namespace, "-t", target, "-f", write(t, "m.json", config), "--"}, words...)...)
	if r.status != 0 {
		t.Fatalf("%s, %s: %q: status %d\n%s%s", target, config, words, r.status, r.out, r.err)
	}
	return r.out, r.err
}

// Whatever rights the agent has, the program sees the same pod.
func TestEachRights(t *testing.T) {
	needRights(t)
	python := strings.ReplaceAll(pythonProgram, "%NS%", namespace)
	node := strings.ReplaceAll(nodeProgram, "%NS%", namespace)
	curl := `curl -sS http://web http://db:8080 http://127.0.0.1:15000 file:///srv/secret/PASSWORD; printenv GREETING`
	for _, rights := range []string{"target", "network", "node"} {
		config := fmt.Sprintf(`{"agent": {"rights": %q}}`, rights)
		for _, c := range []struct {
			program string
			words   []string
			want    []string
		}{
			{"python3", []string{"python3", "-c", python}, []string{"hello hunter2", "blue hunter2 written by the pod", "['GREETING', 'colour.txt']", "web-", "True", "hello", "b'echo ping'", "True", "refused", ""}},
			{"node", []string{"node", "-e", node}, []string{"hello hunter2", "blue written by the pod", "web-", "true true", "80", "hello db-0", "ECONNREFUSED", "echo ping", ""}},
			{"curl", []string{"sh", "-c", curl}, []string{"web-", "db-0  from", "web-", "hunter2hello", ""}},
		} {
			t.Run(rights+" "+c.program, func(t *testing.T) {
				need(t, c.program)
				out, _ := run(t, "deployment/web", config, c.words...)
				compare(t, strings.Split(out, "\n"), c.want)
			})
		}
		for target, who := range map[string]string{"pod/by-pod": "by-pod", "pod/by-image": "by-image", "pod/shared/container/second": "shared-second", "pod/more-rights": "more-rights", "pod/hostnet": "hostnet"} {
			t.Run(rights+" "+target, func(t *testing.T) {
				out, _ := run(t, target, config, "sh", "-c", "printenv WHO; cat /etc/hostname; hostname")
				name, _, _ := strings.Cut(strings.TrimPrefix(target, "pod/"), "/")
				want := []string{who, name, name, ""}
				if name == "hostnet" { // its host name is its node's
					want[1], want[2] = "", ""
				}
				compare(t, strings.Split(out, "\n"), want)
			})
		}
	}
}

// A program that has changed its user shows itself to nobody with the same rights: the node's are taken, and the specification's variables where those cannot be had.
func TestChangedUser(t *testing.T) {
	needRights(t)
	show := []string{"sh", "-c", "printenv WHO GREETING CPUS PASSWORD; cat /etc/hostname"}
	out, said := run(t, "pod/changed", `{}`, show...)
	compare(t, strings.Split(out, "\n"), []string{"changed", "hello changed", "2", "hunter2", "changed", ""})
	if !strings.Contains(said, `the agent has the rights "node", since one with "network" cannot serve files`) {
		t.Error(said)
	}
	r := mirrord(t, "exec", "-n", namespace, "-t", "pod/changed", "-e", "--", "sh", "-c", "printenv WHO GREETING CPUS PASSWORD")
	compare(t, strings.Split(r.out, "\n"), []string{"changed", "hello changed", "2", "hunter2", ""})
	for _, want := range []string{"the variables are those of the pod's specification", "the agent cannot serve files"} {
		if !strings.Contains(r.err, want) {
			t.Errorf("%s\nwant %s", r.err, want)
		}
	}
}

// What policies and permissions forbid is said, and led around where that is possible.
func TestForbidden(t *testing.T) {
	needRights(t)
	starter, visitor := asUser(t, strings.TrimSpace(ask(t, "create", "token", "starter"))), asUser(t, strings.TrimSpace(ask(t, "create", "token", "visitor")))
	for _, c := range []struct {
		name   string
		args   []string
		status int
		want   []string
	}{
		{"restricted", []string{"-n", restricted, "-t", "pod/by-pod"}, 0, []string{`-t, no agent with the rights "network": a policy of the cluster forbids the agent in the pod by-pod: violates PodSecurity`}},
		{"restricted, steal", []string{"-n", restricted, "-t", "pod/by-pod", "--steal"}, 125,
			[]string{"error: a policy of the cluster forbids the agent in the pod by-pod: violates PodSecurity", "; and a policy of the namespace " + restricted + " forbids a pod for the agent: violates PodSecurity",
				"agent.namespace names another"}},
		{"restricted, with a Job elsewhere", []string{"-n", restricted, "-t", "pod/by-image", "--steal", "-a", namespace}, 0, []string{"incoming connections (steal)"}},
		{"no containers", []string{"-n", namespace, "-t", "pod/two", "-f", starter}, 0, []string{`no agent with the rights "target": cannot start an agent in the pod two: your user may not patch`, "mirrord-agent-"}},
		{"no containers, no Jobs", []string{"-n", namespace, "-t", "pod/two", "-f", visitor}, 125,
			[]string{"may not patch pods/ephemeralcontainers in the namespace " + namespace, "may not create jobs.batch in the namespace " + namespace, `the verb "create" on "jobs.batch"`}},
		{"the node's network", []string{"-n", namespace, "-t", "pod/hostnet", "--steal"}, 125, []string{"error: the pod hostnet has the network of its node", "hint: leave --steal"}},
		{"the node's network, nothing asked", []string{"-n", namespace, "-t", "pod/hostnet"}, 0, []string{"ready"}},
		{"targetless steal", []string{"-t", "targetless", "--steal"}, 125, []string{"without a target there are no connections to steal"}},
		{"no room", []string{"-n", namespace, "-t", "pod/two", "-f", write(t, "m.json", `{"agent": {"rights": "node", "resources": {"requests": {"cpu": "5000"}}}}`)}, 125,
			[]string{"does not take the agent's pod: OutOfcpu", "hint: end something on it"}},
		{"no room anywhere", []string{"-n", namespace, "-t", "targetless", "-f", write(t, "m.json", `{"agent": {"resources": {"requests": {"cpu": "5000"}, "limits": {"cpu": "5000"}}}}`)}, 125,
			[]string{"no node takes the agent's pod: ", "Insufficient cpu"}},
		{"no image", []string{"-n", namespace, "-t", "targetless", "-i", "mirrord-agent:no-such-tag", "-f", write(t, "m.json", `{"agent": {"image_pull_policy": "Never"}}`)}, 125,
			[]string{"cannot get the agent's image mirrord-agent:no-such-tag: ErrImageNeverPull"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := mirrord(t, append(append([]string{"exec"}, c.args...), "--", "true")...)
			if r.status != c.status {
				t.Errorf("status %d", r.status)
			}
			for _, want := range c.want {
				if !strings.Contains(r.err, want) {
					t.Errorf("%s\nwant %s", r.err, want)
				}
			}
		})
	}
	for _, where := range []string{namespace, restricted} {
		eventually(t, "the end of all Jobs of agents and their pods", func() bool {
			return strings.TrimSpace(ask(t, "get", "jobs,pods", "-n", where, "-l", "app=mirrord", "-o", "name")) == ""
		})
	}
}

// Without a target there are the cluster's names and connections, and this machine's everything else.
func TestTargetless(t *testing.T) {
	needCluster(t)
	need(t, "python3")
	t.Setenv("OWN", "mine")
	r := mirrord(t, "exec", "-n", namespace, "-t", "targetless", "--", "python3", "-c", `
import os, socket, urllib.request
print(os.environ["OWN"], "GREETING" in os.environ, os.path.exists("/srv/config"))
print(urllib.request.urlopen("http://web/").read().decode().split()[1], socket.gethostbyname("web") == socket.gethostbyname("web.`+namespace+`.svc.cluster.local"))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("web", 7000))
s.settimeout(20)
s.send(b"ping")
print(s.recv(100))
`)
	compare(t, strings.Split(r.out, "\n"), []string{"mine False False", "hello True", "b'echo ping'", ""})
	if r.status != 0 || !strings.Contains(r.err, "targetless): 0 variables, names, outgoing connections\n") {
		t.Errorf("status %d\n%s", r.status, r.err)
	}
	eventually(t, "the end of the Job and its pod", func() bool {
		return strings.TrimSpace(ask(t, "get", "jobs,pods", "-l", "app=mirrord", "-o", "name")) == ""
	})
}

// libc's own resolver, which passes no hook on its way to the network, asks the pod's name server.
func TestResQuery(t *testing.T) {
	needCluster(t)
	need(t, "cc")
	program := filepath.Join(t.TempDir(), "resquery")
	if out, err := exec.Command("cc", "-o", program, "programs/resquery.c", "-lresolv").CombinedOutput(); err != nil {
		t.Skipf("left out, it cannot be compiled here: %v\n%s", err, out)
	}
	suffix := "." + namespace + ".svc.cluster.local"
	out := inside(t, "deployment/web", program, "web"+suffix, "_http._tcp.web"+suffix, "nothing"+suffix)
	compare(t, strings.Split(out, "\n"), []string{ask(t, "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"), "80", "nothing" + suffix + ": none", ""})
}
