package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/agent/wire"
	"mirrord/launcher/config/traffic"
	"mirrord/launcher/events"
	"mirrord/launcher/sockets"
	"mirrord/layer/frame"
)

const (
	// deliverTime is how long a program whose queue is full may take to make room for a connection.
	deliverTime = 10 * time.Second
	// watchEvery is how often the kernel is asked whether the program still listens.
	watchEvery = time.Second
	// acceptTime is how long a connection may wait in a program's queue before it is the program's, whatever becomes of that; less than the agent waits.
	acceptTime = 5 * time.Second
)

// listeners are the session's listening sockets, by the port that the program asked for, or got when it asked for any.
type listeners struct {
	mu    sync.Mutex
	ports map[uint16]*listener
}

// listener is all sockets that listen on one port, as the program sees it. Nobody says when one is closed.
// What is asked is the kernel: now and then, and when it matters.
type listener struct {
	mu           sync.Mutex
	at           []sockets.Listener // the newest last
	subscription io.Closer          // nil: connections to the pod's port do not come here
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

// inOrder returns the sockets in the order in which a connection from there is to be offered to them: those of its family, then the others; the newest
// first.
func (l *listener) inOrder(from netip.Addr) []sockets.Listener {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := slices.Clone(l.at)
	slices.Reverse(at)
	rank := func(s sockets.Listener) int {
		ip := s.Addr.Addr()
		if ip.Is6() == from.Is6() || ip == netip.IPv6Unspecified() && !s.V6Only {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(at, func(a, b sockets.Listener) int { return rank(a) - rank(b) })
	return at
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
		if s.Addr.Addr() == addr.Addr() {
			return s.Addr, true
		}
	}
	s := p.at[len(p.at)-1]
	if s.Addr.Addr().IsUnspecified() {
		return netip.AddrPortFrom(addr.Addr(), s.Addr.Port()), true
	}
	return s.Addr, true
}

// bind says which port a program gets for the one that it asked for. Before the kernel was asked, that is one that the user has chosen. Afterwards
// somebody else on this machine has the port, while in the pod it is the program's: any will do.
func (b *Broker) bind(from asker, m *frame.BindRequest) answer {
	errno, port := hostErrno(int32(m.Errno)), m.Requested.Port()
	if m.Errno == 0 {
		if other, ok := b.network.Incoming.ListenPort(port); ok {
			return result(&frame.BindReply{Port: other})
		}
		return local
	}
	if errno != unix.EADDRINUSE && errno != unix.EACCES && errno != unix.EADDRNOTAVAIL || !b.wants(from, m.Requested) {
		return failure(errno)
	}
	l := b.listeners.get(port)
	l.mu.Lock()
	defer l.mu.Unlock()
	b.forgetClosed(l, port)
	if n := len(l.at); n > 0 {
		if other := l.at[n-1].Addr.Port(); other != port {
			return result(&frame.BindReply{Port: other}) // for one more worker with SO_REUSEPORT; the kernel refuses others
		}
		return failure(errno)
	}
	return result(&frame.BindReply{})
}

// wants says whether a program that listens there is to get connections of the pod.
func (b *Broker) wants(from asker, requested netip.AddrPort) bool {
	in := &b.network.Incoming
	_, ok := in.PodPort(requested.Port())
	return ok && !(in.IgnoreLocalhost && requested.Addr().Unmap().IsLoopback()) && !b.debuggers.Has(from.pid(), requested.Port(), true)
}

// listen notes a listening socket, and has the agent send the connections to the pod's port, or copies of them. It never makes listen fail.
func (b *Broker) listen(from asker, m *frame.ListenRequest) answer {
	asked, actual := m.Requested.Port(), sockets.Unmap(m.Actual)
	wants := b.wants(from, m.Requested)
	pod, _ := b.network.Incoming.PodPort(asked)
	if asked == 0 {
		asked = actual.Port()
	}
	l := b.listeners.get(asked)
	l.mu.Lock()
	defer l.mu.Unlock()
	s := sockets.Listener{Addr: actual, V6Only: m.V6Only != 0}
	if !slices.Contains(l.at, s) {
		l.at = append(l.at, s)
		if asked != actual.Port() && !b.page.publish(actual.Port(), asked) {
			b.warn(fmt.Sprintf("more than %d ports are replaced by others: a program may see the replacement of %d", maxLivePorts, asked), "")
		}
		if wants { // whoever waits for the event may connect then
			e := events.Event{Type: events.Listen, Port: int(asked), ActualPort: int(actual.Port())}
			if pod != asked {
				e.PodPort = int(pod)
			}
			defer b.Emit(e)
		}
	}
	if wants && l.subscription == nil {
		l.subscription = b.subscribe(pod)
	}
	return status(frame.StatusOK)
}

// subscribe asks the agent for the connections to a port of the pod; nil, and a warning, if they do not come.
func (b *Broker) subscribe(pod uint16) io.Closer {
	subscription, err := b.Link.Subscribe(b.ctx, pod, b.steals(), func(e *wire.Error) { b.noticed(pod, e) })
	hints := map[unix.Errno]string{
		unix.EADDRINUSE:    "when that session has ended, start this one again",
		unix.EADDRNOTAVAIL: "`ports` of pod.yaml says where on this machine the pod's ports are",
	}
	switch unset := b.network.Incoming.Mode == traffic.Unset; {
	case err == nil:
		return subscription
	case unset && errnoOf(err, 0) == unix.ESRCH:
		b.warn(fmt.Sprintf("the program listens on port %d, where the pod has no program to mirror: no connections come here", pod), "take those that come to the pod with --steal")
	default: // who has it, or that there is none, in the agent's words
		errno := errnoOf(err, 0)
		why := err.Error()
		if hints[errno] != "" {
			why = strings.TrimSuffix(why, ": "+errno.Error())
		}
		b.warn(fmt.Sprintf("connections to port %d of the pod do not come here: %s", pod, why), hints[errno])
	}
	return nil
}

// noticed tells what the agent says about a port.
func (b *Broker) noticed(pod uint16, e *wire.Error) {
	const mapping = "`feature.network.incoming.port_mapping` gives it what comes to another"
	switch {
	case e.Errno == "" && b.steals():
		b.warn(e.Text, "the program gets what comes to that port all the same; "+mapping)
	case e.Errno == "":
		b.warn(e.Text, "there is nothing to mirror before it does; --steal gives the program what comes to that port, "+mapping)
	case e.Errno == "ENOBUFS":
		b.warn(fmt.Sprintf("copies of connections to port %d of the pod were cut: the program reads them too slowly", pod),
			"nobody waits for a copy; --steal gives the program the connections themselves")
	default:
		b.warn(fmt.Sprintf("connections to port %d of the pod come here no more: %v", pod, e), "")
	}
}

// steals: the program gets connections, not copies.
func (b *Broker) steals() bool { return b.network.Incoming.Mode == traffic.Steal }

// forgetClosed removes the sockets that listen no more. l.mu is held.
func (b *Broker) forgetClosed(l *listener, port uint16) {
	for _, s := range slices.Clone(l.at) {
		if !s.Open() {
			b.remove(l, port, s)
		}
	}
}

// watchListeners gives ports back to the pod that nobody listens on any more. Until it does, the agent offers connections in vain and passes them on
// itself: none is lost.
func (b *Broker) watchListeners() {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-b.ctx.Done():
			return
		}
		b.checkListeners()
	}
}

// checkListeners asks once for all; who seems gone is looked at again with the lock held, since who listens anew is noted before that or after.
func (b *Broker) checkListeners() {
	b.listeners.mu.Lock()
	all := maps.Clone(b.listeners.ports)
	b.listeners.mu.Unlock()
	if len(all) == 0 {
		return
	}
	found, err := sockets.Listening(0)
	for port, l := range all {
		l.mu.Lock()
		if err != nil || slices.ContainsFunc(l.at, func(s sockets.Listener) bool { return len(found[s.Addr]) == 0 }) {
			b.forgetClosed(l, port)
		}
		l.mu.Unlock()
	}
}

// remove forgets a socket that listens no more, and lets the pod have its port back after the last one. l.mu is held.
func (b *Broker) remove(l *listener, port uint16, s sockets.Listener) {
	l.at = slices.DeleteFunc(l.at, func(o sockets.Listener) bool { return o == s })
	if !slices.ContainsFunc(l.at, func(o sockets.Listener) bool { return o.Addr.Port() == s.Addr.Port() }) {
		b.page.withdraw(s.Addr.Port(), port)
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
				why, _, _ := strings.Cut(err.Error(), "\n")
				b.Emit(events.Event{Type: events.Link, State: "gone", Message: why,
					Hint: "what the program asks of the pod fails from now on: files with EIO, names with EAI_AGAIN, connections with ENETUNREACH; start it again"})
			}
			return
		}
		if !b.spawn(func() { b.deliver(r, c) }) {
			return // the link is closed, and c with it
		}
	}
}

// deliver connects to the program for a connection to the pod's port, or gives it back to the pod's own.
func (b *Broker) deliver(r *wire.Request, in *links.IncomingConn) {
	port := b.network.Incoming.LocalPort(r.Port)
	l := b.listeners.get(port)
	at := l.inOrder(r.Remote.Addr())
	view := frame.EndpointReply{Local: netip.AddrPortFrom(r.Local.Addr(), port), Peer: r.Remote}
	if len(at) > 0 && b.crowded() {
		in.Refuse("ENOBUFS")
		return
	}
	leave, ok := func() {}, true
	if b.steals() {
		if leave, ok = b.queue.enter(time.Now()); !ok {
			in.Refuse("EAGAIN")
			b.warn(fmt.Sprintf("the program accepts connections to port %d more slowly than they come: those that find no room are answered by the pod", port), "")
			return
		}
	}
	defer leave() // a second time is no harm
	errno := "ECONNREFUSED"
	for _, s := range at {
		var before []uint32
		if b.steals() {
			before = s.Inodes()
		}
		c, err := b.dialProgram(s, view)
		if err == nil {
			// The program has what has come so far when it accepts, and need not wait for the agent then.
			if _, err = c.Write(in.Early); err == nil && b.steals() && !sockets.Accepted(b.ctx, c, s, before, acceptTime) {
				err = unix.ECONNREFUSED // as it would have been a moment later
			}
			if err != nil {
				b.relays.unregister(sockets.EndsOf(c))
				c.Close()
			}
		}
		if err == nil {
			leave()
			if err := in.Accept(); err != nil {
				b.relays.unregister(sockets.EndsOf(c))
				links.Refuse(c)
				in.Close()
				return
			}
			came := events.Event{Type: events.Incoming, Port: int(r.Port), Peer: r.Remote.String()}
			b.Emit(came)
			ended := ending(came)
			ended.Received = int64(len(in.Early))
			if b.steals() {
				b.relay(sockets.EndsOf(c), view, c, in, ended)
			} else {
				b.relays.nobodyWaitsFor(sockets.EndsOf(c))
				b.relay(sockets.EndsOf(c), view, c, unheard{in}, ended)
			}
			return
		}
		if !errors.Is(err, unix.ECONNREFUSED) {
			errno = wire.ErrnoName(err)
			continue
		}
		l.mu.Lock()
		if !s.Open() { // or it listens again since
			b.remove(l, port, s)
		}
		l.mu.Unlock()
	}
	in.Refuse(errno)
}

// unheard is a copy of a connection: what the program answers goes nowhere.
type unheard struct{ *links.IncomingConn }

func (unheard) Write(p []byte) (int, error) { return len(p), nil }

// dialProgram connects to a listening socket of the program. The connection is registered before the program can accept it.
func (b *Broker) dialProgram(s sockets.Listener, view frame.EndpointReply) (*net.TCPConn, error) {
	to := s.Addr
	if to.Addr().IsUnspecified() {
		to = netip.AddrPortFrom(sockets.Loopback(s.V6Only), to.Port())
	}
	var key sockets.Ends
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
func (b *Broker) bindSource(fd int, to netip.AddrPort, view frame.EndpointReply) (sockets.Ends, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return sockets.Ends{}, err
	}
	if err := unix.Bind(fd, sockets.Sockaddr(netip.AddrPortFrom(b.relays.random(to.Addr().Is6()), 0))); err != nil {
		return sockets.Ends{}, err
	}
	from, err := unix.Getsockname(fd)
	if err != nil {
		return sockets.Ends{}, err
	}
	key := sockets.Ends{Local: to, Peer: sockets.AddrPort(from)}
	b.relays.register(key, view)
	return key, nil
}
