package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The files of a snapshot beside rootfs.
const (
	podFile  = "pod.yaml"
	leftFile = "left-out.txt"
)

// oldSuffix is behind a draft's name in that of the snapshot that it replaces.
const oldSuffix = ".old"

// mark begins the pod.yaml of every snapshot, and of nothing else.
const mark = "# made by mirrord snapshot"

// Check says why a snapshot cannot become dir: that must not exist, be empty, or, with force, be an earlier snapshot.
func Check(dir string, force bool) error {
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(filepath.Clean(dir))); err != nil {
			return fmt.Errorf("the folder of the snapshot cannot be made: %w", err)
		}
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is there and is no folder\nhint: name one that does not exist yet", dir)
	}
	entries, err := os.ReadDir(dir)
	switch {
	case err != nil:
		return err
	case len(entries) == 0 || isSnapshot(dir) && force:
		return nil
	case isSnapshot(dir):
		return fmt.Errorf("%s is a snapshot already\nhint: --force replaces it, with all that was changed in it", dir)
	}
	return fmt.Errorf("%s is not empty, and no snapshot\nhint: name a folder that does not exist yet", dir)
}

func isSnapshot(dir string) bool {
	f, err := os.Open(filepath.Join(dir, podFile))
	if err != nil {
		return false
	}
	defer f.Close()
	begin := make([]byte, len(mark))
	_, err = io.ReadFull(f, begin)
	return err == nil && bytes.Equal(begin, []byte(mark))
}

// draft is a snapshot before it has its name.
type draft struct {
	final, path string
	hold        *os.File // path, locked: somebody is at it
	root        *os.Root // rootfs: a name of the pod's cannot lead out of it
}

// begin makes a folder beside the final one, on the same file system.
func begin(final string, force bool) (*draft, error) {
	if err := Check(final, force); err != nil {
		return nil, err
	}
	final, err := filepath.Abs(final)
	if err != nil {
		return nil, err
	}
	prefix := "." + filepath.Base(final) + ".partial-"
	clean(filepath.Dir(final), prefix)
	path, err := os.MkdirTemp(filepath.Dir(final), prefix) // 0700
	if err != nil {
		return nil, fmt.Errorf("the folder of the snapshot cannot be made: %w", err)
	}
	d := &draft{final: final, path: path}
	if d.hold, err = lock(path); err != nil { // another that begins takes it for a killed one's
		return nil, fmt.Errorf("the folder of the snapshot cannot be locked: %w", err)
	}
	rootfs := filepath.Join(path, "rootfs")
	if err = os.Mkdir(rootfs, 0o700); err == nil {
		d.root, err = os.OpenRoot(rootfs)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(path), d.hold.Close())
	}
	return d, nil
}

// clean removes the drafts of snapshots that were killed: nobody else removes what they hold of the pod. An earlier snapshot that was moved aside is left.
func clean(folder, prefix string) {
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), prefix) || strings.HasSuffix(e.Name(), oldSuffix) {
			continue
		}
		path := filepath.Join(folder, e.Name())
		if hold, err := lock(path); err == nil {
			_ = os.RemoveAll(path)
			hold.Close()
		}
	}
}

// lock takes a folder for as long as the file is open, or the process lives; an error means that another has it.
func lock(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (d *draft) write(name string, text []byte) error {
	return os.WriteFile(filepath.Join(d.path, name), text, 0o600)
}

// finish gives the snapshot its name. An earlier one of that name is moved aside until the new one is in its place.
func (d *draft) finish() error {
	if !isSnapshot(d.final) {
		// An empty folder makes way; Go does not rename onto one.
		if err := syscall.Rmdir(d.final); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot replace %s: %w", d.final, err)
		}
		return os.Rename(d.path, d.final)
	}
	old := d.path + oldSuffix
	if err := os.Rename(d.final, old); err != nil {
		return err
	}
	if err := os.Rename(d.path, d.final); err != nil {
		return errors.Join(err, os.Rename(old, d.final))
	}
	return os.RemoveAll(old)
}

// discard removes what has not been finished.
func (d *draft) discard() error {
	return errors.Join(d.root.Close(), os.RemoveAll(d.path), d.hold.Close())
}
