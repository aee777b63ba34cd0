package run

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// shell is an interactive shell on a terminal of its own, as a user has one.
type shell struct {
	t      *testing.T
	master *os.File
	said   strings.Builder
}

func startShell(t *testing.T) *shell {
	t.Helper()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("bash is not installed")
	}
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skip("no terminals here: ", err)
	}
	master := os.NewFile(uintptr(fd), "ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	cmd := exec.Command("bash", "--norc", "--noprofile", "-i")
	self, _ := os.Executable()
	cmd.Env = append(os.Environ(), "PS1=PROMPT> ", "SELF="+self, "HISTFILE=")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		master.Close()
	})
	s := &shell{t: t, master: master}
	s.expect("PROMPT>")
	s.send("stty -echo\n")
	s.expect("PROMPT>")
	return s
}

func (s *shell) send(text string) {
	s.t.Helper()
	if _, err := s.master.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

// expect reads until text has come and returns all until there.
func (s *shell) expect(text string) string {
	s.t.Helper()
	s.master.SetReadDeadline(time.Now().Add(30 * time.Second))
	buf := make([]byte, 4096)
	for {
		if before, after, ok := strings.Cut(s.said.String(), text); ok {
			s.said.Reset()
			s.said.WriteString(after)
			return before
		}
		n, err := s.master.Read(buf)
		s.said.Write(buf[:n])
		if err != nil {
			s.t.Fatalf("%v while waiting for %q after %q", err, text, s.said.String())
		}
	}
}

// TestKeysOfTheTerminal: ^C reaches the program once, ^Z stops the job and fg continues it.
func TestKeysOfTheTerminal(t *testing.T) {
	s := startShell(t)
	s.send(asOuter + `=1 $SELF bash -c 'trap "echo got-int" INT; echo ready-1; read x; echo "read $x"; read y; echo "end $y"; exit 5'` + "\n")
	s.expect("ready-1")
	s.send("\x03")
	s.send("one\n") // a signal that comes just before bash waits for a line is looked at after that line
	s.expect("got-int")
	if got := s.expect("read one"); strings.Contains(got, "got-int") {
		t.Error("^C came twice")
	}
	s.send("\x1a")
	s.expect("Stopped")
	s.expect("PROMPT>")
	s.send("jobs -l; fg\n")
	s.expect("Stopped")
	s.send("two\n")
	s.expect("end two")
	s.expect("PROMPT>")
	s.send("echo status=$?\n")
	s.expect("status=5")

	// An interrupted program ends the job as it ended itself.
	s.send(asOuter + `=1 $SELF bash -c 'echo ready-2; exec sleep 1000'` + "\n")
	s.expect("ready-2")
	s.send("\x03")
	s.expect("PROMPT>")
	s.send("echo status=$?\n")
	s.expect("status=130")
}

// TestShellInside: a shell with job control of its own takes the terminal and gives it back.
func TestShellInside(t *testing.T) {
	s := startShell(t)
	s.send(asOuter + "=1 PS1='INNER> ' $SELF bash --norc --noprofile -i\n")
	s.expect("INNER>")
	s.send("sh -c 'echo asleep; exec sleep 1000'\n")
	s.expect("asleep\r\n")
	s.send("\x1a")
	s.expect("Stopped")
	// A shell that still lists a stopped job refuses its first exit, and wait does not wait for a stopped one.
	s.send("kill -9 %1; disown %1; echo inner=$?\n")
	s.expect("inner=0")
	s.expect("INNER>")
	s.send("exit 6\n")
	s.expect("PROMPT>")
	s.send("echo status=$?\n")
	s.expect("status=6")
}
