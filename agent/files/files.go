package files

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/agent/wire"
)

// maxUnsized bounds a regular file that claims to be empty, in bytes: /proc and /sys are made of them, and some never end.
const maxUnsized = 4 << 20

// copyBuffer is what is read from a file at once, in bytes; streamBuffer joins headers and chunks to full frames.
const (
	copyBuffer   = 64 << 10
	streamBuffer = 32 << 10
)

var (
	copyBuffers   = sync.Pool{New: func() any { return new([copyBuffer]byte) }}
	streamBuffers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, streamBuffer) }}
)

// Do answers OpStat, OpAccess, OpReadlink, OpRealpath and OpStatfs. Errors are errnos. root may be nil.
func Do(root *os.File, req *wire.Request) (*wire.Reply, error) {
	nofollow := req.Op == wire.OpReadlink || req.Op == wire.OpStat && req.NoFollow
	p, err := find(root, req, nofollow)
	if err != nil {
		return nil, err
	}
	defer p.close()
	switch req.Op {
	case wire.OpStat:
		return &wire.Reply{Stat: stat(&p.stat), Path: reached(p, req)}, nil
	case wire.OpAccess:
		if req.Mode&^(unix.R_OK|unix.W_OK|unix.X_OK) != 0 {
			return nil, unix.EINVAL
		}
		// The name is no link; if it became one meanwhile, following it would tell something about a file outside.
		err := ignoringEINTR(func() error { return unix.Faccessat(p.dir, p.name, req.Mode, unix.AT_SYMLINK_NOFOLLOW) })
		return &wire.Reply{}, err
	case wire.OpReadlink:
		if !p.isLink() {
			return nil, unix.EINVAL
		}
		target, err := readlinkat(p.dir, p.name)
		return &wire.Reply{Path: target}, err
	case wire.OpRealpath:
		return &wire.Reply{Path: p.path}, nil
	case wire.OpStatfs:
		st, err := statfs(p)
		return &wire.Reply{Statfs: st}, err
	default:
		return nil, unix.ENOSYS
	}
}

// find resolves the path of a request.
func find(root *os.File, req *wire.Request, nofollow bool) (*place, error) {
	if req.From == "" {
		return resolve(root, req.Path, nofollow)
	}
	return resolveFrom(root, req.From, req.Path, nofollow, req.Ways)
}

// reached is where a relative path, or that of a directory, has led to, for the reply.
func reached(p *place, req *wire.Request) string {
	if req.From == "" && !p.isDir() {
		return ""
	}
	return p.path
}

// Open answers OpOpen on the stream: the reply, and after a success the body. An error is one that was not answered yet; it carries an errno. It
// returns early when the launcher closes its direction. root may be nil.
func Open(ctx context.Context, root *os.File, stream *links.Stream, req *wire.Request) error {
	f, st, path, err := open(root, req)
	if err == errLive {
		wire.WriteHeader(stream, &wire.Reply{Stat: stat(st), Path: path, Live: true})
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	ctx, stop := stream.Watch(ctx)
	defer stop()
	defer context.AfterFunc(ctx, func() { stream.SetWriteDeadline(time.Unix(1, 0)) })()

	w := streamBuffers.Get().(*bufio.Writer)
	w.Reset(stream)
	defer func() {
		w.Reset(nil)
		streamBuffers.Put(w)
	}()
	// From here on an error means that nobody listens any more.
	if wire.WriteHeader(w, &wire.Reply{Stat: stat(st), Path: path}) != nil {
		return nil
	}
	body := wire.NewBodyWriter(w)
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		err = list(body, f, st, root, req.Stats)
	} else {
		err = content(body, f, st.Size)
	}
	if err != nil {
		body.Fail(wire.ErrnoName(err))
	} else {
		body.Close()
	}
	w.Flush()
	return nil
}

// errLive says of a file that OpOpen is not the way to open it. The metadata come along.
var errLive = errors.New("a live file")

// open opens a regular file or a directory for reading, and says where the path has led to (reached). Nothing else is even opened: a FIFO would block, and a
// device may act.
func open(root *os.File, req *wire.Request) (_ *os.File, _ *unix.Stat_t, path string, err error) {
	p, err := find(root, req, req.NoFollow)
	if err != nil {
		return nil, nil, "", err
	}
	defer p.close()
	switch {
	case req.Dir && !p.isDir():
		return nil, nil, "", unix.ENOTDIR
	case p.isLink():
		return nil, nil, "", unix.ELOOP
	}
	if err := openable(&p.stat, req); err != nil {
		return nil, &p.stat, reached(p, req), err
	}
	var fd int
	err = ignoringEINTR(func() (err error) {
		fd, err = unix.Openat(p.dir, p.name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, nil, "", err
	}
	// The file may have been replaced since it was looked at.
	st := new(unix.Stat_t)
	if err = unix.Fstat(fd, st); err == nil {
		err = openable(st, req)
	}
	if err == nil && req.Live > 0 && st.Mode&unix.S_IFMT == unix.S_IFREG && grows(p.path, st, born(fd), time.Now()) {
		err = errLive
	}
	if err != nil {
		unix.Close(fd)
		return nil, st, reached(p, req), err
	}
	return os.NewFile(uintptr(fd), p.path), st, reached(p, req), nil
}

// Read returns the content of a regular file of at most limit bytes, or as much of a longer one. Errors are errnos.
func Read(root *os.File, path string, limit int64) ([]byte, error) {
	f, st, _, err := open(root, &wire.Request{Path: path})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, unix.EISDIR
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

func openable(st *unix.Stat_t, req *wire.Request) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return nil
	case unix.S_IFREG:
		if req.Live > 0 && st.Size > req.Live {
			return errLive
		}
		if req.Limit > 0 && st.Size > req.Limit {
			return unix.EFBIG
		}
		return nil
	case unix.S_IFSOCK:
		return unix.ENXIO
	default:
		if req.Live > 0 {
			return errLive
		}
		return unix.ENXIO
	}
}

// content sends a regular file up to the size that it had when it was opened. An end that comes earlier is the file's own: it has shrunk, or it is
// one of sysfs, which all claim a page.
func content(w io.Writer, f *os.File, size int64) error {
	limit := size
	if size == 0 {
		limit = maxUnsized
	}
	buf := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buf)
	for left := limit; left > 0; {
		n, err := f.Read(buf[:min(left, copyBuffer)])
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			left -= int64(n)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	if size == 0 {
		if n, _ := f.Read(buf[:]); n > 0 { // of as much as before: some take no less than a word
			return unix.EFBIG
		}
	}
	return nil
}
