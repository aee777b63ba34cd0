// Package cluster tests sessions against a real Kubernetes cluster, any that KUBECONFIG names (tests/cluster/run).
package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience bounds every wait; what is waited for normally comes within seconds.
const patience = 2 * time.Minute

// The namespaces of this run, and the command that is tested.
var (
	namespace  = fmt.Sprintf("mirrord-test-%d", os.Getpid())
	restricted = namespace + "-restricted"
	program    = os.Getenv("MIRRORD_BIN")
)

func TestMain(m *testing.M) {
	if os.Getenv("MIRRORD_TEST_CLUSTER") == "" {
		m.Run() // each test leaves itself out
		return
	}
	status := 1
	if err := setUp(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		status = m.Run()
	}
	if status != 0 {
		out, _ := kubectl("describe", "pods", "-n", namespace)
		fmt.Fprintln(os.Stderr, out)
	}
	if _, err := kubectl("delete", "namespace", namespace, restricted, "--wait=false"); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(status)
}

// setUp makes the namespaces with their pods and waits for these.
func setUp() error {
	steps := [][]string{
		{"create", "namespace", namespace},
		{"create", "namespace", restricted},
		{"label", "namespace", restricted, "pod-security.kubernetes.io/enforce=restricted"},
		{"apply", "-n", namespace, "-f", "pods.yaml"},
		{"apply", "-n", restricted, "-f", "restricted.yaml"},
		{"wait", "-n", restricted, "pod", "-l", "all=pods", "--for=condition=Ready", "--timeout=2m"},
		{"wait", "-n", namespace, "pod", "-l", "all=pods", "--for=condition=Ready", "--timeout=2m"},
		{"wait", "-n", namespace, "pod", "-l", "job-name=work", "--for=condition=Ready", "--timeout=2m"},
		{"wait", "-n", namespace, "pod", "-l", "app=copies", "--for=condition=Ready", "--timeout=2m"},
		{"rollout", "status", "-n", namespace, "deployment/web", "--timeout=2m"},
		{"rollout", "status", "-n", namespace, "statefulset/db", "--timeout=2m"},
		{"rollout", "status", "-n", namespace, "daemonset/everywhere", "--timeout=2m"},
	}
	for _, args := range steps {
		if _, err := kubectl(args...); err != nil {
			return err
		}
	}
	return nil
}

// needCluster leaves a test out where there is no cluster.
func needCluster(t *testing.T) {
	t.Helper()
	if os.Getenv("MIRRORD_TEST_CLUSTER") == "" {
		t.Skip("needs a cluster: make test-cluster")
	}
}

// need leaves a test out where a program is missing.
func need(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(err)
	}
}

func kubectl(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "kubectl", args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// ask is kubectl for what a test cannot do without.
func ask(t *testing.T, args ...string) string {
	t.Helper()
	out, err := kubectl(append([]string{"-n", namespace}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// result is what a command has written, and its status.
type result struct {
	out, err string
	status   int
}

// mirrord runs the command to its end, in a folder of its own.
func mirrord(t *testing.T, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return finish(t, command(ctx, t, args...))
}

func command(ctx context.Context, t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "MIRRORD_PROGRESS_MODE=plain")
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

func finish(t *testing.T, cmd *exec.Cmd) (r result) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, errs.String())
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// inside runs a program in a target's context, which must succeed, and returns what it wrote.
func inside(t *testing.T, target string, words ...string) string {
	t.Helper()
	return insideOf(t, namespace, target, words...)
}

func insideOf(t *testing.T, namespace, target string, words ...string) string {
	t.Helper()
	r := mirrord(t, append([]string{"exec", "-n", namespace, "-t", target, "--"}, words...)...)
	if r.status != 0 {
		t.Fatalf("%s: %q: status %d\n%s%s", target, words, r.status, r.out, r.err)
	}
	return r.out
}

// eventually asks until done says so.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// write makes a file in a folder of the test's and returns its path.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
