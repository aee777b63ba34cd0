//go:build linux

package script

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// killTimes is how often each victim is killed at each moment: MIRRORD_TEST_KILLS, else twice.
func killTimes(t *testing.T) int {
	text := os.Getenv("MIRRORD_TEST_KILLS")
	if text == "" {
		return 2
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("MIRRORD_TEST_KILLS=%q is not a number of times", text)
	}
	return n
}

// TestKill takes away each of the three processes of a session by SIGKILL, while it starts and while it runs. The others notice, and
// nothing is left: no process, whatever it did to its environment and group, no socket, no file.
func TestKill(t *testing.T) {
	const running = `"event":"listen"`
	for _, tt := range []struct{ victim, moment string }{
		{"program", running}, {"broker", running}, {"outer", running},
		{"broker", `"phase":"target"`}, {"outer", `"phase":"target"`},
		{"broker", `"phase":"broker"`}, {"outer", `"phase":"broker"`},
		{"broker", `"phase":"program"`}, {"outer", `"phase":"program"`},
		{"outer", `"event":"process.started"`},
	} {
		t.Run(tt.victim+" at "+regexp.MustCompile(`\W+`).ReplaceAllString(tt.moment, " "), func(t *testing.T) {
			t.Parallel()
			for range killTimes(t) {
				s := startVictim(t, tt.victim == "program")
				s.await(tt.moment)
				if tt.moment == running {
					s.findSocket()
					s.findRecord()
				}
				s.kill(tt.victim)
				s.checkNothingLeft()
			}
		})
	}
}

// TestKillAnyone takes away any process of a session at any moment. If the session does not end by that, it ends when asked to.
func TestKillAnyone(t *testing.T) {
	t.Parallel()
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	for range killTimes(t) {
		s := startVictim(t, random.IntN(2) == 0)
		time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
		if all := processesOf(s.work); len(all) > 0 {
			unix.Kill(all[random.IntN(len(all))], unix.SIGKILL)
		}
		unix.Kill(s.outer.Process.Pid, unix.SIGTERM)
		s.outer.Wait()
		s.checkNothingLeft()
	}
}

// The daemon would outlive everything; the reader ends with its writer, the program.
const (
	withDaemon = "setsid env -i /bin/sleep 1000 < /dev/null > /dev/null 2>&1 &\n"
	withReader = "exec 3> >(exec cat > /dev/null)\n"
	andServe   = "exec serve \"$1\"\n"
)

type victim struct {
	t                 *testing.T
	work, tmp, events string
	listen            int // the pod's port on this machine
	own               int // the program's
	outer             *exec.Cmd
	socket            string // the broker's; "" before the program runs
}

func startVictim(t *testing.T, alone bool) *victim {
	work := t.TempDir()
	s := &victim{t: t, work: work, tmp: filepath.Join(work, "tmp"), events: filepath.Join(work, "events"), listen: freePort(t), own: freePort(t)}
	script := withDaemon + andServe
	if alone {
		script = withReader + andServe
	}
	for name, text := range map[string]string{
		"pod/pod.yaml":        fmt.Sprintf("ports: {%d: {listen: \"127.0.0.1:%d\"}}\n", s.own, s.listen),
		"pod/rootfs/srv/motd": "hello from the pod\n",
		"tmp/.keep":           "",
		"run/.keep":           "",
		"home/program.sh":     script,
	} {
		path := filepath.Join(work, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Remove(filepath.Join(s.tmp, ".keep")), os.Remove(filepath.Join(s.runtime(), ".keep")), os.Chmod(s.runtime(), 0o700)); err != nil {
		t.Fatal(err)
	}
	s.outer = exec.Command(filepath.Join(bin, "mirrord"), "exec", "--steal", "-t", "dir:pod", "--events", s.events, "--progress", "off", "--",
		"bash", "home/program.sh", fmt.Sprint(s.own))
	s.outer.Dir = work
	s.outer.Env = []string{"PATH=" + bin + ":" + systemPath, "HOME=" + work + "/home", "XDG_CACHE_HOME=" + work + "/cache", "TMPDIR=" + s.tmp, "XDG_RUNTIME_DIR=" + s.runtime(), "GORACE=" + raceOptions(work)}
	if err := s.outer.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { endAll(work) })
	return s
}

// runtime is where the session is registered while it runs.
func (s *victim) runtime() string { return filepath.Join(s.work, "run") }

// await waits for an event and returns its first group, if the pattern has one.
func (s *victim) await(pattern string) string {
	s.t.Helper()
	re := regexp.MustCompile(pattern + `()`)
	var found [][]byte
	if !eventually(s.t.Context(), func() bool {
		text, _ := os.ReadFile(s.events)
		found = re.FindSubmatch(text)
		return found != nil
	}) {
		text, _ := os.ReadFile(s.events)
		s.t.Fatalf("no event %s in:\n%s", pattern, text)
	}
	return string(found[1])
}

// kill ends one process and waits for the outer one.
func (s *victim) kill(name string) {
	s.t.Helper()
	pid := s.outer.Process.Pid
	switch name {
	case "program":
		pid = s.program()
	case "broker":
		pid = s.broker()
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	want := "SIGKILL"
	if name == "broker" {
		want = "125"
	}
	if got := describe(s.outer.Wait()); got != want {
		s.t.Errorf("the outer process ended with %s, not %s", got, want)
	}
}

func (s *victim) program() int {
	pid, err := strconv.Atoi(s.await(`"event":"process.started","pid":(\d+)`))
	if err != nil {
		s.t.Fatal(err)
	}
	return pid
}

// findRecord: a session that is not registered would leave nothing there either.
func (s *victim) findRecord() {
	s.t.Helper()
	if found, _ := filepath.Glob(filepath.Join(s.runtime(), "mirrord", "*")); len(found) != 1 {
		s.t.Fatalf("registered as %s", found)
	}
}

// findSocket reads the name of the broker's socket as the program got it.
func (s *victim) findSocket() {
	s.t.Helper()
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", s.program()))
	if err != nil {
		s.t.Fatal(err)
	}
	found := regexp.MustCompile(`MIRRORD_BROKER=([^:\x00]+):`).FindSubmatch(environ)
	if found == nil {
		s.t.Fatal("the program has no MIRRORD_BROKER")
	}
	s.socket = string(found[1])
	if !socketExists(s.socket) {
		s.t.Fatalf("no socket %s", s.socket)
	}
}

// broker is the outer process's only child.
func (s *victim) broker() int {
	for _, pid := range processesOf(s.work) {
		if ppid, err := parent(pid); err == nil && ppid == s.outer.Process.Pid {
			return pid
		}
	}
	s.t.Fatal("the outer process has no child")
	return 0
}

func (s *victim) checkNothingLeft() {
	s.t.Helper()
	if left := leftovers(s.t.Context(), s.work, s.tmp, s.runtime()); left != "" {
		s.t.Errorf("left behind:\n%s", left)
	}
	if s.socket != "" && socketExists(s.socket) {
		s.t.Errorf("the socket %s is still there", s.socket)
	}
	for _, port := range []int{s.listen, s.own} {
		if body, err := fetch(fmt.Sprintf("http://127.0.0.1:%d/", port), "127.0.0.1"); err == nil {
			s.t.Errorf("port %d still answers: %s", port, body)
		}
	}
	if races := races(s.work); races != "" {
		s.t.Errorf("data races:\n%s", races)
	}
	files := 0
	_ = filepath.WalkDir(filepath.Join(s.work, "cache"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			files++
		}
		return nil
	})
	if files > layerFiles {
		s.t.Errorf("%d files in the cache, where the layer alone belongs", files)
	}
}
