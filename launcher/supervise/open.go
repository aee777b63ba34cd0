//go:build linux && (amd64 || arm64)

package supervise

import (
	"encoding/binary"
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"mirrord/launcher/rules"
	"mirrord/launcher/seccomp"
	"mirrord/layer/frame"
)

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
