package links

import (
	"context"
	"io"
	"sync"
	"syscall"
	"time"
)

// pipeBuffer is what a relay reads at once, in bytes: large reads are what makes a relay cheap.
const pipeBuffer = 256 << 10

// drainTime limits how long a relay with one broken end goes on delivering what that end had sent before.
const drainTime = 5 * time.Second

var pipeBuffers = sync.Pool{New: func() any { return new([pipeBuffer]byte) }}

// Watched is a Conn that a Pipe shows what it reads from it: bytes, valid during the call only, and once, with an error, how that ended (io.EOF: well).
// Saw must not block.
type Watched interface {
	Conn
	Saw(p []byte, err error)
}

// Receiver is a Conn that a Pipe has read its descriptor in a way of its own. Receive must not block: EAGAIN says that there is nothing yet.
type Receiver interface {
	Conn
	Receive(fd int, p []byte) (int, error)
}

// Pipe relays between a and b until both directions are done, then closes both. The end of one direction is passed on while the other goes on, for
// hours if need be. A connection that breaks resets the other, so that nobody takes a cut transfer for a whole one. An idle connection holds no buffer.
func Pipe(a, b Conn) { pipe(a, b, drainTime) }

func pipe(a, b Conn, drain time.Duration) {
	stopA, stopB := drainAfter(a, b, drain), drainAfter(b, a, drain)
	var clean [2]bool
	var other sync.WaitGroup
	other.Go(func() { clean[0] = oneWay(b, a, drain) })
	clean[1] = oneWay(a, b, drain) // here: a goroutine fewer for each of thousands of connections
	other.Wait()
	stopA()
	stopB()
	if !clean[0] || !clean[1] {
		hard(a)
		hard(b)
	}
	a.Close()
	b.Close()
}

// drainAfter limits the writing to dst once src, if it is a Stream, is broken: a dst that does not read would keep the relay for ever. The returned
// function ends the watching.
func drainAfter(src, dst Conn, drain time.Duration) (stop func() bool) {
	s, ok := src.(interface{ life() context.Context })
	if !ok || s.life() == nil {
		return func() bool { return true }
	}
	return context.AfterFunc(s.life(), func() { dst.SetWriteDeadline(time.Now().Add(drain)) })
}

// oneWay relays src's bytes to dst, then src's end. It reports whether all arrived.
func oneWay(dst, src Conn, drain time.Duration) bool {
	saw := func([]byte, error) {}
	if w, ok := src.(Watched); ok {
		saw = w.Saw
	}
	for {
		buf, n, err := readable(src)
		if n > 0 {
			saw(buf[:n], nil)
			_, werr := dst.Write(buf[:n])
			pipeBuffers.Put(buf)
			if werr != nil {
				saw(nil, werr)
				// dst takes no more. What it has sent before is still delivered by the other direction.
				dst.SetReadDeadline(time.Now().Add(drain))
				return false
			}
			continue
		}
		saw(nil, err)
		if err == io.EOF {
			return dst.CloseWrite() == nil
		}
		hard(dst)
		dst.Close()
		return false
	}
}

// readable waits until src has something, then reads it into a buffer from pipeBuffers, which is the caller's if n > 0 and nil otherwise.
func readable(src Conn) (buf *[pipeBuffer]byte, n int, err error) {
	receive := syscall.Read
	if r, ok := src.(Receiver); ok {
		receive = r.Receive
	}
	system, ok := src.(syscall.Conn)
	if !ok {
		if _, err := src.Read(nil); err != nil {
			return nil, 0, err
		}
		buf = pipeBuffers.Get().(*[pipeBuffer]byte)
		n, err = src.Read(buf[:])
	} else {
		raw, rerr := system.SyscallConn()
		if rerr != nil {
			return nil, 0, rerr
		}
		werr := raw.Read(func(fd uintptr) bool {
			buf = pipeBuffers.Get().(*[pipeBuffer]byte)
			for {
				if n, err = receive(int(fd), buf[:]); err != syscall.EINTR {
					break
				}
			}
			if err == syscall.EAGAIN {
				pipeBuffers.Put(buf)
				buf = nil
				return false // raw.Read waits, then calls again
			}
			return true
		})
		switch {
		case werr != nil:
			n, err = 0, werr
		case n == 0 && err == nil:
			err = io.EOF
		}
	}
	if n > 0 {
		return buf, n, nil
	}
	if buf != nil {
		pipeBuffers.Put(buf)
	}
	return nil, 0, err
}

// hard makes the coming Close of c a reset.
func hard(c Conn) {
	if l, ok := c.(interface{ SetLinger(seconds int) error }); ok {
		l.SetLinger(0)
	}
}

// Refuse ends a connection with a reset, as a port does where nobody listens.
func Refuse(c Conn) error {
	hard(c)
	return c.Close()
}
