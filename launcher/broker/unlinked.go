package broker

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// anonymousFile makes a file without a place in any directory: w to fill it, and r, a read-only description of its own at offset 0. The tag can be read
// from its descriptors.
func (b *Broker) anonymousFile(tag string) (w, r int, err error) {
	if b.Paths {
		return b.unlinkedFile(tag)
	}
	return anonymousFile(tag, b.TempDir)
}

// unlinkedFile is anonymousFile on disk.
func (b *Broker) unlinkedFile(tag string) (w, r int, err error) {
	if !b.Paths {
		return unlinkedFile(tag, b.TempDir)
	}
	if w, r, err = unlinkedFile("file", b.TempDir); err != nil {
		return -1, -1, err
	}
	if err := unix.Fsetxattr(w, tagAttribute, []byte(tag), 0); err != nil {
		unix.Close(w)
		unix.Close(r)
		return -1, -1, err
	}
	return w, r, nil
}

// unlinkedFile makes a file on disk that loses its name at once. While it has one it is in a directory of its own: dir may be shared with other sessions
// and users.
func unlinkedFile(base, dir string) (w, r int, err error) {
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
