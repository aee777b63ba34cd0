//go:build linux && (amd64 || arm64)

package supervise

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"mirrord/launcher/rules"
	"mirrord/launcher/seccomp"
	"mirrord/layer/frame"
)

// place is where a call has a path: the numbers of its arguments.
type place struct {
	dir  int // of the descriptor that it is relative to; none: the working directory
	path int
}

const none = -1

// read reads the path and says whose it is. ok is false when the call was answered.
func (p place) read(t *Tree, c *seccomp.Call, write bool) (w where, ok bool) {
	text, err := c.String(c.Args[p.path], unix.PathMax)
	if err != nil {
		t.unreadable(c, err)
		return w, false
	}
	dirfd := unix.AT_FDCWD
	if p.dir != none {
		dirfd = c.Arg(p.dir)
	}
	return t.locate(c, dirfd, text, write), true
}

// elsewhere calls f in a goroutine if the path is not simply this machine's.
func (p place) elsewhere(t *Tree, c *seccomp.Call, write bool, f func(where)) {
	p.following(t, c, write, false, f)
}

// following is elsewhere for a call that follows a link at the path's end, if follow says so.
func (p place) following(t *Tree, c *seccomp.Call, write, follow bool, f func(where)) {
	w, ok := p.read(t, c, write)
	if ok && follow {
		w = t.follow(c, w, write)
	}
	switch {
	case !ok:
	case w.here():
		c.Continue()
	case w.action == rules.NotFound:
		c.Fail(unix.ENOENT)
	default:
		go f(w)
	}
}

// inPlace makes the call here, on a path that the kernel would take for another. The arguments that other calls point to are given as well.
func inPlace(c *seccomp.Call, paths map[int]string, blocks map[int][]byte) (int, unix.Errno) {
	args, keep := c.Args, []any{}
	for i, p := range paths {
		b := append([]byte(p), 0)
		args[i], keep = uint64(uintptr(unsafe.Pointer(&b[0]))), append(keep, b)
	}
	for i, b := range blocks {
		if len(b) > 0 {
			args[i], keep = uint64(uintptr(unsafe.Pointer(&b[0]))), append(keep, b)
		}
	}
	n, _, errno := unix.Syscall6(uintptr(c.Number), uintptr(args[0]), uintptr(args[1]), uintptr(args[2]), uintptr(args[3]), uintptr(args[4]), uintptr(args[5]))
	runtime.KeepAlive(keep)
	return int(n), errno
}

// local has the kernel do what the broker has left to this machine.
func local(c *seccomp.Call, w where, p place) {
	if !w.moved {
		c.Continue()
		return
	}
	n, errno := inPlace(c, map[int]string{p.path: w.path}, nil)
	if errno != 0 {
		c.Fail(errno)
		return
	}
	c.Return(n)
}

// ---- access, links, the file system

func access(t *Tree, c *seccomp.Call, p place, mode, flags int) {
	p.following(t, c, mode&unix.W_OK != 0, flags&unix.AT_SYMLINK_NOFOLLOW == 0, func(w where) {
		if w.action == rules.Local {
			local(c, w, p)
			return
		}
		if flags&unix.AT_SYMLINK_NOFOLLOW != 0 { // a link may always be used
			r := t.ask(c, frame.Stat, &frame.StatRequest{NoFollow: frame.StatNoFollow, Path: w.path})
			if st, ok := r.Fields.(*frame.StatReply); r.Status != frame.StatusOK || ok && st.Mode&unix.S_IFMT == unix.S_IFLNK {
				simple(c, r, w, p)
				return
			}
		}
		simple(c, t.ask(c, frame.Access, &frame.AccessRequest{Mode: uint32(mode), Path: w.path}), w, p)
	})
}

// simple answers with a status alone.
func simple(c *seccomp.Call, r Reply, w where, p place) {
	switch {
	case r.Status == frame.StatusLocal:
		local(c, w, p)
	case r.Status > 0:
		c.Fail(errno(r))
	default:
		c.Return(0)
	}
}

// readlink: out and size are the numbers of arguments.
func readLink(t *Tree, c *seccomp.Call, p place, out, size int) {
	if text, err := c.String(c.Args[p.path], unix.PathMax); err == nil {
		if l, ok := t.ownLink(c, text); ok && l.rest == "" {
			if target := t.leadsTo(c, l); target != "" {
				n := min(len(target), max(c.Arg(size), 0))
				finish(c, n, c.Write(c.Args[out], []byte(target[:n])))
				return
			}
		}
	}
	if p.dir != none && t.pod.Opened() {
		if text, err := c.String(c.Args[p.path], unix.PathMax); err == nil && text == "" {
			if name, ok := placed(c.TID, c.Arg(p.dir)); ok {
				go t.readLinkAt(c, where{action: rules.Remote, path: name, moved: true}, out, size)
				return
			}
		}
	}
	p.elsewhere(t, c, false, func(w where) { t.readLinkAt(c, w, out, size) })
}

func (t *Tree) readLinkAt(c *seccomp.Call, w where, out, size int) {
	target := ""
	if w.action == rules.Remote {
		r := t.ask(c, frame.Readlink, &frame.PathRequest{Path: w.path})
		switch to, ok := r.Fields.(*frame.PathReply); {
		case r.Status == frame.StatusLocal && !w.moved:
			c.Continue()
			return
		case r.Status > 0:
			c.Fail(errno(r))
			return
		case ok:
			target = to.Path
		}
	}
	if target == "" {
		var b [unix.PathMax]byte
		n, err := unix.Readlink(w.path, b[:])
		if err != nil {
			c.Fail(errnoOf(err))
			return
		}
		target = string(b[:n])
	}
	room := c.Arg(size)
	if room <= 0 {
		c.Fail(unix.EINVAL)
		return
	}
	n := min(len(target), room)
	finish(c, n, c.Write(c.Args[out], []byte(target[:n])))
}

func statfs(t *Tree, c *seccomp.Call) {
	p := place{none, 0}
	p.elsewhere(t, c, false, func(w where) {
		if w.action == rules.Remote {
			r := t.ask(c, frame.Statfs, &frame.PathRequest{Path: w.path})
			if r.Status == frame.StatusLocal && !w.moved {
				c.Continue()
				return
			}
			if r.Status != frame.StatusLocal {
				answerStatfs(c, r)
				return
			}
		}
		var st unix.Statfs_t
		if err := unix.Statfs(w.path, &st); err != nil {
			c.Fail(errnoOf(err))
			return
		}
		finish(c, 0, c.Write(c.Args[1], unsafe.Slice((*byte)(unsafe.Pointer(&st)), unsafe.Sizeof(st))))
	})
}

// fstatfs tells of the file system in the pod.
func fstatfs(t *Tree, c *seccomp.Call) {
	if t.pod.Opened() {
		if kind, fields := tag(c.TID, c.Arg(0)); kind != 0 && c.Valid() {
			go t.heldStatfs(c, kind, fields)
			return
		}
	}
	c.Continue()
}

func (t *Tree) heldStatfs(c *seccomp.Call, kind byte, fields string) {
	v, ok := tagged(fields)
	if kind == 'l' {
		var st *frame.StatReply
		if st, ok = t.ask(c, frame.Stat, &frame.StatRequest{NoFollow: frame.StatDescriptor, Path: fields}).Fields.(*frame.StatReply); ok {
			v = numbersOf(st)
		}
	}
	if !ok {
		c.Continue()
		return
	}
	r := t.ask(c, frame.Fstatfs, &frame.DeviceRequest{Dev: v[0]})
	if r.Status == frame.StatusLocal {
		c.Continue()
		return
	}
	answerStatfs(c, r)
}

func answerStatfs(c *seccomp.Call, r Reply) {
	s, ok := r.Fields.(*frame.StatfsReply)
	switch {
	case r.Status > 0:
		c.Fail(errno(r))
	case !ok:
		c.Fail(unix.EIO)
	default:
		st := unix.Statfs_t{Type: int64(s.Type), Bsize: int64(s.Bsize), Blocks: s.Blocks, Bfree: s.Bfree, Bavail: s.Bavail, Files: s.Files, Ffree: s.Ffree,
			Fsid: unix.Fsid{Val: [2]int32{int32(s.Fsid), int32(s.Fsid >> 32)}}, Namelen: int64(s.Namelen), Frsize: int64(s.Frsize), Flags: int64(s.Flags)}
		finish(c, 0, c.Write(c.Args[1], unsafe.Slice((*byte)(unsafe.Pointer(&st)), unsafe.Sizeof(st))))
	}
}

// lock tells the broker of the first lock of a file of the pod: what holds it is the program's descriptor, and nobody in the pod will know.
func lock(t *Tree, c *seccomp.Call) {
	if t.pod.Opened() && !t.locked.Load() {
		if kind, _ := tag(c.TID, c.Arg(0)); kind != 0 {
			t.locked.Store(true)
			go t.ask(c, frame.Change, &frame.ChangeRequest{Op: frame.Lock})
		}
	}
	c.Continue()
}

// attributes: the pod's files have none, and the pod is not asked, unless the path may have become this machine's.
func attributes(t *Tree, c *seccomp.Call, nofollow bool, answer unix.Errno) {
	p := place{none, 0}
	p.elsewhere(t, c, false, func(w where) {
		if w.action == rules.Remote {
			if t.rules.Written() == 0 {
				c.Fail(answer)
				return
			}
			var flag uint8
			if nofollow {
				flag = frame.StatNoFollow
			}
			r := t.ask(c, frame.Stat, &frame.StatRequest{NoFollow: flag, Path: w.path})
			if r.Status > 0 {
				c.Fail(errno(r))
				return
			}
			if r.Status == frame.StatusOK {
				c.Fail(answer)
				return
			}
		}
		if w.moved {
			c.Fail(answer)
			return
		}
		c.Continue()
	})
}

// watch: nothing tells of changes in the pod; ENOSPC is what programs go over to looking after.
func watch(t *Tree, c *seccomp.Call, p place, nofollow bool) {
	p.following(t, c, false, !nofollow, func(w where) {
		if w.action == rules.Local {
			c.Fail(unix.ENOSPC)
			return
		}
		var flag uint8
		if nofollow {
			flag = frame.StatNoFollow
		}
		r := t.ask(c, frame.Stat, &frame.StatRequest{NoFollow: flag, Path: w.path})
		switch {
		case r.Status == frame.StatusLocal && !w.moved:
			c.Continue()
		case r.Status > 0:
			c.Fail(errno(r))
		default:
			c.Fail(unix.ENOSPC)
		}
	})
}
