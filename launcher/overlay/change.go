package overlay

import (
	"cmp"
	"context"
	"strings"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
)

// OpenFile opens what is at a path, as open(2) would with flags (wire.Open…) and a mode that is not subject to a umask. A file of the target that is only read is not
// opened, nor is a folder: then fd is -1, and Open tells what is there.
func (o *Overlay) OpenFile(ctx context.Context, p string, flags, mode uint32) (fd int, err error) {
	has := func(flag uint32) bool { return flags&flag != 0 }
	how := following(has(wire.OpenNoFollow))
	if has(wire.OpenCreate) && has(wire.OpenExclusive) {
		how = neverFollow
	}
	if flags&wire.OpenAccess != wire.OpenRead || has(wire.OpenCreate|wire.OpenTruncate) {
		var ready *copied
		if !has(wire.OpenTruncate) {
			ready = o.fetch(ctx, p, how)
			defer ready.discard()
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.openToWrite(ctx, p, how, flags, mode, ready)
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	s, err := o.walk(ctx, p, how)
	if err == nil {
		err = s.must()
	}
	switch {
	case err != nil:
		return -1, err
	case has(wire.OpenDirectory) && !s.isDir():
		return -1, unix.ENOTDIR
	case s.kind() == unix.S_IFLNK:
		return -1, unix.ELOOP
	case s.upper == nil || s.isDir():
		return -1, nil
	case s.kind() != unix.S_IFREG:
		return -1, unix.ENXIO
	}
	return o.openLocal(s, flags, false)
}

// openLocal opens a file of this machine.
func (o *Overlay) openLocal(s *spot, flags uint32, truncate bool) (int, error) {
	how := map[uint32]int{wire.OpenRead: unix.O_RDONLY, wire.OpenWrite: unix.O_WRONLY, wire.OpenReadWrite: unix.O_RDWR}[flags&wire.OpenAccess] | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NOCTTY
	if flags&wire.OpenAppend != 0 {
		how |= unix.O_APPEND
	}
	if truncate {
		how |= unix.O_TRUNC
	}
	return unix.Open(o.upper(s.path), how, 0)
}

func (o *Overlay) openToWrite(ctx context.Context, p string, how follow, flags, mode uint32, ready *copied) (int, error) {
	has := func(flag uint32) bool { return flags&flag != 0 }
	create, exclusive := has(wire.OpenCreate), has(wire.OpenCreate) && has(wire.OpenExclusive)
	if create && strings.HasSuffix(p, "/") { // refused before a link is followed
		how = neverFollow
	}
	s, err := o.walk(ctx, p, how)
	switch {
	case err != nil:
		return -1, err
	case create && has(wire.OpenDirectory):
		return -1, unix.EINVAL
	case create && s.slash:
		return -1, unix.EISDIR
	case s.long:
		return -1, unix.ENAMETOOLONG
	case exclusive && s.stat() != nil:
		return -1, unix.EEXIST
	}
	made := s.stat() == nil
	switch {
	case made && !create:
		return -1, unix.ENOENT
	case made:
		if err := o.folder(ctx, s.dir); err != nil {
			return -1, err
		}
		if err := touch(o.upper(s.path)); err != nil {
			return -1, err
		}
		o.used.Store(true)
	default:
		if err := s.must(); err != nil {
			return -1, err
		}
		switch {
		case has(wire.OpenDirectory) && !s.isDir():
			return -1, unix.ENOTDIR
		case s.kind() == unix.S_IFLNK:
			return -1, unix.ELOOP
		case s.isDir():
			return -1, unix.EISDIR
		case s.kind() != unix.S_IFREG:
			return -1, unix.ENXIO
		}
		truncate := has(wire.OpenTruncate)
		if err := o.raise(ctx, s, ready, !truncate); err != nil {
			return -1, err
		}
	}
	fd, err := o.openLocal(s, flags, !made && has(wire.OpenTruncate))
	if err == nil && made {
		if err = unix.Fchmod(fd, mode&0o7777); err != nil {
			unix.Close(fd)
			fd = -1
		}
	}
	return fd, err
}

// change makes one change, as agent/files does in a target.
func (o *Overlay) change(ctx context.Context, p string, c *wire.Change) error {
	how := following(c.Flags&wire.NoFollow != 0)
	named := false // it is about the name, not about what is there
	switch c.Kind {
	case wire.ChangeChmod, wire.ChangeChown, wire.ChangeTruncate, wire.ChangeUtimes:
	case wire.ChangeLink:
		how = following(c.Flags&wire.Follow == 0)
	default:
		how, named = neverFollow, true
	}
	if err := c.Impossible(); err != nil {
		return err
	}
	var ready *copied
	if !named || c.Kind == wire.ChangeRename {
		ready = o.fetch(ctx, p, how)
		defer ready.discard()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s, err := o.walk(ctx, p, how)
	if err != nil {
		return err
	}
	switch c.Kind {
	case wire.ChangeRename:
		return o.rename(ctx, s, c, ready)
	case wire.ChangeLink:
		return o.link(ctx, s, c, ready)
	case wire.ChangeUnlink, wire.ChangeRmdir:
		return o.unlink(ctx, s, c.Kind)
	case wire.ChangeMkdir, wire.ChangeSymlink, wire.ChangeMknod:
		return o.create(ctx, s, c)
	}
	if err := s.must(); err != nil {
		return err
	}
	return o.alter(ctx, s, c, ready)
}

func (o *Overlay) unlink(ctx context.Context, s *spot, kind wire.ChangeKind) error {
	folder := kind == wire.ChangeRmdir
	switch {
	case s.odd != "" && !folder:
		return unix.EISDIR
	case s.odd == ".":
		return unix.EINVAL
	case s.odd == "..":
		return unix.ENOTEMPTY
	case s.odd != "":
		return unix.EBUSY
	case s.long:
		return unix.ENAMETOOLONG
	case s.stat() == nil:
		return unix.ENOENT
	case !s.isDir() && (folder || s.slash):
		return unix.ENOTDIR
	case s.isDir() && !folder:
		return unix.EISDIR
	}
	if folder {
		if err := o.empty(ctx, s); err != nil {
			return err
		}
	}
	if s.upper != nil {
		remove := unix.Unlink
		if folder {
			remove = unix.Rmdir
		}
		if err := remove(o.upper(s.path)); err != nil {
			return err
		}
	}
	o.used.Store(true)
	if s.lower != nil {
		return o.setMark(s.path, covers)
	}
	return o.leave(s)
}

func (o *Overlay) create(ctx context.Context, s *spot, c *wire.Change) error {
	switch {
	case s.odd != "" || s.stat() != nil:
		return unix.EEXIST
	case s.long:
		return unix.ENAMETOOLONG
	case s.slash && c.Kind != wire.ChangeMkdir:
		return unix.ENOENT
	case c.Kind == wire.ChangeMknod && c.Mode&unix.S_IFMT != unix.S_IFREG && c.Mode&unix.S_IFMT != 0:
		return unix.EPERM // the broker opens files for programs, and what waits or acts it does not open
	}
	if err := o.folder(ctx, s.dir); err != nil {
		return err
	}
	p := o.upper(s.path)
	var err error
	switch c.Kind {
	case wire.ChangeSymlink:
		err = unix.Symlink(c.Other, p)
	case wire.ChangeMkdir:
		if err = unix.Mkdir(p, 0o700); err == nil {
			err = chmod(p, unix.S_IFDIR|c.Mode&0o1777)
		}
	default:
		if err = touch(p); err == nil {
			err = chmod(p, unix.S_IFREG|c.Mode&0o7777)
		}
	}
	if err != nil {
		return err
	}
	o.used.Store(true)
	return o.settle(s, c.Kind == wire.ChangeMkdir)
}

// chmod sets a mode, to which the type belongs; what the folder around has added stays.
func chmod(p string, mode uint32) error {
	st, _, err := lstat(p)
	if err != nil {
		return err
	}
	return unix.Chmod(p, ownMode(mode)|st.Mode&unix.S_ISGID)
}

func (o *Overlay) alter(ctx context.Context, s *spot, c *wire.Change, ready *copied) error {
	link := s.kind() == unix.S_IFLNK
	switch {
	case c.Kind == wire.ChangeChmod && link:
		return unix.EOPNOTSUPP
	case c.Kind == wire.ChangeTruncate && s.isDir():
		return unix.EISDIR
	case c.Kind == wire.ChangeTruncate && s.kind() != unix.S_IFREG:
		return unix.EINVAL
	}
	if err := o.raise(ctx, s, ready, true); err != nil {
		return err
	}
	p := o.upper(s.path)
	switch c.Kind {
	case wire.ChangeChmod:
		return unix.Chmod(p, ownMode(s.kind()|c.Mode&0o7777))
	case wire.ChangeChown:
		return unix.Lchown(p, int(int32(c.UID)), int(int32(c.GID)))
	case wire.ChangeTruncate:
		return unix.Truncate(p, c.Size)
	}
	times := []unix.Timespec{unix.NsecToTimespec(c.Atime), unix.NsecToTimespec(c.Mtime)}
	for i, of := range []struct{ now, omit wire.ChangeFlags }{{wire.AtimeNow, wire.AtimeOmit}, {wire.MtimeNow, wire.MtimeOmit}} {
		if c.Flags&of.now != 0 {
			times[i].Nsec = utimeNow
		}
		if c.Flags&of.omit != 0 {
			times[i].Nsec = utimeOmit
		}
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, p, times, unix.AT_SYMLINK_NOFOLLOW)
}

func (o *Overlay) link(ctx context.Context, from *spot, c *wire.Change, ready *copied) error {
	if err := from.must(); err != nil {
		return err
	}
	to, err := o.walk(ctx, c.Other, neverFollow)
	switch {
	case err != nil:
		return err
	case to.odd != "" || to.stat() != nil:
		return unix.EEXIST
	case to.long:
		return unix.ENAMETOOLONG
	case to.slash:
		return unix.ENOENT
	case from.isDir():
		return unix.EPERM
	}
	if err := cmp.Or(o.raise(ctx, from, ready, true), o.folder(ctx, to.dir)); err != nil {
		return err
	}
	if err := unix.Linkat(unix.AT_FDCWD, o.upper(from.path), unix.AT_FDCWD, o.upper(to.path), 0); err != nil {
		return err
	}
	return o.settle(to, false)
}

func (o *Overlay) rename(ctx context.Context, from *spot, c *wire.Change, ready *copied) error {
	to, err := o.walk(ctx, c.Other, neverFollow)
	if err != nil {
		return err
	}
	exchange := c.Flags&wire.Exchange != 0
	if err := renamable(from, to, exchange, c.Flags&wire.NoReplace != 0); err != nil {
		return err
	}
	a, b := from.stat(), to.stat()
	if b != nil && a.Dev == b.Dev && a.Ino == b.Ino && from.kind() == to.kind() && (from.upper == nil) == (to.upper == nil) {
		return nil // two names of one file
	}
	if !exchange && b != nil {
		switch {
		case from.isDir() && !to.isDir():
			return unix.ENOTDIR
		case !from.isDir() && to.isDir():
			return unix.EISDIR
		case to.isDir():
			if err := o.empty(ctx, to); err != nil {
				return err
			}
		}
	}
	// A folder that shows the target's cannot be moved without all that is in it.
	if from.isDir() && from.lower != nil || exchange && to.isDir() && to.lower != nil {
		return unix.EXDEV
	}
	if err := cmp.Or(o.raise(ctx, from, ready, true), o.folder(ctx, to.dir)); err != nil {
		return err
	}
	if exchange {
		if err := o.raise(ctx, to, nil, true); err != nil {
			return err
		}
		if err := swap(o.upper(from.path), o.upper(to.path)); err != nil {
			return err
		}
		return cmp.Or(o.settle(from, to.isDir()), o.settle(to, from.isDir()))
	}
	if err := unix.Rename(o.upper(from.path), o.upper(to.path)); err != nil {
		return err
	}
	return cmp.Or(o.settle(to, from.isDir()), o.leave(from))
}

// renamable checks what the kernel checks first (Linux's fs/namei.c).
func renamable(from, to *spot, exchange, noReplace bool) error {
	switch {
	case from.odd != "" || to.odd != "" && !noReplace:
		return unix.EBUSY
	case to.odd != "":
		return unix.EEXIST
	case from.long:
		return unix.ENAMETOOLONG
	case from.stat() == nil:
		return unix.ENOENT
	case to.long:
		return unix.ENAMETOOLONG
	case noReplace && to.stat() != nil:
		return unix.EEXIST
	case exchange && to.stat() == nil:
		return unix.ENOENT
	case exchange && !to.isDir() && to.slash, !from.isDir() && (from.slash || !exchange && to.slash):
		return unix.ENOTDIR
	case strings.HasPrefix(to.path, from.path+"/"):
		return unix.EINVAL
	case strings.HasPrefix(from.path, to.path+"/"):
		if exchange {
			return unix.EINVAL
		}
		return unix.ENOTEMPTY
	}
	return nil
}
