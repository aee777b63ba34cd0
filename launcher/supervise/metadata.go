//go:build linux && (amd64 || arm64)

package supervise

import (
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"mirrord/launcher/rules"
	"mirrord/launcher/seccomp"
	"mirrord/layer/frame"
)

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
