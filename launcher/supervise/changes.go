//go:build linux && (amd64 || arm64)

package supervise

import (
	"golang.org/x/sys/unix"

	"mirrord/launcher/rules"
	"mirrord/launcher/seccomp"
	"mirrord/layer/frame"
)

// block is an argument that points to what a call reads: so many bytes, or with 0 a text.
type block struct{ arg, size int }

// change is a call that would change what is at a path. The broker refuses it, or leaves it to this machine.
func change(t *Tree, c *seccomp.Call, op frame.Op, p place, blocks ...block) {
	p.elsewhere(t, c, true, func(w where) {
		if w.action == rules.Remote && !t.permitted(c, op, w.path, "") {
			return
		}
		t.carryOut(c, map[int]where{p.path: w}, blocks)
	})
}

// changePair is change for calls that name two paths: both must be this machine's.
func changePair(t *Tree, c *seccomp.Call, op frame.Op, from, to place) {
	a, ok := from.read(t, c, true)
	if !ok {
		return
	}
	b, ok := to.read(t, c, true)
	switch {
	case !ok:
	case a.here() && b.here():
		c.Continue()
	case a.action == rules.NotFound:
		c.Fail(unix.ENOENT)
	default:
		go func() {
			switch {
			case a.action == rules.Local && b.action == rules.Local:
			case a.action == rules.Local: // a file of this machine goes to a path of the pod: that path is a creation
				if !t.permitted(c, frame.Mknod, b.path, "") {
					return
				}
			default:
				if !t.permitted(c, op, a.path, b.path) {
					return
				}
			}
			t.carryOut(c, map[int]where{from.path: a, to.path: b}, nil)
		}()
	}
}

// permitted asks whether this machine may make the change; else the call is answered.
func (t *Tree) permitted(c *seccomp.Call, op frame.Op, path, other string) bool {
	r := t.ask(c, frame.Change, &frame.ChangeRequest{Op: op, Path: path, Other: other})
	switch {
	case r.Status == frame.StatusLocal:
		return true
	case r.Status > 0:
		c.Fail(errno(r))
	default:
		c.Fail(unix.EROFS)
	}
	return false
}

// carryOut makes the change on this machine: in the kernel, unless it would take a path for another.
func (t *Tree) carryOut(c *seccomp.Call, paths map[int]where, blocks []block) {
	moved, texts, data := false, map[int]string{}, map[int][]byte{}
	for arg, w := range paths {
		moved = moved || w.moved
		texts[arg] = w.path
	}
	if !moved {
		c.Continue()
		return
	}
	for _, b := range blocks {
		if c.Args[b.arg] == 0 {
			continue
		}
		if b.size == 0 {
			text, err := c.String(c.Args[b.arg], unix.PathMax)
			if err != nil {
				c.Fail(errnoOf(err))
				return
			}
			texts[b.arg] = text
			continue
		}
		bytes := make([]byte, b.size)
		if n, err := c.Read(c.Args[b.arg], bytes); err != nil || n < b.size {
			c.Fail(unix.EFAULT)
			return
		}
		data[b.arg] = bytes
	}
	if n, errno := inPlace(c, texts, data); errno != 0 {
		c.Fail(errno)
	} else {
		c.Return(n)
	}
}

// readOnly refuses what would change a descriptor that holds a copy of a file of the pod: it would take that for itself, and the pod would never know.
func readOnly(t *Tree, c *seccomp.Call) {
	if t.pod.Opened() {
		if kind, _ := tag(c.TID, c.Arg(0)); kind != 0 && kind != 'l' {
			c.Fail(unix.EROFS)
			return
		}
	}
	c.Continue()
}
