// Package overlay lays what a session writes over the files of its target, which do not change: a file is copied before it is first written, what is
// removed is hidden, and a listing shows both. What it says of a path, and the errno of each change, are those that one file system would give.
//
// Its folder holds real files, of which it hands out descriptors: "upper" has what was written, where it belongs; "hidden" has, for each path of the target that is
// covered with all below it, a file in the same place. So a folder in upper shows the target's as well, unless its path is hidden. Both can be kept and used again.
//
// Like overlayfs it moves no folder of the target (EXDEV: programs copy then), a descriptor that was opened before its file was first written keeps what it had, and a
// file that is copied gets another identity. It asks for no rights in the target but reading.
package overlay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
)

// Lower is whose files lie below; a *links.Link is one. It is called from many goroutines.
type Lower interface {
	Do(context.Context, *wire.Request) (*wire.Reply, error)
	Open(context.Context, *wire.Request) (*wire.Reply, io.ReadCloser, error)
}

// Overlay is one such file system. All methods are safe for concurrent use; errors are errnos, or the Lower's.
type Overlay struct {
	lower     Lower
	dir       string
	temporary bool        // dir ends with this
	lock      *os.File    // of dir; nil where the file system has no locks
	used      atomic.Bool // something was written, now or before

	mu sync.RWMutex // held for writing by what changes anything

	plainMu sync.Mutex
	plain   map[string]time.Time // paths that were folders of the target, reached without links, and when
}

// New opens the overlay in a folder of this machine, which is made if need be; dir is absolute. While another process uses it, that is an error.
func New(dir string, lower Lower) (_ *Overlay, err error) {
	o := &Overlay{lower: lower, dir: dir, plain: map[string]time.Time{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if o.lock, err = take(dir); errors.Is(err, errTaken) {
		return nil, fmt.Errorf("%s: %w\nhint: `mirrord session ls` lists the sessions that are running", dir, err)
	}
	defer func() {
		if err != nil {
			o.lock.Close()
		}
	}()
	if err := os.RemoveAll(o.work("")); err != nil { // what a session that was killed has left
		return nil, err
	}
	for _, part := range []string{o.upper(""), o.hidden(""), o.work("")} {
		if err := os.MkdirAll(part, 0o700); err != nil {
			return nil, err
		}
		entries, err := os.ReadDir(part)
		if err != nil {
			return nil, err
		}
		if len(entries) > 0 {
			o.used.Store(true)
		}
	}
	return o, nil
}

// Used reports whether anything was ever written: else all is as in the target.
func (o *Overlay) Used() bool { return o.used.Load() }

func (o *Overlay) upper(p string) string  { return o.dir + "/upper" + p }
func (o *Overlay) hidden(p string) string { return o.dir + "/hidden" + p }
func (o *Overlay) work(p string) string   { return o.dir + "/work" + p }

// Do answers OpStat, OpAccess, OpReadlink, OpRealpath, OpStatfs and OpChange as an agent does.
func (o *Overlay) Do(ctx context.Context, req *wire.Request) (*wire.Reply, error) {
	if req.Op == wire.OpChange {
		return &wire.Reply{}, o.change(ctx, req.Path, req.Change)
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	s, err := o.look(ctx, req.Path, following(req.Op == wire.OpReadlink || req.Op == wire.OpStat && req.NoFollow))
	if err != nil {
		return nil, err
	}
	switch req.Op {
	case wire.OpStat:
		return &wire.Reply{Stat: s.stat()}, nil
	case wire.OpReadlink:
		if s.kind() != unix.S_IFLNK {
			return nil, unix.EINVAL
		}
		return &wire.Reply{Path: s.target}, nil
	case wire.OpRealpath:
		return &wire.Reply{Path: s.path}, nil
	case wire.OpAccess:
		return &wire.Reply{}, o.access(ctx, s, req.Mode)
	case wire.OpStatfs: // of what holds that which is written
		st, err := statfs(o.dir)
		return &wire.Reply{Statfs: st}, err
	}
	return nil, unix.ENOSYS
}

// look is walk to something that is there, with all that is known of it.
func (o *Overlay) look(ctx context.Context, p string, how follow) (*spot, error) {
	s, err := o.walk(ctx, p, how)
	if err == nil {
		err = s.must()
	}
	if err == nil && s.sketchy && (s.upper == nil || s.dir == nil) {
		err = o.complete(ctx, s)
	}
	if err != nil {
		return nil, err
	}
	if s.dir == nil && s.lower != nil { // the root is the target's, whatever holds ours
		s.upper = nil
	}
	return s, nil
}

// access is access(2). What the target lets be read may be written here, unless it is marked as read-only.
func (o *Overlay) access(ctx context.Context, s *spot, mode uint32) error {
	switch {
	case mode&^(unix.R_OK|unix.W_OK|unix.X_OK) != 0:
		return unix.EINVAL
	case s.upper != nil:
		return unix.Access(o.upper(s.path), mode)
	case mode&unix.W_OK != 0 && !s.isDir() && s.lower.Mode&0o222 == 0 && os.Geteuid() != 0:
		return unix.EACCES
	}
	if mode &^= unix.W_OK; mode == 0 {
		return nil
	}
	_, err := o.lower.Do(ctx, &wire.Request{Op: wire.OpAccess, Path: s.path, Mode: mode})
	return err
}

// Open answers OpOpen as an agent does: with the entries of a folder, without their metadata, or with what a file holds.
func (o *Overlay) Open(ctx context.Context, req *wire.Request) (*wire.Reply, io.ReadCloser, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	s, err := o.look(ctx, req.Path, following(req.NoFollow))
	switch {
	case err != nil:
		return nil, nil, err
	case req.Dir && !s.isDir():
		return nil, nil, unix.ENOTDIR
	case s.upper != nil && s.kind() == unix.S_IFREG:
		f, err := os.Open(o.upper(s.path))
		if err != nil {
			return nil, nil, errnoOf(err)
		}
		return &wire.Reply{Stat: s.upper}, f, nil
	case s.upper != nil && !s.isDir():
		return nil, nil, unix.ENXIO
	case !s.isDir():
		below := *req
		below.Path = s.path
		return o.lower.Open(ctx, &below)
	}
	st := s.stat()
	if s.dir == nil {
		if s, err = o.root(); err != nil {
			return nil, nil, err
		}
	}
	list, err := o.list(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	var packed []byte
	for _, e := range list {
		packed = wire.AppendEntry(packed, e)
	}
	return &wire.Reply{Stat: st}, io.NopCloser(bytes.NewReader(packed)), nil
}

// list is the entries of a folder, "." and ".." first.
func (o *Overlay) list(ctx context.Context, s *spot) (list []wire.Entry, err error) {
	const folder = unix.S_IFDIR >> 12
	above := s
	if s.dir != nil {
		above = s.dir
	}
	seen := map[string]bool{".": true, "..": true}
	list = []wire.Entry{{Ino: s.stat().Ino, Kind: folder, Name: []byte(".")}, {Ino: above.stat().Ino, Kind: folder, Name: []byte("..")}}
	if s.upper != nil {
		names, err := os.ReadDir(o.upper(s.path))
		if err != nil {
			return nil, errnoOf(err)
		}
		for _, n := range names {
			st, _, err := lstat(filepath.Join(o.upper(s.path), n.Name()))
			if err != nil {
				return nil, err
			}
			seen[n.Name()] = true
			list = append(list, wire.Entry{Ino: st.Ino, Kind: uint8(st.Mode & unix.S_IFMT >> 12), Name: []byte(n.Name())})
		}
	}
	if s.lower == nil {
		return list, nil
	}
	_, body, err := o.lower.Open(ctx, &wire.Request{Op: wire.OpOpen, Path: s.path, Dir: true, NoFollow: true})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	raw, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	for len(raw) > 0 {
		var e wire.Entry
		if e, raw, err = wire.ReadEntry(raw); err != nil {
			return nil, unix.EIO
		}
		if name := string(e.Name); !seen[name] && o.mark(path.Join(s.path, name)) == unmarked {
			e.Stat, e.Target = nil, nil
			list = append(list, e)
		}
	}
	return list, nil
}

// empty is nil for a folder without entries.
func (o *Overlay) empty(ctx context.Context, s *spot) error {
	list, err := o.list(ctx, s)
	if err == nil && len(list) > 2 {
		return unix.ENOTEMPTY
	}
	return err
}

// isMissing says that an error of the Lower's means that nothing is there.
func isMissing(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) }

// errnoOf is the errno in an error of package os.
func errnoOf(err error) error {
	var e unix.Errno
	if errors.As(err, &e) {
		return e
	}
	return err
}
