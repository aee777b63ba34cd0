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

// Keep answers OpFile on the stream: the reply, and after a success whatever the launcher wants of the file, until it closes the stream. The file is opened for
// writing, or made, only if the flags say so. An error is one that was not answered yet; it carries an errno. root may be nil.
func Keep(ctx context.Context, root *os.File, stream *links.Stream, req *wire.Request) error {
	watched, stop := stream.Watch(ctx)
	fd, err := openFile(watched, root, req)
	stop()
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return err
	}
	o := &opened{stream: stream, access: req.Flags & wire.OpenAccess, alters: req.Flags&wire.OpenAlter != 0}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || isGenerated(fd) {
		o.kind = wire.FileDirect
	}
	if _, err := unix.Seek(fd, 0, io.SeekCurrent); err != nil {
		o.kind |= wire.FileStream
	}
	o.append = req.Flags&wire.OpenAppend != 0
	o.fd, o.file = fd, os.NewFile(uintptr(fd), req.Path) // not blocking, so whoever waits for a FIFO can be woken
	if wire.WriteHeader(stream, &wire.Reply{Stat: stat(&st), File: o.kind}) == nil {
		o.serve()
	}
	return o.file.Close()
}

// waitForReader is how often it is looked whether a FIFO that is to be written has a reader.
const waitForReader = 50 * time.Millisecond

// openFile opens, or makes, what is at the path. A FIFO that nobody reads is waited for.
func openFile(ctx context.Context, root *os.File, req *wire.Request) (int, error) {
	for {
		fd, err := openOnce(root, req)
		switch {
		case err == unix.EEXIST && req.Flags&wire.OpenExclusive == 0: // made meanwhile
		case err == errNoReader && req.Flags&wire.OpenNonblock == 0:
			select {
			case <-time.After(waitForReader):
			case <-ctx.Done():
				return -1, unix.EINTR
			}
		default:
			return fd, err
		}
		if ctx.Err() != nil {
			return -1, unix.EINTR
		}
	}
}

// errNoReader is ENXIO of a FIFO.
var errNoReader error = &wire.Error{Errno: "ENXIO"}

func openOnce(root *os.File, req *wire.Request) (int, error) {
	has := func(flag uint32) bool { return req.Flags&flag != 0 }
	create := has(wire.OpenCreate)
	exclusive := create && has(wire.OpenExclusive)
	p, err := walk(root, req.Path, has(wire.OpenNoFollow) || exclusive, create)
	if err != nil {
		return -1, err
	}
	defer p.close()
	access := req.Flags & wire.OpenAccess
	how := map[uint32]int{wire.OpenRead: unix.O_RDONLY, wire.OpenWrite: unix.O_WRONLY, wire.OpenReadWrite: unix.O_RDWR}
	flags, ok := how[access]
	switch {
	case !ok:
		return -1, unix.EINVAL
	case p.missing:
	case exclusive:
		return -1, unix.EEXIST
	case p.isLink():
		return -1, unix.ELOOP
	case has(wire.OpenDirectory) && !p.isDir():
		return -1, unix.ENOTDIR
	case p.isDir():
		return -1, unix.EISDIR
	case p.stat.Mode&unix.S_IFMT == unix.S_IFSOCK:
		return -1, unix.ENXIO
	}
	flags |= unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	if has(wire.OpenAppend) {
		flags |= unix.O_APPEND
	}
	if has(wire.OpenTruncate) {
		flags |= unix.O_TRUNC
	}
	if p.missing {
		flags |= unix.O_CREAT | unix.O_EXCL
	}
	var fd int
	err = ignoringEINTR(func() (err error) {
		fd, err = unix.Openat(p.dir, p.name, flags, req.Mode&0o7777)
		return err
	})
	switch {
	case err == unix.ENXIO && access == wire.OpenWrite && p.stat.Mode&unix.S_IFMT == unix.S_IFIFO:
		return -1, errNoReader
	case err != nil:
		return -1, err
	case p.missing: // this process's umask is none of the program's
		unix.Fchmod(fd, req.Mode&0o7777)
	}
	return fd, nil
}

// opened is a file that a launcher has open.
type opened struct {
	file   *os.File
	fd     int // file's: its method Fd would have it block
	stream *links.Stream
	kind   wire.FileKind
	access uint32
	alters bool // its metadata may be set although it is open for reading
	append bool
	begun  bool // of a stream: something was read, or waited for

	writing sync.Mutex // over stream
}

// maxWaiting bounds the requests that wait for something to come from a stream, and as many that wait for room in it.
const maxWaiting = 16

// serve answers requests until the stream ends: in their order, but for those that may have to wait.
func (o *opened) serve() {
	in := bufio.NewReader(o.stream)
	var reads, writes *lane
	if o.kind&wire.FileStream != 0 {
		reads, writes = newLane(o, o.file.SetReadDeadline), newLane(o, o.file.SetWriteDeadline)
		defer writes.end()
		defer reads.end()
	}
	for {
		r, err := wire.ReadFileRequest(in)
		if err != nil {
			return
		}
		switch {
		case r.Op == wire.FileCancel:
			if reads != nil {
				reads.cancel(r.ID)
				writes.cancel(r.ID)
			}
		case reads != nil && r.Op == wire.FileRead:
			err = reads.add(r)
		case writes != nil && r.Op == wire.FileWrite:
			err = writes.add(r)
		default:
			err = o.answer(r)
		}
		if err != nil {
			return
		}
	}
}

var replies = sync.Pool{New: func() any { return new([]byte) }}

// buffer returns room for n bytes from a pool.
func buffer(n int64) *[]byte {
	b := replies.Get().(*[]byte)
	if int64(cap(*b)) < n {
		*b = make([]byte, n)
	}
	*b = (*b)[:n]
	return b
}

// answer carries a request out and replies. An error means that nobody listens any more.
func (o *opened) answer(r *wire.FileRequest) error {
	reply := &wire.FileReply{ID: r.ID}
	var data *[]byte
	var err error
	if r.Op == wire.FileRead {
		data = buffer(r.Length)
		defer replies.Put(data)
		var n int
		n, err = o.read(r, *data)
		reply.Data = (*data)[:n]
	} else {
		err = o.change(r, reply)
	}
	if err != nil {
		reply.Errno, reply.Data = wire.ErrnoName(err), nil
	}
	var st unix.Stat_t
	if unix.Fstat(o.fd, &st) == nil {
		reply.Stat = stat(&st)
	}
	out := buffer(0)
	defer replies.Put(out)
	*out = wire.AppendFileReply(*out, reply)
	o.writing.Lock()
	defer o.writing.Unlock()
	_, err = o.stream.Write(*out)
	return err
}

// read reads into b. Of a file that has an end it is less only there.
func (o *opened) read(r *wire.FileRequest, b []byte) (n int, err error) {
	if o.kind&wire.FileStream != 0 {
		return o.receive(b, r.How != 0)
	}
	for n < len(b) {
		var m int
		err = ignoringEINTR(func() (err error) {
			m, err = unix.Pread(o.fd, b[n:], r.Offset+int64(n))
			return err
		})
		if m <= 0 || err != nil {
			break
		}
		if n += m; o.kind&wire.FileDirect != 0 {
			break
		}
	}
	if n > 0 {
		err = nil
	}
	return n, err
}

// receive reads what has come, or waits for it. A FIFO was opened without waiting for who writes it: until somebody has, there is no end.
func (o *opened) receive(b []byte, nonblock bool) (n int, err error) {
	c, err := o.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	waited := false
	rerr := c.Read(func(fd uintptr) bool {
		o.begun = o.begun || waited
		err = ignoringEINTR(func() (err error) {
			n, err = unix.Read(int(fd), b)
			return err
		})
		waited = true
		return nonblock || err != unix.EAGAIN && (n > 0 || err != nil || o.begun)
	})
	switch {
	case rerr != nil: // canceled, or closed
		return 0, unix.EINTR
	case err != nil:
		return 0, err
	}
	o.begun = o.begun || n > 0
	return n, nil
}

func (o *opened) change(r *wire.FileRequest, reply *wire.FileReply) error {
	if o.access == wire.OpenRead && (r.Op == wire.FileSet && !o.alters || r.Op == wire.FileAllocate) {
		return unix.EROFS
	}
	switch r.Op {
	case wire.FileWrite:
		n, err := o.write(r)
		reply.Offset = int64(n)
		return err
	case wire.FileStat:
		return nil
	case wire.FileSet:
		return set(o.fd, wire.ReadFileChange(r.Data))
	case wire.FileSync:
		if r.How != 0 {
			return syncData(o.fd)
		}
		return unix.Fsync(o.fd)
	case wire.FileAllocate:
		return ignoringEINTR(func() error { return allocate(o.fd, uint32(r.How), r.Offset, r.Length) })
	case wire.FileSeek:
		whence, ok := map[uint8]int{3: seekData, 4: seekHole}[r.How]
		if !ok {
			return unix.EINVAL
		}
		var err error
		reply.Offset, err = unix.Seek(o.fd, r.Offset, whence)
		return err
	}
	return unix.ENOSYS
}

// write returns an error only if nothing was written.
func (o *opened) write(r *wire.FileRequest) (n int, err error) {
	switch {
	case o.kind&wire.FileStream != 0 && r.How != 0:
		if n, err = unix.Write(o.fd, r.Data); n < 0 {
			n = 0
		}
		return n, err
	case o.kind&wire.FileStream != 0 || o.append:
		if n, err = o.file.Write(r.Data); errors.Is(err, os.ErrDeadlineExceeded) {
			err = unix.EINTR
		}
	default:
		n, err = o.file.WriteAt(r.Data, r.Offset)
	}
	if n > 0 {
		err = nil
	}
	return n, err
}

func set(fd int, c *wire.FileChange) error {
	has := func(bit uint32) bool { return c.Set&bit != 0 }
	if has(wire.SetSize) {
		if err := ignoringEINTR(func() error { return unix.Ftruncate(fd, c.Size) }); err != nil {
			return err
		}
	}
	if has(wire.SetUID | wire.SetGID) {
		uid, gid := -1, -1
		if has(wire.SetUID) {
			uid = int(c.UID)
		}
		if has(wire.SetGID) {
			gid = int(c.GID)
		}
		if err := unix.Fchown(fd, uid, gid); err != nil {
			return err
		}
	}
	if has(wire.SetMode) {
		if err := unix.Fchmod(fd, c.Mode&0o7777); err != nil {
			return err
		}
	}
	if !has(wire.SetAtime | wire.SetMtime) {
		return nil
	}
	at := func(set, now uint32, ns int64) unix.Timespec {
		switch {
		case !has(set):
			return unix.Timespec{Nsec: timeOmit}
		case has(now):
			return unix.Timespec{Nsec: timeNow}
		}
		return unix.NsecToTimespec(ns)
	}
	return setTimes(fd, at(wire.SetAtime, wire.SetAtimeNow, c.Atime), at(wire.SetMtime, wire.SetMtimeNow, c.Mtime))
}

// lane carries out requests that may wait, one after the other, beside all others.
type lane struct {
	o        *opened
	deadline func(time.Time) error
	queue    chan *wire.FileRequest
	done     chan struct{}

	mu      sync.Mutex
	pending map[uint32]bool // the requests that are not answered: true when nobody waits for them
	current uint32          // the one that is carried out; of a queue that is empty the last one
	ended   bool
}

func newLane(o *opened, deadline func(time.Time) error) *lane {
	l := &lane{o: o, deadline: deadline, queue: make(chan *wire.FileRequest, maxWaiting), done: make(chan struct{}), pending: map[uint32]bool{}}
	go func() {
		defer close(l.done)
		for r := range l.queue {
			if l.begin(r.ID) {
				l.o.answer(r)
			} else {
				l.o.refuse(r.ID, "EINTR")
			}
			l.finish(r.ID)
		}
	}()
	return l
}

func (o *opened) refuse(id uint32, errno string) error {
	o.writing.Lock()
	defer o.writing.Unlock()
	_, err := o.stream.Write(wire.AppendFileReply(nil, &wire.FileReply{ID: id, Errno: errno}))
	return err
}

func (l *lane) add(r *wire.FileRequest) error {
	l.mu.Lock()
	l.pending[r.ID] = false
	l.mu.Unlock()
	select {
	case l.queue <- r:
		return nil
	default:
		l.finish(r.ID)
		return l.o.refuse(r.ID, "EAGAIN")
	}
}

// begin says whether a request is still wanted.
func (l *lane) begin(id uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = id
	return !l.pending[id] && !l.ended
}

func (l *lane) finish(id uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending[id] && l.current == id && !l.ended {
		l.deadline(time.Time{})
	}
	delete(l.pending, id)
}

// cancel wakes a request that waits.
func (l *lane) cancel(id uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.pending[id]; !ok {
		return
	}
	l.pending[id] = true
	if l.current == id {
		l.deadline(time.Unix(1, 0))
	}
}

// end wakes whoever waits, and returns when nobody does any more.
func (l *lane) end() {
	l.mu.Lock()
	l.ended = true
	l.deadline(time.Unix(1, 0))
	l.mu.Unlock()
	close(l.queue)
	l.o.stream.SetWriteDeadline(time.Unix(1, 0))
	<-l.done
}
