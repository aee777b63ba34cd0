package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"mirrord/agent/links"
)

// appTime limits the dialling of the pod's own program, which is on this machine or near it.
const appTime = 10 * time.Second

// Arrival is a new connection to a port of the target.
type Arrival struct {
	Conn          *net.TCPConn
	Local, Remote netip.AddrPort // as the target's own program would see them
	// Dial connects the client to the target's own program. nil: there is none, and the client is refused.
	Dial func(ctx context.Context) (links.Conn, error)
	// Own says whether the connection is the program's whoever steals the port. It may look at the first bytes, without reading them, and wait for them.
	// nil: no.
	Own func(ctx context.Context) bool
}

// Source is where the connections to a port come from. Close ends it, and Accept returns net.ErrClosed after what had begun to come by then; other errors
// of Accept pass.
type Source interface {
	Accept() (Arrival, error)
	io.Closer
}

// Port is one port of a target: its connections go to whoever steals it, else to the target's own program. Methods are safe for concurrent use.
type Port struct {
	source  Source
	ctx     context.Context // ends with the port
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	thief   *thief                  // nil: nobody steals
	mirrors []*mirror               // never changed in place
	open    map[links.Conn]struct{} // connections that nobody has taken
}

// thief is one subscription; its address tells it from a later one.
type thief struct {
	port *Port
	take func(Incoming) bool
}

// OpenPort serves what comes from a source, which it owns.
func OpenPort(s Source) *Port {
	p := &Port{source: s, open: make(map[links.Conn]struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.running.Go(p.serve)
	return p
}

func (p *Port) serve() {
	for {
		arrival, err := p.source.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of descriptors, or the connection was gone already: the next one may do.
			select {
			case <-time.After(10 * time.Millisecond):
			case <-p.ctx.Done():
			}
			continue
		}
		p.running.Go(func() { p.handle(arrival) })
	}
}

// handle offers a connection to the thief, then to the target's own program; where neither is, it is refused as by a port without a listener.
// The mirrors see a copy of what somebody took.
func (p *Port) handle(a Arrival) {
	if !p.remember(a.Conn) {
		links.Refuse(a.Conn)
		return
	}
	defer p.forget(a.Conn)
	thief, mirrors := p.watchers()
	if thief != nil && a.Own != nil {
		if a.Own(p.ctx) {
			thief = nil
		} else {
			thief, mirrors = p.watchers() // that took time
		}
	}
	in, show := watch(Incoming{Conn: a.Conn, Local: a.Local, Remote: a.Remote}, mirrors)
	if thief != nil && thief.take(in) {
		show()
		return
	}
	if a.Dial == nil {
		links.Refuse(a.Conn)
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, appTime)
	defer cancel()
	app, err := a.Dial(ctx)
	if err != nil {
		links.Refuse(a.Conn)
		return
	}
	if !p.remember(app) {
		links.Refuse(app)
		links.Refuse(a.Conn)
		return
	}
	defer p.forget(app)
	show()
	links.Pipe(in.Conn, app)
}

func (p *Port) watchers() (*thief, []*mirror) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.thief, p.mirrors
}

// remember has conn closed when the port closes; false: it is closed already.
func (p *Port) remember(conn links.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return false
	}
	p.open[conn] = struct{}{}
	return true
}

func (p *Port) forget(conn links.Conn) {
	p.mu.Lock()
	delete(p.open, conn)
	p.mu.Unlock()
}

// Steal is Target's, for this port.
func (p *Port) Steal(take func(Incoming) bool) (io.Closer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.thief != nil {
		return nil, fmt.Errorf("the port is stolen already: %w", syscall.EADDRINUSE)
	}
	p.thief = &thief{p, take}
	return p.thief, nil
}

// Close gives new connections to the target's own program again.
func (t *thief) Close() error {
	t.port.mu.Lock()
	defer t.port.mu.Unlock()
	if t.port.thief == t {
		t.port.thief = nil
	}
	return nil
}

// Stop closes the source.
func (p *Port) Stop() error { return p.source.Close() }

// Wait returns when the source has nothing any more and the connections that went to the target's own program have ended, or when ctx has.
func (p *Port) Wait(ctx context.Context) {
	ended := make(chan struct{})
	go func() {
		p.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// Close closes the source and breaks the connections that went to the target's own program; it returns when nothing is left.
func (p *Port) Close() error {
	err := p.source.Close()
	p.mu.Lock()
	p.cancel()
	for conn := range p.open {
		conn.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
	return err
}
