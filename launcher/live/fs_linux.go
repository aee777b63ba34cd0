package live

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/agent/wire"
)

// FS is a file system without a place in any folder. All methods are safe for concurrent use.
type FS struct {
	link     *links.Link
	device   *os.File // /dev/fuse
	opener   *opener
	uid, gid uint32 // whom its files belong to
	serving  sync.WaitGroup
	closing  context.Context // ends with Close
	close    context.CancelFunc
	kept     atomic.Int64 // bytes read ahead

	mu     sync.Mutex
	last   uint64 // the ids so far: of nodes and files
	nodes  map[uint64]*node
	opened map[identity]*node // those that have an open file
	wrote  written
	files  map[uint64]*file
	asking map[uint64]*asked // the kernel's requests that are being answered
}

// asked is a request that is being answered.
type asked struct {
	cancel context.CancelFunc
	waits  bool // it may wait for as long as it likes
}

// New gives a file system for the files of a link's target. dir is a folder of this user's for the moment in which it may need one. Without a way to have one in
// this system the error wraps ErrNone, and says why.
func New(link *links.Link, dir string) (*FS, error) {
	device, root, err := mount(dir)
	if err != nil {
		return nil, err
	}
	return newFS(link, device, root)
}

func newFS(link *links.Link, device *os.File, root int) (*FS, error) {
	fs := &FS{link: link, device: device, uid: uint32(os.Getuid()), gid: uint32(os.Getgid()), last: firstID,
		nodes: map[uint64]*node{}, opened: map[identity]*node{}, files: map[uint64]*file{}, asking: map[uint64]*asked{}}
	fs.closing, fs.close = context.WithCancel(context.Background())
	var err error
	if fs.opener, err = newOpener(fs.closing, root); err != nil {
		fs.close()
		device.Close()
		return nil, err
	}
	fs.serving.Go(fs.serve)
	fs.prime()
	return fs, nil
}

// prime has the kernel find out that nothing is done here for who polls and who closes a file. Else a process that ends would wait for an answer to its closing, and if that
// is this one, for ever; and a Go program that opens a file of its own waits for itself: its poller is locked while the kernel asks.
func (fs *FS) prime() {
	fd, err := fs.opener.open(first, unix.O_RDONLY)
	if err == nil {
		unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		unix.Close(fd)
	}
}

// Close ends all that goes on. Who still has a descriptor gets ENOTCONN from then on.
func (fs *FS) Close() error {
	fs.close()
	err := fs.device.Close() // and so whoever opens or reads comes back
	err = errors.Join(err, fs.opener.close())
	fs.serving.Wait()
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, f := range fs.files {
		f.end()
	}
	for _, n := range fs.nodes {
		for _, f := range n.pending {
			f.end()
		}
	}
	return err
}

// tagged is how the descriptors' names begin; a number follows, and what the kernel puts behind the name of a file that is gone.
const (
	first  = "first" // the name of a file of this package's own
	tagged = "mirrord:l:"
	gone   = " (deleted)"
)

// Open opens a file in the pod, with flags and mode as wire.OpFile has them, and returns a descriptor for it. What does not belong to the pod's file (O_CLOEXEC)
// is the caller's to set. Errors are errnos.
func (fs *FS) Open(ctx context.Context, path string, flags, mode uint32) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(fs.closing, cancel)()
	r, err := openRemote(ctx, fs.link, path, flags, mode)
	if err != nil {
		return -1, errnoOf(err)
	}
	n := fs.adopt(path, r)
	how := int(flags&(wire.OpenAccess|wire.OpenAppend|wire.OpenNonblock)) | unix.O_NOCTTY
	fd, err := fs.opener.open(tagged+strconv.FormatUint(n.id, 10)+gone, how)
	if err != nil {
		if f := n.take(flags); f != nil {
			fs.release(f)
		}
		return -1, err
	}
	return fd, nil
}

// adopt makes a file that was opened in the pod one that the kernel may open.
func (fs *FS) adopt(path string, r *remote) *node {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	key := identity{r.first.Dev, r.first.Ino}
	n := fs.opened[key]
	if n == nil {
		fs.last++
		n = &node{fs: fs, id: fs.last, path: path, stat: r.first, at: time.Now(), files: map[*file]struct{}{}}
		fs.nodes[n.id], fs.opened[key] = n, n
	} else {
		n.heard(r.first, time.Now())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if r.req.Flags&wire.OpenAccess != wire.OpenRead {
		n.writable = true
		fs.wrote.opened(key)
	}
	n.pending = append(n.pending, fs.file(n, r))
	return n
}

func (fs *FS) file(n *node, r *remote) *file {
	f := &file{node: n, remote: r}
	f.ahead.fetch, f.ahead.state, f.ahead.kept = f.fetch, n.state, &fs.kept
	r.heard = n.heard
	return f
}

func (f *file) end() {
	f.ahead.changed()
	f.remote.close()
}

// release ends a file that has no descriptor any more.
func (fs *FS) release(f *file) {
	f.end()
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n := f.node
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.files, f)
	if f.writes() && !slices.ContainsFunc(append(slices.Collect(maps.Keys(n.files)), n.pending...), (*file).writes) {
		fs.wrote.closed(n.identity(), time.Now())
	}
	if len(n.files)+len(n.pending) > 0 {
		return
	}
	// The next one to be opened may be another file with the same number.
	if fs.opened[n.identity()] == n {
		delete(fs.opened, n.identity())
	}
	if n.lookups == 0 {
		delete(fs.nodes, n.id)
	}
}

// Stat is what the pod says of the file whose descriptor's name ends in this number. Errors are errnos.
func (fs *FS) Stat(ctx context.Context, number string) (*wire.Stat, error) {
	id, err := strconv.ParseUint(strings.TrimSuffix(number, gone), 10, 64)
	fs.mu.Lock()
	n := fs.nodes[id]
	fs.mu.Unlock()
	if err != nil || n == nil {
		return nil, unix.EBADF
	}
	return n.fresh(ctx)
}

// node is a file of the pod that is open, as often as it may be: what one descriptor writes another one reads at once.
type node struct {
	fs   *FS
	id   uint64
	path string

	mu       sync.Mutex
	stat     *wire.Stat
	at       time.Time // when what stat says was asked for
	version  int64
	writable bool // it was opened for writing, so that it may be opened so again
	files    map[*file]struct{}
	pending  []*file // opened in the pod, not yet here
	lookups  uint64  // that the kernel remembers
}

// file is an open file.
type file struct {
	node   *node
	remote *remote
	ahead  ahead
}

// identity is what makes two open files the same one.
type identity struct{ dev, ino uint64 }

func (n *node) identity() identity { return identity{n.stat.Dev, n.stat.Ino} }

// heard is told what the pod has said of the file.
func (n *node) heard(st *wire.Stat, asked time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if asked.Before(n.at) {
		return
	}
	if st.Mtime != n.stat.Mtime || st.Size != n.stat.Size {
		n.version++
	}
	n.stat, n.at = st, asked
}

func (n *node) state() (size, version int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stat.Size, n.version
}

// fresh is what the pod says of the file now, or has said lately; when it cannot be asked any more, what it said last.
func (n *node) fresh(ctx context.Context) (*wire.Stat, error) {
	n.mu.Lock()
	st, at := n.stat, n.at
	var f *file
	for f = range n.files {
		break
	}
	if f == nil && len(n.pending) > 0 {
		f = n.pending[0]
	}
	n.mu.Unlock()
	if f == nil || time.Since(at) < maxAge {
		return st, nil
	}
	reply, err := f.remote.call(ctx, wire.FileRequest{Op: wire.FileStat})
	if err != nil {
		return nil, err
	}
	if reply.Stat == nil {
		return nil, unix.EIO
	}
	return reply.Stat, nil
}

// changed is called after a change that was made here.
func (n *node) changed() {
	n.mu.Lock()
	n.version++
	files := slices.Collect(maps.Keys(n.files))
	n.mu.Unlock()
	for _, f := range files {
		f.ahead.changed()
	}
}

// take gives out a file that was opened in the pod with these flags.
func (n *node) take(flags uint32) *file {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, f := range n.pending {
		if (f.remote.req.Flags^flags)&(wire.OpenAccess|wire.OpenAppend) == 0 {
			n.pending = append(n.pending[:i:i], n.pending[i+1:]...)
			n.files[f] = struct{}{}
			return f
		}
	}
	return nil
}

func (f *file) read(ctx context.Context, offset, length int64, nonblock bool) ([]byte, error) {
	if f.remote.kind != 0 {
		req := wire.FileRequest{Op: wire.FileRead, Offset: offset, Length: length}
		if f.remote.kind&wire.FileStream != 0 {
			req.Offset = 0
			if nonblock {
				req.How = 1
			}
		}
		reply, err := f.remote.call(ctx, req)
		if err != nil {
			return nil, err
		}
		return reply.Data, nil
	}
	return f.ahead.read(ctx, offset, length)
}

// fetch reads a part of a file that has offsets.
func (f *file) fetch(ctx context.Context, lane int, offset, length int64) ([]byte, error) {
	reply, err := f.remote.callOn(ctx, lane, wire.FileRequest{Op: wire.FileRead, Offset: offset, Length: length})
	if err != nil {
		return nil, err
	}
	return reply.Data, nil
}

func (f *file) write(ctx context.Context, offset int64, data []byte, nonblock bool) (int64, error) {
	req := wire.FileRequest{Op: wire.FileWrite, Offset: offset, Data: data}
	if nonblock && f.remote.kind&wire.FileStream != 0 {
		req.How = 1
	}
	reply, err := f.remote.call(ctx, req)
	if err != nil {
		return 0, err
	}
	f.node.changed()
	return min(max(reply.Offset, 0), int64(len(data))), nil
}
