package run

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mirrord/launcher/events"
)

// runtimeDir is for the records of a test's sessions; none may be left.
func runtimeDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left := records(dir); len(left) > 0 && !t.Failed() {
			t.Errorf("left behind: %s", left)
		}
	})
	return dir
}

func records(dir string) []string {
	left, _ := filepath.Glob(filepath.Join(dir, "mirrord", "*"))
	return left
}

// listed gives the only session there is.
func listed(t *testing.T) Session {
	t.Helper()
	all, err := Sessions()
	if err != nil || len(all) != 1 {
		t.Fatalf("%v: %+v", err, all)
	}
	return all[0]
}

func TestSessionsAreListed(t *testing.T) {
	dir := runtimeDir(t)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	if all, err := Sessions(); err != nil || all != nil {
		t.Errorf("%v %v", all, err)
	}
	s := launch(t, []string{"XDG_RUNTIME_DIR=" + dir}, "sh", "-c", "read x; exit 3", "s3cret", "words")
	started := s.event(events.ProcessStarted)
	got := listed(t)
	cwd, _ := os.Getwd()
	want := Session{ID: got.ID, Program: "sh", Arguments: 4, Cwd: cwd, Started: got.Started, Ports: []int{}, Outer: member(s.Process.Pid), Broker: member(started.PPID)}
	if diff := cmp.Diff(want, got); diff != "" || got.ID == "" || time.Since(got.Started) > time.Hour {
		t.Errorf("(-want +got):\n%s", diff)
	}
	path := filepath.Join(dir, "mirrord", got.ID+recordSuffix)
	text, err := os.ReadFile(path)
	info, err2 := os.Lstat(path)
	if err != nil || err2 != nil || strings.Contains(string(text), "s3cret") || info.Mode() != 0o600 {
		t.Errorf("%s %v %v %v", text, info, err, err2)
	}
	s.in.Close()
	if ws := s.wait(); ws.ExitStatus() != 3 {
		t.Errorf("ended with %v", s.ProcessState)
	}
	if all, err := Sessions(); err != nil || len(all) > 0 {
		t.Errorf("after its end: %v %v", all, err)
	}
}

func TestStop(t *testing.T) {
	dir := runtimeDir(t)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	env := []string{"XDG_RUNTIME_DIR=" + dir, testLibrary + "=" + libc(t)}
	old := stopPatience
	t.Cleanup(func() { stopPatience = old })
	for _, tt := range []struct {
		what, script string
		patience     time.Duration
		signal       syscall.Signal
		status       int
	}{
		{"a program that ends", `echo $$; sleep 1000 & echo $!; wait`, time.Minute, syscall.SIGTERM, 0},
		{"one that ends in its own way", `trap 'kill $!; exit 7' TERM; echo $$; sleep 1000 & echo $!; wait`, time.Minute, 0, 7},
		{"a stopped one", `echo $$; sleep 1000 & echo $!; kill -STOP $$; wait`, time.Minute, syscall.SIGTERM, 0},
		{"one that will not end", `trap '' TERM; echo $$; sleep 1000 & echo $!; while :; do wait; done`, 50 * time.Millisecond, syscall.SIGKILL, 0},
	} {
		stopPatience = tt.patience
		s := launch(t, env, "sh", "-c", tt.script)
		program, child := pidfd(t, number(t, s.line())), pidfd(t, number(t, s.line()))
		if strings.Contains(tt.script, "STOP") {
			s.event(events.ProcessStopped)
		}
		if err := listed(t).Stop(); err != nil {
			t.Errorf("%s: %v", tt.what, err)
		}
		gone(t, tt.what, program)
		gone(t, "its child", child)
		if ws := s.wait(); tt.signal != 0 && ws.Signal() != tt.signal || tt.signal == 0 && ws.ExitStatus() != tt.status {
			t.Errorf("%s: ended with %v", tt.what, s.ProcessState)
		}
		if strings.Contains(s.errors.String(), "remain") {
			t.Errorf("%s: it is told to stop what is being stopped: %s", tt.what, s.errors)
		}
	}
}

// What the program has left is ended too, although the outer process is gone.
func TestStopOfWhatRemains(t *testing.T) {
	dir := runtimeDir(t)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	s := launch(t, []string{"XDG_RUNTIME_DIR=" + dir, testLibrary + "=" + libc(t)}, "sh", "-c", `sleep 1000 >/dev/null 2>&1 & echo $!`)
	broker, child := pidfd(t, s.event(events.ProcessStarted).PPID), pidfd(t, number(t, s.line()))
	s.wait()
	left := listed(t)
	if left.Outer.Alive() || !left.Broker.Alive() {
		t.Errorf("%+v", left)
	}
	if !strings.Contains(s.errors.String(), "`mirrord session stop "+left.ID+"` ends them") {
		t.Error(s.errors)
	}
	if err := left.Stop(); err != nil {
		t.Error(err)
	}
	gone(t, "child", child)
	gone(t, "broker", broker)
}

// When outer and broker are killed at once, nobody can remove the record but the next who looks.
func TestRecordOfKilledSession(t *testing.T) {
	dir := runtimeDir(t)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	s := launch(t, []string{"XDG_RUNTIME_DIR=" + dir}, "cat")
	started := s.event(events.ProcessStarted)
	dead := listed(t)
	outer, broker, program := pidfd(t, s.Process.Pid), pidfd(t, started.PPID), pidfd(t, started.PID)
	for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
		for _, pid := range []int{s.Process.Pid, started.PPID} {
			if err := syscall.Kill(pid, sig); err != nil {
				t.Fatal(err)
			}
		}
	}
	gone(t, "outer", outer)
	gone(t, "broker", broker)
	if left := records(dir); len(left) != 1 {
		t.Errorf("the test proves nothing: %s", left)
	}
	if dead.Outer.Alive() || dead.Broker.Alive() {
		t.Error("the processes are dead")
	}
	if all, err := Sessions(); err != nil || len(all) > 0 {
		t.Errorf("%v %+v", err, all)
	}
	s.in.Close()
	gone(t, "program", program)
	s.wait()
}

// A process that has got the number of a dead one is another.
func TestReusedPid(t *testing.T) {
	self := member(os.Getpid())
	if !self.Alive() {
		t.Error("this process is alive")
	}
	if (Member{self.PID, self.Start - 1}).Alive() {
		t.Error("the start is not looked at")
	}
	Member{self.PID, self.Start - 1}.signal(syscall.SIGKILL)
}

func TestRecordsThatAreNone(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	folder := filepath.Join(dir, "mirrord")
	if err := os.MkdirAll(filepath.Join(folder, "folder.session"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string, age time.Duration, mode os.FileMode) {
		path := filepath.Join(folder, name)
		then := time.Now().Add(-age)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
	write("begun.session", "", 0, 0o600)
	write("abandoned.session", "{", time.Hour, 0o600)
	write("dead.session", `{"id":"dead"}`, 0, 0o600)
	write("open.session", `{"id":"open"}`, time.Hour, 0o666)
	write("note", "", time.Hour, 0o600)
	if err := os.Symlink("dead.session", filepath.Join(folder, "link.session")); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		write("foreign.session", `{"id":"foreign"}`, time.Hour, 0o600)
		if err := os.Chown(filepath.Join(folder, "foreign.session"), 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := Sessions(); err != nil || len(all) > 0 {
		t.Errorf("%v %+v", err, all)
	}
	var left []string
	for _, path := range records(dir) {
		left = append(left, filepath.Base(path))
	}
	want := []string{"begun.session", "folder.session", "link.session", "note", "open.session"}
	if os.Geteuid() == 0 {
		want = []string{"begun.session", "folder.session", "foreign.session", "link.session", "note", "open.session"}
	}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// The folder of another user, or one that is open to others, is not used at all.
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Sessions(); err == nil || !strings.Contains(err.Error(), "is open to others\nhint: chmod") {
		t.Error(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(folder, 65534, -1); err != nil {
			t.Fatal(err)
		}
		if _, err := Sessions(); err == nil || !strings.Contains(err.Error(), "belongs to another user") {
			t.Error(err)
		}
	}
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	for _, elsewhere := range []string{"", "relative", "/"} {
		t.Setenv("XDG_RUNTIME_DIR", elsewhere)
		if got, err := sessionsFolder(); err != nil || got != filepath.Join(dir, "cache", "mirrord", "sessions") {
			t.Errorf("XDG_RUNTIME_DIR=%q: %s %v", elsewhere, got, err)
		}
	}
}

// Somebody who only looks must not keep a session from beginning, nor take its record away.
func TestListingWhileSessionsBegin(t *testing.T) {
	dir := runtimeDir(t)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if _, err := Sessions(); err != nil {
				done <- err
				return
			}
		}
	}()
	for i := range 200 {
		var r record
		id := newSession()
		if err := r.open(Session{ID: id}); err != nil {
			t.Fatal(err)
		}
		r.listens(80)
		r.listens(80)
		if s := listed(t); s.ID != id || !cmp.Equal(s.Ports, []int{80}) {
			t.Fatalf("%d: %+v", i, s)
		}
		r.close()
		r.listens(81)
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Whatever is in a record, looking at it ends with a session or without.
func FuzzReadRecord(f *testing.F) {
	f.Add([]byte(`{"id":"a","ports":[]}` + "\n" + `{"port":80}` + "\n"))
	f.Add([]byte(`{"id":"a","outer":{"pid":-1,"start":18446744073709551615}}{"port":1e99}`))
	f.Add([]byte(`{"id":"b"}`))
	f.Add([]byte(``))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "a.session")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		lock, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer lock.Close()
		if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		if s, ok := readRecord(path); ok {
			if s.ID != "a" {
				t.Errorf("%+v", s)
			}
			s.Outer.Alive()
		}
		if _, err := os.Stat(path); err != nil {
			t.Error("the record of a running session is gone")
		}
	})
}
