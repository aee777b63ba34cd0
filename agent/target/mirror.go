package target

import (
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
)

// A mirror may be slow, or stand still. The connection that it sees a copy of never waits for it: what the mirror has not taken is kept up to a
// limit, in bytes, of each copy and of all copies of a mirror together; then the copy is cut.
const (
	copyLimit   = 4 << 20
	mirrorLimit = 32 << 20
)

// Copy is what a mirror sees of a connection to a port of the target: the bytes that came for the target's own program. Its owner closes it.
type Copy struct {
	Local, Remote netip.AddrPort // the connection's, as the target sees them

	held   *atomic.Int64 // by all copies of the mirror
	mu     sync.Mutex
	ready  sync.Cond
	buf    []byte // not yet taken
	taken  int    // bytes that Next handed out last
	end    error  // after buf; nil while the connection goes on
	closed bool

	broken context.Context
	sever  context.CancelCauseFunc
}

func newCopy(local, remote netip.AddrPort, held *atomic.Int64) *Copy {
	c := &Copy{Local: local, Remote: remote, held: held}
	c.ready.L = &c.mu
	c.broken, c.sever = context.WithCancelCause(context.Background())
	return c
}

// Next waits for bytes, which are the caller's; calling again says that they are dealt with. Errors: io.EOF when the connection's sender has finished,
// syscall.ECONNRESET when the connection broke, syscall.ENOBUFS when the copy was cut because the mirror is too slow, net.ErrClosed after Close.
func (c *Copy) Next() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held.Add(-int64(c.taken))
	c.taken = 0
	for len(c.buf) == 0 && c.end == nil && !c.closed {
		c.ready.Wait()
	}
	switch {
	case c.closed:
		return nil, net.ErrClosed
	case len(c.buf) == 0:
		return nil, c.end
	}
	p := c.buf
	c.buf, c.taken = nil, len(p)
	return p, nil
}

// Broken ends when the copy is cut or its connection breaks, which may be long before Next says so; the cause is Next's error.
func (c *Copy) Broken() context.Context { return c.broken }

// Close gives the copy up. It may be called more than once, and while another goroutine is in Next.
func (c *Copy) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.drop()
	c.held.Add(-int64(c.taken))
	c.taken = 0
	return nil
}

// drop lets go of what nobody will take. c.mu is held.
func (c *Copy) drop() {
	c.held.Add(-int64(len(c.buf)))
	c.buf = nil
	c.ready.Broadcast()
}

// saw appends to the copy, or ends it. It never waits.
func (c *Copy) saw(p []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.end != nil {
		return
	}
	switch {
	case err == io.EOF:
		c.end = io.EOF
	case err != nil:
		c.end = syscall.ECONNRESET
		c.sever(c.end)
	case len(c.buf)+c.taken+len(p) > copyLimit || c.held.Load()+int64(len(p)) > mirrorLimit:
		c.end = syscall.ENOBUFS
		c.sever(c.end)
		c.drop()
	default:
		c.held.Add(int64(len(p)))
		c.buf = append(c.buf, p...)
	}
	c.ready.Broadcast()
}

// mirror is one subscription; its address tells it from others.
type mirror struct {
	port *Port
	see  func(*Copy)
	held atomic.Int64
}

// watched is a connection with mirrors.
type watched struct {
	*net.TCPConn
	copies []*Copy
}

// Saw is of links.Watched.
func (w *watched) Saw(p []byte, err error) {
	for _, c := range w.copies {
		c.saw(p, err)
	}
}

// watch prepares a copy of the connection for every mirror. show hands the copies out, as soon as somebody has taken the connection itself.
func watch(in Incoming, mirrors []*mirror) (_ Incoming, show func()) {
	if len(mirrors) == 0 {
		return in, func() {}
	}
	w := &watched{TCPConn: in.Conn.(*net.TCPConn)}
	for _, m := range mirrors {
		w.copies = append(w.copies, newCopy(in.Local, in.Remote, &m.held))
	}
	in.Conn = w
	return in, func() {
		for i, m := range mirrors {
			m.see(w.copies[i])
		}
	}
}

// Mirror is Target's, for this port.
func (p *Port) Mirror(see func(*Copy)) (io.Closer, error) {
	m := &mirror{port: p, see: see}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mirrors = append(p.mirrors, m)
	return m, nil
}

// Close ends the copying of new connections.
func (m *mirror) Close() error {
	m.port.mu.Lock()
	defer m.port.mu.Unlock()
	m.port.mirrors = slices.DeleteFunc(slices.Clone(m.port.mirrors), func(o *mirror) bool { return o == m })
	return nil
}
