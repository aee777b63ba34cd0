// Package redirect gives this process the new TCP connections to ports of a network namespace, and leaves those that exist alone. All of it has the
// lifetime of the process: after a SIGKILL the kernel has nothing left of it, and the namespace's own programs have the ports again.
package redirect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// Network is a network namespace: Do runs f on a thread that is in it.
type Network interface {
	Do(f func() error) error
}

// Origin is what a connection was before it was redirected.
type Origin struct {
	Local, Remote netip.AddrPort // as the namespace's own program would have seen them

	seen uint64 // by which of the processes that redirect: a bit for each
}

// engine is one way to direct new connections.
type engine interface {
	// add directs new connections to the port, whatever address of the namespace they are for (v4, v6, loopback, pod-local clients), to the
	// listeners: one that is dual-stack, or one for each family.
	add(port uint16, listeners []*net.TCPListener) error
	// remove ends that for new connections, at once.
	remove(port uint16) error
	// original says what an accepted connection was.
	original(c *net.TCPConn) (Origin, error)
	// exempt prepares a TCP socket, with SO_REUSEADDR and not yet bound, that is about to connect to o.Local, the address of the namespace's own program: it
	// binds the socket to that address, with any port, and has the connection directed here no more. release is called when the connection has ended.
	exempt(fd int, o Origin) (release func(), err error)
	close() error
}

// sharing is an engine with which several processes may redirect the same port.
type sharing interface {
	engine
	// steals says that this process may keep the port's connections, so that it gets them after those that pass all on.
	steals(port uint16, on bool) error
}

// Redirect is this process's hold of a namespace. Methods are safe for concurrent use.
type Redirect struct {
	network Network
	engine  engine
}

// Open prepares the redirection with the first engine that works here. The error says what each of them lacks.
func Open(n Network) (*Redirect, error) {
	var errs []error
	for _, open := range engines {
		e, err := open(n)
		if err == nil {
			return &Redirect{network: n, engine: e}, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// Close ends what is left. Listeners are closed before.
func (r *Redirect) Close() error { return r.engine.close() }

// Shared says whether other processes may redirect the same ports at the same time.
func (r *Redirect) Shared() bool {
	_, ok := r.engine.(sharing)
	return ok
}

// Steals says whether this process may keep connections to a port that it listens to. Of several processes the one that may gets them last.
func (r *Redirect) Steals(port uint16, on bool) error {
	if s, ok := r.engine.(sharing); ok {
		return s.steals(port, on)
	}
	return nil
}

// Listener accepts what came for a port.
type Listener struct {
	redirect *Redirect
	port     uint16
	listener *net.TCPListener
	close    func() error
}

// Listen begins to redirect new connections to the port. A port has one Listener at a time, besides those that are closing.
func (r *Redirect) Listen(port uint16) (*Listener, error) {
	l := &Listener{redirect: r, port: port}
	if err := r.network.Do(func() (err error) { l.listener, err = listen(); return }); err != nil {
		return nil, fmt.Errorf("port %d: %w", port, err)
	}
	if err := r.engine.add(port, []*net.TCPListener{l.listener}); err != nil {
		l.listener.Close()
		return nil, fmt.Errorf("port %d: %w", port, err)
	}
	l.close = sync.OnceValue(l.drain)
	return l, nil
}

// listen opens a listener for both families, or for IPv4 where there is no IPv6. Its own address does not matter.
func listen() (*net.TCPListener, error) {
	var dual net.ListenConfig
	// The kernel directs connections to no listener of MPTCP.
	dual.SetMultipathTCP(false)
	single := dual
	dual.Control = func(_, _ string, raw syscall.RawConn) (err error) {
		if cerr := raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, 0) }); cerr != nil {
			return cerr
		}
		return err
	}
	l, err := dual.Listen(context.Background(), "tcp6", "[::]:0")
	if err != nil {
		l, err = single.Listen(context.Background(), "tcp4", "0.0.0.0:0")
	}
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

// Accept returns the next connection. After Close it returns those that had begun, then net.ErrClosed.
func (l *Listener) Accept() (*net.TCPConn, Origin, error) {
	for {
		c, err := l.listener.AcceptTCP()
		if err != nil {
			return nil, Origin{}, err
		}
		o, err := l.redirect.engine.original(c)
		if err == nil && o.Local.Port() == l.port {
			return c, o, nil
		}
		// Somebody found the listener's own address.
		c.SetLinger(0)
		c.Close()
	}
}

// Close ends the redirection of new connections at once, and returns when Accept has got those whose handshake had begun.
func (l *Listener) Close() error { return l.close() }

func (l *Listener) drain() error {
	err := l.redirect.engine.remove(l.port)
	l.redirect.network.Do(func() error { return settle(l.listener, l.port) })
	return errors.Join(err, l.listener.Close())
}

// settleTime limits how long a handshake may take that had begun before the redirection ended: the ends of lost ones are repeated after 1 and 3 s.
const settleTime = 5 * time.Second

// Conn is a connection to a program of the namespace.
type Conn struct {
	*net.TCPConn
	release func()
}

// Close closes the connection.
func (c *Conn) Close() error {
	err := c.TCPConn.Close()
	c.release()
	return err
}
