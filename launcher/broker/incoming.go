package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
	"mirrord/launcher/config"
	"mirrord/launcher/events"
	"mirrord/layer/frame"
)

// deliverTime is how long a program whose queue is full may take to make room for a connection.
const deliverTime = 10 * time.Second

// listeners are the session's listening sockets, by the port that the program asked for, or got when it asked for any.
type listeners struct {
	mu    sync.Mutex
	ports map[uint16]*listener
}

// listener is all sockets that listen on one port, as the program sees it. Nobody says when one is closed: that shows when it is used.
type listener struct {
	mu           sync.Mutex
	at           []boundSock // the newest last
	subscription io.Closer   // nil: connections to the pod's port do not come here
}

type boundSock struct {
	addr   netip.AddrPort
	v6only bool
}

func (l *listeners) get(port uint16) *listener {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ports == nil {
		l.ports = map[uint16]*listener{}
	}
	if l.ports[port] == nil {
		l.ports[port] = new(listener)
	}
	return l.ports[port]
}

// reach returns where a program of the session listens that is to be reached at the loopback address addr.
func (l *listeners) reach(addr netip.AddrPort) (netip.AddrPort, bool) {
	l.mu.Lock()
	p := l.ports[addr.Port()]
	l.mu.Unlock()
	if p == nil {
		return netip.AddrPort{}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.at) == 0 {
		return netip.AddrPort{}, false
	}
	for _, s := range p.at {
		if s.addr.Addr() == addr.Addr() {
			return s.addr, true
		}
	}
	s := p.at[len(p.at)-1]
	if s.addr.Addr().IsUnspecified() {
		return netip.AddrPortFrom(addr.Addr(), s.addr.Port()), true
	}
	return s.addr, true
}

// bind answers a program that cannot have its port: somebody else on this machine has it, while in the pod it is the program's.
func (b *Broker) bind(m *frame.BindRequest) answer {
	errno, port := unix.Errno(m.Errno), m.Requested.Port()
	if errno != unix.EADDRINUSE && errno != unix.EACCES && errno != unix.EADDRNOTAVAIL || port == 0 || !b.network.Incoming.Wants(port) {
		return failure(errno)
	}
	l := b.listeners.get(port)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range slices.Clone(l.at) {
		if s.listening() {
			return failure(errno)
		}
		b.remove(l, port, s)
	}
	return status(frame.StatusOK)
}

// listening reports whether a socket still listens there, by whether the address could be bound. SO_REUSEADDR passes what only lingers.
func (s boundSock) listening() bool {
	family := unix.AF_INET
	if s.addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if s.v6only {
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	return unix.Bind(fd, sockaddr(s.addr)) == unix.EADDRINUSE
}

// listen notes a listening socket, and has the agent send the connections to the pod's port. It never makes listen fail.
func (b *Broker) listen(m *frame.ListenRequest) answer {
	asked, actual := m.Requested.Port(), unmap(m.Actual)
	wants := asked != 0 && b.network.Incoming.Wants(asked)
	if asked == 0 {
		asked = actual.Port()
	} else if b.network.Incoming.Mode == config.IncomingUnset {
		b.warn(fmt.Sprintf("the program listens on port %d, and connections to the pod do not come here", asked), "ask for them with --steal")
	}
	l := b.listeners.get(asked)
	l.mu.Lock()
	defer l.mu.Unlock()
	s := boundSock{addr: actual, v6only: m.V6Only != 0}
	if !slices.Contains(l.at, s) {
		l.at = append(l.at, s)
		if asked != actual.Port() && !b.page.publish(actual.Port(), asked) {
			b.warn(fmt.Sprintf("more than %d ports are replaced by others: a program may see the replacement of %d", maxLivePorts, asked), "")
		}
		if wants { // whoever waits for the event may connect then
			defer b.Emit(events.Event{Type: events.Listen, Port: int(asked), ActualPort: int(actual.Port())})
		}
	}
	if !wants || l.subscription != nil {
		return status(frame.StatusOK)
	}
	subscription, err := b.Link.Subscribe(b.ctx, asked, true)
	if err != nil {
		b.warn(fmt.Sprintf("connections to port %d of the pod do not come here: %v", asked, err), "")
		return status(frame.StatusOK)
	}
	l.subscription = subscription
	return status(frame.StatusOK)
}

// remove forgets a socket that listens no more, and lets the pod have its port back after the last one. l.mu is held.
func (b *Broker) remove(l *listener, port uint16, s boundSock) {
	l.at = slices.DeleteFunc(l.at, func(o boundSock) bool { return o == s })
	if !slices.ContainsFunc(l.at, func(o boundSock) bool { return o.addr.Port() == s.addr.Port() }) {
		b.page.withdraw(s.addr.Port(), port)
	}
	if len(l.at) == 0 && l.subscription != nil {
		l.subscription.Close()
		l.subscription = nil
	}
}

// acceptIncoming takes the connections to the pod's ports until the link is lost.
func (b *Broker) acceptIncoming() {
	for {
		r, c, err := b.Link.AcceptIncoming()
		if err != nil {
			if b.ctx.Err() == nil {
				b.warn(err.Error(), "files, names and connections of the pod are not reachable any more; start again")
			}
			return
		}
		if !b.spawn(func() { b.deliver(r, c) }) {
			return // the link is closed, and c with it
		}
	}
}

// deliver connects to the program for a connection to the pod's port, or gives it back to the pod's own.
func (b *Broker) deliver(r *wire.Request, in *wire.IncomingConn) {
	l := b.listeners.get(r.Port)
	l.mu.Lock()
	at := slices.Clone(l.at)
	l.mu.Unlock()
	view := frame.EndpointReply{Local: r.Local, Peer: r.Remote}
	errno := "ECONNREFUSED"
	for _, s := range slices.Backward(at) {
		c, err := b.dialProgram(s, view)
		if err == nil {
			if err := in.Accept(); err != nil {
				b.relays.unregister(endsOf(c))
				wire.Refuse(c)
				in.Close()
				return
			}
			b.Emit(events.Event{Type: events.Incoming, Port: int(r.Port), Peer: r.Remote.String()})
			b.relay(endsOf(c), view, c, in)
			return
		}
		if !errors.Is(err, unix.ECONNREFUSED) {
			errno = wire.ErrnoName(err)
			continue
		}
		l.mu.Lock()
		b.remove(l, r.Port, s)
		l.mu.Unlock()
	}
	in.Refuse(errno)
}

// dialProgram connects to a listening socket of the program. The connection is registered before the program can accept it.
func (b *Broker) dialProgram(s boundSock, view frame.EndpointReply) (*net.TCPConn, error) {
	to := s.addr
	if to.Addr().IsUnspecified() {
		to = netip.AddrPortFrom(loopback(s.v6only), to.Port())
	}
	var key ends
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var bound error
		err := raw.Control(func(fd uintptr) { key, bound = b.bindSource(int(fd), to, view) })
		return errors.Join(err, bound)
	}}
	ctx, cancel := context.WithTimeout(b.ctx, deliverTime)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		b.relays.unregister(key)
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// bindSource gives a socket that is about to connect to the program an address by which the layer knows it, and registers the connection.
func (b *Broker) bindSource(fd int, to netip.AddrPort, view frame.EndpointReply) (ends, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return ends{}, err
	}
	if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(b.relays.random(to.Addr().Is6()), 0))); err != nil {
		return ends{}, err
	}
	from, err := unix.Getsockname(fd)
	if err != nil {
		return ends{}, err
	}
	key := ends{local: to, peer: addrPort(from)}
	b.relays.register(key, view)
	return key, nil
}
