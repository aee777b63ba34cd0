package broker

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/launcher/sockets"
	"mirrord/layer/frame"
)

const (
	// attemptTime is how long one half of a connection waits for the other.
	attemptTime = 30 * time.Second
	// errnoTime is how long, and maxErrnos of how many sockets at most, the errno of a failed connect is remembered.
	errnoTime = 60 * time.Second
	maxErrnos = 4096
	// registerTime is how long a question about a connection waits for its registration, which was sent before on another connection.
	registerTime = time.Second
	// sweepEvery is how often what has waited too long is looked for.
	sweepEvery = 5 * time.Second
)

// meeting is where the halves of an outgoing connection find each other: the program's local port, of IPv4 or IPv6.
type meeting struct {
	v6   bool
	port uint16
}

// relays are the session's relayed connections and the halves of those to come. network is the session's own part of 127.0.0.0/8: by it the
// layer knows a relayed connection.
type relays struct {
	network        netip.Prefix
	fixed4, fixed6 netip.AddrPort // fixed6 is invalid on a host without IPv6

	mu       sync.Mutex
	lastID   uint64
	attempts map[uint64]*attempt                  // not yet connected by the program
	waiting  map[meeting]*attempt                 // connected, the connection not yet accepted
	accepted map[netip.AddrPort]*acceptedConn     // by the program's end; its attempt not yet known
	joining  int                                  // halves that were taken out of these tables and are not yet in live
	live     map[sockets.Ends]frame.EndpointReply // what the pod sees of each relayed connection
	copies   map[sockets.Ends]struct{}            // those of live that are mirrored: nothing that the program wrote is on its way there
	changed  chan struct{}                        // closed and replaced when live changes
	failed   map[meeting]failedConnect
}

type acceptedConn struct {
	*net.TCPConn
	since time.Time
}

type failedConnect struct {
	errno unix.Errno
	since time.Time
}

// listenRelays opens the fixed addresses.
func (b *Broker) listenRelays() error {
	r := &b.relays
	r.attempts, r.waiting = map[uint64]*attempt{}, map[meeting]*attempt{}
	r.accepted, r.live = map[netip.AddrPort]*acceptedConn{}, map[sockets.Ends]frame.EndpointReply{}
	r.copies = map[sockets.Ends]struct{}{}
	r.changed, r.failed = make(chan struct{}), map[meeting]failedConnect{}
	r.network = sockets.LoopbackNetwork()
	for _, at := range []struct {
		ip    netip.Addr
		fixed *netip.AddrPort
	}{{r.network.Addr().Next(), &r.fixed4}, {netip.IPv6Loopback(), &r.fixed6}} {
		config := net.ListenConfig{KeepAlive: -1} // nothing is lost on loopback
		config.SetMultipathTCP(false)
		l, err := config.Listen(b.ctx, "tcp", netip.AddrPortFrom(at.ip, 0).String())
		if err != nil {
			if at.ip.Is6() {
				continue
			}
			return err
		}
		*at.fixed = sockets.AddrOf(l.Addr())
		b.track(l)
		b.spawn(func() { b.acceptRelays(l.(*net.TCPListener)) })
	}
	return nil
}

func (r *relays) fixed(v6 bool) netip.AddrPort {
	if v6 {
		return r.fixed6
	}
	return r.fixed4
}

// random is an address of the session's network other than the fixed one, so that ports do not run out; ::1 for IPv6, which has no other.
func (r *relays) random(v6 bool) netip.Addr {
	if v6 || r.network.Bits() == 32 {
		return sockets.Loopback(v6)
	}
	a := r.network.Addr().As4()
	a[3] = byte(2 + rand.IntN(253))
	return netip.AddrFrom4(a)
}

// add gives a new attempt its id.
func (r *relays) add(a *attempt) {
	a.id = r.newID()
	r.mu.Lock()
	defer r.mu.Unlock()
	a.since = time.Now()
	r.attempts[a.id] = a
}

// newID is the id of an attempt, of whatever protocol.
func (r *relays) newID() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastID++
	return r.lastID
}

// take removes an attempt that the program has connected for; nil when it is unknown. joined must follow.
func (r *relays) take(id uint64) *attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.attempts[id]
	delete(r.attempts, id)
	r.joining++
	return a
}

// joins announces a half that will be relayed under ends that are not yet known. joined must follow.
func (r *relays) joins() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.joining++
}

// joined ends what joins, take or accept began: the halves are relayed, or wait where they can be found.
func (r *relays) joined() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.joining--
	r.signal()
}

// signal wakes who waits for a change of the tables. r.mu is held.
func (r *relays) signal() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// claim returns the connection from a port of the program, or leaves the attempt for accept to find.
func (r *relays) claim(a *attempt, port uint16) *net.TCPConn {
	r.mu.Lock()
	defer r.mu.Unlock()
	// A socket that is not bound has the loopback address; only one that is, another.
	at := netip.AddrPortFrom(sockets.Loopback(a.v6), port)
	if r.accepted[at] == nil {
		for other := range r.accepted {
			if other.Port() == port && other.Addr().Is6() == a.v6 {
				at = other
			}
		}
	}
	if c := r.accepted[at]; c != nil {
		delete(r.accepted, at)
		return c.TCPConn
	}
	a.since = time.Now()
	if old := r.waiting[meeting{a.v6, port}]; old != nil { // its program has closed the socket, or the port would not be free
		old.abandon()
	}
	r.waiting[meeting{a.v6, port}] = a
	return nil
}

// accept returns the attempt that a connection is for, or leaves the connection for claim to find. joined must follow.
func (r *relays) accept(c *net.TCPConn) *attempt {
	from := sockets.AddrOf(c.RemoteAddr())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.joining++
	key := meeting{from.Addr().Is6(), from.Port()}
	if a := r.waiting[key]; a != nil {
		delete(r.waiting, key)
		return a
	}
	if old := r.accepted[from]; old != nil { // the kernel gives a port out again only when it is over
		old.Close()
	}
	r.accepted[from] = &acceptedConn{c, time.Now()}
	return nil
}

func (r *relays) register(key sockets.Ends, view frame.EndpointReply) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live[key] = view
	r.signal()
}

func (r *relays) unregister(key sockets.Ends) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.live, key)
	delete(r.copies, key)
	r.signal()
}

// nobodyWaitsFor tells drain to leave out a registered connection.
func (r *relays) nobodyWaitsFor(key sockets.Ends) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.copies[key] = struct{}{}
	r.signal()
}

// drain waits until no connection is relayed any more.
func (r *relays) drain(ctx context.Context) {
	for {
		r.mu.Lock()
		n, changed := len(r.live)-len(r.copies)+r.joining, r.changed
		r.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// view returns what the pod sees of a connection. The program may ask before its connection is registered: then it waits for that.
func (r *relays) view(ctx context.Context, key sockets.Ends) (frame.EndpointReply, bool) {
	ours := key.Peer.IsValid() && (r.network.Contains(key.Peer.Addr()) || key.Peer == r.fixed6)
	var timeout <-chan time.Time
	for {
		r.mu.Lock()
		v, ok := r.live[key]
		changed, pending := r.changed, len(r.attempts)+len(r.waiting)+len(r.accepted)+r.joining > 0
		r.mu.Unlock()
		if ok || !ours || !pending {
			return v, ok
		}
		if timeout == nil {
			timeout = time.After(registerTime)
		}
		select {
		case <-changed:
		case <-timeout:
			return v, false
		case <-ctx.Done():
			return v, false
		}
	}
}

func (r *relays) fail(key meeting, e unix.Errno) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for old := range r.failed { // any one makes room
		if len(r.failed) < maxErrnos {
			break
		}
		delete(r.failed, old)
	}
	r.failed[key] = failedConnect{e, time.Now()}
}

func (r *relays) succeed(key meeting) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.failed, key)
}

func (r *relays) errno(key meeting) (unix.Errno, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, ok := r.failed[key]
	return f.errno, ok
}

// sweep gives up what has waited too long at the time now.
func (r *relays) sweep(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, a := range r.attempts {
		if now.Sub(a.since) > attemptTime {
			delete(r.attempts, id)
			if a.port != nil {
				a.cancel() // its goroutine abandons it
			} else {
				a.abandon()
			}
		}
	}
	for key, a := range r.waiting {
		if now.Sub(a.since) > attemptTime {
			delete(r.waiting, key)
			a.abandon()
		}
	}
	for from, c := range r.accepted {
		if now.Sub(c.since) > attemptTime {
			delete(r.accepted, from)
			c.Close()
		}
	}
	for key, f := range r.failed {
		if now.Sub(f.since) > errnoTime {
			delete(r.failed, key)
		}
	}
}

func (b *Broker) sweepUntilClosed() {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			b.relays.sweep(now)
			b.flows.sweep(now)
		case <-b.ctx.Done():
			return
		}
	}
}
