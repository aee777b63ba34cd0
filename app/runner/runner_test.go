package runner

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"mirrord/app/cli"
	"mirrord/app/session"
)

// TestMain is the mirrord command too, when a test starts it so: what it does, it is told by FAKE.
func TestMain(m *testing.M) {
	if what := os.Getenv("FAKE"); what != "" {
		fake(what)
	}
	goleak.VerifyTestMain(m)
}

func fake(what string) {
	out := os.NewFile(3, "events")
	say := func(lines ...string) {
		for _, line := range lines {
			fmt.Fprintln(out, line)
		}
	}
	started := []string{`{"event":"session.started","session":"abc","target":"dir:pod"}`, `{"event":"phase","phase":"program","state":"started","message":"all"}`,
		fmt.Sprintf(`{"event":"process.started","pid":%d,"path":"/bin/x","verdict":"inject"}`, os.Getpid())}
	switch what {
	case "good":
		say(started...)
		fmt.Println(strings.Join(os.Args[1:], " "))
		fmt.Println("\x1b[32mhello\x1b[0m")
		say(`{"event":"session.ended","status":3}`)
		os.Exit(3)
	case "echo":
		say(started...)
		var line string
		fmt.Scanln(&line)
		fmt.Println("read", line)
		say(`{"event":"session.ended","status":0}`)
	case "garbage":
		say(started...)
		say("what?", `{"event":"file","path":"`+strings.Repeat("x", 10<<20)+`"}`, "\x00\x01", `{"event":"file","path":"/a"}`, `{"event":"session.ended","status":0}`)
	case "killed":
		say(started...)
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "other":
		fmt.Println("error: unknown flag: --events\nhint: mirrord exec --help lists the flags")
		os.Exit(125)
	case "silent":
		os.Exit(7)
	case "patient": // ends when it is asked to
		asked := make(chan os.Signal, 1)
		signal.Notify(asked, syscall.SIGTERM)
		say(started...)
		<-asked
		say(`{"event":"session.ended","signal":"SIGTERM"}`)
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		say(started...)
		select {}
	case "survivors": // the command ends, its broker goes on until `session stop`
		if os.Args[1] == "session" {
			os.WriteFile(os.Getenv("FAKE_FIFO"), []byte("stop"), 0o600)
			fmt.Println(`{"stopped":["abc"]}`)
			break
		}
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), "FAKE=broker")
		c.ExtraFiles = []*os.File{out}
		c.Start()
		say(started...)
		say(`{"event":"session.ended","status":0,"remaining":1}`)
	case "broker":
		os.ReadFile(os.Getenv("FAKE_FIFO"))
		say(`{"event":"file","path":"/late"}`)
	case "flood":
		say(started...)
		for i := range 20000 {
			fmt.Fprintf(out, `{"event":"file","op":"open","path":"/srv/%d"}`+"\n", i)
		}
		say(`{"event":"session.ended","status":0}`)
	}
	os.Exit(0)
}

func tool(t *testing.T, what string, env ...string) *cli.Tool {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &cli.Tool{Path: self, Env: append(append(os.Environ(), "FAKE="+what), env...)}
}

func start(t *testing.T, what string, env ...string) *Session {
	t.Helper()
	s, err := Start(tool(t, what, env...), Launch{Command: []string{"npm", "start"}, Folder: t.TempDir(), Target: "dir:pod"}, Options{Interval: time.Millisecond, Patience: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// until waits for the session to be in a state.
func until(t *testing.T, s *Session, what func(session.Summary) bool) {
	t.Helper()
	for !what(s.Model.Summary()) {
		if _, ok := <-s.Changed(); !ok {
			t.Fatalf("ended: %+v", s.Model.Summary())
		}
	}
}

func running(s session.Summary) bool { return s.State == session.Running }

func printed(s *Session) string {
	first, next := s.Console.Range()
	return s.Console.Text(first, next)
}

// ends waits for the end, with Changed being closed.
func ends(t *testing.T, s *Session) session.Summary {
	t.Helper()
	for range s.Changed() {
	}
	<-s.Done()
	return s.Model.Summary()
}

func TestSessionToItsEnd(t *testing.T) {
	s := start(t, "good")
	sum := ends(t, s)
	if sum.State != session.Ended || sum.Status == nil || *sum.Status != 3 || sum.ID != "abc" || sum.Ended.IsZero() || len(sum.Notices) != 0 {
		t.Errorf("%+v", sum)
	}
	if got := printed(s); got != "exec --progress=off --events=fd:3 --target=dir:pod -- npm start\nhello\n" {
		t.Errorf("%q", got)
	}
	if p := s.Model.Processes(); len(p) != 1 || !p[0].Ended {
		t.Errorf("%+v", p)
	}
	s.Stop() // too late, and harmless
	s.Stop()
}

func TestInput(t *testing.T) {
	s := start(t, "echo")
	s.Resize(80, 24)
	if err := s.Input("yes\n"); err != nil {
		t.Fatal(err)
	}
	ends(t, s)
	if got := printed(s); !strings.Contains(got, "read yes\n") {
		t.Errorf("%q", got)
	}
	if err := s.Input("too late\n"); err == nil {
		t.Error("somebody has read that")
	}
	s.Resize(80, 24)
}

func TestBadCommands(t *testing.T) {
	for what, want := range map[string]string{
		"killed": "the mirrord command was killed by SIGKILL, and the program with it",
		"other":  "unknown flag: --events",
		"silent": "the mirrord command ended with status 7 and did not say how the program did",
	} {
		sum := ends(t, start(t, what))
		if sum.State != session.Ended || len(sum.Notices) != 1 || sum.Notices[0].Message != want || sum.Notices[0].Hint == "" || sum.Status != nil {
			t.Errorf("%s: %+v", what, sum)
		}
	}
	if sum := ends(t, start(t, "garbage")); sum.Garbage != 3 || sum.Tallies[session.Files].Count != 1 || sum.Status == nil {
		t.Errorf("garbage: %+v", sum)
	}
}

func TestWhatCannotStart(t *testing.T) {
	good := tool(t, "good")
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	for name, tt := range map[string]struct {
		tool   *cli.Tool
		launch Launch
	}{
		"no command":        {good, Launch{Folder: "/"}},
		"no folder":         {good, Launch{Folder: "/does/not/exist", Command: []string{"x"}}},
		"file":              {good, Launch{Folder: file, Command: []string{"x"}}},
		"no mirrord":        {&cli.Tool{Path: "/does/not/exist/mirrord"}, Launch{Folder: "/", Command: []string{"x"}}},
		"plain and no PATH": {&cli.Tool{Env: []string{"PATH="}}, Launch{Folder: "/", Command: []string{"sh"}, Plain: true}},
	} {
		s, err := Start(tt.tool, tt.launch, Options{})
		var e *cli.Error
		if s != nil || !errors.As(err, &e) || e.Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStop(t *testing.T) {
	s := start(t, "patient")
	until(t, s, running)
	s.Stop()
	if sum := ends(t, s); sum.Signal != "SIGTERM" || len(sum.Notices) != 0 {
		t.Errorf("%+v", sum)
	}
	for _, times := range []int{1, 2} { // by force after the patience, or at once
		s := start(t, "stubborn")
		until(t, s, running)
		for range times {
			s.Stop()
		}
		if sum := ends(t, s); len(sum.Notices) != 1 || sum.Notices[0].Message != "the session was ended by force" {
			t.Errorf("%+v", sum)
		}
	}
}

func TestStopOfWhatIsLeft(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "stop")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, "survivors", "FAKE_FIFO="+fifo)
	until(t, s, func(sum session.Summary) bool { return sum.State == session.Leftover })
	s.Stop()
	if sum := ends(t, s); sum.State != session.Ended || sum.Remain != 0 || sum.Tallies[session.Files].Count != 1 || len(sum.Notices) != 0 {
		t.Errorf("%+v", sum)
	}
}

// However often something changes, a view is told ten times a second, and of the last change too.
func TestChangedIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Session{options: Options{Interval: 100 * time.Millisecond}, changed: make(chan struct{}, 1), done: make(chan struct{})}
		told := make(chan int)
		go func() {
			n := 0
			for range s.Changed() {
				n++
			}
			told <- n
		}()
		for range 10000 { // in a second
			s.poke()
			time.Sleep(100 * time.Microsecond)
		}
		time.Sleep(time.Second)
		s.poke()
		time.Sleep(time.Second)
		s.poke()
		s.finish() // which closes it at once
		if n := <-told; n != 11 {
			t.Errorf("told %d times", n)
		}
		s.poke()
	})
}

func TestFlood(t *testing.T) {
	s := start(t, "flood")
	changes := 0
	for range s.Changed() {
		changes++
	}
	if sum := s.Model.Summary(); sum.Tallies[session.Files].Count != 20000 || sum.Garbage != 0 {
		t.Errorf("%+v", sum)
	}
	if changes > 20000/10 {
		t.Errorf("%d changes for 20,000 events", changes)
	}
}

func TestPlain(t *testing.T) {
	launch := Launch{Command: []string{"sh", "-c", "echo plain; exit 4"}, Folder: t.TempDir(), Plain: true}
	s, err := Start(&cli.Tool{Env: os.Environ()}, launch, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if sum := ends(t, s); sum.Status == nil || *sum.Status != 4 || len(sum.Notices) != 0 || printed(s) != "plain\n" {
		t.Errorf("%+v %q", sum, printed(s))
	}
	launch.Command = []string{"sh", "-c", "sleep 1000 & echo $!; wait"}
	if s, err = Start(&cli.Tool{}, launch, Options{Interval: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	for printed(s) == "" {
		<-s.Changed()
	}
	s.Stop()
	if sum := ends(t, s); sum.Signal != "SIGTERM" {
		t.Errorf("%+v", sum)
	}
	var pid int
	fmt.Sscan(printed(s), &pid)
	if pid == 0 || alive(pid) && !zombie(pid) {
		t.Errorf("%d is alive", pid)
	}
}

// Something that left the session long ago, and nobody knows of, does not keep it open by holding its terminal.
func TestDaemonWithTheTerminal(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("left out: setsid is not installed")
	}
	s, err := Start(&cli.Tool{Env: os.Environ()}, Launch{Command: []string{"sh", "-c", "trap '' HUP; setsid sh -c 'echo $$; exec sleep 1000' & wait $!; exit 0"}, Folder: t.TempDir(), Plain: true}, Options{Interval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for printed(s) == "" {
		<-s.Changed()
	}
	var daemon int
	fmt.Sscan(printed(s), &daemon)
	defer syscall.Kill(daemon, syscall.SIGKILL)
	syscall.Kill(s.command.Process.Pid, syscall.SIGKILL)
	if sum := ends(t, s); sum.Signal != "SIGKILL" || daemon == 0 || !alive(daemon) {
		t.Errorf("%+v, daemon %d", sum, daemon)
	}
}

// zombie: it has ended, and nobody has asked how.
func zombie(pid int) bool {
	out, err := exec.Command("ps", "-o", "stat=", "-p", fmt.Sprint(pid)).Output()
	return err != nil || strings.HasPrefix(strings.TrimSpace(string(out)), "Z")
}

func TestScript(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "it's here")
	os.Mkdir(folder, 0o700)
	scripts := t.TempDir()
	launch := Launch{Command: []string{"echo", "a b", "$HOME"}, Folder: folder, Config: "/c 1", Target: "dir:pod"}
	path, err := launch.Script(tool(t, "good", "PATH=/o'dd:"+os.Getenv("PATH")), scripts)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(path)
	if !strings.Contains(string(text), `cd '`+strings.ReplaceAll(folder, "'", `'\''`)) || !strings.Contains(string(text), ` exec '--config-file=/c 1' --target=dir:pod -- echo 'a b' '$HOME'`) {
		t.Errorf("%s", text)
	}
	c := exec.Command(path)
	c.Env = append(os.Environ(), "FAKE=good")
	if out, _ := c.Output(); !strings.HasPrefix(string(out), "exec --config-file=/c 1 --target=dir:pod -- echo a b $HOME\n") {
		t.Errorf("%q", out)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the script is still there: %v", err)
	}
	if _, err := new(Launch).Script(tool(t, "good"), scripts); err == nil {
		t.Error("a script for nothing")
	}
}
