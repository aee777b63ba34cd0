package live

import (
	"context"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
)

// serve answers the kernel until the device is closed.
func (fs *FS) serve() {
	raw, err := fs.device.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, maxRequest+8192)
	for {
		var n int
		rerr := raw.Read(func(fd uintptr) bool {
			n, err = unix.Read(int(fd), buf)
			return err != unix.EAGAIN
		})
		switch {
		case rerr == nil && (err == unix.ENOENT || err == unix.EINTR): // a request that is not wanted any more
			continue
		case rerr != nil || err != nil:
			return
		}
		r, ok := parse(buf[:n])
		if !ok {
			return
		}
		fs.take(r)
	}
}

// slowTime is how long what a signal interrupts may go on: a file answers a program, also one that has just been sent a signal, but nobody waits for ever.
const slowTime = time.Second

// take answers a request, in a goroutine of its own if it is not done at once.
func (fs *FS) take(r request) {
	switch r.op {
	case opInit:
		fs.reply(appendInit(header(r.unique, 64, 0), r.u32(8), r.u32(12)))
	case opForget:
		fs.forget(r.node, r.u64(0))
	case opBatchForget:
		for i := range int(r.u32(0)) {
			fs.forget(r.u64(8+16*i), r.u64(16+16*i))
		}
	case opInterrupt:
		fs.interrupt(r.u64(0))
	case opLookup:
		body, err := fs.lookup(&r)
		fs.answer(r.unique, body, err)
	default:
		r.body = append([]byte(nil), r.body...)
		ctx, cancel := context.WithCancel(fs.closing)
		a := &asked{cancel: cancel, waits: fs.waits(&r)}
		fs.mu.Lock()
		fs.asking[r.unique] = a
		fs.mu.Unlock()
		fs.serving.Go(func() {
			defer cancel()
			body, err := fs.handle(ctx, &r)
			fs.mu.Lock()
			delete(fs.asking, r.unique)
			fs.mu.Unlock()
			fs.answer(r.unique, body, err)
		})
	}
}

func (fs *FS) waits(r *request) bool {
	f := fs.handleOf(r)
	return f != nil && f.remote.kind&wire.FileStream != 0
}

func (fs *FS) interrupt(unique uint64) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	switch a := fs.asking[unique]; {
	case a == nil:
	case a.waits:
		a.cancel()
	default:
		time.AfterFunc(slowTime, a.cancel)
	}
}

func (fs *FS) answer(unique uint64, body []byte, err error) {
	switch {
	case err != nil:
		fs.reply(header(unique, 0, errnoOf(err)))
	case len(body) == 0:
		fs.reply(header(unique, 0, 0))
	default:
		fs.reply(header(unique, len(body), 0), body)
	}
}

// reply writes an answer; one that the kernel does not want any more is lost.
func (fs *FS) reply(parts ...[]byte) {
	raw, err := fs.device.SyscallConn()
	if err != nil {
		return
	}
	raw.Write(func(fd uintptr) bool {
		_, err := unix.Writev(int(fd), parts)
		return err != unix.EAGAIN
	})
}

func (fs *FS) lookup(r *request) ([]byte, error) {
	name, _, _ := strings.Cut(string(r.body), "\x00")
	if name == first {
		return appendEntry(nil, firstID, fs.attr(&wire.Stat{})), nil
	}
	digits, ok := strings.CutPrefix(strings.TrimSuffix(name, gone), tagged)
	id, err := strconv.ParseUint(digits, 10, 64)
	fs.mu.Lock()
	n := fs.nodes[id]
	if ok && err == nil && n != nil {
		n.mu.Lock()
		n.lookups++
		n.mu.Unlock()
	}
	fs.mu.Unlock()
	if !ok || err != nil || n == nil {
		return nil, unix.ENOENT
	}
	return appendEntry(nil, id, fs.attr(n.known())), nil
}

func (n *node) known() *wire.Stat {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stat
}

func (fs *FS) attr(st *wire.Stat) []byte { return appendAttr(nil, st, fs.uid, fs.gid) }

func (fs *FS) forget(id, lookups uint64) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n := fs.nodes[id]
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lookups -= min(n.lookups, lookups)
	if n.lookups == 0 && len(n.files)+len(n.pending) == 0 {
		delete(fs.nodes, id)
	}
}

// handleOf is the open file that a request names.
func (fs *FS) handleOf(r *request) *file {
	at := 0
	switch r.op {
	case opGetattr, opSetattr:
		at = 8
	case opRead, opWrite, opRelease, opFsync, opFallocate, opLseek:
	default:
		return nil
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.files[r.u64(at)]
}

// handle carries a request out and returns what follows the header of the answer.
func (fs *FS) handle(ctx context.Context, r *request) ([]byte, error) {
	if r.node <= firstID {
		return fs.handleOwn(r)
	}
	fs.mu.Lock()
	n := fs.nodes[r.node]
	fs.mu.Unlock()
	if n == nil {
		return nil, unix.ESTALE
	}
	switch r.op {
	case opGetattr:
		st, err := n.fresh(ctx)
		if err != nil {
			return nil, err
		}
		return appendAttrOut(nil, fs.attr(st)), nil
	case opOpen:
		return fs.openNode(ctx, n, r.u32(0))
	case opStatfs:
		return fs.statfs(ctx, n)
	case opSetattr:
		return fs.setattr(ctx, n, r)
	case opGetxattr: // as of a path: there are none
		return nil, unix.ENODATA
	case opListxattr:
		if r.u32(0) == 0 { // how long the list is
			return make([]byte, 8), nil
		}
		return nil, nil
	}
	f := fs.handleOf(r)
	if f == nil {
		return nil, missing(r.op)
	}
	nonblock := r.u32(32)&wire.OpenNonblock != 0
	switch r.op {
	case opRead:
		return f.read(ctx, int64(r.u64(8)), int64(min(r.u32(16), maxRequest)), nonblock)
	case opWrite:
		if len(r.body) < 40 {
			return nil, unix.EINVAL
		}
		done, err := f.write(ctx, int64(r.u64(8)), r.body[40:], nonblock)
		return le.AppendUint64(nil, uint64(done)), err
	case opRelease:
		fs.mu.Lock()
		delete(fs.files, r.u64(0))
		fs.mu.Unlock()
		fs.release(f)
		return nil, nil
	case opFsync:
		_, err := f.remote.call(ctx, wire.FileRequest{Op: wire.FileSync, How: uint8(r.u32(8) & 1)})
		return nil, err
	case opFallocate:
		_, err := f.remote.call(ctx, wire.FileRequest{Op: wire.FileAllocate, How: uint8(r.u32(24)), Offset: int64(r.u64(8)), Length: int64(r.u64(16))})
		f.node.changed()
		return nil, err
	case opLseek:
		reply, err := f.remote.call(ctx, wire.FileRequest{Op: wire.FileSeek, How: uint8(r.u32(16)), Offset: int64(r.u64(8))})
		if err != nil {
			return nil, err
		}
		return le.AppendUint64(nil, uint64(reply.Offset)), nil
	}
	return nil, unix.ENOSYS
}

// missing is the errno of a request without a file: ENOSYS for those that nothing is done for, and then the kernel makes no more of them.
func missing(op uint32) unix.Errno {
	switch op {
	case opRead, opWrite, opRelease, opFsync, opFallocate, opLseek:
		return unix.EBADF
	}
	return unix.ENOSYS
}

// handleOwn is handle for the root and the first file.
func (fs *FS) handleOwn(r *request) ([]byte, error) {
	switch r.op {
	case opGetattr:
		attr := fs.attr(&wire.Stat{Ino: r.node, Blksize: 4096})
		if r.node == rootID {
			le.PutUint32(attr[60:], unix.S_IFDIR|0o500)
		}
		return appendAttrOut(nil, attr), nil
	case opOpen:
		return make([]byte, 16), nil
	case opRelease:
		return nil, nil
	}
	return nil, unix.ENOSYS
}

// openNode gives the kernel a file: one that waits for it, or, for who opens a descriptor's name, a new one.
func (fs *FS) openNode(ctx context.Context, n *node, flags uint32) ([]byte, error) {
	f := n.take(flags)
	if f == nil {
		n.mu.Lock()
		writable := n.writable
		n.mu.Unlock()
		if flags&wire.OpenAccess != wire.OpenRead && !writable {
			return nil, unix.EROFS
		}
		r, err := openRemote(ctx, fs.link, n.path, flags&(wire.OpenAccess|wire.OpenAppend|wire.OpenNonblock), 0)
		if err != nil {
			return nil, err
		}
		if st := n.known(); r.first.Dev != st.Dev || r.first.Ino != st.Ino {
			r.close()
			return nil, unix.ESTALE
		}
		f = fs.file(n, r)
		n.mu.Lock()
		n.files[f] = struct{}{}
		n.mu.Unlock()
	}
	fs.mu.Lock()
	fs.last++
	handle := fs.last
	fs.files[handle] = f
	fs.mu.Unlock()
	how := uint32(0)
	if f.remote.kind != 0 || flags&wire.OpenAccess == wire.OpenWrite || flags&wire.OpenAppend != 0 {
		how = openDirectIO // there is nothing to be kept, or the kernel does not know where it goes
	}
	if f.remote.kind&wire.FileStream != 0 {
		how |= openNonseekable | openStream
	}
	return le.AppendUint32(le.AppendUint32(le.AppendUint64(nil, handle), how), 0), nil
}

// alters says whether the file may be changed by this descriptor.
func (r *remote) alters() bool {
	return r.req.Flags&wire.OpenAccess != wire.OpenRead || r.req.Flags&wire.OpenAlter != 0
}

// setattr changes a file by one of its descriptors for writing; without one it is read-only.
func (fs *FS) setattr(ctx context.Context, n *node, r *request) ([]byte, error) {
	f := fs.handleOf(r)
	if r.u32(0)&setHandle == 0 {
		f = nil
	}
	n.mu.Lock()
	if f == nil || !f.remote.alters() {
		f = nil
		for other := range n.files {
			if other.remote.alters() {
				f = other
			}
		}
	}
	n.mu.Unlock()
	if f == nil {
		return nil, unix.EROFS
	}
	reply, err := f.remote.call(ctx, wire.FileRequest{Op: wire.FileSet, Data: wire.AppendFileChange(nil, changeOf(r))})
	n.changed()
	if err != nil {
		return nil, err
	}
	if reply.Stat == nil {
		return nil, unix.EIO
	}
	return appendAttrOut(nil, fs.attr(reply.Stat)), nil
}

func (fs *FS) statfs(ctx context.Context, n *node) ([]byte, error) {
	reply, err := fs.link.Do(ctx, &wire.Request{Op: wire.OpStatfs, Path: n.path})
	if err != nil {
		return nil, err
	}
	st := reply.Statfs
	if st == nil {
		return nil, unix.EIO
	}
	var b []byte
	for _, v := range [...]uint64{st.Blocks, st.Bfree, st.Bavail, st.Files, st.Ffree} {
		b = le.AppendUint64(b, v)
	}
	for _, v := range [...]uint64{st.Bsize, st.Namelen, st.Frsize} {
		b = le.AppendUint32(b, uint32(v))
	}
	return append(b, make([]byte, 28)...), nil
}
