package snapshot

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"mirrord/agent/wire"
)

// each looks at every entry of a folder, in the order of their names.
func (f *files) each(dir string, do func(p string, n *node) error) error {
	entries, errno, err := f.list(dir)
	if err != nil {
		return err
	}
	if errno != "" {
		f.leave(dir, "its entries: "+errno)
	}
	for i := range entries {
		p := path.Join(dir, string(entries[i].Name))
		n, err := f.look(p, &entries[i])
		if err == nil {
			err = do(p, n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// list reads a folder, without "." and "..". errno is what ended it early.
func (f *files) list(dir string) (entries []wire.Entry, errno string, err error) {
	_, body, err := f.link.Open(f.ctx, &wire.Request{Op: wire.OpOpen, Path: dir, Dir: true, NoFollow: true, Stats: true})
	var refused *wire.Error
	if errors.As(err, &refused) {
		return nil, refused.Errno, nil
	} else if err != nil {
		return nil, "", err
	}
	defer body.Close()
	defer context.AfterFunc(f.ctx, func() { body.Close() })()
	const longest = 32 + 14*10 + wire.MaxName + wire.MaxTarget // of an entry in packed form, in bytes
	var raw bytes.Buffer
	for ended := false; !ended || raw.Len() > 0; {
		for !ended && raw.Len() < longest {
			_, err := io.CopyN(&raw, body, longest)
			switch {
			case err == io.EOF:
				ended = true
			case errors.As(err, &refused):
				ended, errno = true, refused.Errno
			case err != nil:
				return nil, "", cmp.Or(context.Cause(f.ctx), err)
			}
		}
		if raw.Len() == 0 {
			break
		}
		e, rest, err := wire.ReadEntry(raw.Bytes())
		if err != nil {
			return nil, "", err
		}
		name := string(e.Name)
		if strings.ContainsAny(name, "/\x00") {
			return nil, "", fmt.Errorf("%w: an entry's name", wire.ErrMalformed)
		}
		if name != "." && name != ".." {
			e.Name, e.Target = bytes.Clone(e.Name), bytes.Clone(e.Target)
			entries = append(entries, e)
		}
		raw.Next(raw.Len() - len(rest))
		if len(entries) > maxEntries {
			return entries, "", nil // look says so
		}
	}
	slices.SortFunc(entries, func(a, b wire.Entry) int { return bytes.Compare(a.Name, b.Name) })
	return entries, errno, nil
}

// copyAll copies the files that are planned, and then makes modes and times what they are in the pod.
func (f *files) copyAll() error {
	var mu sync.Mutex // of f
	var room atomic.Int64
	room.Store(f.budget)
	if err := parallelly(f.ctx, f.jobs, func(ctx context.Context, p string) error {
		n := f.nodes[p]
		size, why, err := f.copy(ctx, p, n, &room)
		mu.Lock()
		defer mu.Unlock()
		if why != "" {
			n.kept = false
			f.leave(p, why)
		} else if err == nil {
			f.count, f.bytes = f.count+1, f.bytes+size
		}
		return err
	}); err != nil {
		return err
	}
	// The deepest first: what is made in a folder changes its time.
	for _, p := range slices.Backward(slices.Sorted(maps.Keys(f.nodes))) {
		if n := f.nodes[p]; n.kept && n.kind != isLink {
			if err := f.dress(p, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// errNoRoom says that a file grew beyond what may be recorded.
var errNoRoom = errors.New("no room")

// copy copies one file. why is the reason if it is left out; then nothing of it remains.
func (f *files) copy(ctx context.Context, p string, n *node, room *atomic.Int64) (size int64, why string, err error) {
	_, body, err := f.link.Open(ctx, &wire.Request{Op: wire.OpOpen, Path: p, NoFollow: true})
	var refused *wire.Error
	if errors.As(err, &refused) {
		return 0, refused.Errno, nil
	} else if err != nil {
		return 0, "", err
	}
	defer body.Close()
	defer context.AfterFunc(ctx, func() { body.Close() })()
	out, err := f.root.OpenFile(p[1:], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, unusable(err), f.fatal(err)
	}
	from := &source{body: body, planned: n.stat.Size, room: room}
	size, err = io.Copy(out, from)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	switch {
	case err == nil:
		return size, "", nil
	case errors.Is(err, errNoRoom):
		why = "it has grown beyond what --max-size leaves"
	case from.failed && errors.As(err, &refused):
		why = "reading it: " + refused.Errno
	default:
		return 0, "", cmp.Or(context.Cause(ctx), err)
	}
	room.Add(from.taken)
	return 0, why, f.root.Remove(p[1:])
}

// source reads a body. What is beyond the size that was planned takes from the room.
type source struct {
	body    io.Reader
	planned int64
	room    *atomic.Int64
	taken   int64 // from the room
	failed  bool  // the error came from here
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	s.planned -= int64(n)
	if s.planned < 0 {
		if s.taken -= s.planned; s.room.Add(s.planned) < 0 {
			n, err = 0, errNoRoom
		}
		s.planned = 0
	}
	s.failed = err != nil && err != io.EOF
	return n, err
}

// dress gives a file or folder the pod's mode and time. Its owner can always read it, and change folders.
func (f *files) dress(p string, n *node) error {
	mode := os.FileMode(n.stat.Mode&0o777) | 0o600
	if n.kind == isDir {
		mode |= 0o700
	}
	name := p[1:]
	if name == "" {
		name, mode = ".", 0o700
	}
	at := time.Unix(0, n.stat.Mtime)
	return errors.Join(f.root.Chmod(name, mode), f.root.Chtimes(name, at, at))
}

// local lists a path that this machine's file system cannot have; other errors end the snapshot.
func (f *files) local(p string, err error) error {
	if why := unusable(err); why != "" {
		f.leave(p, why)
	}
	return f.fatal(err)
}

// unusable is the reason if a name is at fault: one that is too long here, or that is another's here.
func unusable(err error) string {
	for _, errno := range []syscall.Errno{syscall.EEXIST, syscall.ENAMETOOLONG, syscall.EILSEQ, syscall.EINVAL, syscall.ENOTDIR, syscall.ELOOP} {
		if errors.Is(err, errno) {
			return "this machine cannot have a file of that name: " + errno.Error()
		}
	}
	return ""
}

func (f *files) fatal(err error) error {
	if err == nil || unusable(err) != "" {
		return nil
	}
	return fmt.Errorf("cannot write the snapshot: %w", err)
}
