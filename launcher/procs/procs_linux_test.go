package procs

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

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
