package run

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"mirrord/launcher/config"
	"mirrord/launcher/events"
	"mirrord/launcher/progress"
	"mirrord/sip"
)

// The test binary is also the outer process and the broker: with this variable it runs its arguments as `mirrord exec` would, with a pod that
// gives nothing.
const asOuter = "RUN_TEST_OUTER"

// Settings of the pod that gives nothing.
const (
	testLibrary = "RUN_TEST_LIBRARY" // a file that injected programs have mapped
	testMute    = "RUN_TEST_MUTE"    // the layer never says hello
	testHang    = "RUN_TEST_HANG"    // the pod's context is never ready
	testBroken  = "RUN_TEST_BROKEN"  // there is none
)

func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 4 && os.Args[1] == BrokerCommand:
		censusInterval, lingering = 20*time.Millisecond, 200*time.Millisecond
		if err := runBroker(os.Args[2], os.Args[3], nothing); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case os.Getenv(asOuter) != "":
		os.Unsetenv(asOuter)
		o := Options{Config: config.Default(), Command: os.Args[1:], Stderr: os.Stderr}
		o.Report = progress.New(os.Stderr, progress.Auto, false).Show
		if f, err := adopt(3, "events"); err == nil {
			o.Events = f
		}
		Exec(o).Exit()
	default:
		goleak.VerifyTestMain(m)
	}
}

func nothing(ctx context.Context, _ *plan, _ func(sip.Request) sip.Verdict, emit func(events.Event)) (*pod, error) {
	emit(events.Event{Type: events.Phase, Phase: phaseTarget, State: stateStarted})
	if os.Getenv(testHang) != "" {
		<-ctx.Done()
	}
	if os.Getenv(testBroken) != "" {
		return nil, errors.New("there is no such pod")
	}
	library := os.Getenv(testLibrary)
	if library == "" {
		library = "/no/such/library"
	}
	return &pod{env: os.Environ(), library: library, summary: "nothing", injected: func(int) bool { return os.Getenv(testMute) == "" }}, nil
}

// session is an outer process under test.
type session struct {
	*exec.Cmd
	t      *testing.T
	out    *bufio.Reader // the program's standard output
	in     *os.File      // its standard input
	errors *strings.Builder
	events *bufio.Scanner
	done   chan error
}

// launch starts a session; its standard error is read when it has ended.
func launch(t *testing.T, env []string, argv ...string) *session {
	t.Helper()
	s := prepare(t, env, argv...)
	s.begin()
	return s
}

func prepare(t *testing.T, env []string, argv ...string) *session {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &session{Cmd: exec.Command(self, argv...), t: t, errors: &strings.Builder{}, done: make(chan error, 1)}
	s.Env = append(append(os.Environ(), asOuter+"=1", "GORACE=atexit_sleep_ms=0", "XDG_RUNTIME_DIR="+runtimeDir(t)), env...)
	pipe := func() (*os.File, *os.File) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close(); w.Close() })
		return r, w
	}
	out, stdout := pipe()
	stdin, in := pipe()
	reports, report := pipe()
	s.Stdin, s.Stdout, s.Stderr = stdin, stdout, s.errors
	s.ExtraFiles = []*os.File{report}
	s.out, s.in, s.events = bufio.NewReader(out), in, bufio.NewScanner(reports)
	s.events.Buffer(nil, 1<<20)
	return s
}

func (s *session) begin() {
	s.t.Helper()
	if s.SysProcAttr == nil {
		// Tests stop programs: where there is no terminal, the kernel hangs up on all of their group when another process of it ends.
		s.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	}
	if err := s.Start(); err != nil {
		s.t.Fatal(err)
	}
	for _, f := range []any{s.Stdin, s.Stdout, s.ExtraFiles[0]} {
		if f, ok := f.(*os.File); ok {
			f.Close()
		}
	}
	go func() { s.done <- s.Wait() }()
	s.t.Cleanup(func() { s.Process.Kill() })
}

// event waits for an event.
func (s *session) event(want events.Type) events.Event {
	s.t.Helper()
	for s.events.Scan() {
		var ev events.Event
		if err := json.Unmarshal(s.events.Bytes(), &ev); err != nil {
			s.t.Fatalf("%v: %q", err, s.events.Text())
		}
		if ev.Type == want {
			return ev
		}
	}
	s.t.Fatalf("no event %s; standard error: %s", want, s.errors)
	return events.Event{}
}

// line waits for a line of the program's output.
func (s *session) line() string {
	s.t.Helper()
	line, err := s.out.ReadString('\n')
	if err != nil {
		s.t.Fatalf("%v after %q; standard error: %s", err, line, s.errors)
	}
	return strings.TrimSuffix(line, "\n")
}

// wait gives how the outer process ended.
func (s *session) wait() syscall.WaitStatus {
	s.t.Helper()
	select {
	case <-s.done:
	case <-time.After(60 * time.Second):
		s.t.Fatal("the session does not end")
	}
	if strings.Contains(s.errors.String(), "DATA RACE") {
		s.t.Error(s.errors)
	}
	return s.ProcessState.Sys().(syscall.WaitStatus)
}

// pidfd holds on to a process, whose end gone then waits for.
func pidfd(t *testing.T, pid int) int {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatalf("process %d: %v", pid, err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func gone(t *testing.T, what string, fd int) {
	t.Helper()
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, 30_000)
		if err == unix.EINTR {
			continue
		}
		if n != 1 {
			t.Errorf("%s is still there", what)
		}
		return
	}
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
