package cluster

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What a program of the pod sees, for a comparison with the pod's absence.
const snapshotProgram = `
echo "$GREETING $UDP $WRITE"
printenv | grep -E '^(KUBERNETES|WEB)_.*SERVICE_(HOST|PORT)' | sort
cat /srv/config/colour.txt /srv/data/file /etc/hosts /etc/resolv.conf /etc/hostname
readlink /srv/config/colour.txt
stat -c '%A %y' -L /srv/config/colour.txt /srv/data/file
ls -A /srv/config
getent hosts web "web.$1.svc.cluster.local" db
hostname
`

// A snapshot of a pod gives a program what the pod gives it, but for what is secret.
func TestSnapshot(t *testing.T) {
	needCluster(t)
	pod := "pod/" + strings.TrimSpace(ask(t, "get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}"))
	folder := t.TempDir()
	used, dir := filepath.Join(folder, "used"), filepath.Join(folder, "web.pod")
	program := []string{"--", "sh", "-c", snapshotProgram + `curl -sS http://web; cat /srv/secret/PASSWORD`, "sh", namespace}
	live := mirrord(t, append([]string{"exec", "-n", namespace, "-t", pod, "--events", used}, program...)...)
	if live.status != 0 || !strings.HasSuffix(live.out, "hunter2") {
		t.Fatalf("status %d\n%s%s", live.status, live.out, live.err)
	}
	r := mirrord(t, "snapshot", "-n", namespace, "-t", pod, "-o", dir, "--events", used, "--files", "/srv/d*/**", "--files", "/var/run/secrets/**")
	if r.status != 0 {
		t.Fatalf("status %d\n%s", r.status, r.err)
	}
	program[3] = snapshotProgram
	again := mirrord(t, append([]string{"exec", "-t", "dir:" + dir}, program...)...)
	lines := strings.Split(again.out, "\n")
	if again.status != 0 || !strings.HasPrefix(live.out, again.out) || len(lines) < 20 {
		t.Errorf("status %d\nlive:\n%s\noffline:\n%s%s", again.status, live.out, again.out, again.err)
	}

	// What is secret is not there, and said.
	left, err := os.ReadFile(filepath.Join(dir, "left-out.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"the variable PASSWORD: perhaps the Secret web", "/srv/secret: the Secret web"} {
		if !slices.Contains(strings.Split(string(left), "\n"), line) {
			t.Errorf("%q does not say %q", left, line)
		}
	}
	if !strings.Contains(string(left), "/var/run/secrets/kubernetes.io: ") {
		t.Errorf("%q does not tell of the pod's credentials", left)
	}
	for name, text := range contents(t, dir) {
		if strings.Contains(text, "hunter2") || strings.Contains(text, "eyJhbGciOi") {
			t.Errorf("%s has a secret:\n%s", name, text)
		}
	}

	// The cluster is not reached, and the reason is said.
	events := filepath.Join(folder, "events")
	mirrord(t, "exec", "-t", "dir:"+dir, "--events", events, "--", "sh", "-c", `curl -sS http://web; getent hosts example.com; true`)
	said, _ := os.ReadFile(events)
	for _, reason := range []string{"is in the pod's network and pod.yaml has no route to it", "the pod is offline and hosts of its pod.yaml does not have it"} {
		if !strings.Contains(string(said), reason) {
			t.Errorf("%q is not in the events:\n%s", reason, said)
		}
	}

	// Secrets that are asked for are there; the account's credentials never are.
	if r := mirrord(t, "snapshot", "-n", namespace, "-t", pod, "-o", dir, "--files", "/srv", "--files", "/run", "--include-secrets"); r.status != 125 || !strings.Contains(r.err, "--force") {
		t.Errorf("status %d\n%s", r.status, r.err)
	}
	if r := mirrord(t, "snapshot", "-n", namespace, "-t", pod, "-o", dir, "--files", "/srv", "--files", "/var/run", "--include-secrets", "--force"); r.status != 0 {
		t.Fatalf("status %d\n%s", r.status, r.err)
	}
	if got := inside(t, "dir:"+dir, "sh", "-c", `echo $PASSWORD; cat /srv/secret/PASSWORD`); got != "hunter2\nhunter2" {
		t.Errorf("%q", got)
	}
	for name, text := range contents(t, dir) {
		if strings.Contains(text, "eyJhbGciOi") {
			t.Errorf("%s has a token", name)
		}
	}
}

// contents are all files below a folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			var text []byte
			text, err = os.ReadFile(p)
			all[p] = string(text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Nothing is recorded of a pod that goes away meanwhile, and nothing is left.
func TestSnapshotOfNothing(t *testing.T) {
	needCluster(t)
	folder := t.TempDir()
	r := mirrord(t, "snapshot", "-n", namespace, "-t", "pod/nobody", "-o", filepath.Join(folder, "x.pod"))
	if r.status != 125 || !strings.Contains(r.err, "there is no pod nobody") {
		t.Errorf("status %d\n%s", r.status, r.err)
	}
	if left, _ := os.ReadDir(folder); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
