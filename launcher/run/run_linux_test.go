package run

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"mirrord/launcher/events"
	"mirrord/launcher/procs"
)

func TestEndings(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	bare := filepath.Join(dir, "bare")
	if err := os.WriteFile(bare, []byte("exit 9\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		command []string
		status  int
		signal  syscall.Signal
		stderr  string
	}{
		{"success", []string{"true"}, 0, 0, "ready"},
		{"status", []string{"sh", "-c", "exit 7"}, 7, 0, "ready"},
		{"script without a first line", []string{bare}, 9, 0, "ready"},
		{"not found", []string{"no-such-program"}, 127, 0, "error: cannot execute \"no-such-program\": no-such-program: no such file or directory\nhint: "},
		{"not found by path", []string{"./no-such-program"}, 127, 0, "error: "},
		{"not executable", []string{plain}, 126, 0, "permission denied\nhint: "},
		{"a folder", []string{dir}, 126, 0, "error: "},
		{"TERM", []string{"sh", "-c", "kill -TERM $$"}, 0, syscall.SIGTERM, ""},
		{"QUIT", []string{"sh", "-c", "kill -QUIT $$"}, 0, syscall.SIGQUIT, ""},
		{"SEGV", []string{"sh", "-c", "kill -SEGV $$"}, 0, syscall.SIGSEGV, ""},
		{"KILL", []string{"sh", "-c", "kill -KILL $$"}, 0, syscall.SIGKILL, ""},
		{"a real-time signal", []string{"sh", "-c", "kill -40 $$"}, 0, 40, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := launch(t, nil, tt.command...)
			ws := s.wait()
			switch {
			case tt.signal != 0 && (!ws.Signaled() || ws.Signal() != tt.signal):
				t.Errorf("ended with %v, want %v", s.ProcessState, tt.signal)
			case tt.signal == 0 && ws.ExitStatus() != tt.status:
				t.Errorf("ended with %v, want status %d", s.ProcessState, tt.status)
			case !strings.Contains(s.errors.String(), tt.stderr) || strings.Contains(s.errors.String(), "goroutine"):
				t.Errorf("standard error: %s", s.errors)
			}
			if end := s.event(events.SessionEnded); tt.signal == 0 && (end.Status == nil || *end.Status != tt.status) {
				t.Errorf("event %+v", end)
			}
		})
	}
}

// Of a session that cannot begin, too, nothing is told after its end: what is done beside the target's search is waited for.
func TestFailureIsTheEnd(t *testing.T) {
	for range 20 {
		s := launch(t, []string{testBroken + "=1"}, "true")
		s.wait()
		var all []events.Event
		under := map[string]bool{}
		for s.events.Scan() {
			var ev events.Event
			if err := json.Unmarshal(s.events.Bytes(), &ev); err != nil {
				t.Fatal(err)
			}
			all = append(all, ev)
			if ev.Type == events.Phase && ev.Phase == phaseDecision {
				under[ev.State] = true
			}
		}
		if n := len(all); n < 2 || all[n-2].Type != events.Failed || all[n-1].Type != events.SessionEnded || !under[stateStarted] || !under[stateDone] {
			t.Fatalf("%+v", all)
		}
	}
}

// TestNothingIsAdded compares what a program inherits with what it has without us.
func TestNothingIsAdded(t *testing.T) {
	const look = `ls -l /proc/self/fd | sed 's/.*[0-9][0-9]:[0-9][0-9] //' | grep -v /proc/ | sed 's/ -> .*//'; ulimit -n; pwd; grep -E 'Sig(Blk|Ign|Cgt)|^NoNew' /proc/self/status; echo "$0" "$@"; cat`
	run := func(cmd *exec.Cmd) string {
		cmd.Stdin = strings.NewReader("through\n")
		extra, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		defer extra.Close()
		cmd.ExtraFiles = []*os.File{3: extra} // 3 is for events here
		cmd.ExtraFiles[0] = extra
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		// What the shell has for descriptor 3 is ours.
		return strings.Replace(string(out), "\n3\n", "\n", 1)
	}
	args := []string{"-c", look, "zero", "one  two", ""}
	plain := run(exec.Command("sh", args...))
	self, _ := os.Executable()
	under := exec.Command(self, append([]string{"sh"}, args...)...)
	under.Env = append(os.Environ(), asOuter+"=1")
	if got := run(under); got != plain {
		t.Errorf("plain:\n%s\nunder mirrord:\n%s", plain, got)
	}
	if !strings.Contains(plain, "\n6\n") || !strings.Contains(plain, "through") {
		t.Errorf("the comparison is void:\n%s", plain)
	}
}

func TestSignalsAreForwarded(t *testing.T) {
	// A shell's background jobs are born with INT ignored, and what is ignored stays so. A caught signal is not inherited.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGINT, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(caught) })
	for _, name := range []string{"TERM", "HUP", "USR1", "USR2", "INT", "QUIT"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := launch(t, nil, "sh", "-c", `trap 'echo got `+name+`; kill $!; exit 3' `+name+`; sleep 1000 >/dev/null 2>&1 & echo set; wait`)
			if got := s.line(); got != "set" {
				t.Fatal(got)
			}
			// There is no terminal here, so INT and QUIT come from a program and nobody else has sent them to the group.
			if err := s.Process.Signal(signalNumber("SIG" + name)); err != nil {
				t.Fatal(err)
			}
			if got := s.line(); got != "got "+name {
				t.Error(got)
			}
			if ws := s.wait(); ws.ExitStatus() != 3 {
				t.Errorf("ended with %v", s.ProcessState)
			}
		})
	}
}

// tree is a program with a child, and a grandchild in a session of its own that has lost its parent and ignores TERM.
const tree = `(setsid sh -c 'trap "" TERM; echo $$; while :; do sleep 1000; done' &); sleep 1000 & echo $!; wait`

func kills(t *testing.T) int {
	if n, err := strconv.Atoi(os.Getenv("MIRRORD_TEST_KILLS")); err == nil {
		return n
	}
	return 2
}

func TestKills(t *testing.T) {
	for i := range kills(t) {
		for _, victim := range []string{"program", "broker", "outer"} {
			t.Run(fmt.Sprint(victim, i), func(t *testing.T) {
				t.Parallel()
				s := launch(t, []string{testLibrary + "=" + libc(t)}, "sh", "-c", tree)
				started := s.event(events.ProcessStarted)
				processes := map[string]int{
					"program":    pidfd(t, started.PID),
					"broker":     pidfd(t, started.PPID),
					"outer":      pidfd(t, s.Process.Pid),
					"child":      pidfd(t, number(t, s.line())),
					"grandchild": pidfd(t, number(t, s.line())),
				}
				pid := map[string]int{"program": started.PID, "broker": started.PPID, "outer": s.Process.Pid}[victim]
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				ws := s.wait()
				for name, fd := range processes {
					gone(t, name, fd)
				}
				switch {
				case victim == "broker" && (ws.ExitStatus() != OwnFailure || !strings.Contains(s.errors.String(), "error: the broker of this session was killed by SIGKILL")):
					t.Errorf("ended with %v: %s", s.ProcessState, s.errors)
				case victim != "broker" && (!ws.Signaled() || ws.Signal() != syscall.SIGKILL):
					t.Errorf("ended with %v: %s", s.ProcessState, s.errors)
				}
			})
		}
	}
}

// libc is a file that every dynamic program has mapped: it stands for the layer.
func libc(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("cat", "/proc/self/maps").Output()
	if err != nil {
		t.Fatal(err)
	}
	path := regexp.MustCompile(`/\S*libc[.-]\S*`).FindString(string(out))
	if path == "" {
		t.Skip("no libc here")
	}
	return path
}

func TestKilledBeforeTheStart(t *testing.T) {
	s := launch(t, []string{testHang + "=1"}, "true")
	s.event(events.Phase)
	broker := -1
	for _, p := range procs.Descendants(s.Process.Pid, nil) {
		broker = pidfd(t, p.PID)
	}
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if ws := s.wait(); !ws.Signaled() || ws.Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v", s.ProcessState)
	}
	gone(t, "broker", broker)
}

func TestOthersChildrenAreLeftAlone(t *testing.T) {
	self, _ := os.Executable()
	// A shell with a child that puts mirrord into its own place.
	script := `sleep 1000 >/dev/null 2>&1 & echo $!; exec "$@"`
	s := prepare(t, nil, "sh", "-c", "echo up; sleep 1000")
	s.Args = append([]string{"sh", "-c", script, "sh", self}, s.Args[1:]...)
	s.Path = "/bin/sh"
	s.begin()
	other := number(t, s.line())
	t.Cleanup(func() { syscall.Kill(other, syscall.SIGKILL) })
	started := s.event(events.ProcessStarted)
	if err := syscall.Kill(started.PPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if ws := s.wait(); ws.ExitStatus() != OwnFailure {
		t.Errorf("ended with %v", s.ProcessState)
	}
	if err := syscall.Kill(other, 0); err != nil {
		t.Errorf("the shell's own child: %v", err)
	}
}

func TestStopAndContinue(t *testing.T) {
	s := launch(t, nil, "sh", "-c", `echo before; kill -STOP $$; echo after`)
	s.line()
	stopped := s.event(events.ProcessStopped)
	if stopped.Signal != "SIGSTOP" {
		t.Errorf("%+v", stopped)
	}
	waitStopped(t, s.Process.Pid)
	if err := s.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if got := s.line(); got != "after" {
		t.Error(got)
	}
	if ws := s.wait(); ws.ExitStatus() != 0 {
		t.Errorf("ended with %v", s.ProcessState)
	}
}

func TestContinuedByAnother(t *testing.T) {
	s := launch(t, nil, "sh", "-c", `kill -STOP $$; read x`)
	program := s.event(events.ProcessStarted).PID
	s.event(events.ProcessStopped)
	waitStopped(t, s.Process.Pid)
	if err := syscall.Kill(program, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	s.event(events.ProcessResumed)
	s.in.WriteString("go on\n")
	if ws := s.wait(); ws.ExitStatus() != 0 {
		t.Errorf("ended with %v", s.ProcessState)
	}
}

func TestKilledWhileStopped(t *testing.T) {
	s := launch(t, nil, "sh", "-c", `kill -STOP $$`)
	program := s.event(events.ProcessStarted).PID
	s.event(events.ProcessStopped)
	waitStopped(t, s.Process.Pid)
	if err := syscall.Kill(program, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if ws := s.wait(); !ws.Signaled() || ws.Signal() != syscall.SIGKILL {
		t.Errorf("ended with %v", s.ProcessState)
	}
}

// waitStopped waits until a child of ours has stopped, without collecting it.
func waitStopped(t *testing.T, pid int) {
	t.Helper()
	const wstopped, wnowait, pPID = 2, 0x1000000, 1
	var info [128]byte
	for {
		err := waitid(pPID, pid, &info, wstopped|wnowait)
		if err == syscall.EINTR {
			continue
		}
		if err != 0 {
			t.Fatal(err)
		}
		return
	}
}

func TestRemainingProcesses(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	// The shell opens the FIFO only for its child, which waits for a writer.
	s := launch(t, []string{testLibrary + "=" + libc(t)}, "sh", "-c", `cat "$0" >/dev/null 2>&1 & echo $!; exit 4`, fifo)
	started := s.event(events.ProcessStarted)
	broker, child := pidfd(t, started.PPID), pidfd(t, number(t, s.line()))
	if end := s.event(events.SessionEnded); end.Remaining != 1 || *end.Status != 4 {
		t.Errorf("%+v", end)
	}
	if ws := s.wait(); ws.ExitStatus() != 4 || !strings.Contains(s.errors.String(), "1 process remains in the pod's context") {
		t.Errorf("ended with %v: %s", s.ProcessState, s.errors)
	}
	if err := os.WriteFile(fifo, []byte("x"), 0); err != nil { // blocks until the child reads
		t.Fatal(err)
	}
	gone(t, "child", child)
	gone(t, "broker", broker)
}

func TestOutsideIsReported(t *testing.T) {
	s := launch(t, nil, "sh", "-c", `sleep 1000 & read x; kill $!`)
	seen := map[string]bool{}
	for len(seen) < 2 {
		ev := s.event(events.ProcessOutside)
		name := filepath.Base(ev.Path)
		if seen[name] {
			t.Errorf("%s twice", name)
		}
		seen[name] = true
	}
	if !seen["sleep"] {
		t.Errorf("%v", seen)
	}
	s.in.Close()
	s.wait()
	if strings.Count(s.errors.String(), "ran outside the pod's context: ") != 2 {
		t.Errorf("standard error: %s", s.errors)
	}
}

func TestProgramOutsideIsReportedOnce(t *testing.T) {
	self, err := exec.LookPath("go") // a static Go program
	if err != nil {
		t.Skip("no go here")
	}
	s := launch(t, nil, self, "version")
	s.wait()
	if got := s.errors.String(); strings.Count(got, "ran outside") != 1 || !strings.Contains(got, "warning: "+self+" runs outside") {
		t.Errorf("standard error: %s", got)
	}
}

func TestLostProgramIsReported(t *testing.T) {
	s := launch(t, []string{testMute + "=1", testLibrary + "=" + libc(t)}, "true")
	s.wait()
	if got := s.errors.String(); !strings.Contains(got, "true runs without the pod's context: ") {
		t.Errorf("standard error: %s", got)
	}
}
