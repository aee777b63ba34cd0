package serve

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// What may be under way in one direction of a pair, in bytes; a writer waits beyond it. A pair with a delay has as much on its way as a long
// line would: at 20 ms it allows 26 Gbit/s.
const (
	room     = 256 << 10
	inFlight = 64 << 20
)

// packetSize is what a packet holds at most, in bytes: a frame of the link.
const packetSize = 32 << 10

var packets = sync.Pool{New: func() any { return new([packetSize]byte) }}

// Pair returns the two ends of a connection inside this process, which needs no system call. What one end writes can be read from the other after a
// delay: in order, and as fast one after the other as it was written. When an end is closed the other reads what was written before, then io.EOF.
// The ends have no addresses and no deadlines.
func Pair(delay time.Duration) (a, b net.Conn) {
	there, back := newFlow(delay), newFlow(delay)
	return &end{in: back, out: there}, &end{in: there, out: back}
}

type end struct{ in, out *flow }

func (e *end) Read(p []byte) (int, error)  { return e.in.read(p) }
func (e *end) Write(p []byte) (int, error) { return e.out.write(p) }

func (e *end) Close() error {
	e.out.close(&e.out.written)
	e.in.close(&e.in.unread)
	return nil
}

func (*end) LocalAddr() net.Addr              { return address{} }
func (*end) RemoteAddr() net.Addr             { return address{} }
func (*end) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (*end) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (*end) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

type address struct{}

func (address) Network() string { return "pair" }
func (address) String() string  { return "pair" }

// flow is one direction.
type flow struct {
	delay time.Duration
	limit int

	mu      sync.Mutex
	changed sync.Cond // any of the below
	queue   []packet
	bytes   int  // in queue
	written bool // the writing end is closed
	unread  bool // the reading end is closed
}

type packet struct {
	due  time.Time // zero without a delay
	p    []byte    // what has not been read
	pool *[packetSize]byte
}

func newFlow(delay time.Duration) *flow {
	f := &flow{delay: delay, limit: room}
	if delay > 0 {
		f.limit = inFlight
	}
	f.changed.L = &f.mu
	return f
}

func (f *flow) close(flag *bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*flag = true
	f.changed.Broadcast()
}

func (f *flow) write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	done := 0
	for {
		piece := p[done:min(done+packetSize, len(p))]
		for f.bytes > 0 && f.bytes+len(piece) > f.limit && !f.written && !f.unread {
			f.changed.Wait()
		}
		switch {
		case f.written:
			return done, net.ErrClosed
		case f.unread:
			return done, io.ErrClosedPipe
		case len(piece) == 0:
			return done, nil
		}
		f.queue = append(f.queue, f.packet(piece))
		f.bytes += len(piece)
		done += len(piece)
		if len(f.queue) == 1 || f.delay == 0 {
			f.changed.Broadcast()
		}
	}
}

// packet copies what was written. Small ones are not worth a whole buffer.
func (f *flow) packet(piece []byte) packet {
	var n packet
	if len(piece) <= 512 {
		n.p = append([]byte(nil), piece...)
	} else {
		n.pool = packets.Get().(*[packetSize]byte)
		n.p = n.pool[:copy(n.pool[:], piece)]
	}
	if f.delay > 0 {
		n.due = time.Now().Add(f.delay)
	}
	return n
}

func (f *flow) read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		if f.unread {
			return 0, net.ErrClosed
		}
		if len(f.queue) > 0 {
			wait := f.wait()
			if wait <= 0 {
				return f.take(p), nil
			}
			wake := time.AfterFunc(wait, func() { // with the lock, so that it does not come before Wait
				f.mu.Lock()
				defer f.mu.Unlock()
				f.changed.Broadcast()
			})
			f.changed.Wait()
			wake.Stop()
			continue
		}
		if f.written {
			return 0, io.EOF
		}
		f.changed.Wait()
	}
}

// wait is how long the first packet still takes.
func (f *flow) wait() time.Duration {
	if f.delay == 0 {
		return 0
	}
	return time.Until(f.queue[0].due)
}

// take reads what has arrived, at least one byte.
func (f *flow) take(p []byte) int {
	n := 0
	for n < len(p) && len(f.queue) > 0 && (n == 0 || f.wait() <= 0) {
		first := &f.queue[0]
		m := copy(p[n:], first.p)
		n += m
		first.p = first.p[m:]
		if len(first.p) > 0 {
			break
		}
		if first.pool != nil {
			packets.Put(first.pool)
		}
		*first = packet{}
		if f.queue = f.queue[1:]; len(f.queue) == 0 {
			f.queue = f.queue[:0:0]
		}
	}
	f.bytes -= n
	f.changed.Broadcast()
	return n
}
