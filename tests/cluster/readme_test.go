package cluster

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What a run of the README's commands has that another has not.
var (
	podName   = regexp.MustCompile(`cart-[0-9a-z]+-[0-9a-z]+`)
	addresses = regexp.MustCompile(`\d+\.\d+\.\d+\.\d+`)
)

// same takes away what differs between two runs.
func same(text string) string {
	text = addresses.ReplaceAllString(podName.ReplaceAllString(text, "cart-POD"), "ADDRESS")
	return strings.Join(regexp.MustCompile(`(?m) +`).Split(text, -1), " ")
}

// TestReadme types what the README says about a pod of a cluster, as it stands there, in a fresh namespace, and expects what it says will be seen.
func TestReadme(t *testing.T) {
	needCluster(t)
	need(t, "bash")
	need(t, "curl")
	need(t, "npm")
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## A pod of a cluster\n")
	if section, _, _ = strings.Cut(section, "\n## "); !ok {
		t.Fatal("the README has no section about a pod of a cluster")
	}
	blocks := regexp.MustCompile("(?ms)^```\n(.*?)^```$").FindAllStringSubmatch(section, -1)
	if len(blocks) != 3 {
		t.Fatalf("the section has %d blocks, not what is typed, what is printed, and what else can be typed", len(blocks))
	}
	fresh := namespace + "-readme"
	if _, err := kubectl("create", "namespace", fresh); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kubectl("delete", "namespace", fresh, "--wait=false") })
	env := append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "KUBECONFIG="+kubeconfigFile(t, []string{"set-context", "--current", "--namespace", fresh}))
	typed := func(folder, script string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "bash", "-euc", script)
		cmd.Dir, cmd.Env, cmd.WaitDelay = folder, env, 10*time.Second
		r := finish(t, cmd)
		if r.status != 0 {
			t.Fatalf("status %d of\n%s\n%s%s", r.status, script, r.out, r.err)
		}
		return r.out
	}
	first, rest, _ := strings.Cut(blocks[0][1], "\n")
	typed(root, first)
	if diff := cmp.Diff(same(blocks[1][1]), same(typed(root, rest))); diff != "" {
		t.Errorf("(-README +printed):\n%s", diff)
	}
	own := t.TempDir()
	if err := os.WriteFile(filepath.Join(own, "package.json"), []byte(`{"scripts": {"start": "node -p process.env.GREETING"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := typed(own, blocks[2][1]); strings.Count(out, "hello from the pod's environment\n") != 2 {
		t.Errorf("%s\nprinted\n%s", blocks[2][1], out)
	}
}
