//go:build linux && (amd64 || arm64)

package supervise

import (
	"encoding/binary"
	"fmt"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"mirrord/launcher/rules"
	"mirrord/launcher/seccomp"
)

// where says whose a path is.
type where struct {
	action rules.Action
	path   string // as it was given, or absolute where it is not what the kernel would take it for
	moved  bool   // the kernel would take it for another
}

// here says that the kernel may go on.
func (w where) here() bool { return w.action == rules.Local && !w.moved }

// locate says whose the path is, as the calling thread sees it from dirfd.
func (t *Tree) locate(c *seccomp.Call, dirfd int, p string, write bool) where {
	if p == "" || !t.files || t.chrooted.Load() && t.ownRoot(c) {
		return where{path: p}
	}
	if p[0] == '/' {
		if l, ok := t.ownLink(c, p); ok && l.rest != "" {
			if at := t.leadsTo(c, l); at != "" {
				return t.moved(at+l.rest, write)
			}
		}
		return where{action: t.rules.Classify(path.Clean(p), write), path: p}
	}
	if dirfd < 0 && dirfd != unix.AT_FDCWD {
		return where{path: p}
	}
	base, belowPod := "", false
	if dirfd == unix.AT_FDCWD {
		base = t.folders.of(c.TID)
		belowPod = base != ""
	} else if t.rules.Directories() {
		base, belowPod = directory(c.TID, dirfd)
	}
	if !belowPod {
		if base = t.localBase(c, dirfd); base == "" {
			return where{path: p}
		}
	}
	whole := strings.TrimSuffix(base, "/") + "/" + p
	action := t.rules.Classify(path.Clean(whole), write)
	switch {
	case action == rules.Local && !belowPod:
		return where{path: p}
	case action == rules.Local:
		// The folders that ".." leads back through need not be on this machine.
		whole = path.Clean(whole)
	}
	return where{action: action, path: whole, moved: belowPod}
}

// moved is a path that stands for another.
func (t *Tree) moved(p string, write bool) where {
	return where{action: t.rules.Classify(path.Clean(p), write), path: p, moved: true}
}

// follow follows a link of proc's to something that the process has of the pod.
func (t *Tree) follow(c *seccomp.Call, w where, write bool) where {
	if !w.here() {
		return w
	}
	if l, ok := t.ownLink(c, w.path); ok && l.rest == "" {
		if at := t.leadsTo(c, l); at != "" {
			return t.moved(at, write)
		}
	}
	return w
}

// procLink is a path through a link of proc's: to a descriptor or, with -1, to the working directory, and what stands behind it, which begins with a slash.
type procLink struct {
	fd   int
	rest string
}

// ownLink reads a path through a link of the calling process's own.
func (t *Tree) ownLink(c *seccomp.Call, p string) (l procLink, ok bool) {
	link, ok := strings.CutPrefix(p, "/dev/")
	if !ok {
		if p, ok = strings.CutPrefix(p, "/proc/"); !ok {
			return l, false
		}
		var owner string
		owner, link, _ = strings.Cut(p, "/")
		if owner != "self" && owner != "thread-self" {
			pid, err := strconv.Atoi(owner)
			if own, gone := seccomp.Process(c.TID); err != nil || gone != nil || own != pid {
				return l, false
			}
		}
		if rest, ok := strings.CutPrefix(link, "cwd"); ok && (rest == "" || rest[0] == '/') {
			return procLink{-1, rest}, true
		}
	}
	if link, ok = strings.CutPrefix(link, "fd/"); !ok {
		return l, false
	}
	number, rest, below := strings.Cut(link, "/")
	fd, err := strconv.ParseUint(number, 10, 31)
	if below {
		rest = "/" + rest
	}
	return procLink{int(fd), rest}, err == nil
}

// leadsTo is the path of the pod that a link leads to; empty for one of this machine, and for a file's, whose path nobody knows.
func (t *Tree) leadsTo(c *seccomp.Call, l procLink) string {
	switch {
	case l.fd < 0:
		return t.folders.of(c.TID)
	case !t.pod.Opened():
		return ""
	}
	if at, ok := directory(c.TID, l.fd); ok {
		return at
	}
	at, _ := placed(c.TID, l.fd)
	return at
}

// base is the directory that a descriptor is, the pod's or this machine's; empty if it is none.
func (t *Tree) base(c *seccomp.Call, dirfd int) string {
	if dirfd == unix.AT_FDCWD {
		if at := t.folders.of(c.TID); at != "" {
			return at
		}
		return readlink(fmt.Sprintf("/proc/%d/cwd", c.TID))
	}
	if at, ok := directory(c.TID, dirfd); ok {
		return at
	}
	if at := readlink(descriptorPath(c.TID, dirfd)); strings.HasPrefix(at, "/") {
		return at
	}
	return ""
}

// localBase is this machine's directory, when relative paths from there may be the pod's: those from the root, and with patterns of the user's any.
func (t *Tree) localBase(c *seccomp.Call, dirfd int) string {
	always := t.rules.Has(rules.Relative)
	var link string
	switch {
	case dirfd == unix.AT_FDCWD && (always || t.inRoot.Load()):
		link = fmt.Sprintf("/proc/%d/cwd", c.TID)
	case dirfd != unix.AT_FDCWD && (always || t.openRoot.Load()):
		link = descriptorPath(c.TID, dirfd)
	default:
		return ""
	}
	base := readlink(link)
	if len(base) == 0 || base[0] != '/' || base != "/" && !always {
		return ""
	}
	return base
}

// ownRoot: what a process with a root of its own means is this machine's.
func (t *Tree) ownRoot(c *seccomp.Call) bool {
	return readlink(fmt.Sprintf("/proc/%d/root", c.TID)) != readlink("/proc/self/root")
}

func readlink(link string) string {
	var b [unix.PathMax]byte
	n, err := unix.Readlink(link, b[:])
	if err != nil {
		return ""
	}
	return string(b[:n])
}

func descriptorPath(tid, fd int) string {
	return "/proc/" + strconv.Itoa(tid) + "/fd/" + strconv.Itoa(fd)
}

// tag is the name of a descriptor that holds a file of the pod (launcher/broker writes it): its kind, 'f', 'd', 'l', or 'p' for what was opened with O_PATH, and the
// fields behind. 0 for any other.
func tag(tid, fd int) (kind byte, fields string) {
	name, gone := strings.CutSuffix(readlink(descriptorPath(tid, fd)), " (deleted)")
	name = strings.TrimPrefix(name[strings.LastIndexByte(name, '/')+1:], "memfd:")
	label, ok := strings.CutPrefix(name, "mirrord:")
	if !gone || !ok || len(label) < 2 || label[1] != ':' || strings.IndexByte("fdlp", label[0]) < 0 {
		return 0, ""
	}
	return label[0], label[2:]
}

// directory is the path of the pod's directory that a descriptor holds, placed that of what is no directory and was opened with O_PATH.
func directory(tid, fd int) (string, bool) { return heldPath(tid, fd, true) }
func placed(tid, fd int) (string, bool)    { return heldPath(tid, fd, false) }

func heldPath(tid, fd int, isDir bool) (string, bool) {
	switch kind, fields := tag(tid, fd); kind {
	case 'd':
		if !isDir {
			return "", false
		}
	case 'p':
		if v, ok := tagged(fields); !ok || (v[2]&unix.S_IFMT == unix.S_IFDIR) != isDir {
			return "", false
		}
	default:
		return "", false
	}
	content, err := unix.Open(descriptorPath(tid, fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", false
	}
	defer unix.Close(content)
	return directoryPath(content)
}

// directoryPath reads the path at the beginning of what a directory's descriptor holds.
func directoryPath(content int) (string, bool) {
	var b [2 + unix.PathMax]byte
	n, err := unix.Pread(content, b[:], 0)
	if err != nil || n < 2 {
		return "", false
	}
	size := int(binary.LittleEndian.Uint16(b[:]))
	if size == 0 || 2+size > n {
		return "", false
	}
	return string(b[2 : 2+size]), true
}

// folders are the processes whose working directory is one of the pod: the kernel's stays where it was. A child begins where its parent is, of which nobody is told:
// it is looked up when it matters, and noted before the parent goes elsewhere, or ends.
type folders struct {
	any   atomic.Bool
	mu    sync.Mutex
	known map[int]folder
}

type folder struct {
	since uint64 // when the process began: its number may come again
	path  string // empty: the kernel's counts
}

// maxFolders bounds what is kept of processes that have ended.
const maxFolders = 4096

// enter notes that a process is in a directory of the pod, or with an empty path that it is in one of this machine again.
func (f *folders) enter(pid int, path string) {
	if path == "" && !f.any.Load() {
		return
	}
	p, err := seccomp.About(pid)
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle(p.PID)
	if len(f.known) >= maxFolders {
		for pid, at := range f.known {
			if now, err := seccomp.About(pid); err != nil || now.Since != at.since {
				delete(f.known, pid)
			}
		}
	}
	if f.known == nil {
		f.known = map[int]folder{}
	}
	f.known[p.PID] = folder{p.Since, path}
	f.any.Store(true)
}

// leave is called before a process ends.
func (f *folders) leave(tid int) {
	if !f.any.Load() {
		return
	}
	if pid, err := seccomp.Process(tid); err == nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.settle(pid)
	}
}

// settle notes where a process's children are, as long as that can be told from where it is.
func (f *folders) settle(pid int) {
	for _, child := range seccomp.Children(pid) {
		f.find(child, 0)
	}
}

// of is the directory of the pod that a thread's process is in, or empty.
func (f *folders) of(tid int) string {
	if !f.any.Load() {
		return ""
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.find(tid, 0)
}

// find looks for the process, and for those that it comes from. What it finds is the process's own from then on.
func (f *folders) find(pid, depth int) string {
	p, err := seccomp.About(pid)
	if err != nil || depth > 64 {
		return ""
	}
	if at, ok := f.known[p.PID]; ok && at.since == p.Since {
		return at.path
	}
	path := ""
	if p.Parent > 1 {
		path = f.find(p.Parent, depth+1)
	}
	if len(f.known) < maxFolders {
		if f.known == nil {
			f.known = map[int]folder{}
		}
		f.known[p.PID] = folder{p.Since, path}
	}
	return path
}
