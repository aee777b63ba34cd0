package broker

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/launcher/config/traffic"
	"mirrord/launcher/events"
	"mirrord/launcher/sockets"
	"mirrord/layer/frame"
)

// attempt is an outgoing connection on its way: one half is the agent's, the other the program's, which is known by its local port. It belongs to
// the relays' tables until both are there.
type attempt struct {
	id    uint64
	v6    bool // the program's socket is on ::1
	since time.Time

	// Set when the agent has answered.
	agent links.Conn // nil when it refused
	errno unix.Errno
	view  frame.EndpointReply
	event events.Event // of the connect

	// Only of a non-blocking connect, which is dialled in a goroutine: that waits for port until it is cancelled.
	port   chan uint16
	cancel context.CancelFunc
}

// connect answers where to connect to.
func (b *Broker) connect(m *frame.ConnectRequest) answer {
	if m.Flags&frame.ConnectDatagram != 0 {
		return b.connectDatagrams(m)
	}
	addr := sockets.Unmap(m.Addr)
	ip := addr.Addr()
	here := connectHere()
	if ip.IsLoopback() || ip.IsUnspecified() {
		if at, ok := b.listeners.reach(addr); ok {
			here.fields = &frame.ConnectReply{Relay: at}
			return here
		}
		if b.network.Outgoing.IgnoreLocalhost && addr.Port() != namePort {
			return here
		}
		if ip.IsUnspecified() { // the kernel takes it for loopback
			addr = netip.AddrPortFrom(sockets.Loopback(ip.Is6()), addr.Port())
		}
	}
	if !b.carries("tcp", addr) {
		return here
	}
	if b.crowded() {
		return failure(unix.ENOBUFS)
	}
	v6 := m.Flags&frame.ConnectV6Only != 0
	fixed := b.relays.fixed(v6)
	if !fixed.IsValid() {
		return failure(unix.ENETUNREACH)
	}
	a := &attempt{v6: v6}
	if m.Flags&frame.ConnectNonblock != 0 {
		return b.connectLater(a, addr, fixed)
	}
	b.dial(b.ctx, a, addr)
	if a.errno != 0 {
		return failure(a.errno)
	}
	b.relays.add(a)
	return result(&frame.ConnectReply{Attempt: a.id, Relay: fixed})
}

// connectFrom is connect, unless the program talks to its debugger.
func (b *Broker) connectFrom(from asker, m *frame.ConnectRequest) answer {
	if ip := m.Addr.Addr().Unmap(); (ip.IsLoopback() || ip.IsUnspecified()) && b.debuggers.Has(from.pid(), m.Addr.Port(), false) {
		return answer{status: frame.StatusLocal, fields: &frame.ConnectReply{}, fd: -1}
	}
	return b.connect(m)
}

// connectHere sends the program's socket to the address as it asked for it.
func connectHere() answer {
	return answer{status: frame.StatusLocal, fields: &frame.ConnectReply{}, fd: -1}
}

// namePort is where name servers listen.
const namePort = 53

// carries says whether traffic of proto ("tcp", "udp") to addr is the pod's. Name servers are asked where names are resolved, whatever the filter has to
// say about other traffic, unless a rule means just them.
func (b *Broker) carries(proto string, addr netip.AddrPort) bool {
	out, names := &b.network.Outgoing, b.names.of(addr.Addr())
	switch {
	case addr.Port() == 0:
		return false
	case addr.Port() == namePort:
		return b.network.DNS.Enabled && !slices.ContainsFunc(out.Filter.Local, func(r traffic.Rule) bool {
			return r.Port == namePort && r.Match(proto, addr, names)
		})
	case proto == "tcp" && !out.TCP || proto == "udp" && !out.UDP:
		return false
	}
	return out.Filter.RemoteAddr(proto, addr, names)
}

// dial has the agent connect.
func (b *Broker) dial(ctx context.Context, a *attempt, addr netip.AddrPort) {
	e, asked := b.outgoing(events.Connect, addr), time.Now()
	reply, conn, err := b.Link.Connect(ctx, addr)
	e.Took = milliseconds(time.Since(asked))
	if err != nil {
		a.errno = errnoOf(err, unix.ENETUNREACH)
		e.Errno, e.Reason = unix.ErrnoName(a.errno), reason(err)
	} else {
		a.agent, a.view, a.event = conn, frame.EndpointReply{Local: reply.Local, Peer: addr}, e
	}
	b.Emit(e)
}

// outgoing is an event about an address that the program goes to.
func (b *Broker) outgoing(t events.Type, addr netip.AddrPort) events.Event {
	e := events.Event{Type: t, Address: addr.String()}
	if names := b.names.of(addr.Addr()); len(names) > 0 {
		e.Name = names[len(names)-1]
	}
	return e
}

// connectLater is connect for a non-blocking socket: the caller must not wait for the pod. Its socket stays in progress until the agent has
// answered, where the system allows that; else it connects at once and is reset if the agent fails.
func (b *Broker) connectLater(a *attempt, addr, fixed netip.AddrPort) answer {
	h, err := sockets.NewHandshake(b.relays.random(a.v6))
	if err != nil {
		b.warn("cannot hold a connection in progress: "+err.Error(), "non-blocking connections succeed before the pod's do")
	}
	relay := fixed
	if h != nil {
		relay = h.Addr
	}
	a.port = make(chan uint16, 1)
	var ctx context.Context
	ctx, a.cancel = context.WithCancel(b.ctx)
	b.relays.add(a)
	ok := b.spawn(func() {
		defer a.cancel()
		if h != nil {
			defer h.Close()
		}
		b.finishLater(ctx, a, h, addr)
	})
	if !ok {
		if h != nil {
			h.Close()
		}
		return failure(unix.ENETUNREACH)
	}
	return result(&frame.ConnectReply{Attempt: a.id, Relay: relay})
}

// finishLater brings both halves of a non-blocking connect together. h is nil where the program's socket is connected already.
func (b *Broker) finishLater(ctx context.Context, a *attempt, h *sockets.Handshake, addr netip.AddrPort) {
	b.dial(ctx, a, addr)
	var port uint16
	select {
	case port = <-a.port:
	case <-ctx.Done():
		a.abandon()
		return
	}
	switch {
	case a.errno != 0:
		b.relays.fail(meeting{a.v6, port}, a.errno) // before the handshake is closed, which the program sees
		if h == nil {
			b.meet(a, port)
		}
	case h == nil:
		b.meet(a, port)
	default:
		key := sockets.Ends{Local: netip.AddrPortFrom(sockets.Loopback(a.v6), port), Peer: h.Addr}
		b.relays.register(key, a.view) // before the program can ask
		b.relays.joins()               // the program's end may have another address, which shows when it is connected
		defer b.relays.joined()
		c, err := h.Establish(port)
		if err != nil { // the program has given up
			b.relays.unregister(key)
			a.abandon()
			return
		}
		if now := sockets.EndsOf(c); now != key {
			b.relays.unregister(key)
			key = now
		}
		b.relay(key, a.view, c, a.agent, ending(a.event))
	}
}

// abandon gives the agent's half up.
func (a *attempt) abandon() {
	if a.cancel != nil {
		a.cancel()
	}
	if a.agent != nil {
		links.Refuse(a.agent)
	}
}

// connected notes the local end of the program's socket.
func (b *Broker) connected(m *frame.ConnectedRequest) answer {
	if b.flows.join(m.Attempt, sockets.Unmap(m.Local)) {
		return answer{}
	}
	a := b.relays.take(m.Attempt)
	defer b.relays.joined()
	if a == nil {
		return answer{}
	}
	port := m.Local.Port()
	b.relays.succeed(meeting{a.v6, port}) // of an earlier socket with this port
	if a.port != nil {
		a.port <- port
	} else {
		b.meet(a, port)
	}
	return answer{}
}

// meet joins an attempt with the connection that the program made to the fixed address, now or when it is accepted.
func (b *Broker) meet(a *attempt, port uint16) {
	if c := b.relays.claim(a, port); c != nil {
		b.join(a, c)
	}
}

func (b *Broker) join(a *attempt, c *net.TCPConn) {
	if a.agent == nil {
		links.Refuse(c)
		return
	}
	b.relay(sockets.EndsOf(c), a.view, c, a.agent, ending(a.event))
}

// relay carries bytes between the program's connection and the agent's until both directions have ended, and owns both. Then it emits ended.
func (b *Broker) relay(key sockets.Ends, view frame.EndpointReply, c *net.TCPConn, agent links.Conn, ended events.Event) {
	b.relays.register(key, view)
	ok := b.spawn(func() {
		defer b.relays.unregister(key)
		if b.track(c) {
			began, program := time.Now(), &counted{TCPConn: c}
			links.Pipe(program, agent)
			b.drop(c)
			program.tell(&ended, began)
			b.Emit(ended)
		}
	})
	if !ok {
		c.Close() // the link is closed, and the agent's half with it
	}
}

// acceptRelays accepts what programs connect to a fixed address.
func (b *Broker) acceptRelays(l *net.TCPListener) {
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			if b.shed(err, l) {
				continue
			}
			return
		}
		if a := b.relays.accept(c); a != nil {
			b.join(a, c)
		}
		b.relays.joined()
	}
}

// endpoint answers what the pod sees as the ends of a connection.
func (b *Broker) endpoint(m *frame.EndpointRequest) answer {
	key := sockets.Ends{Local: sockets.Unmap(m.Local), Peer: sockets.Unmap(m.Peer)}
	if to, ok := b.exchanges.at(key.Peer); ok {
		return result(&frame.EndpointReply{Local: key.Local, Peer: to})
	}
	if view, ok := b.flows.view(b.ctx, key.Peer); ok {
		return result(&view)
	}
	if view, ok := b.relays.view(b.ctx, key); ok {
		return result(&view)
	}
	return local
}

// sockError answers why a non-blocking connect failed in the pod.
func (b *Broker) sockError(m *frame.SockErrorRequest) answer {
	if e, ok := b.relays.errno(meeting{m.Local.Addr().Unmap().Is6(), m.Local.Port()}); ok {
		return failure(e)
	}
	return local
}
