package overlay

import (
	"context"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
)

// mark is what the folder "hidden" says of a path.
type mark string

const (
	unmarked mark = "none"
	covers   mark = ""       // the target has, or had, something there
	opaque   mark = "opaque" // the target had nothing when a folder was made there, which will not show what it may get
)

func (o *Overlay) mark(p string) mark {
	b, err := os.ReadFile(o.hidden(p))
	if err != nil { // nothing, or a folder
		return unmarked
	}
	return mark(b)
}

// setMark covers what the target has at a path, and all below.
func (o *Overlay) setMark(p string, m mark) error {
	if err := os.RemoveAll(o.hidden(p)); err != nil {
		return errnoOf(err)
	}
	if err := os.MkdirAll(path.Dir(o.hidden(p)), 0o700); err != nil {
		return errnoOf(err)
	}
	return errnoOf(os.WriteFile(o.hidden(p), []byte(m), 0o600))
}

// settle marks a path at which something was just made: s is what was there before.
func (o *Overlay) settle(s *spot, folder bool) error {
	switch {
	case s.dir.lower == nil || o.mark(s.path) != unmarked: // covered anyway
	case s.lower != nil:
		return o.setMark(s.path, covers)
	case folder:
		return o.setMark(s.path, opaque)
	}
	return nil
}

// leave unmarks a path where what was made has gone, if the target never had anything there.
func (o *Overlay) leave(s *spot) error {
	if s.dir.lower != nil && o.mark(s.path) == opaque {
		return errnoOf(os.Remove(o.hidden(s.path)))
	}
	return nil
}

// lstat tells of a file of this machine, and where a link leads.
func lstat(p string) (*wire.Stat, string, error) {
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		return nil, "", err
	}
	target := ""
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		var err error
		if target, err = os.Readlink(p); err != nil {
			return nil, "", errnoOf(err)
		}
	}
	return statOf(&st), target, nil
}

// folder makes a folder of the target one that can be written into, with all above it.
func (o *Overlay) folder(ctx context.Context, s *spot) error {
	if s.upper != nil {
		return nil
	}
	if err := o.folder(ctx, s.dir); err != nil {
		return err
	}
	if s.sketchy {
		if err := o.complete(ctx, s); err != nil {
			return err
		}
	}
	if s.lower == nil || !s.isDir() {
		return unix.ENOENT
	}
	p := o.upper(s.path)
	switch err := unix.Mkdir(p, 0o700); err {
	case nil:
		if err := dress(p, s.lower); err != nil {
			return err
		}
	case unix.EEXIST: // another spot in the same change has made it
	default:
		return err
	}
	o.used.Store(true)
	var err error
	s.upper, _, err = lstat(p)
	return err
}

// dress gives a copy the metadata of its original, the owner as far as this user may.
func dress(p string, st *wire.Stat) error {
	_ = unix.Lchown(p, int(st.UID), int(st.GID))
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Chmod(p, ownMode(st.Mode)); err != nil {
			return err
		}
	}
	times := []unix.Timespec{unix.NsecToTimespec(st.Atime), unix.NsecToTimespec(st.Mtime)}
	return unix.UtimesNanoAt(unix.AT_FDCWD, p, times, unix.AT_SYMLINK_NOFOLLOW)
}

// ownMode is a mode under which this process can go on working: root always can, others need rights to their own folders.
func ownMode(mode uint32) uint32 {
	if mode&unix.S_IFMT == unix.S_IFDIR && os.Geteuid() != 0 {
		mode |= 0o700
	}
	return mode & 0o7777
}

// copied is a copy of a file of the target that waits to be put in its place. It may be nil.
type copied struct {
	path, at string
	stat     wire.Stat
}

func (c *copied) discard() {
	if c != nil {
		os.Remove(c.at)
	}
}

// fetch copies what a path leads to, if that is a file of the target: without a lock, so that nobody waits for a large one. Whatever else is there is nil.
func (o *Overlay) fetch(ctx context.Context, p string, how follow) *copied {
	o.mu.RLock()
	s, err := o.walk(ctx, p, how)
	o.mu.RUnlock()
	if err != nil || s.upper != nil || s.kind() != unix.S_IFREG {
		return nil
	}
	c, err := o.copy(ctx, s)
	if err != nil {
		return nil // it is tried once more, and fails then
	}
	return c
}

func (o *Overlay) copy(ctx context.Context, s *spot) (*copied, error) {
	r, body, err := o.lower.Open(ctx, &wire.Request{Op: wire.OpOpen, Path: s.path, NoFollow: true})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if r.Stat == nil || r.Stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, unix.EIO
	}
	f, err := os.CreateTemp(o.work(""), "copy-")
	if err != nil {
		return nil, errnoOf(err)
	}
	_, err = io.Copy(f, body)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = dress(f.Name(), r.Stat)
	}
	if err != nil {
		os.Remove(f.Name())
		return nil, errnoOf(err)
	}
	return &copied{s.path, f.Name(), *r.Stat}, nil
}

// raise makes what is at a spot this machine's, so that it can be changed. ready may hold its copy; without content an empty file will do.
func (o *Overlay) raise(ctx context.Context, s *spot, ready *copied, content bool) error {
	if s.upper != nil {
		return nil
	}
	if s.isDir() {
		return o.folder(ctx, s)
	}
	if err := o.folder(ctx, s.dir); err != nil {
		return err
	}
	p := o.upper(s.path)
	switch s.kind() {
	case unix.S_IFLNK:
		if err := unix.Symlink(s.target, p); err != nil {
			return err
		}
		if err := dress(p, s.lower); err != nil {
			return err
		}
	case unix.S_IFREG:
		if !content {
			if err := touch(p); err != nil {
				return err
			}
			if err := dress(p, s.lower); err != nil {
				return err
			}
		} else {
			if ready == nil || ready.path != s.path || ready.stat.Ino != s.lower.Ino || ready.stat.Dev != s.lower.Dev {
				var err error
				if ready, err = o.copy(ctx, s); err != nil {
					return err
				}
			}
			if err := os.Rename(ready.at, p); err != nil {
				return errnoOf(err)
			}
		}
	default:
		return unix.EPERM // devices and sockets are none on this machine
	}
	if err := o.settle(s, false); err != nil {
		return err
	}
	o.used.Store(true)
	up, _, err := lstat(p)
	s.upper, s.lower = up, nil
	return err
}

// touch makes an empty file.
func touch(p string) error {
	fd, err := unix.Open(p, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err == nil {
		unix.Close(fd)
	}
	return err
}
