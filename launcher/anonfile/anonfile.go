// Package anonfile makes files that have no place in any folder, for descriptors that are handed to programs: memfds, or where there are none files that lose their name at
// once. A tag says what a file is, and can be read from its descriptors: by the name under /proc/self/fd, else by an extended attribute.
package anonfile

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Maker makes files.
type Maker struct {
	Dir   string // of those on disk; empty: os.TempDir()
	Paths bool   // the tag is an attribute: no name can be read from a descriptor on macOS
}

// New makes a file: w to fill it, and r, a read-only description of its own at offset 0. The caller closes both.
func (m Maker) New(tag string) (w, r int, err error) {
	if m.Paths {
		return m.OnDisk(tag)
	}
	return inMemory(tag, m.Dir)
}

// OnDisk is New for what is too large for memory.
func (m Maker) OnDisk(tag string) (w, r int, err error) {
	if !m.Paths {
		return unlinked(tag, m.Dir)
	}
	if w, r, err = unlinked("file", m.Dir); err != nil {
		return -1, -1, err
	}
	if err := unix.Fsetxattr(w, TagAttribute, []byte(tag), 0); err != nil {
		unix.Close(w)
		unix.Close(r)
		return -1, -1, err
	}
	return w, r, nil
}

// unlinked makes a file on disk that loses its name at once. While it has one it is in a directory of its own: dir may be shared with other sessions
// and users.
func unlinked(base, dir string) (w, r int, err error) {
	own, err := os.MkdirTemp(dir, "mirrord-")
	if err != nil {
		return -1, -1, err
	}
	name := filepath.Join(own, base)
	defer func() { // os.RemoveAll would need descriptors, and there may be none left
		unix.Unlink(name)
		unix.Rmdir(own)
	}()
	if w, err = unix.Open(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600); err != nil {
		return -1, -1, err
	}
	if r, err = unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		unix.Close(w)
		return -1, -1, err
	}
	return w, r, nil
}
