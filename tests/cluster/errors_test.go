package cluster

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Failures are mirrord's own, and say what to do.
func TestErrors(t *testing.T) {
	needCluster(t)
	readOnly := asUser(t, tokenOf(t, "reader"))
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"no pod", []string{"-n", namespace, "-t", "pod/nothing"}, []string{"error: there is no pod nothing in the namespace " + namespace, "hint: `mirrord ls -n"}},
		{"no deployment", []string{"-n", namespace, "-t", "deployment/nothing"}, []string{"error: there is no deployment nothing in"}},
		{"no namespace", []string{"-n", "no-such", "-t", "pod/two"}, []string{"error: there is no namespace no-such in", "hint: -n names another"}},
		{"no container", []string{"-n", namespace, "-t", "pod/two/container/third"}, []string{`error: the pod two has no container "third"`, "hint: it has first, second"}},
		{"no context", []string{"--context", "no-such", "-t", "pod/two"}, []string{`error: the kubeconfig has no context "no-such"`, "hint: it has"}},
		{"not ready", []string{"-n", namespace, "-t", "pod/unready"}, []string{"error: the container app of the pod unready is not ready yet", "hint: its readiness probe fails"}},
		{"not running", []string{"-n", namespace, "-t", "pod/imageless"}, []string{"error: the pod imageless does not run, it is Pending: ErrImageNeverPull", "hint: `kubectl describe pod imageless"}},
		{"idle cronjob", []string{"-n", namespace, "-t", "cronjob/never"}, []string{"error: the cronjob never has no job that runs now", "hint: start one: kubectl create job"}},
		{"no image", []string{"-n", namespace, "-t", "pod/two", "-i", "mirrord-agent:no-such-tag", "-f", write(t, "m.json", `{"agent": {"image_pull_policy": "Never"}}`)},
			[]string{"cannot get the agent's image mirrord-agent:no-such-tag: ErrImageNeverPull", "hint: name one that it can get with --agent-image"}},
		{"no registry", []string{"-n", namespace, "-t", "pod/two", "-i", "127.0.0.1:1/mirrord-agent:none"},
			[]string{"cannot get the agent's image 127.0.0.1:1/mirrord-agent:none: ", "hint: name one that it can get with --agent-image"}},
		{"an image of something else", []string{"-n", namespace, "-t", "pod/by-pod", "-i", "mirrord-test:dev"}, []string{"error: the agent ended without a report", "hint: `kubectl logs by-pod"}},
		{"no permission", []string{"-n", namespace, "-t", "pod/two", "-f", readOnly}, []string{"may not patch pods/ephemeralcontainers in the namespace " + namespace, `hint: ask for a Role with the verb "patch" on "pods/ephemeralcontainers"`}},
		{"less permission", []string{"-n", namespace, "-t", "deployment/web", "-f", readOnly}, []string{"may not get deployments.apps in the namespace"}},
		{"no login", []string{"-n", namespace, "-t", "pod/two", "-f", asUser(t, "not-a-token")}, []string{"Unauthorized", "hint: your login has expired"}},
		{"no server", []string{"-t", "pod/two", "-f", elsewhere(t)}, []string{"connection refused", "hint: is https://127.0.0.1:1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := mirrord(t, append(append([]string{"exec"}, c.args...), "--", "true")...)
			if r.status != 125 || r.out != "" {
				t.Errorf("status %d, %q", r.status, r.out)
			}
			for _, want := range c.want {
				if !strings.Contains(r.err, want) {
					t.Errorf("%s\nwant %s", r.err, want)
				}
			}
		})
	}
}

// agents are the states of the agents in a pod: "running" or "terminated", by name.
func agents(t *testing.T, pod string) map[string]string {
	t.Helper()
	var list []struct {
		Name  string
		State map[string]any
	}
	text := ask(t, "get", "pod", pod, "-o", "jsonpath={.status.ephemeralContainerStatuses}")
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	states := map[string]string{}
	for _, s := range list {
		for state := range s.State {
			states[s.Name] = state
		}
	}
	return states
}

func running(states map[string]string) (n int) {
	for _, state := range states {
		if state == "running" {
			n++
		}
	}
	return n
}

// An agent ends with its session, at once after a goodbye and with its lease otherwise, and nobody can read its token.
func TestAgentsEnd(t *testing.T) {
	needCluster(t)
	config := write(t, "m.json", `{"agent": {"communication_timeout": 2}}`)
	pod := "shared"
	eventually(t, "an empty pod", func() bool { return running(agents(t, pod)) == 0 })
	before := len(agents(t, pod))
	inside(t, "pod/"+pod, "true")
	eventually(t, "the end of the agent that was said goodbye to", func() bool { s := agents(t, pod); return len(s) == before+1 && running(s) == 0 })

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := command(ctx, t, "exec", "-n", namespace, "-t", "pod/"+pod, "-f", config, "--", "sh", "-c", "echo began; exec sleep 1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if n, err := out.Read(make([]byte, 6)); n == 0 {
		t.Fatal(err)
	}
	eventually(t, "a running agent", func() bool { return running(agents(t, pod)) == 1 })
	spec := ask(t, "get", "pod", pod, "-o", "jsonpath={.spec.ephemeralContainers[*].args}")
	hash := spec[strings.LastIndex(spec, "--token-sha256=")+len("--token-sha256="):]
	if raw, err := hex.DecodeString(hash[:64]); err != nil || len(raw) != 32 {
		t.Errorf("the pod's specification has %s", spec)
	}
	for _, pid := range children(t, cmd.Process.Pid) { // the broker
		syscall.Kill(pid, syscall.SIGKILL)
	}
	cmd.Wait()
	killed := time.Now()
	eventually(t, "the end of the agent whose launcher was killed", func() bool { return running(agents(t, pod)) == 0 })
	t.Logf("gone %v after the launcher's death, with a lease of 2 s", time.Since(killed).Round(100*time.Millisecond))
}

// children are a process's, of all its threads.
func children(t *testing.T, pid int) (all []int) {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		text, _ := os.ReadFile(list) // a thread may have ended
		for _, word := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(word); err == nil {
				all = append(all, child)
			}
		}
	}
	if len(all) == 0 {
		t.Fatalf("%d has no children", pid)
	}
	return all
}
