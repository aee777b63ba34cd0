// Package files serves the target's files for reading: paths are resolved inside the target's root as chroot would, and nothing outside can be reached.
package files

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
)

const (
	// maxLinks is how many symbolic links one path may pass, as in Linux's namei.
	maxLinks = 40
	// maxPath bounds a path in bytes (PATH_MAX, with its zero).
	maxPath = 4096
)

// place is a resolved path: a name without further links in an open directory. The place of "/" is "." in the root itself.
type place struct {
	dir  int // descriptor of the directory
	name string
	path string // absolute, clean, as seen in the target
	stat unix.Stat_t
	dirs []level // from below the root down to dir; closed by close

	missing bool // only of a walk for who creates: there is nothing of that name

	// How the walk goes, see openat2(2).
	root   int
	create bool
	ways   wire.Ways
	floor  int    // so many of dirs are the directory that the path is relative to
	mount  uint64 // of the directory, with WayNoXDev
}

type level struct {
	fd   int
	name string
}

func (p *place) close() { p.leave(0) }

func (p *place) isDir() bool  { return p.stat.Mode&unix.S_IFMT == unix.S_IFDIR }
func (p *place) isLink() bool { return p.stat.Mode&unix.S_IFMT == unix.S_IFLNK }

// resolve walks path, component by component from root, each opened below its parent without following links; a link's target is walked in its stead,
// an absolute one from root again, and ".." goes up at most to root. So whatever changes meanwhile, the walk never leaves root. With nofollow a
// link at the end is the place itself, unless a slash follows. Errors are errnos; on success the caller closes the place.
func resolve(root *os.File, path string, nofollow bool) (*place, error) {
	return walk(root, path, nofollow, false)
}

// walk is resolve; with create a name that is missing in a directory that is there is a place, too. A slash behind that is EISDIR.
func walk(root *os.File, path string, nofollow, create bool) (*place, error) {
	if !strings.HasPrefix(path, "/") {
		return nil, unix.ENOENT
	}
	p := &place{create: create}
	return p.find(root, "/", path, nofollow, 0)
}

// resolveFrom is resolve for a path that is relative to a directory, itself an absolute path, in the ways of openat2.
func resolveFrom(root *os.File, dir, path string, nofollow bool, ways wire.Ways) (*place, error) {
	return new(place).find(root, dir, path, nofollow, ways)
}

func (p *place) find(root *os.File, dir, path string, nofollow bool, ways wire.Ways) (_ *place, err error) {
	if root == nil || !strings.HasPrefix(dir, "/") {
		return nil, unix.ENOENT
	}
	p.root = int(root.Fd())
	p.dir = p.root
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if dir != "/" {
		if err := p.follow(dir+"/", false); err != nil {
			return nil, err
		}
	}
	p.floor, p.ways = len(p.dirs), ways
	if ways&wire.WayNoXDev != 0 {
		if p.mount, err = mountOf(p.dir, "."); err != nil {
			return nil, err
		}
	}
	if path == "" {
		return nil, unix.ENOENT
	}
	if err := p.follow(path, nofollow); err != nil {
		return nil, err
	}
	if ways&wire.WayNoXDev != 0 {
		return p, p.sameMount(p.name)
	}
	return p, nil
}

// follow goes on from the directory that was reached.
func (p *place) follow(path string, nofollow bool) error {
	switch {
	case len(path) >= maxPath:
		return unix.ENAMETOOLONG
	case strings.Contains(path, "\x00"):
		return unix.ENOENT
	}
	if err := p.jump(path, false); err != nil {
		return err
	}
	rest, links := path, 0
	for {
		name, after := component(rest)
		last, slash := strings.Trim(after, "/") == "", after != ""
		switch name {
		case "", ".":
			if last {
				return p.self()
			}
			rest = after
			continue
		case "..":
			if err := p.up(); err != nil {
				return err
			}
			rest = after
			continue
		}
		// Where a directory must be, try just that: most are.
		var err error
		if !last || slash {
			if err = p.down(name); err == nil {
				rest = after
				continue
			}
		} else {
			err = ignoringEINTR(func() error { return unix.Fstatat(p.dir, name, &p.stat, unix.AT_SYMLINK_NOFOLLOW) })
			if err == unix.ENOENT && p.create {
				p.name, p.path, p.missing = name, p.join(name), true
				return nil
			}
			if err != nil {
				return err
			}
			if nofollow || !p.isLink() {
				p.name, p.path = name, p.join(name)
				return nil
			}
		}
		target, rerr := readlinkat(p.dir, name)
		if rerr != nil {
			if p.create && last && rerr == unix.ENOENT {
				return unix.EISDIR
			}
			if err == nil {
				err = rerr // the link has been replaced meanwhile
			}
			return err
		}
		if links++; links > maxLinks || p.ways&wire.WayNoLinks != 0 {
			return unix.ELOOP
		}
		if len(target)+len(after) >= maxPath {
			return unix.ENAMETOOLONG
		}
		if err := p.jump(target, true); err != nil {
			return err
		}
		rest = target + after
	}
}

// jump goes to where a path starts: if that is absolute, to the root.
func (p *place) jump(path string, link bool) error {
	switch {
	case !strings.HasPrefix(path, "/"):
		return nil
	case p.ways&wire.WayBeneath != 0:
		return unix.EXDEV
	case p.ways&wire.WayInRoot != 0:
		p.leave(p.floor)
		return nil
	}
	p.leave(0)
	p.floor = 0
	switch {
	case p.ways&wire.WayNoXDev == 0:
		return nil
	case link: // Linux does not look where the root is
		return unix.EXDEV
	}
	var err error
	p.mount, err = mountOf(p.dir, ".")
	return err
}

// sameMount is EXDEV if a name is on another file system than the walk has to stay on.
func (p *place) sameMount(name string) error {
	at, err := mountOf(p.dir, name)
	if err == nil && at != p.mount {
		err = unix.EXDEV
	}
	return err
}

// component splits the first name off a path; after begins with the slash behind it, if there is one.
func component(path string) (name, after string) {
	path = strings.TrimLeft(path, "/")
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, ""
}

// down goes into the directory name; ENOTDIR, or ELOOP, if it is a link.
func (p *place) down(name string) error {
	var fd int
	err := ignoringEINTR(func() (err error) {
		fd, err = unix.Openat(p.dir, name, openDir|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return err
	}
	p.dirs = append(p.dirs, level{fd, name})
	p.dir = fd
	if p.ways&wire.WayNoXDev != 0 {
		return p.sameMount(".")
	}
	return nil
}

// up goes to the directory that the walk came from: ".." of a directory that was moved might lie outside.
func (p *place) up() error {
	switch {
	case len(p.dirs) > p.floor || p.ways&(wire.WayBeneath|wire.WayInRoot) == 0:
		p.leave(max(len(p.dirs)-1, 0))
	case p.ways&wire.WayBeneath != 0:
		return unix.EXDEV
	}
	if p.ways&wire.WayNoXDev != 0 {
		return p.sameMount(".")
	}
	return nil
}

// leave goes up until n directories are left.
func (p *place) leave(n int) {
	for _, l := range p.dirs[n:] {
		unix.Close(l.fd)
	}
	p.dirs, p.dir = p.dirs[:n], p.root
	if n > 0 {
		p.dir = p.dirs[n-1].fd
	}
}

// self makes the directory that the walk has reached the place.
func (p *place) self() error {
	p.name, p.path = ".", p.join("")
	return ignoringEINTR(func() error { return unix.Fstat(p.dir, &p.stat) })
}

func (p *place) join(name string) string {
	var b strings.Builder
	for _, l := range p.dirs {
		b.WriteByte('/')
		b.WriteString(l.name)
	}
	if name != "" || b.Len() == 0 {
		b.WriteByte('/')
		b.WriteString(name)
	}
	return b.String()
}

func readlinkat(dir int, name string) (string, error) {
	buf := make([]byte, maxPath)
	var n int
	err := ignoringEINTR(func() (err error) {
		n, err = unix.Readlinkat(dir, name, buf)
		return err
	})
	if err != nil {
		return "", err
	}
	if n == 0 {
		return "", unix.ENOENT
	}
	return string(buf[:n]), nil
}

// ignoringEINTR repeats a call that a signal interrupts: Go's own preemption signals do on some file systems.
func ignoringEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
