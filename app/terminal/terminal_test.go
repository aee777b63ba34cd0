package terminal

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestCommand(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	if words, err := Command("/a script"); err == nil {
		t.Errorf("%q", words)
	}
	os.WriteFile(filepath.Join(bin, terminals[0][0]), nil, 0o700)
	if words, err := Command("/a script"); err != nil || words[0] != filepath.Join(bin, terminals[0][0]) || words[len(words)-1] != "/a script" {
		t.Errorf("%q, %v", words, err)
	}
}

// A Read of ours ends when it is closed, while the program's end is open.
func TestCloseEndsRead(t *testing.T) {
	ours, theirs, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	Resize(ours, 90, 5000)
	if size, err := unix.IoctlGetWinsize(int(theirs.Fd()), unix.TIOCGWINSZ); err != nil || size.Col != 90 || size.Row != 1000 {
		t.Errorf("%+v, %v", size, err)
	}
	if err := ours.SetReadDeadline(time.Time{}); err != nil { // there is one for files that do not block alone
		t.Fatal(err)
	}
	read := make(chan error)
	go func() {
		_, err := ours.Read(make([]byte, 1))
		read <- err
	}()
	ours.Close()
	if err := <-read; err == nil {
		t.Error("something was read")
	}
	Resize(ours, 80, 25) // leaves it alone
}
