package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"mirrord/sip"
	"mirrord/sip/copies"
)

// copier makes the copies that run in programs' places. It is safe for concurrent use.
type copier struct {
	store func() (*copies.Store, error) // opened when the first copy is needed
}

func newCopier() *copier {
	return &copier{store: sync.OnceValues(func() (*copies.Store, error) {
		folder, err := CacheFolder()
		if err != nil {
			return nil, err
		}
		store, err := copies.Open(filepath.Join(folder, "copies"))
		if err == nil {
			// Nobody waits for it: while others make copies, a later session does it.
			go func() { _, _ = store.Prune(copies.Unused) }()
		}
		return store, err
	})}
}

// substitute makes a Copy's verdict one that can be executed: Path is the copy. If there can be none the program runs outside.
func (c *copier) substitute(v sip.Verdict, caller *sip.Creds) sip.Verdict {
	original := v.Program
	if real, err := filepath.EvalSymlinks(original); err == nil {
		original = real
	}
	path, err := c.copyOf(original, v.Slice, caller)
	if err != nil {
		return v.Uncopied(firstLine(err))
	}
	return v.Copied(path, original)
}

// copyOf gives a copy that the caller can execute.
func (c *copier) copyOf(original, arch string, caller *sip.Creds) (string, error) {
	if caller != nil && caller.UID != os.Geteuid() {
		return "", fmt.Errorf("copies belong to the user who started mirrord, and this process is another's (%d)", caller.UID)
	}
	store, err := c.store()
	if err != nil {
		return "", err
	}
	path, err := store.Copy(original, arch)
	if err != nil {
		return "", err
	}
	// The kernel tells a process its program without symbolic links.
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", fmt.Errorf("the copy cannot be used: %w", err)
	}
	if err := unix.Access(path, unix.X_OK); errors.Is(err, fs.ErrPermission) {
		return "", fmt.Errorf("a copy in %s cannot be executed: its file system is mounted with noexec", filepath.Dir(path))
	} else if err != nil {
		return "", fmt.Errorf("the copy cannot be used: %w", err)
	}
	return path, nil
}

// original is the path of what r asks to execute when that is a copy, which programs should not, but may get to know.
func (c *copier) original(path string) string {
	if !filepath.IsAbs(path) || filepath.Base(filepath.Dir(filepath.Dir(path))) != "copies" {
		return path
	}
	if store, err := c.store(); err == nil {
		if original, ok := store.Original(path); ok {
			return original
		}
	}
	return path
}
