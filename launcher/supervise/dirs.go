//go:build linux && (amd64 || arm64)

package supervise

import (
	"encoding/binary"
	"fmt"
	"path"

	"golang.org/x/sys/unix"

	"mirrord/launcher/rules"
	"mirrord/launcher/seccomp"
	"mirrord/layer/frame"
)

// An open directory of the pod is a descriptor whose content is the directory's path (u16 length, bytes) and its entries: u64 inode, u8 type, u8 0, u16
// length, name.
const (
	entryFixed = 12
	maxEntries = 256 << 10 // bytes that one call may get
)

// entries is getdents64. The descriptor's own offset is the position, as with any directory.
func entries(t *Tree, c *seccomp.Call) {
	if !t.rules.Directories() {
		c.Continue()
		return
	}
	switch kind, _ := tag(c.TID, c.Arg(0)); kind {
	case 'd':
		go t.listDirectory(c)
	case 'p':
		c.Fail(unix.EBADF)
	default:
		c.Continue()
	}
}

func (t *Tree) listDirectory(c *seccomp.Call) {
	fd, err := c.Descriptor(c.Arg(0))
	if err != nil {
		c.Fail(errnoOf(err))
		return
	}
	defer unix.Close(fd)
	content, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_CLOEXEC, 0) // the descriptor itself cannot be read
	if err != nil {
		c.Fail(errnoOf(err))
		return
	}
	defer unix.Close(content)
	at, err := unix.Seek(fd, 0, unix.SEEK_CUR)
	if err != nil {
		c.Fail(errnoOf(err))
		return
	}
	if at == 0 {
		name, _ := directoryPath(content)
		at = int64(2 + len(name))
	}
	room := min(int(uint32(c.Args[2])), maxEntries)
	raw := make([]byte, room+entryFixed+unix.NAME_MAX)
	n, err := unix.Pread(content, raw, at)
	if err != nil {
		c.Fail(errnoOf(err))
		return
	}
	out, used := direntsOf(raw[:n], at, room)
	if used == 0 && n > 0 {
		c.Fail(unix.EINVAL)
		return
	}
	if err := c.Write(c.Args[1], out); err != nil && len(out) > 0 {
		finish(c, 0, err)
		return
	}
	_, _ = unix.Seek(fd, at+int64(used), unix.SEEK_SET)
	c.Return(len(out))
}

// direntsOf turns entries into struct linux_dirent64, as many as fit into room, and says how many bytes of raw they are. raw begins at the position at of the
// directory's content; its last entry may be cut.
func direntsOf(raw []byte, at int64, room int) (out []byte, used int) {
	for {
		rest := raw[used:]
		if len(rest) < entryFixed {
			return out, used
		}
		size := int(binary.LittleEndian.Uint16(rest[10:]))
		if len(rest) < entryFixed+size || size > unix.NAME_MAX {
			return out, used
		}
		length := (19 + size + 1 + 7) &^ 7
		if len(out)+length > room {
			return out, used
		}
		used += entryFixed + size
		entry := make([]byte, length)
		copy(entry, rest[:8])
		binary.LittleEndian.PutUint64(entry[8:], uint64(at)+uint64(used))
		binary.LittleEndian.PutUint16(entry[16:], uint16(length))
		entry[18] = rest[8]
		copy(entry[19:], rest[entryFixed:entryFixed+size])
		out = append(out, entry...)
	}
}

// chdir: the kernel's working directory stays where it is when it becomes one of the pod.
func chdir(t *Tree, c *seccomp.Call) {
	w, ok := place{none, 0}.read(t, c, false)
	if ok {
		w = t.follow(c, w, false)
	}
	switch {
	case !ok:
	case w.here():
		t.leaves(c, below(c, w.path))
		c.Continue()
	case w.action == rules.NotFound:
		c.Fail(unix.ENOENT)
	default:
		go t.enterElsewhere(c, w)
	}
}

// leaves notes that the kernel is about to take the process to a directory of this machine, if that may be entered.
func (t *Tree) leaves(c *seccomp.Call, p string) {
	if t.folders.of(c.TID) != "" && enterable(p) {
		t.folders.enter(c.TID, "")
	}
	if isRoot(p) {
		t.inRoot.Store(true)
	}
}

// isRoot says whether a path of this machine leads to its root.
func isRoot(p string) bool {
	var st, root unix.Stat_t
	return unix.Stat(p, &st) == nil && unix.Stat("/", &root) == nil && st.Dev == root.Dev && st.Ino == root.Ino
}

// below is a path of the calling process's as this one can use it.
func below(c *seccomp.Call, p string) string {
	if p == "" || p[0] != '/' {
		return fmt.Sprintf("/proc/%d/cwd/%s", c.TID, p)
	}
	return p
}

// enterable says whether the kernel will let a process into a directory of this machine.
func enterable(p string) bool {
	var st unix.Stat_t
	return unix.Stat(p, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && unix.Access(p, unix.X_OK) == nil
}

func (t *Tree) enterElsewhere(c *seccomp.Call, w where) {
	if w.action == rules.Local { // relative, from a directory of the pod to one of this machine
		if !enterable(w.path) {
			c.Fail(unix.ENOENT)
			return
		}
		t.folders.enter(c.TID, path.Clean(w.path))
		c.Return(0)
		return
	}
	r := t.ask(c, frame.Stat, &frame.StatRequest{Path: w.path})
	st, ok := r.Fields.(*frame.StatReply)
	switch {
	case r.Status == frame.StatusLocal:
		if !w.moved {
			t.leaves(c, below(c, w.path))
			c.Continue()
			return
		}
		t.enterElsewhere(c, where{path: w.path, moved: true})
		return
	case r.Status > 0:
		c.Fail(errno(r))
		return
	case !ok || st.Mode&unix.S_IFMT != unix.S_IFDIR:
		c.Fail(unix.ENOTDIR)
		return
	}
	r = t.ask(c, frame.Realpath, &frame.PathRequest{Path: w.path})
	real, ok := r.Fields.(*frame.PathReply)
	switch {
	case r.Status > 0:
		c.Fail(errno(r))
	case !ok || !c.Valid():
		c.Fail(unix.EIO)
	default:
		t.folders.enter(c.TID, real.Path)
		c.Return(0)
	}
}

func fchdir(t *Tree, c *seccomp.Call) {
	if t.rules.Directories() {
		if name, ok := directory(c.TID, c.Arg(0)); ok {
			t.folders.enter(c.TID, name)
			c.Return(0)
			return
		}
	}
	t.leaves(c, descriptorPath(c.TID, c.Arg(0)))
	c.Continue()
}

func getcwd(t *Tree, c *seccomp.Call) {
	name := t.folders.of(c.TID)
	switch {
	case name == "":
		c.Continue()
	case uint64(len(name)) >= c.Args[1]:
		c.Fail(unix.ERANGE)
	default:
		finish(c, len(name)+1, c.Write(c.Args[0], append([]byte(name), 0)))
	}
}

// chroot: a folder of the pod cannot be a root; in one of this machine's, paths are this machine's.
func chroot(t *Tree, c *seccomp.Call) {
	w, ok := place{none, 0}.read(t, c, false)
	switch {
	case !ok:
	case w.here():
		t.chrooted.Store(true)
		c.Continue()
	case w.action == rules.NotFound:
		c.Fail(unix.ENOENT)
	default:
		c.Fail(unix.EPERM)
	}
}
