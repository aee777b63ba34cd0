//go:build linux && (amd64 || arm64)

package supervise

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"mirrord/launcher/seccomp"
)

// execute lets a program be executed, and tells: what it executes is in the tree, too.
func execute(t *Tree, c *seccomp.Call, p place) {
	text, err := c.String(c.Args[p.path], unix.PathMax)
	if err != nil {
		t.unreadable(c, err)
		return
	}
	base := fmt.Sprintf("/proc/%d/cwd", c.TID)
	if p.dir != none && c.Arg(p.dir) != unix.AT_FDCWD {
		base = descriptorPath(c.TID, c.Arg(p.dir))
	}
	cwd, tid := "", c.TID
	switch {
	case text == "":
		text = readlink(base) // fexecve
	case strings.HasPrefix(text, "/proc/self/"):
		text = fmt.Sprintf("/proc/%d/", tid) + strings.TrimPrefix(text, "/proc/self/")
		if to := readlink(text); to != "" {
			text = to
		}
	case text[0] != '/':
		cwd = readlink(base)
	}
	t.folders.of(tid) // what is executed may outlive its parent, by which it would be found
	pid, gone := seccomp.Process(tid)
	c.Continue()
	if gone == nil && text != "" && !t.helper.CompareAndSwap(int64(pid), 0) {
		go t.pod.Executes(pid, text, cwd)
	}
}

// uname has the pod's host name in the second of its six fields.
func uname(t *Tree, c *seccomp.Call) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		c.Continue()
		return
	}
	clear(name.Nodename[:])
	copy(name.Nodename[:len(name.Nodename)-1], t.rules.Hostname())
	var b []byte
	for _, f := range [][65]byte{name.Sysname, name.Nodename, name.Release, name.Version, name.Machine, name.Domainname} {
		b = append(b, f[:]...)
	}
	finish(c, 0, c.Write(c.Args[0], b))
}
