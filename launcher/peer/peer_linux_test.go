package peer

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var self = Peer{PID: os.Getpid(), UID: os.Getuid(), GID: os.Getgid()}

func TestOf(t *testing.T) {
	name := "mirrord-test-" + filepath.Base(t.TempDir()) + t.Name()
	l, err := ListenAbstract(name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: "@" + name, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	near, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	if who, ok := Of(near); !ok || who != self {
		t.Errorf("%+v, %v", who, ok)
	}
}

func TestSender(t *testing.T) {
	name := "mirrord-test-" + filepath.Base(t.TempDir()) + t.Name()
	l, err := ListenPackets(name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: "@" + name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	control := make([]byte, 256)
	_, n, _, _, err := l.ReadMsgUnix(make([]byte, 1), control)
	if err != nil {
		t.Fatal(err)
	}
	if who, ok := Sender(control[:n]); !ok || who != self {
		t.Errorf("%+v, %v", who, ok)
	}
	if _, ok := Sender(nil); ok {
		t.Error("nobody is somebody")
	}
}

// TestProcess: of a process with a command line, an environment, a folder and a umask of its own.
func TestProcess(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "options"), []byte("-agentlib"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("sh", "-c", "umask 027; echo; read line", "a word", "")
	c.Env, c.Dir = []string{"A=b c"}, dir
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer in.Close()
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	got := CommandOf(c.Process.Pid)
	if !strings.HasSuffix(got.Exe, "sh") || !slices.Equal(got.Argv, c.Args) || !slices.Contains(got.Env, "A=b c") {
		t.Errorf("%q %q %q", got.Exe, got.Argv, got.Env)
	}
	for name, want := range map[string]string{"options": "-agentlib", filepath.Join(dir, "options"): "-agentlib", "none": "", "/dev/zero": ""} {
		if text := got.ReadFile(name); text != want {
			t.Errorf("%s: %q", name, text)
		}
	}
	if mask, ok := Umask(c.Process.Pid); !ok || mask != 0o027 {
		t.Errorf("umask %#o, %v", mask, ok)
	}
	if _, ok := Umask(unix.Getpid() + 1<<22); ok {
		t.Error("nobody has a umask")
	}
}
