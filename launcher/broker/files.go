package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"path"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
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
func (b *Broker) openFile(m *frame.OpenRequest) answer {
	if b.local.has(m.Path) {
		return local
	}
	flags := m.Flags
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
	a, err := b.openRead(m.Path, flags)
	e := events.Event{Type: events.File, Op: "open", Path: m.Path}
	if err != nil {
		errno := errnoOf(err, unix.EIO)
		a, e.Errno = failure(errno), unix.ErrnoName(errno)
	}
	b.Emit(e)
	return a
}

// openRead opens a file in the pod for reading: its content is taken over whole, or, if it is no such file, it is opened live. What cannot be had live is taken over
// as far as that goes.
func (b *Broker) openRead(path string, flags uint32) (answer, error) {
	r := &wire.Request{
		Op: wire.OpOpen, Path: b.mapping.pod(path), Limit: fileLimit, Stats: true,
		NoFollow: flags&frame.OpenNoFollow != 0, Dir: flags&frame.OpenDirectory != 0,
	}
	if b.hasLive() && flags&frame.OpenPath == 0 {
		r.Live = memoryLimit
	}
	a, err := b.fetch(path, r)
	if err != errLive {
		return a, err
	}
	if a, err = b.openLive(path, flags&(frame.OpenNonblock|frame.OpenNoFollow), 0); err == errNotLive {
		r.Live = 0
		a, err = b.fetch(path, r)
	}
	return a, err
}

// errLive says of a file that it cannot be taken over, and errNotLive that it cannot be opened live either.
var (
	errLive    = errors.New("a live file")
	errNotLive = errors.New("no live files")
)

// fetch opens a file in the pod and takes it over whole; path is the program's name for it. With Request.Live the error may be errLive.
func (b *Broker) fetch(path string, r *wire.Request) (answer, error) {
	asked := time.Now()
	reply, body, err := b.Link.Open(b.ctx, r)
	if err != nil {
		return answer{}, err
	}
	defer body.Close()
	st := reply.Stat
	switch {
	case st == nil:
		return answer{}, unix.EIO
	case reply.Live:
		return answer{}, errLive
	}
	b.opened.Store(true)
	kind, limit, make, content, prefix := "f", st.Size, b.anonymousFile, io.Reader(body), []byte(nil)
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		b.page.directories()
		entries, err := b.unpack(r.Path, asked, body)
		if err != nil {
			return answer{}, err
		}
		kind, limit, content = "d", memoryLimit, bytes.NewReader(entries)
		prefix = append(binary.LittleEndian.AppendUint16(nil, uint16(len(path))), path...)
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return answer{}, unix.ENXIO
	case st.Size < 0 || st.Size > fileLimit:
		return answer{}, unix.EFBIG
	case st.Size == 0:
		limit = unsizedLimit
	case st.Size > memoryLimit:
		make = b.unlinkedFile
	}
	w, fd, err := make(tag(kind, st))
	if err != nil {
		b.warn("cannot make a local file for a file of the pod: "+err.Error(), "")
		return answer{}, err
	}
	defer unix.Close(w)
	if err := fill(w, prefix, content, limit, kind == "f" && st.Size > 0); err != nil {
		unix.Close(fd)
		// What says that it is empty may have no end, or one that is to be waited for.
		if r.Live > 0 && st.Size == 0 && (errors.Is(err, unix.EFBIG) || errors.Is(err, unix.EAGAIN)) {
			err = errLive
		}
		return answer{}, err
	}
	if kind == "f" {
		unix.Fchmod(w, st.Mode&0o7777)
		setTimes(w, st.Atime, st.Mtime)
	}
	seal(w)
	if kind == "d" && !b.Paths {
		fd = unreadable(fd)
	}
	return descriptor(fd, false), nil
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
	if a := b.known(pod); a != nil && (noFollow || a.stat.Mode&unix.S_IFMT != unix.S_IFLNK) {
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
	return b.ask(m.Path, &wire.Request{Op: wire.OpAccess, Path: b.mapping.pod(m.Path), Mode: m.Mode}, func(*wire.Reply) answer { return status(frame.StatusOK) })
}

func (b *Broker) readlink(m *frame.PathRequest) answer {
	if b.local.has(m.Path) {
		return local
	}
	pod := b.mapping.pod(m.Path)
	if a := b.known(pod); a != nil && a.stat.Mode&unix.S_IFMT == unix.S_IFLNK {
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
	return b.ask(m.Path, &wire.Request{Op: wire.OpStatfs, Path: b.mapping.pod(m.Path)}, func(r *wire.Reply) answer {
		st := r.Statfs
		if st == nil {
			return failure(unix.EIO)
		}
		return result(&frame.StatfsReply{
			Type: st.Type, Bsize: st.Bsize, Frsize: st.Frsize, Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail, Files: st.Files,
			Ffree: st.Ffree, Fsid: st.Fsid, Namelen: st.Namelen, Flags: st.Flags,
		})
	})
}

// ask has the agent answer about a path of the program, unless that has become local.
func (b *Broker) ask(path string, r *wire.Request, then func(*wire.Reply) answer) answer {
	if b.local.has(path) {
		return local
	}
	reply, err := b.Link.Do(b.ctx, r)
	if err != nil {
		return failure(errnoOf(err, unix.EIO))
	}
	return then(reply)
}

// changes are the changes' names in events.
var changes = map[frame.Op]string{
	frame.Unlink: "unlink", frame.Rmdir: "rmdir", frame.Rename: "rename", frame.Mkdir: "mkdir", frame.Chmod: "chmod", frame.Chown: "chown",
	frame.Truncate: "truncate", frame.Utimes: "utimes", frame.Link: "link", frame.Symlink: "symlink", frame.Mknod: "mknod",
}

// change answers what would change the pod's files, which are read-only: what makes something new makes it on this machine, and what was made
// there may be changed there.
func (b *Broker) change(m *frame.ChangeRequest) answer {
	op, ok := changes[m.Op]
	switch {
	case !ok:
		return failure(unix.EINVAL)
	case b.local.has(m.Path):
		// Written beside and renamed over the target, as editors save: the target is local from now on.
		if m.Other != "" && !b.local.has(m.Other) {
			return b.makeLocal(op, m.Other, b.local.isTree(m.Path))
		}
		return local
	case m.Op == frame.Mkdir || m.Op == frame.Symlink:
		return b.create(op, m.Path, m.Op == frame.Mkdir)
	case m.Op == frame.Mknod: // also how the layer says that a file of this machine is moved over the path, which may exist
		return b.makeLocal(op, m.Path, false)
	}
	return b.refuseChange(m.Path, true)
}

// refuseChange is EROFS, or what the pod says of a path that is not there: a read-only file system looks before it refuses, and a program
// that removes its stale socket at start expects ENOENT.
func (b *Broker) refuseChange(path string, noFollow bool) answer {
	if _, err := b.Link.Do(b.ctx, &wire.Request{Op: wire.OpStat, Path: b.mapping.pod(path), NoFollow: noFollow}); err != nil {
		return failure(errnoOf(err, unix.EIO))
	}
	return failure(unix.EROFS)
}

// create makes a path local that is not in the pod. mkdir -p of a pod's directory must not hide all that is in it.
func (b *Broker) create(op, path string, tree bool) answer {
	_, err := b.Link.Do(b.ctx, &wire.Request{Op: wire.OpStat, Path: b.mapping.pod(path), NoFollow: true})
	if err == nil {
		return failure(unix.EEXIST)
	}
	if e := errnoOf(err, unix.EIO); e != unix.ENOENT {
		return failure(e)
	}
	return b.makeLocal(op, path, tree)
}

// overwrite makes a file local that is written. A directory stays one, and what is neither there nor to be made is missing. Who would go on
// reading what the pod's file holds (O_RDWR without O_TRUNC or O_APPEND, as databases open theirs) must not find an empty file in its
// place: EROFS, after which most try again to read only.
func (b *Broker) overwrite(path string, flags uint32) answer {
	reply, err := b.Link.Do(b.ctx, &wire.Request{Op: wire.OpStat, Path: b.mapping.pod(path)})
	switch e := errnoOf(err, unix.EIO); {
	case err == nil && reply.Stat != nil && reply.Stat.Mode&unix.S_IFMT == unix.S_IFDIR:
		return failure(unix.EISDIR)
	case err == nil && flags&frame.OpenAccess == frame.OpenReadWrite && flags&(frame.OpenTruncate|frame.OpenAppend) == 0:
		return failure(unix.EROFS)
	case err != nil && (e != unix.ENOENT || flags&frame.OpenCreate == 0):
		return failure(e)
	}
	return b.makeLocal("open", path, false)
}

// makeLocal leaves a path, and with tree all below it, to this machine for the rest of the session.
func (b *Broker) makeLocal(op, path string, tree bool) answer {
	if b.local.add(path, tree) {
		b.page.written()
		b.Emit(events.Event{Type: events.FileLocal, Op: op, Path: path})
	}
	return local
}

// localPaths are paths of the pod that were written to, and so are this machine's.
type localPaths struct {
	mu    sync.RWMutex
	paths map[string]bool // true: and all below
}

func (l *localPaths) has(p string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.paths) == 0 {
		return false
	}
	p = path.Clean(p)
	if _, ok := l.paths[p]; ok {
		return true
	}
	for len(p) > 1 {
		p = path.Dir(p)
		if l.paths[p] {
			return true
		}
	}
	return false
}

// isTree reports whether all below p is local.
func (l *localPaths) isTree(p string) bool { return l.has(p + "/below") }

// add reports whether p is new.
func (l *localPaths) add(p string, tree bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p = path.Clean(p)
	if l.paths == nil {
		l.paths = map[string]bool{}
	}
	was, ok := l.paths[p]
	l.paths[p] = was || tree
	return !ok
}
