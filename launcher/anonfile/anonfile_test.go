package anonfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOnDisk(t *testing.T) {
	dir := t.TempDir()
	w, r, err := Maker{Dir: dir}.OnDisk("tag")
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(r)
	if _, err := unix.Write(w, []byte("new")); err != nil {
		t.Fatal(err)
	}
	unix.Close(w)
	buf := make([]byte, 10)
	if n, err := unix.Read(r, buf); err != nil || string(buf[:n]) != "new" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	if _, err := unix.Write(r, []byte("x")); err != unix.EBADF {
		t.Errorf("write: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	if _, _, err := (Maker{Dir: filepath.Join(dir, "none")}).OnDisk("tag"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("no directory: %v", err)
	}
}

// TestPaths: the tag is found without a name.
func TestPaths(t *testing.T) {
	dir := t.TempDir()
	w, r, err := Maker{Dir: dir, Paths: true}.New("tag")
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(w)
	defer unix.Close(r)
	buf := make([]byte, 10)
	if n, err := unix.Fgetxattr(r, TagAttribute, buf); err != nil || string(buf[:n]) != "tag" {
		t.Errorf("%q, %v", buf, err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}
