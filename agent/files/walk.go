// Package files serves the target's files for reading: paths are resolved inside the target's root as chroot would, and nothing outside can be reached.
package files

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
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
}

type level struct {
	fd   int
	name string
}

func (p *place) close() {
	for _, l := range p.dirs {
		unix.Close(l.fd)
	}
	p.dirs = nil
}

func (p *place) isDir() bool  { return p.stat.Mode&unix.S_IFMT == unix.S_IFDIR }
func (p *place) isLink() bool { return p.stat.Mode&unix.S_IFMT == unix.S_IFLNK }

// resolve walks path, component by component from root, each opened below its parent without following links; a link's target is walked in its stead,
// an absolute one from root again, and ".." goes up at most to root. So whatever changes meanwhile, the walk never leaves root. With nofollow a
// link at the end is the place itself, unless a slash follows. Errors are errnos; on success the caller closes the place.
func resolve(root *os.File, path string, nofollow bool) (*place, error) {
	return walk(root, path, nofollow, false)
}

// walk is resolve; with create a name that is missing in a directory that is there is a place, too. A slash behind that is EISDIR.
func walk(root *os.File, path string, nofollow, create bool) (_ *place, err error) {
	switch {
	case root == nil:
		return nil, unix.ENOENT
	case len(path) >= maxPath:
		return nil, unix.ENAMETOOLONG
	case !strings.HasPrefix(path, "/"), strings.Contains(path, "\x00"):
		return nil, unix.ENOENT
	}
	rootFD := int(root.Fd())
	p := &place{dir: rootFD}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	rest, links := path, 0
	for {
		name, after := component(rest)
		last, slash := strings.Trim(after, "/") == "", after != ""
		switch name {
		case "", ".":
			if last {
				return p, p.self(rootFD)
			}
			rest = after
			continue
		case "..":
			p.up(rootFD)
			rest = after
			continue
		}
		// Where a directory must be, try just that: most are.
		if !last || slash {
			if err = p.down(name); err == nil {
				rest = after
				continue
			}
		} else {
			err = ignoringEINTR(func() error { return unix.Fstatat(p.dir, name, &p.stat, unix.AT_SYMLINK_NOFOLLOW) })
			if err == unix.ENOENT && create {
				p.name, p.path, p.missing = name, p.join(name), true
				return p, nil
			}
			if err != nil {
				return nil, err
			}
			if nofollow || !p.isLink() {
				p.name, p.path = name, p.join(name)
				return p, nil
			}
		}
		target, rerr := readlinkat(p.dir, name)
		if rerr != nil {
			if create && last && rerr == unix.ENOENT {
				return nil, unix.EISDIR
			}
			if err == nil {
				err = rerr // the link has been replaced meanwhile
			}
			return nil, err
		}
		if links++; links > maxLinks {
			return nil, unix.ELOOP
		}
		if len(target)+len(after) >= maxPath {
			return nil, unix.ENAMETOOLONG
		}
		if strings.HasPrefix(target, "/") {
			p.close()
			p.dir = rootFD
		}
		rest = target + after
		err = nil
	}
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
	return nil
}

// up goes to the directory that the walk came from: ".." of a directory that was moved might lie outside.
func (p *place) up(rootFD int) {
	if n := len(p.dirs); n > 0 {
		unix.Close(p.dirs[n-1].fd)
		p.dirs = p.dirs[:n-1]
	}
	p.dir = rootFD
	if n := len(p.dirs); n > 0 {
		p.dir = p.dirs[n-1].fd
	}
}

// self makes the directory that the walk has reached the place.
func (p *place) self(rootFD int) error {
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
