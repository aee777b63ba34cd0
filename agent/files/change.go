package files

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
)

// Change makes one change inside root, by the kernel's own call and with its errno: links on the way are followed inside root, the last name of what is made,
// moved or removed never is. A new file has the mode that is asked for, whatever this process's umask. root may be nil.
func Change(root *os.File, req *wire.Request) error {
	c := req.Change
	if c == nil {
		return unix.EINVAL
	}
	if err := c.Impossible(); err != nil {
		return err
	}
	switch c.Kind {
	case wire.ChangeChmod, wire.ChangeChown, wire.ChangeTruncate, wire.ChangeUtimes:
		p, err := resolve(root, req.Path, c.Flags&wire.NoFollow != 0)
		if err != nil {
			return err
		}
		defer p.close()
		if c.Flags&wire.Exactly != 0 && (uint64(p.stat.Dev) != c.Dev || p.stat.Ino != c.Ino) {
			return unix.ESTALE
		}
		return ignoringEINTR(func() error { return p.alter(c) })
	case wire.ChangeRename, wire.ChangeLink:
		return changePair(root, req.Path, c)
	}
	e, err := locate(root, req.Path)
	if err != nil {
		return err
	}
	defer e.close()
	if err := e.unnamed(c.Kind); err != nil {
		return err
	}
	switch c.Kind {
	case wire.ChangeUnlink:
		return ignoringEINTR(func() error { return unix.Unlinkat(e.dir, e.last, 0) })
	case wire.ChangeRmdir:
		return ignoringEINTR(func() error { return unix.Unlinkat(e.dir, e.last, unix.AT_REMOVEDIR) })
	case wire.ChangeSymlink:
		return ignoringEINTR(func() error { return unix.Symlinkat(c.Other, e.dir, e.last) })
	case wire.ChangeMkdir:
		mode := c.Mode & 0o1777
		err := ignoringEINTR(func() error { return unix.Mkdirat(e.dir, e.last, mode) })
		return e.complete(mode, err)
	case wire.ChangeMknod:
		mode := c.Mode & (unix.S_IFMT | 0o7777)
		err := ignoringEINTR(func() error { return mknodat(e.dir, e.last, mode, c.Size) })
		return e.complete(mode, err)
	}
	return unix.ENOSYS
}

// entry is a name in a directory of the target, where something is or may be made.
type entry struct {
	*place        // the directory itself
	last   string // with a slash behind it if the path had one and the kernel does not follow links there
}

// locate finds the directory that path's last name is in.
func locate(root *os.File, path string) (*entry, error) {
	switch {
	case len(path) >= maxPath:
		return nil, unix.ENAMETOOLONG
	case !strings.HasPrefix(path, "/"):
		return nil, unix.ENOENT
	}
	trimmed := strings.TrimRight(path, "/")
	at := strings.LastIndexByte(trimmed, '/')
	name := trimmed[at+1:]
	p, err := resolve(root, trimmed[:at+1]+"/.", false)
	if err != nil {
		return nil, err
	}
	if name == "" || name == "." || name == ".." {
		return &entry{p, name}, nil
	}
	return &entry{p, name + trailing(path[len(trimmed):])}, nil
}

// unnamed is the errno of a change of "/", "." or ".." (Linux's fs/namei.c); nil for a name.
func (e *entry) unnamed(kind wire.ChangeKind) error {
	switch name := e.last; {
	case name != "" && name != "." && name != "..":
		return nil
	case kind == wire.ChangeUnlink:
		return unix.EISDIR
	case kind == wire.ChangeRmdir && name == ".":
		return unix.EINVAL
	case kind == wire.ChangeRmdir && name == "..":
		return unix.ENOTEMPTY
	case kind == wire.ChangeRmdir, kind == wire.ChangeRename:
		return unix.EBUSY
	}
	return unix.EEXIST
}

// complete gives a new entry the permissions that this process's umask has taken from it. What the directory has added stays.
func (e *entry) complete(mode uint32, err error) error {
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if unix.Fstatat(e.dir, e.last, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return nil // somebody else's by now
	}
	if now := uint32(st.Mode) & 0o7777; now|mode&0o777 != now {
		_ = chmodat(e.dir, e.last, now|mode&0o777)
	}
	return nil
}

func changePair(root *os.File, path string, c *wire.Change) error {
	if c.Kind == wire.ChangeLink {
		from, err := resolve(root, path, c.Flags&wire.Follow == 0)
		if err != nil {
			return err
		}
		defer from.close()
		to, err := locate(root, c.Other)
		if err != nil {
			return err
		}
		defer to.close()
		if err := to.unnamed(c.Kind); err != nil {
			return err
		}
		return ignoringEINTR(func() error { return unix.Linkat(from.dir, from.name, to.dir, to.last, 0) })
	}
	from, err := locate(root, path)
	if err != nil {
		return err
	}
	defer from.close()
	to, err := locate(root, c.Other)
	if err != nil {
		return err
	}
	defer to.close()
	if err := from.unnamed(c.Kind); err != nil {
		return err
	}
	if err := to.unnamed(c.Kind); err != nil {
		if c.Flags&wire.NoReplace != 0 {
			return unix.EEXIST
		}
		return err
	}
	return ignoringEINTR(func() error { return rename(from.dir, from.last, to.dir, to.last, c.Flags) })
}

// alter changes what is at a place, which is a link only if that is meant.
func (p *place) alter(c *wire.Change) error {
	switch c.Kind {
	case wire.ChangeChmod:
		return chmodat(p.dir, p.name, c.Mode&0o7777)
	case wire.ChangeChown:
		return unix.Fchownat(p.dir, p.name, int(int32(c.UID)), int(int32(c.GID)), unix.AT_SYMLINK_NOFOLLOW)
	case wire.ChangeUtimes:
		return utimesat(p.dir, p.name, c)
	}
	switch p.stat.Mode & unix.S_IFMT { // opening a FIFO would wait, and a device may act
	case unix.S_IFDIR:
		return unix.EISDIR
	case unix.S_IFREG:
	default:
		return unix.EINVAL
	}
	fd, err := unix.Openat(p.dir, p.name, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Ftruncate(fd, c.Size)
}
