package overlay

import (
	"context"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
)

const (
	maxLinks = 40 // that one path may pass, as in Linux's namei
	maxPath  = 4096
	maxName  = 255
	// plainLife is how long a folder of the target is taken for one; so old may what is said of its files be anyway.
	plainLife = time.Second
	maxPlain  = 10_000
)

// spot is where a path leads: something, or a name in a folder where something may be made.
type spot struct {
	dir     *spot // the folder that it is in; of the root itself nil
	path    string
	long    bool       // the last name is longer than any can be
	odd     string     // the path's last name, if that was "/", "." or ".."
	slash   bool       // the path had a slash at its end
	upper   *wire.Stat // what was written there
	lower   *wire.Stat // what the target has there and is not covered
	sketchy bool       // lower is only known to be a folder
	target  string     // of a link
}

func (s *spot) stat() *wire.Stat {
	if s.upper != nil {
		return s.upper
	}
	return s.lower
}

func (s *spot) kind() uint32 {
	if st := s.stat(); st != nil {
		return st.Mode & unix.S_IFMT
	}
	return 0
}

func (s *spot) isDir() bool { return s.kind() == unix.S_IFDIR }

// must is an errno if nothing is there, or no folder although a slash asks for one.
func (s *spot) must() error {
	switch {
	case s.long:
		return unix.ENAMETOOLONG
	case s.stat() == nil:
		return unix.ENOENT
	case s.slash && !s.isDir():
		return unix.ENOTDIR
	}
	return nil
}

// follow says whether a link at a path's end is followed.
type follow int

const (
	alwaysFollow follow = iota
	followSlash         // only if a slash follows
	neverFollow
)

func following(noFollow bool) follow {
	if noFollow {
		return followSlash
	}
	return alwaysFollow
}

// walk finds where a path leads. What is on the way must be there.
func (o *Overlay) walk(ctx context.Context, p string, how follow) (*spot, error) {
	switch {
	case len(p) >= maxPath:
		return nil, unix.ENAMETOOLONG
	case !strings.HasPrefix(p, "/"), strings.Contains(p, "\x00"):
		return nil, unix.ENOENT
	}
	o.foresee(ctx, p)
	at, err := o.root()
	if err != nil {
		return nil, err
	}
	rest, links := p, 0
	for {
		rest = strings.TrimLeft(rest, "/")
		name, after := rest, ""
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			name, after = rest[:i], rest[i:]
		}
		last, slash := strings.Trim(after, "/") == "", after != ""
		if name == "" || name == "." || name == ".." {
			if name == ".." && at.dir != nil {
				at = at.dir
			}
			if last {
				self := *at
				self.slash = false
				if self.odd = name; name == "" {
					self.odd = "/"
				}
				return &self, nil
			}
			rest = after
			continue
		}
		s, err := o.find(ctx, at, name, last)
		if err != nil {
			return nil, err
		}
		s.slash = slash
		if s.kind() == unix.S_IFLNK && (!last || how == alwaysFollow || how == followSlash && slash) {
			if links++; links > maxLinks {
				return nil, unix.ELOOP
			}
			if len(s.target)+len(after) >= maxPath {
				return nil, unix.ENAMETOOLONG
			}
			if strings.HasPrefix(s.target, "/") {
				if at, err = o.root(); err != nil {
					return nil, err
				}
			}
			rest = s.target + after
			continue
		}
		if last {
			return s, nil
		}
		if s.stat() == nil {
			return nil, unix.ENOENT
		}
		if !s.isDir() {
			return nil, unix.ENOTDIR
		}
		at, rest = s, after
	}
}

func (o *Overlay) root() (*spot, error) {
	up, _, err := lstat(o.upper(""))
	if err != nil {
		return nil, err
	}
	return &spot{path: "/", upper: up, lower: &wire.Stat{Mode: unix.S_IFDIR | 0o755}, sketchy: true}, nil
}

// find looks for a name in a folder; last is false when only a folder, or a link, will do.
func (o *Overlay) find(ctx context.Context, dir *spot, name string, last bool) (*spot, error) {
	s := &spot{dir: dir, path: path.Join(dir.path, name), long: len(name) > maxName}
	if s.long && last { // the kernel sees that only after what else the call names
		return s, nil
	}
	if s.long {
		return nil, unix.ENAMETOOLONG
	}
	if dir.upper != nil {
		up, target, err := lstat(o.upper(s.path))
		if err != nil && err != unix.ENOENT {
			return nil, err
		}
		s.upper, s.target = up, target
	}
	switch covered := dir.lower == nil || o.mark(s.path) != unmarked; {
	case covered, s.upper != nil && !s.isDir():
	case s.upper != nil, !last && o.isPlain(s.path): // of a folder that shows the target's too
		s.lower, s.sketchy = &wire.Stat{Mode: unix.S_IFDIR | 0o755}, true
	default:
		return s, o.complete(ctx, s)
	}
	return s, nil
}

// complete asks the target about a spot.
func (o *Overlay) complete(ctx context.Context, s *spot) error {
	r, err := o.lower.Do(ctx, &wire.Request{Op: wire.OpStat, Path: s.path, NoFollow: true})
	switch {
	case err != nil && isMissing(err):
		s.lower, s.sketchy = nil, false
		return nil
	case err != nil:
		return err
	case r.Stat == nil:
		return unix.EIO
	}
	s.lower, s.sketchy = r.Stat, false
	if s.kind() == unix.S_IFLNK {
		if r, err = o.lower.Do(ctx, &wire.Request{Op: wire.OpReadlink, Path: s.path}); err != nil {
			return err
		}
		s.target = r.Path
	}
	return nil
}

// foresee asks the target about all folders of a path at once: mostly none of them is a link.
func (o *Overlay) foresee(ctx context.Context, p string) {
	dir := path.Dir(path.Clean(p))
	if dir == "/" || o.isPlain(dir) {
		return
	}
	r, err := o.lower.Do(ctx, &wire.Request{Op: wire.OpRealpath, Path: dir + "/."})
	if err != nil || r.Path != dir {
		return
	}
	now := time.Now()
	o.plainMu.Lock()
	defer o.plainMu.Unlock()
	if len(o.plain) >= maxPlain {
		o.plain = map[string]time.Time{}
	}
	for ; dir != "/"; dir = path.Dir(dir) {
		o.plain[dir] = now
	}
}

func (o *Overlay) isPlain(dir string) bool {
	o.plainMu.Lock()
	defer o.plainMu.Unlock()
	at, ok := o.plain[dir]
	return ok && time.Since(at) < plainLife
}
