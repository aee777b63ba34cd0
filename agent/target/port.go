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

	"mirrord/agent/wire"
)

// appTime limits the dialling of the pod's own program, which is on this machine or near it.
const appTime = 10 * time.Second

// port is one port of a pod directory: a listener whose connections go to whoever steals the port, else to the pod's own program.
type port struct {
	number   uint16
	app      netip.AddrPort // invalid: the pod has no program there
	listener net.Listener
	ctx      context.Context // ends with the port
	cancel   context.CancelFunc
	running  sync.WaitGroup

	mu      sync.Mutex
	thief   *thief                 // nil: nobody steals
	mirrors []*mirror              // never changed in place
	open    map[wire.Conn]struct{} // connections that nobody has taken
}

// thief is one subscription; its address tells it from a later one.
type thief struct {
	port *port
	take func(Incoming) bool
}

func openPort(number uint16, spec portSpec) (*port, error) {
	listener, err := net.Listen("tcp", spec.listen.String())
	if err != nil {
		return nil, fmt.Errorf("port %d: %w\nhint: %s", number, err, listenHint(err))
	}
	p := &port{number: number, app: spec.app, listener: listener, open: make(map[wire.Conn]struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.running.Go(p.serve)
	return p, nil
}

func listenHint(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "another session (`mirrord session ls`) or program has this address; end it, or choose another listen address"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "listen must be an address of this machine, such as 127.0.0.1"
	case errors.Is(err, syscall.EACCES):
		return "ports below 1024 need a privileged user; choose a higher one"
	default:
		return "choose another listen address"
	}
}

func (p *port) serve() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			if p.ctx.Err() != nil {
				return
			}
			// Out of descriptors, or the connection was gone already: the next one may do.
			select {
			case <-time.After(10 * time.Millisecond):
			case <-p.ctx.Done():
			}
			continue
		}
		p.running.Go(func() { p.handle(conn.(*net.TCPConn)) })
	}
}

// handle offers a connection to the thief, then to the pod's own program; where neither is, it is refused as by a port without a listener.
// The mirrors see a copy of what somebody took.
func (p *port) handle(conn wire.Conn) {
	p.mu.Lock()
	thief, mirrors := p.thief, p.mirrors
	p.open[conn] = struct{}{}
	p.mu.Unlock()
	defer p.forget(conn)
	local := netip.AddrPortFrom(addrPort(conn.LocalAddr()).Addr(), p.number)
	in, show := watch(Incoming{Conn: conn, Local: local, Remote: addrPort(conn.RemoteAddr())}, mirrors)
	if thief != nil && thief.take(in) {
		show()
		return
	}
	if !p.app.IsValid() {
		wire.Refuse(conn)
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, appTime)
	defer cancel()
	app, err := dialTCP(ctx, p.app)
	if err != nil {
		wire.Refuse(conn)
		return
	}
	if !p.remember(app) {
		wire.Refuse(app)
		wire.Refuse(conn)
		return
	}
	defer p.forget(app)
	show()
	wire.Pipe(in.Conn, app)
}

// remember has conn closed when the port closes; false: it is closed already.
func (p *port) remember(conn wire.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return false
	}
	p.open[conn] = struct{}{}
	return true
}

func (p *port) forget(conn wire.Conn) {
	p.mu.Lock()
	delete(p.open, conn)
	p.mu.Unlock()
}

func (p *port) steal(take func(Incoming) bool) (io.Closer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.thief != nil {
		return nil, fmt.Errorf("port %d is stolen already: %w", p.number, syscall.EADDRINUSE)
	}
	p.thief = &thief{p, take}
	return p.thief, nil
}

// Close gives new connections to the pod's own program again.
func (t *thief) Close() error {
	t.port.mu.Lock()
	defer t.port.mu.Unlock()
	if t.port.thief == t {
		t.port.thief = nil
	}
	return nil
}

func (p *port) close() error {
	p.mu.Lock()
	p.cancel()
	err := p.listener.Close()
	for conn := range p.open {
		conn.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
	return err
}
