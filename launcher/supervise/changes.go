//go:build linux && (amd64 || arm64)

package supervise

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"mirrord/launcher/rules"
	"mirrord/launcher/seccomp"
	"mirrord/layer/frame"
)

// block is an argument that points to what a call reads: so many bytes, or with 0 a text.
type block struct{ arg, size int }

// request says what a call asks for, without its paths.
type request func(t *Tree, c *seccomp.Call) (frame.ChangeRequest, error)

// plain is the request of a call that says nothing more; mode, whose argument is a mode; and so on.
func plain(op frame.Op) request { return withMode(op, none, 0) }

func withMode(op frame.Op, arg int, flags uint32) request {
	return func(_ *Tree, c *seccomp.Call) (frame.ChangeRequest, error) {
		m := frame.ChangeRequest{Op: op, Flags: flags}
		if arg != none {
			m.Mode = uint32(c.Args[arg])
		}
		return m, nil
	}
}

func withSize(op frame.Op, mode, size int) request {
	return func(_ *Tree, c *seccomp.Call) (frame.ChangeRequest, error) {
		m := frame.ChangeRequest{Op: op, Size: c.Args[size]}
		if mode != none {
			m.Mode = uint32(c.Args[mode])
		}
		return m, nil
	}
}

func withOwner(first int, flags uint32) request {
	return func(_ *Tree, c *seccomp.Call) (frame.ChangeRequest, error) {
		return frame.ChangeRequest{Op: frame.Chown, Flags: flags, UID: uint32(c.Args[first]), GID: uint32(c.Args[first+1])}, nil
	}
}

// noFollow adds what the argument with the AT_ flags says to a request.
func noFollow(r request, arg int) request {
	return func(t *Tree, c *seccomp.Call) (frame.ChangeRequest, error) {
		m, err := r(t, c)
		if c.Arg(arg)&unix.AT_SYMLINK_NOFOLLOW != 0 {
			m.Flags |= frame.ChangeNoFollow
		}
		return m, err
	}
}

// clock is how the times of a call are written: two pairs of u64 seconds and fractions, or two seconds alone.
type clock struct {
	fraction int64 // nanoseconds in one; 0: there are none
	special  bool  // a fraction may be UTIME_NOW or UTIME_OMIT
}

func withTimes(arg int, how clock) request {
	return func(_ *Tree, c *seccomp.Call) (frame.ChangeRequest, error) {
		m := frame.ChangeRequest{Op: frame.Utimes}
		if c.Args[arg] == 0 {
			m.Flags = frame.ChangeAtimeNow | frame.ChangeMtimeNow
			return m, nil
		}
		words := 4
		if how.fraction == 0 {
			words = 2
		}
		b := make([]byte, 8*words)
		if n, err := c.Read(c.Args[arg], b); err != nil || n < len(b) {
			return m, unix.EFAULT
		}
		word := func(i int) int64 { return int64(binary.LittleEndian.Uint64(b[8*i:])) }
		for i, to := range []struct {
			at        *uint64
			now, omit uint32
		}{{&m.Atime, frame.ChangeAtimeNow, frame.ChangeAtimeOmit}, {&m.Mtime, frame.ChangeMtimeNow, frame.ChangeMtimeOmit}} {
			if how.fraction == 0 {
				*to.at = uint64(word(i) * 1e9)
				continue
			}
			switch seconds, fraction := word(2*i), word(2*i+1); {
			case how.special && fraction == unix.UTIME_NOW:
				m.Flags |= to.now
			case how.special && fraction == unix.UTIME_OMIT:
				m.Flags |= to.omit
			case fraction < 0 || fraction*how.fraction >= 1e9:
				return m, unix.EINVAL
			default:
				*to.at = uint64(seconds*1e9 + fraction*how.fraction)
			}
		}
		return m, nil
	}
}

// change is a call that would change what is at a path. The broker refuses it, has it made elsewhere, or leaves it to this machine.
func change(t *Tree, c *seccomp.Call, r request, p place, blocks ...block) {
	p.elsewhere(t, c, true, func(w where) {
		if w.action == rules.Remote {
			m, err := r(t, c)
			if err != nil {
				c.Fail(errnoOf(err))
				return
			}
			m.Path = w.path
			if m.Op == frame.Symlink {
				if m.Other, err = c.String(c.Args[blocks[0].arg], unix.PathMax); err != nil {
					c.Fail(errnoOf(err))
					return
				}
			}
			if !t.permitted(c, &m) {
				return
			}
		}
		t.carryOut(c, map[int]where{p.path: w}, blocks)
	})
}

// changePair is change for calls that name two paths. One of this machine is not told to the broker, which knows nothing of it.
func changePair(t *Tree, c *seccomp.Call, r request, from, to place) {
	a, ok := from.read(t, c, true)
	if !ok {
		return
	}
	b, ok := to.read(t, c, true)
	switch {
	case !ok:
	case a.here() && b.here():
		c.Continue()
	case a.action == rules.NotFound || b.action == rules.NotFound:
		c.Fail(unix.ENOENT)
	default:
		go func() {
			if a.action != rules.Local || b.action != rules.Local {
				m, err := r(t, c)
				if err != nil {
					c.Fail(errnoOf(err))
					return
				}
				if a.action == rules.Remote {
					m.Path = a.path
				}
				if b.action == rules.Remote {
					m.Other = b.path
				}
				if !t.permitted(c, &m) {
					return
				}
			}
			t.carryOut(c, map[int]where{from.path: a, to.path: b}, nil)
		}()
	}
}

// permitted asks whether this machine may make the change; else the call is answered.
func (t *Tree) permitted(c *seccomp.Call, m *frame.ChangeRequest) bool {
	switch r := t.ask(c, frame.Change, m); {
	case r.Status == frame.StatusLocal:
		return true
	case r.Status > 0:
		c.Fail(errno(r))
	default:
		c.Return(0)
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

// changeHeld is a call that would change what a descriptor holds, a directory or the copy of a file of the pod: either would take it for itself, and the pod would
// never know.
func changeHeld(t *Tree, c *seccomp.Call, r request) {
	if !t.pod.Opened() {
		c.Continue()
		return
	}
	kind, path := tag(c.TID, c.Arg(0))
	switch kind {
	case 0, 'l':
		c.Continue()
		return
	case 'p':
		c.Fail(unix.EBADF)
		return
	}
	flags := frame.ChangeHeld
	if kind == 'd' {
		path, _ = directory(c.TID, c.Arg(0))
		flags = 0
	}
	go func() {
		m, err := r(t, c)
		if err != nil {
			c.Fail(errnoOf(err))
			return
		}
		m.Path, m.Flags = path, m.Flags|flags
		if t.permitted(c, &m) {
			c.Fail(unix.EROFS)
		}
	}()
}
