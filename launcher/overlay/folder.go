package overlay

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// temporaryName is the pattern of the names of folders that end with their session.
const temporaryName = "mirrord-overlay-*.tmp"

// NewTemporary opens an overlay in a new folder of parent, which Close removes. What killed sessions have left there is removed first.
func NewTemporary(parent string, lower Lower) (*Overlay, error) {
	Sweep(parent)
	for {
		dir, err := os.MkdirTemp(parent, temporaryName)
		if err != nil {
			return nil, err
		}
		o, err := New(dir, lower)
		switch {
		case errors.Is(err, errTaken): // by who sweeps, and removes it
		case err != nil:
			return nil, errors.Join(err, os.RemoveAll(dir))
		default:
			o.temporary = true
			return o, nil
		}
	}
}

// Sweep removes from parent the temporary folders of this user that no process holds a lock on: those of killed sessions. What cannot be removed stays.
func Sweep(parent string) {
	found, _ := os.ReadDir(parent)
	for _, e := range found {
		if ours, _ := filepath.Match(temporaryName, e.Name()); !ours || !e.IsDir() {
			continue
		}
		dir := filepath.Join(parent, e.Name())
		if lock, err := take(dir); err == nil {
			var st unix.Stat_t
			if unix.Fstat(int(lock.Fd()), &st) == nil && int(st.Uid) == os.Geteuid() {
				_ = os.RemoveAll(dir)
			}
			lock.Close()
		}
	}
}

var errTaken = errors.New("another session uses it")

// take locks a folder until the file is closed or the process has ended. errTaken: somebody has it, or has just removed it.
func take(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errTaken
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if err == unix.EWOULDBLOCK {
			return nil, errTaken
		}
		return nil, fmt.Errorf("cannot lock %s: %w", dir, err)
	}
	locked, err := f.Stat()
	if there, err2 := os.Stat(dir); err != nil || err2 != nil || !os.SameFile(locked, there) {
		f.Close()
		return nil, errTaken
	}
	return f, nil
}

// Close removes a temporary folder, and lets other sessions have another one. Nothing may be asked of the overlay any more; it may be closed more than once.
func (o *Overlay) Close() (err error) {
	if o.temporary {
		err = os.RemoveAll(o.dir)
	}
	if o.lock != nil {
		o.lock.Close()
	}
	return err
}
