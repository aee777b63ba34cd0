package pod

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A pod's sockets are those of its root; where that may not be seen, nobody says that they are not there.
func TestDialUnix(t *testing.T) {
	dir, err := os.MkdirTemp("", "pod")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Skip("left out: ", err) // the folder for temporary files has too long a path
	}
	defer l.Close()
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	seen, unseen, none := &Pod{root: root}, &Pod{lacks: map[string]string{"files": "not allowed"}}, &Pod{}
	c, err := seen.DialUnix(t.Context(), "/s", true)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := unseen.DialUnix(t.Context(), "/s", true); !errors.Is(err, syscall.EACCES) {
		t.Error(err)
	}
	if _, err := none.DialUnix(t.Context(), "/s", true); !errors.Is(err, syscall.ENOENT) {
		t.Error(err)
	}
}
