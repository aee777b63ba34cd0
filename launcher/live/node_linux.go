package live

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
)

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
