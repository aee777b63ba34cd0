package broker

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/agent/wire"
	"mirrord/launcher/events"
	"mirrord/launcher/sockets"
	"mirrord/layer/frame"
)

const (
	// maxFlows bounds the flows that are open at once; beyond it the one that was idle longest is ended.
	maxFlows = 1024
	// refusedTime is how long a flow whose datagram the pod refused stays shut. A program that asks again sees the refusal then; c-ares and dig do so
	// after 5 s.
	refusedTime = 10 * time.Second
	// idleFlowTime is how long a flow is kept without a datagram where the system does not tell which sockets there are.
	idleFlowTime = 5 * time.Minute
)

// flow is the datagrams between a UDP socket of the program and one address of the pod: the program's socket is connected to the outlet, a socket of
// the broker's own, and behind it is the agent's. Nobody says when the program closes its socket; sweep finds out.
type flow struct {
	id      uint64
	outlet  *outlet
	program chan netip.AddrPort // the program's end, as soon as it is known
	ctx     context.Context
	end     context.CancelFunc
	done    chan struct{} // closed when nothing is carried any more

	// Set when answered is closed.
	answered chan struct{}
	agent    links.Conn // nil when it refused
	errno    unix.Errno
	view     frame.EndpointReply

	// flows.mu is over these.
	joined time.Time // when the program's socket was connected; zero before
	used   time.Time // when it sent last
}

// flows are the session's, by the outlet's address and, until they are joined, by the attempt.
type flows struct {
	mu       sync.Mutex
	byOutlet map[netip.AddrPort]*flow
	byID     map[uint64]*flow
}

// connectDatagrams answers where to connect a UDP socket to, or where to send the datagrams of one that stays unconnected.
func (b *Broker) connectDatagrams(m *frame.ConnectRequest) answer {
	addr := sockets.Unmap(m.Addr)
	if ip := addr.Addr(); ip.IsLoopback() || ip.IsUnspecified() {
		if b.network.Outgoing.IgnoreLocalhost && addr.Port() != namePort || sockets.OwnsUDP(addr.Port()) {
			return connectHere()
		}
		// The kernel takes it for loopback; as a name server's it is the first of the pod's.
		if ip.IsUnspecified() && (m.Flags&frame.ConnectNever == 0 || addr.Port() != namePort) {
			addr = netip.AddrPortFrom(sockets.Loopback(ip.Is6()), addr.Port())
		}
	}
	if !b.carries("udp", addr) {
		return connectHere()
	}
	if b.crowded() {
		return failure(unix.ENOBUFS)
	}
	if m.Flags&frame.ConnectNever != 0 {
		return b.exchange(addr, m.Flags&frame.ConnectV6Only != 0)
	}
	out, err := newOutlet(b.relays.random(m.Flags&frame.ConnectV6Only != 0))
	if err != nil {
		return failure(unix.ENETUNREACH)
	}
	f := &flow{
		id: b.relays.newID(), outlet: out, program: make(chan netip.AddrPort, 1), done: make(chan struct{}), answered: make(chan struct{}),
		used: time.Now(),
	}
	f.ctx, f.end = context.WithCancel(b.ctx)
	if m.Flags&frame.ConnectNonblock == 0 {
		// Nobody is refused at once: a program learns that from what comes back for a datagram.
		if b.dialFlow(f, addr); f.errno != 0 && f.errno != unix.ECONNREFUSED {
			f.end()
			out.close()
			return failure(f.errno)
		}
	}
	b.flows.add(f)
	if !b.spawn(func() { b.carry(f, addr) }) {
		b.flows.remove(f)
		return failure(unix.ENETUNREACH)
	}
	return result(&frame.ConnectReply{Attempt: f.id, Relay: out.at})
}

// dialFlow has the agent connect.
func (b *Broker) dialFlow(f *flow, addr netip.AddrPort) {
	e := b.outgoing(events.Connect, addr)
	e.Protocol = "udp"
	f.view.Peer = addr
	reply, conn, err := b.Link.ConnectDatagrams(f.ctx, addr)
	if err != nil {
		f.errno = errnoOf(err, unix.ENETUNREACH)
		e.Errno, e.Reason = unix.ErrnoName(f.errno), reason(err)
	} else {
		f.agent, f.view.Local = conn, reply.Local
	}
	close(f.answered)
	b.Emit(e)
}

// carry carries a flow's datagrams. What the program sends before the agent has answered waits in the outlet's queue, which the kernel bounds. The
// flow stays known when there is nothing to carry any more, until the program's socket is gone.
func (b *Broker) carry(f *flow, addr netip.AddrPort) {
	defer close(f.done)
	defer f.outlet.close()
	select {
	case <-f.answered:
	default:
		b.dialFlow(f, addr)
	}
	if f.agent == nil {
		return
	}
	defer f.agent.Close()
	stop := context.AfterFunc(f.ctx, func() {
		f.agent.SetDeadline(time.Unix(1, 0))
		f.outlet.close()
	})
	defer stop()
	select {
	case program := <-f.program:
		var both sync.WaitGroup
		both.Go(func() { b.toPod(f, program) })
		b.toProgram(f, program)
		f.outlet.close()
		both.Wait()
	case <-f.ctx.Done():
	}
}

// toPod sends on what the program sends until the outlet is closed. Datagrams of anybody else on this machine are ignored.
func (b *Broker) toPod(f *flow, program netip.AddrPort) {
	for {
		d, from, err := f.outlet.receive()
		if err != nil {
			f.agent.CloseWrite()
			return
		}
		if from == program {
			b.flows.touch(f)
			if !b.answerHere(f.view.Peer, d, func(reply []byte) { f.outlet.send(reply, program) }) {
				err = d.Write(f.agent)
			}
		}
		d.Release()
		if err != nil {
			return
		}
	}
}

// toProgram delivers what comes from the pod until the agent ends the flow.
func (b *Broker) toProgram(f *flow, program netip.AddrPort) {
	for {
		d, err := wire.ReadDatagram(f.agent)
		if errors.Is(err, wire.ErrRefused) {
			f.outlet.shut(refusedTime)
			continue
		}
		if err != nil {
			return
		}
		b.learn(f.view.Peer, d.Payload())
		f.outlet.send(d.Payload(), program)
		d.Release()
	}
}

func (s *flows) add(f *flow) {
	s.sweepFull()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byOutlet == nil {
		s.byOutlet, s.byID = map[netip.AddrPort]*flow{}, map[uint64]*flow{}
	}
	s.byOutlet[f.outlet.at], s.byID[f.id] = f, f
}

// sweepFull makes room for another flow.
func (s *flows) sweepFull() {
	s.mu.Lock()
	full := len(s.byOutlet) >= maxFlows
	s.mu.Unlock()
	if !full {
		return
	}
	s.sweep(time.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.byOutlet) < maxFlows {
		return
	}
	var oldest *flow
	for _, f := range s.byOutlet {
		if oldest == nil || f.used.Before(oldest.used) {
			oldest = f
		}
	}
	s.forget(oldest)
}

// forget ends a flow. s.mu is held.
func (s *flows) forget(f *flow) {
	f.end()
	delete(s.byOutlet, f.outlet.at)
	delete(s.byID, f.id)
}

func (s *flows) remove(f *flow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(f)
}

func (s *flows) touch(f *flow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.used = time.Now()
}

// join notes the program's end of a flow; false: there is no such flow.
func (s *flows) join(id uint64, program netip.AddrPort) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.byID[id]
	if f == nil {
		return false
	}
	delete(s.byID, id)
	f.joined = time.Now()
	f.program <- program
	return true
}

// view returns the pod's view of a flow. The program may ask before the agent has answered: then it waits for that.
func (s *flows) view(ctx context.Context, outlet netip.AddrPort) (frame.EndpointReply, bool) {
	s.mu.Lock()
	f := s.byOutlet[outlet]
	s.mu.Unlock()
	if f == nil {
		return frame.EndpointReply{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, registerTime)
	defer cancel()
	select {
	case <-f.answered:
		return f.view, true
	case <-ctx.Done():
		return frame.EndpointReply{}, false
	}
}

// sweep ends the flows whose program has closed its socket or connected it elsewhere, or never connected it.
func (s *flows) sweep(now time.Time) {
	s.mu.Lock()
	none := len(s.byOutlet) == 0
	s.mu.Unlock()
	if none {
		return
	}
	asked := time.Now()
	peers, known := sockets.UDPPeers()
	s.mu.Lock()
	defer s.mu.Unlock()
	for outlet, f := range s.byOutlet {
		_, open := peers[outlet]
		limit := attemptTime
		switch {
		case f.joined.IsZero():
		case known && (open || f.joined.After(asked)):
			continue
		case known:
			limit = 0
		default:
			limit = idleFlowTime
		}
		if now.Sub(f.used) >= limit {
			s.forget(f)
		}
	}
}

// drain sends on what the program has sent, and waits until the agent has it sent.
func (s *flows) drain(ctx context.Context) {
	s.mu.Lock()
	var all []*flow
	for _, f := range s.byOutlet {
		all = append(all, f)
	}
	s.mu.Unlock()
	for _, f := range all {
		f.outlet.finish()
	}
	for _, f := range all {
		select {
		case <-f.done:
		case <-ctx.Done():
			return
		}
	}
}

// maxLeaving bounds the addresses that are remembered as reported.
const maxLeaving = 4096

// leaving are the addresses to which unconnected datagrams leave from this machine.
type leaving struct {
	mu       sync.Mutex
	reported map[netip.AddrPort]bool
}

// datagramLocal reports a datagram that did not go to the pod, once per address.
func (b *Broker) datagramLocal(m *frame.DatagramRequest) answer {
	addr, l := sockets.Unmap(m.Addr), &b.leaving
	if !b.carries("udp", addr) { // as the user wants it
		return answer{}
	}
	l.mu.Lock()
	known := l.reported[addr] || len(l.reported) >= maxLeaving
	if l.reported == nil {
		l.reported = map[netip.AddrPort]bool{}
	}
	if !known {
		l.reported[addr] = true
	}
	l.mu.Unlock()
	if !known {
		e := b.outgoing(events.OutgoingLocal, addr)
		e.Protocol = "udp"
		b.Emit(e)
	}
	return answer{}
}
