//go:build linux && (amd64 || arm64)

package supervise

import (
	"encoding/binary"
	"path"
	"runtime"
	"strconv"
	"strings"
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

// ---- open

// openFlags are those of open(2) as frames have them: of x86_64.
func openFlags(flags int) (out uint32) {
	out = uint32(flags) & frame.OpenAccess
	for _, f := range []struct {
		host  int
		frame uint32
	}{
		{unix.O_CREAT, frame.OpenCreate}, {unix.O_EXCL, frame.OpenExclusive}, {unix.O_TRUNC, frame.OpenTruncate}, {unix.O_APPEND, frame.OpenAppend}, {unix.O_NONBLOCK, frame.OpenNonblock},
		{unix.O_DIRECTORY, frame.OpenDirectory}, {unix.O_NOFOLLOW, frame.OpenNoFollow}, {unix.O_PATH, frame.OpenPath},
		{unix.O_TMPFILE &^ unix.O_DIRECTORY, frame.OpenTemporary},
	} {
		if flags&f.host != 0 {
			out |= f.frame
		}
	}
	return out
}

// nameFiles are what resolvers read. With remote names they are the pod's for every reader, whatever is said of files.
var nameFiles = map[string]bool{"/etc/resolv.conf": true, "/etc/hosts": true, "/etc/nsswitch.conf": true}

func open(t *Tree, c *seccomp.Call, p place, flags, mode int) {
	write := flags&unix.O_ACCMODE != unix.O_RDONLY || flags&unix.O_CREAT != 0
	w, ok := p.read(t, c, write)
	if !ok {
		return
	}
	if flags&unix.O_NOFOLLOW == 0 {
		w = t.follow(c, w, write)
	}
	if w.here() && nameFiles[w.path] && !write && t.rules.Has(rules.Names) && !(t.chrooted.Load() && t.ownRoot(c)) {
		w.action = rules.Remote
	}
	if w.path == "/" || w.path == "/." {
		t.openRoot.Store(true)
	}
	switch {
	case w.here():
		c.Continue()
	case w.action == rules.NotFound:
		c.Fail(unix.ENOENT)
	default:
		go t.openElsewhere(c, w, flags, mode)
	}
}

func (t *Tree) openElsewhere(c *seccomp.Call, w where, flags, mode int) {
	fd := -1
	newFlags := uint32(flags) & unix.O_CLOEXEC
	if w.action == rules.Remote {
		r := t.ask(c, frame.Open, &frame.OpenRequest{Flags: openFlags(flags), Mode: uint32(mode), Path: w.path})
		switch {
		case r.Status == frame.StatusLocal && !w.moved:
			c.Continue()
			return
		case r.Status > 0:
			c.Fail(errno(r))
			return
		case r.Status == frame.StatusOK && r.FD < 0:
			c.Fail(unix.EIO)
			return
		}
		fd = settled(r.FD, flags)
	}
	if fd < 0 {
		var err error
		if fd, err = unix.Open(w.path, int(handed(uint64(uint32(flags))))|unix.O_CLOEXEC|unix.O_NOCTTY, uint32(mode)); err != nil {
			c.Fail(errnoOf(err))
			return
		}
	}
	defer unix.Close(fd)
	c.ReturnDescriptor(fd, newFlags)
}

// openHow is openat2.
func openHow(t *Tree, c *seccomp.Call) {
	var raw [24]byte // struct open_how
	if n, err := c.Read(c.Args[2], raw[:]); err != nil || n < len(raw) || c.Args[3] < uint64(len(raw)) {
		c.Continue()
		return
	}
	flags, mode, ways := binary.LittleEndian.Uint64(raw[:]), binary.LittleEndian.Uint64(raw[8:]), binary.LittleEndian.Uint64(raw[16:])
	const knownWays, aRoot = 0x3f, unix.RESOLVE_BENEATH | unix.RESOLVE_IN_ROOT
	makes := flags&unix.O_CREAT != 0 || flags&unix.O_TMPFILE == unix.O_TMPFILE
	switch {
	case flags>>31 != 0, ways&^knownWays != 0, ways&aRoot == aRoot, mode&^0o7777 != 0, mode != 0 && !makes: // for the kernel to refuse
		c.Continue()
		return
	case ways == 0:
		open(t, c, place{0, 1}, int(flags), int(mode))
		return
	}
	text, err := c.String(c.Args[1], unix.PathMax)
	if err != nil {
		t.unreadable(c, err)
		return
	}
	look := text
	if ways&aRoot != 0 && text != "" {
		if text[0] == '/' && ways&unix.RESOLVE_BENEATH != 0 {
			c.Fail(unix.EXDEV)
			return
		}
		// These never leave the folder, whatever stands in the path.
		if look = path.Clean("/" + text)[1:]; look == "" {
			look = "."
		}
	}
	w := t.locate(c, c.Arg(0), look, flags&unix.O_ACCMODE != unix.O_RDONLY || flags&unix.O_CREAT != 0)
	switch {
	case w.here():
		c.Continue()
	case w.action == rules.NotFound:
		c.Fail(unix.ENOENT)
	default:
		from := "/"
		if look[0] != '/' {
			from = t.base(c, c.Arg(0))
		}
		switch {
		case from == "", w.action == rules.Local && ways&aRoot != 0:
			c.Fail(unix.ENOSYS) // programs go over to openat
		case w.action == rules.Local: // from the pod's folder to this machine's
			fd, err := unix.Openat2(unix.AT_FDCWD, w.path, &unix.OpenHow{Flags: handed(flags) | unix.O_CLOEXEC, Mode: mode, Resolve: ways})
			if err != nil {
				c.Fail(errnoOf(err))
				return
			}
			defer unix.Close(fd)
			c.ReturnDescriptor(fd, uint32(flags)&unix.O_CLOEXEC)
		default:
			go t.openRemote(c, frame.OpenHow, &frame.OpenHowRequest{Flags: openFlags(int(flags)), Mode: uint32(mode), Ways: uint32(ways), From: from, Path: text}, flags)
		}
	}
}

// handed are the flags with which a file of this machine is opened to be handed over: the kernel does not do that with one that was opened with O_PATH, which
// is a folder, as a rule.
func handed(flags uint64) uint64 {
	if flags&unix.O_PATH != 0 {
		return flags&^unix.O_PATH | unix.O_NONBLOCK
	}
	return flags
}

// openRemote opens what cannot become this machine's.
func (t *Tree) openRemote(c *seccomp.Call, kind frame.Kind, m frame.Message, flags uint64) {
	r := t.ask(c, kind, m)
	switch {
	case r.Status == frame.StatusLocal:
		c.Fail(unix.ENOSYS)
	case r.Status > 0:
		c.Fail(errno(r))
	case r.FD < 0:
		c.Fail(unix.EIO)
	default:
		fd := settled(r.FD, int(flags))
		defer unix.Close(fd)
		c.ReturnDescriptor(fd, uint32(flags)&unix.O_CLOEXEC)
	}
}

// settled makes a descriptor of the pod's what the program has asked for. The kernel does not hand one over that was opened with O_PATH: it becomes one for
// neither reading nor writing, as that of a directory.
func settled(fd, flags int) int {
	if flags&unix.O_PATH != 0 {
		if other, err := unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_ACCMODE|unix.O_CLOEXEC, 0); err == nil {
			unix.Close(fd)
			return other
		}
		return fd
	}
	if flags &= unix.O_APPEND | unix.O_NONBLOCK; flags != 0 {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags)
	}
	return fd
}

// ---- stat

// numbers are a file's metadata in the order of StatReply.
type numbers [13]uint64

func numbersOf(s *frame.StatReply) numbers {
	return numbers{s.Dev, s.Ino, s.Mode, s.Nlink, s.UID, s.GID, s.Rdev, s.Size, s.Blksize, s.Blocks, s.Atime, s.Mtime, s.Ctime}
}

// tagged reads the metadata in a tag.
func tagged(fields string) (v numbers, ok bool) {
	parts := strings.Split(fields, "-")
	if len(parts) != len(v) {
		return v, false
	}
	for i, p := range parts {
		var err error
		if v[i], err = strconv.ParseUint(p, 16, 64); err != nil {
			return v, false
		}
	}
	return v, true
}

func statBytes(v numbers) []byte {
	var st unix.Stat_t
	st.Dev, st.Ino, st.Mode, st.Uid, st.Gid, st.Rdev = v[0], v[1], uint32(v[2]), uint32(v[4]), uint32(v[5]), v[6]
	setLinks(&st, v[3], v[8])
	st.Size, st.Blocks = int64(v[7]), int64(v[9])
	st.Atim, st.Mtim, st.Ctim = unix.NsecToTimespec(int64(v[10])), unix.NsecToTimespec(int64(v[11])), unix.NsecToTimespec(int64(v[12]))
	return unsafe.Slice((*byte)(unsafe.Pointer(&st)), unsafe.Sizeof(st))
}

func statxBytes(v numbers) []byte {
	at := func(ns uint64) unix.StatxTimestamp {
		ts := unix.NsecToTimespec(int64(ns))
		return unix.StatxTimestamp{Sec: ts.Sec, Nsec: uint32(ts.Nsec)}
	}
	st := unix.Statx_t{
		Mask: unix.STATX_BASIC_STATS, Blksize: uint32(v[8]), Nlink: uint32(v[3]), Uid: uint32(v[4]), Gid: uint32(v[5]), Mode: uint16(v[2]), Ino: v[1],
		Size: v[7], Blocks: v[9], Atime: at(v[10]), Mtime: at(v[11]), Ctime: at(v[12]),
		Rdev_major: unix.Major(v[6]), Rdev_minor: unix.Minor(v[6]), Dev_major: unix.Major(v[0]), Dev_minor: unix.Minor(v[0]),
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&st)), unsafe.Sizeof(st))
}

// stat is every call that tells metadata: out is the number of the argument that the answer goes to, in the form that encode makes.
func stat(t *Tree, c *seccomp.Call, p place, flags, out int, encode func(numbers) []byte) {
	text, err := c.String(c.Args[p.path], unix.PathMax)
	if (text == "" || c.Args[p.path] == 0) && flags&unix.AT_EMPTY_PATH != 0 && p.dir != none {
		describe(t, c, c.Arg(p.dir), out, encode)
		return
	}
	if err != nil {
		t.unreadable(c, err)
		return
	}
	follow := flags&unix.AT_SYMLINK_NOFOLLOW == 0
	if l, ok := t.ownLink(c, text); ok && follow && l.rest == "" && l.fd >= 0 && t.pod.Opened() {
		if kind, _ := tag(c.TID, l.fd); kind != 0 {
			describe(t, c, l.fd, out, encode)
			return
		}
	}
	p.following(t, c, false, follow, func(w where) {
		if w.action == rules.Local {
			localStat(c, w, p, out, len(encode(numbers{})))
			return
		}
		var flag uint8
		if flags&unix.AT_SYMLINK_NOFOLLOW != 0 {
			flag = frame.StatNoFollow
		}
		r := t.ask(c, frame.Stat, &frame.StatRequest{NoFollow: flag, Path: w.path})
		switch st, ok := r.Fields.(*frame.StatReply); {
		case r.Status == frame.StatusLocal:
			localStat(c, w, p, out, len(encode(numbers{})))
		case r.Status > 0:
			c.Fail(errno(r))
		case !ok:
			c.Fail(unix.EIO)
		default:
			finish(c, 0, c.Write(c.Args[out], encode(numbersOf(st))))
		}
	})
}

// localStat is local for a call whose argument out points to size bytes for its answer.
func localStat(c *seccomp.Call, w where, p place, out, size int) {
	if !w.moved {
		c.Continue()
		return
	}
	answer := make([]byte, size)
	if _, errno := inPlace(c, map[int]string{p.path: w.path}, map[int][]byte{out: answer}); errno != 0 {
		c.Fail(errno)
		return
	}
	finish(c, 0, c.Write(c.Args[out], answer))
}

// describe tells what the kernel cannot of a descriptor that holds a file of the pod.
func describe(t *Tree, c *seccomp.Call, fd, out int, encode func(numbers) []byte) {
	if !t.pod.Opened() {
		c.Continue()
		return
	}
	switch kind, fields := tag(c.TID, fd); kind {
	case 'l':
		go func() {
			r := t.ask(c, frame.Stat, &frame.StatRequest{NoFollow: frame.StatDescriptor, Path: fields})
			if st, ok := r.Fields.(*frame.StatReply); ok && c.Valid() {
				finish(c, 0, c.Write(c.Args[out], encode(numbersOf(st))))
				return
			}
			c.Continue()
		}()
		return
	case 'f', 'd', 'p':
		if v, ok := tagged(fields); ok && c.Valid() {
			finish(c, 0, c.Write(c.Args[out], encode(v)))
			return
		}
	}
	c.Continue()
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
