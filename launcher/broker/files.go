package broker

import (
	"bytes"
	"errors"
	"io"
	"path"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
	"mirrord/launcher/anonfile"
	"mirrord/launcher/events"
	"mirrord/layer/frame"
)

// Limits in bytes: what goes into memory, what is fetched at all, and how much of a file without a size (of proc, sysfs) is read.
const (
	memoryLimit  = 64 << 20
	fileLimit    = 4 << 30
	unsizedLimit = 4 << 20
)

// openFile answers with a descriptor that holds the whole file or directory, or with the errno of the pod.
func (b *Broker) openFile(from asker, m *frame.OpenRequest) answer {
	flags := m.Flags
	switch b.ownerOf(m.Path) {
	case here:
		return local
	case inPod:
		if live, a := b.openThrough(from, m); live {
			return a
		}
	case overPod:
		asked := time.Now()
		a, err := b.openOver(from, m)
		return b.opening(m.Path, asked, a, err)
	}
	if flags&frame.OpenPath == 0 {
		access := flags & frame.OpenAccess
		switch {
		case flags&frame.OpenTemporary != 0:
			return failure(unix.EROFS)
		case flags&frame.OpenCreate != 0 && flags&frame.OpenExclusive != 0:
			return b.create("open", m.Path, false)
		case flags&frame.OpenCreate != 0 || access == frame.OpenWrite:
			return b.overwrite(m.Path, flags)
		case access == frame.OpenReadWrite || flags&frame.OpenTruncate != 0:
			return b.refuseChange(m.Path, flags&frame.OpenNoFollow != 0)
		}
	}
	asked := time.Now()
	a, err := b.openRead(m.Path, flags, b.reading(m.Path, flags))
	return b.opening(m.Path, asked, a, err)
}

// opening tells of an open and what has become of it, and makes that the answer.
func (b *Broker) opening(path string, asked time.Time, a answer, err error) answer {
	e := events.Event{Type: events.File, Op: "open", Path: path, Bytes: a.bytes, Took: milliseconds(time.Since(asked))}
	if err != nil {
		errno := errnoOf(err, unix.EIO)
		a, e.Errno = failure(errno), unix.ErrnoName(errno)
	}
	b.Emit(e)
	return a
}

// reading is the request to open a path of the program.
func (b *Broker) reading(path string, flags uint32) *wire.Request {
	return &wire.Request{Path: b.mapping.pod(path), NoFollow: flags&frame.OpenNoFollow != 0, Dir: flags&frame.OpenDirectory != 0}
}

// openRead opens a file in the pod for reading: its content is taken over whole, or, if it is no such file, it is opened live. What cannot be had live is taken over
// as far as that goes.
func (b *Broker) openRead(path string, flags uint32, r *wire.Request) (answer, error) {
	if flags&frame.OpenPath != 0 {
		return b.place(path, r)
	}
	if b.hasLive() {
		r.Live = memoryLimit
	}
	a, err := b.fetch(path, r)
	if flags&frame.OpenPath != 0 && (errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO)) {
		return b.openPath(r)
	}
	if err != errLive {
		return a, err
	}
	flags &= frame.OpenNonblock | frame.OpenNoFollow
	if r.From != "" {
		real := *r
		real.Op = wire.OpRealpath
		reply, err := b.Link.Do(b.ctx, &real)
		if err != nil {
			return answer{}, err
		}
		path, flags = reply.Path, flags|frame.OpenNoFollow
	}
	if b.ownerOf(path) == inPod {
		flags |= wire.OpenAlter
	}
	if a, err = b.openLive(path, flags, 0); err == errNotLive {
		r.Live = 0
		a, err = b.fetch(path, r)
	}
	return a, err
}

// openPath opens what can be described, but not read: a link itself, a pipe, a socket, a device.
func (b *Broker) openPath(r *wire.Request) (answer, error) {
	reply, err := b.Link.Do(b.ctx, &wire.Request{Op: wire.OpStat, Path: r.Path, NoFollow: r.NoFollow})
	if err != nil {
		return answer{}, err
	}
	if reply.Stat == nil {
		return answer{}, unix.EIO
	}
	b.opened.Store(true)
	w, fd, err := b.anon.New(tag("f", reply.Stat))
	if err != nil {
		return answer{}, err
	}
	defer unix.Close(w)
	anonfile.Seal(w)
	return descriptor(fd, false), nil
}

// errLive says of a file that it cannot be taken over, and errNotLive that it cannot be opened live either.
var (
	errLive    = errors.New("a live file")
	errNotLive = errors.New("no live files")
)

// fetch opens a file in the pod and takes it over whole; path is the program's name for it. With Request.Live the error may be errLive.
func (b *Broker) fetch(path string, r *wire.Request) (answer, error) {
	asked := time.Now()
	r.Op, r.Limit, r.Stats = wire.OpOpen, fileLimit, true
	reply, body, err := b.filesOf(path).Open(b.ctx, r)
	if err != nil {
		return answer{}, err
	}
	defer body.Close()
	st := reply.Stat
	if st == nil {
		return answer{}, unix.EIO
	}
	pod, path := b.realPaths(path, r, reply)
	if !b.isOver(path) {
		b.devices.note(st.Dev, pod)
	}
	if reply.Live || r.Live != 0 && b.wrote(st) {
		return answer{}, errLive
	}
	b.opened.Store(true)
	kind, limit, make, content, prefix := "f", st.Size, b.anon.New, io.Reader(body), []byte(nil)
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		b.page.directories()
		entries, err := b.unpack(r, pod, asked, body)
		if err != nil {
			return answer{}, err
		}
		kind, limit, content = "d", memoryLimit, bytes.NewReader(entries)
		prefix = named(path)
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return answer{}, unix.ENXIO
	case st.Size < 0 || st.Size > fileLimit:
		return answer{}, unix.EFBIG
	case st.Size == 0:
		limit = unsizedLimit
	case st.Size > memoryLimit:
		make = b.anon.OnDisk
	}
	w, fd, err := make(tag(kind, st))
	if err != nil {
		b.warn("cannot make a local file for a file of the pod: "+err.Error(), "")
		return answer{}, err
	}
	defer unix.Close(w)
	read := &tally{Reader: content}
	if err := fill(w, prefix, read, limit, kind == "f" && st.Size > 0); err != nil {
		unix.Close(fd)
		// What says that it is empty may have no end, or one that is to be waited for.
		if r.Live > 0 && st.Size == 0 && (errors.Is(err, unix.EFBIG) || errors.Is(err, unix.EAGAIN)) {
			err = errLive
		}
		return answer{}, err
	}
	if kind == "f" && b.writable && b.ownerOf(path) != readOnly {
		b.snapshots.add(identity{st.Dev, st.Ino}, path)
	}
	if kind == "f" {
		unix.Fchmod(w, st.Mode&0o7777)
		anonfile.SetTimes(w, st.Atime, st.Mtime)
	}
	anonfile.Seal(w)
	if kind == "d" && !b.Paths {
		fd = anonfile.Unreadable(fd)
	}
	a := descriptor(fd, false)
	a.bytes = read.n
	return a, nil
}

var copyBuffers = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// fill writes prefix and body to w. Where the size is known the file is cut there, as it was when it was opened; where it is not, more than
// limit is EFBIG. A body that does not end cleanly is an error.
func fill(w int, prefix []byte, body io.Reader, limit int64, sized bool) error {
	if err := writeAll(w, prefix); err != nil {
		return err
	}
	buf := copyBuffers.Get().(*[256 << 10]byte)
	defer copyBuffers.Put(buf)
	for {
		n, err := body.Read(buf[:])
		if int64(n) > limit {
			if !sized {
				return unix.EFBIG
			}
			n = int(limit)
		}
		if err := writeAll(w, buf[:n]); err != nil {
			return err
		}
		if limit -= int64(n); limit == 0 && sized || err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func writeAll(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// tag is the name of a memfd or unlinked file from which the layer answers fstat: mirrord:<kind>:<dev>-<ino>-<mode>-<nlink>-<uid>-<gid>-<rdev>-
// <size>-<blksize>-<blocks>-<atime>-<mtime>-<ctime>, in hex; a time before 1970 in two's complement. It has at most 230 of the 249
// bytes that a memfd's name may have.
func tag(kind string, st *wire.Stat) string {
	b := append(make([]byte, 0, 232), "mirrord:"...)
	b = append(b, kind...)
	for i, v := range numbers(st) {
		b = append(b, ":-"[min(i, 1)])
		b = strconv.AppendUint(b, v, 16)
	}
	return string(b)
}

func (b *Broker) stat(m *frame.StatRequest) answer {
	if m.NoFollow&frame.StatDescriptor != 0 {
		return b.statLive(m.Path)
	}
	if b.local.has(m.Path) {
		return local
	}
	pod, noFollow := b.mapping.pod(m.Path), m.NoFollow&frame.StatNoFollow != 0
	if a := b.knownOf(m.Path, pod); a != nil && (noFollow || a.stat.Mode&unix.S_IFMT != unix.S_IFLNK) {
		reply := statReply(a.stat)
		if m.NoFollow&frame.StatNeighbours != 0 && plainPath(m.Path) {
			reply.Neighbours, reply.Life = b.neighbours(a, path.Dir(m.Path))
		}
		return result(reply)
	}
	return b.ask(m.Path, &wire.Request{Op: wire.OpStat, Path: pod, NoFollow: noFollow}, func(r *wire.Reply) answer {
		if r.Stat == nil {
			return failure(unix.EIO)
		}
		return result(statReply(r.Stat))
	})
}

func statReply(st *wire.Stat) *frame.StatReply {
	v := numbers(st)
	return &frame.StatReply{
		Dev: v[0], Ino: v[1], Mode: v[2], Nlink: v[3], UID: v[4], GID: v[5], Rdev: v[6], Size: v[7], Blksize: v[8], Blocks: v[9],
		Atime: v[10], Mtime: v[11], Ctime: v[12],
	}
}

func (b *Broker) access(m *frame.AccessRequest) answer {
	return b.ask(m.Path, &wire.Request{Op: wire.OpAccess, Path: b.mapping.pod(m.Path), Mode: m.Mode}, func(*wire.Reply) answer {
		if m.Mode&unix.W_OK != 0 && b.ownerOf(m.Path) == readOnly && lacksFolder(m.Path) {
			return failure(unix.EROFS)
		}
		return status(frame.StatusOK)
	})
}

func (b *Broker) readlink(m *frame.PathRequest) answer {
	if b.local.has(m.Path) {
		return local
	}
	pod := b.mapping.pod(m.Path)
	if a := b.knownOf(m.Path, pod); a != nil && a.stat.Mode&unix.S_IFMT == unix.S_IFLNK {
		return result(&frame.PathReply{Path: a.target})
	}
	return b.ask(m.Path, &wire.Request{Op: wire.OpReadlink, Path: pod}, func(r *wire.Reply) answer { return result(&frame.PathReply{Path: r.Path}) })
}

func (b *Broker) realpath(m *frame.PathRequest) answer {
	return b.ask(m.Path, &wire.Request{Op: wire.OpRealpath, Path: b.mapping.pod(m.Path)}, func(r *wire.Reply) answer {
		return result(&frame.PathReply{Path: b.mapping.program(m.Path, r.Path)})
	})
}

func (b *Broker) statfs(m *frame.PathRequest) answer {
	return b.ask(m.Path, &wire.Request{Op: wire.OpStatfs, Path: b.mapping.pod(m.Path)}, statfsReply)
}

func statfsReply(r *wire.Reply) answer {
	st := r.Statfs
	if st == nil {
		return failure(unix.EIO)
	}
	return result(&frame.StatfsReply{
		Type: st.Type, Bsize: st.Bsize, Frsize: st.Frsize, Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail, Files: st.Files,
		Ffree: st.Ffree, Fsid: st.Fsid, Namelen: st.Namelen, Flags: st.Flags,
	})
}

// ask has the agent answer about a path of the program, unless that has become local.
func (b *Broker) ask(path string, r *wire.Request, then func(*wire.Reply) answer) answer {
	if b.local.has(path) {
		return local
	}
	reply, err := b.filesOf(path).Do(b.ctx, r)
	if err != nil {
		return failure(errnoOf(err, unix.EIO))
	}
	return then(reply)
}
