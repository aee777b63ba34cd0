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
	// exempt prepares a TCP socket, not yet bound, that is about to connect to o.Local, the address of the namespace's own program: it binds the socket to that
	// address, with any port, and has the connection directed here no more. release is called when the connection has ended. syscall.EADDRINUSE asks for
	// another socket.
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
	diag    *diag
}

// Open prepares the redirection with the first engine that works here. The error says what each of them lacks.
func Open(n Network) (*Redirect, error) {
	var all error
	for _, open := range engines {
		e, err := open(n)
		switch {
		case err == nil:
			d, err := openDiag(n)
			if err != nil {
				return nil, errors.Join(err, e.close())
			}
			return &Redirect{network: n, engine: e, diag: d}, nil
		case all == nil:
			all = err
		default:
			all = fmt.Errorf("%w; %w", all, err)
		}
	}
	return nil, all
}

// Close ends what is left. Before that every Listener was closed, and its Accept has said so.
func (r *Redirect) Close() error { return errors.Join(r.engine.close(), r.diag.close()) }

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
	l.close = sync.OnceValue(l.remove)
	return l, nil
}

// Accept returns the next connection that came for the port; net.ErrClosed says that there will be no more.
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

// Close ends the redirection of new connections, at once. Accept goes on until it has returned those whose handshake had begun.
func (l *Listener) Close() error { return l.close() }

func (l *Listener) remove() error {
	err := l.redirect.engine.remove(l.port)
	go func() {
		defer l.listener.Close()
		settle(l.redirect.network, l.listener, l.port)
	}()
	return err
}

// Conn is a connection to a program of the namespace.
type Conn struct {
	*net.TCPConn
	release func() // once
}

// Close closes the connection.
func (c *Conn) Close() error {
	err := c.TCPConn.Close()
	c.release()
	return err
}

// dialTries bounds how many source ports are tried.
const dialTries = 64

// Dial connects to the namespace's own program, past the redirection: to the address that the connection was for, and from the same address. Thus a
// program that trusts its loopback does not trust strangers. Errors carry the errno.
func (r *Redirect) Dial(ctx context.Context, o Origin) (*Conn, error) {
	var err error
	for range dialTries {
		var c *Conn
		if c, err = r.dial(ctx, o); err == nil {
			return c, nil
		}
		// Another socket had the port, or its last connection is not quite over.
		if !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			break
		}
	}
	return nil, err
}

func (r *Redirect) dial(ctx context.Context, o Origin) (*Conn, error) {
	release := func() {}
	var conn net.Conn
	// As the client's own: no keepalive that nobody asked for.
	dialer := net.Dialer{KeepAlive: -1, Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if cerr := raw.Control(func(fd uintptr) {
			release() // net tries more than once
			release = func() {}
			var exempted func()
			if exempted, err = r.engine.exempt(int(fd), o); err == nil {
				release = exempted
			}
		}); cerr != nil {
			return cerr
		}
		return err
	}}
	err := r.network.Do(func() (err error) { conn, err = dialer.DialContext(ctx, "tcp", o.Local.String()); return })
	if err != nil {
		release()
		return nil, err
	}
	c := conn.(*net.TCPConn)
	local, remote := addrPort(c.LocalAddr()), addrPort(c.RemoteAddr())
	id := cookie(c)
	return &Conn{c, sync.OnceFunc(func() {
		r.diag.forget(local, remote, id)
		release()
	})}, nil
}

func addrPort(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
