package pod

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"mirrord/agent/startup"
	"mirrord/agent/target"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	_ target.Target = (*Pod)(nil)
	_ target.Mortal = (*Pod)(nil)
)

// Ids as runtimes make them.
var cart, sidecar, ours = strings.Repeat("ca", 32), strings.Repeat("51", 32), strings.Repeat("0b", 32)

// writeProcess adds a process to a made proc. began is in ticks.
func writeProcess(t *testing.T, proc string, pid int, cgroup string, began int) {
	t.Helper()
	dir := filepath.Join(proc, fmt.Sprint(pid))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"cgroup":  "3:memory:" + cgroup + "\n0::" + cgroup + "\n",
		"stat":    fmt.Sprintf("%d (a) b c) S 0 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 %d 0 0", pid, began),
		"status":  "Name:\tx\nUid:\t1000\t1001\t1002\t1003\nGid:\t2000\t2001\t2002\t2003\nGroups:\t7 8 \n",
		"environ": "A=1\x00B=x=y\x00\x00=none\x00C\x00D=\x00",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFindProcess(t *testing.T) {
	type proc struct {
		pid    int
		cgroup string
		began  int
	}
	for _, c := range []struct {
		name  string
		procs []proc
		self  int
		want  int // 0: an error
		node  bool
	}{
		{"beside the target alone", []proc{{1, "/pods/" + cart, 10}, {20, "/pods/" + cart, 30}, {30, "/pods/" + ours, 50}}, 30, 1, false},
		{"names seen from another group", []proc{{1, "/../cri-containerd-" + cart + ".scope", 10}, {30, "/", 50}}, 30, 1, false},
		{"groups without names", []proc{{1, "/", 10}, {30, "/", 50}}, 30, 1, false},
		{"shared by all containers", []proc{{1, "/pods/" + strings.Repeat("fa", 32), 1}, {7, "/pods/" + sidecar, 5}, {9, "/pods/" + cart, 6}, {12, "/pods/" + cart, 9}, {30, "/pods/" + ours, 50}}, 30, 9, false},
		{"numbers began anew", []proc{{1, "/pods/" + strings.Repeat("fa", 32), 1}, {500, "/pods/" + cart, 6}, {3, "/pods/" + cart, 9}}, 30, 500, false},
		{"gone", []proc{{1, "/pods/" + strings.Repeat("fa", 32), 1}, {30, "/pods/" + ours, 50}}, 30, 0, false},
		{"alone", []proc{{1, "/pods/" + ours, 50}}, 1, 0, false},
		{"a node", []proc{{1, "/init.scope", 1}, {7, "/pods/" + sidecar, 5}, {9, "/pods/" + cart, 6}, {30, "/", 50}}, 30, 9, true},
		{"gone from a node", []proc{{1, "/init.scope", 1}, {7, "/pods/" + sidecar, 5}, {30, "/", 50}}, 30, 0, true},
		{"another container's", []proc{{1, "/pods/" + sidecar, 1}}, 30, 0, false},
	} {
		dir := t.TempDir()
		os.Mkdir(filepath.Join(dir, "sys"), 0o755)
		for _, p := range c.procs {
			writeProcess(t, dir, p.pid, p.cgroup, p.began)
		}
		got, err := findProcess(dir, cart, c.self, c.node)
		if (err == nil) != (c.want != 0) || err == nil && got.pid != c.want {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

func TestProcess(t *testing.T) {
	dir := t.TempDir()
	writeProcess(t, dir, 1, "/pods/"+cart, 1)
	p, err := findProcess(dir, cart, 30, false)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(p.uid, p.gid, p.groups) != "1001 2001 [7 8]" {
		t.Errorf("%+v", p)
	}
	env, err := p.environ()
	if fmt.Sprint(env) != "map[A:1 B:x=y D:]" || err != nil {
		t.Errorf("%v, %v", env, err)
	}
	os.WriteFile(filepath.Join(p.proc.Name(), "status"), []byte("Name:\tx\n"), 0o644)
	if _, err := findProcess(dir, cart, 30, false); err == nil {
		t.Error("nobody's process was found")
	}
}

// The agent looks at this test's own process, whose user it is.
func TestOpen(t *testing.T) {
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		t.Skip("no proc here")
	}
	proc := t.TempDir()
	if err := os.Symlink("/proc/self", filepath.Join(proc, "1")); err != nil {
		t.Fatal(err)
	}
	p, err := open(proc, Options{Name: "pod/x", HostNetwork: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	env, err := p.Env()
	if env["PATH"] != os.Getenv("PATH") || err != nil {
		t.Errorf("PATH is %q, %v", env["PATH"], err)
	}
	host, _ := os.Hostname()
	if p.Name() != "pod/x" || p.Hostname() != host || p.Root() == nil || len(p.Lacks()) != 1 || p.Lacks()["incoming"] == "" {
		t.Errorf("%+v", p)
	}
	if got := strings.Join(p.Capabilities(), " "); !strings.HasPrefix(got, "names outgoing env files") || strings.Contains(got, "steal") {
		t.Error(got)
	}
	if len(p.Hosts()["localhost"]) == 0 {
		t.Error("its hosts are not this machine's")
	}
	os.Remove(filepath.Join(proc, "1"))
	writeProcess(t, proc, 1, "/", 1)
	status := fmt.Sprintf("Uid:\t0\t%d\t0\t0\nGid:\t0\t%d\t0\t0\n", os.Geteuid(), os.Getegid())
	os.WriteFile(filepath.Join(proc, "1/status"), []byte(status), 0o644)
	os.Remove(filepath.Join(proc, "1/environ"))
	if p, err = open(proc, Options{HostNetwork: true}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(p.Capabilities(), " "); got != "names outgoing" || p.Lacks()["files"] == "" || p.Lacks()["env"] == "" {
		t.Errorf("%s, %v", got, p.Lacks())
	}
	if _, err := p.Env(); err == nil {
		t.Error("an environment from nowhere")
	}
}

// A target that has ended is noticed, and nothing is read from whoever has its number then.
func TestGone(t *testing.T) {
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		t.Skip("no proc here")
	}
	child := exec.Command("sleep", "1000")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	proc := t.TempDir()
	if err := os.Symlink(fmt.Sprintf("/proc/%d", child.Process.Pid), filepath.Join(proc, "1")); err != nil {
		t.Fatal(err)
	}
	p, err := open(proc, Options{Name: "pod/x", Rights: startup.RightsTarget})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Env(); err != nil || p.Gone() != nil {
		t.Error(err, p.Gone())
	}
	child.Process.Kill()
	child.Wait()
	if err := p.Gone(); err == nil {
		t.Error("nobody noticed")
	}
	if _, err := p.process.environ(); !errors.Is(err, unix.ESRCH) {
		t.Errorf("the environment of one who has ended: %v", err)
	}
}

func TestOwnEnvironment(t *testing.T) {
	got := ownEnvironment([]string{"PATH=/bin", "HOME=/", "A=x=y", "HOSTNAME=web"})
	if fmt.Sprint(got) != "map[A:x=y HOSTNAME:web]" {
		t.Error(got)
	}
}

// Without a target there are names and connections, of this process's own network.
func TestTargetless(t *testing.T) {
	p, err := open(t.TempDir(), Options{Name: "targetless", Rights: startup.RightsNone})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	env, err := p.Env()
	if got := strings.Join(p.Capabilities(), " "); got != "names outgoing" || len(env) != 0 || err != nil || p.Root() != nil || p.Hostname() != "" || len(p.Lacks()) != 0 || p.Gone() != nil {
		t.Errorf("%s %v %v %+v", got, env, err, p)
	}
}
