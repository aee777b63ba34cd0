package broker

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
	"mirrord/launcher/sockets"
	"mirrord/layer/frame"
)

const (
	// maxExchanges bounds the addresses that have an exchange, and maxSenders the sockets of programs that use one at a time.
	maxExchanges = 64
	maxSenders   = 256
	// senderTime is how long a sender is kept without a datagram: few clients wait that long for a name server.
	senderTime = 30 * time.Second
	// senderQueue is how many datagrams wait for the agent to answer the first.
	senderQueue = 16
)

// exchange takes what unconnected sockets of the session send to one name server. Each sender has a connected socket in the pod.
type exchange struct {
	to     netip.AddrPort
	outlet *outlet

	mu      sync.Mutex
	senders map[netip.AddrPort]*sender
}

// sender is one socket that sends to an exchange.
type sender struct {
	queue chan *wire.Datagram
	used  time.Time
	ctx   context.Context
	end   context.CancelFunc
}

type exchanges struct {
	mu       sync.Mutex
	byTo     map[exchangeKey]*exchange
	byOutlet map[netip.AddrPort]netip.AddrPort
}

type exchangeKey struct {
	to netip.AddrPort
	v6 bool
}

// exchange answers where datagrams to addr are to be sent.
func (b *Broker) exchange(addr netip.AddrPort, v6 bool) answer {
	s, key := &b.exchanges, exchangeKey{addr, v6}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byTo == nil {
		s.byTo, s.byOutlet = map[exchangeKey]*exchange{}, map[netip.AddrPort]netip.AddrPort{}
	}
	e := s.byTo[key]
	if e == nil {
		if len(s.byTo) >= maxExchanges {
			return failure(unix.ENOBUFS)
		}
		out, err := newOutlet(b.relays.random(v6))
		if err != nil {
			return failure(unix.ENETUNREACH)
		}
		e = &exchange{to: addr, outlet: out, senders: map[netip.AddrPort]*sender{}}
		if !b.spawn(func() { b.serveExchange(e) }) {
			out.close()
			return failure(unix.ENETUNREACH)
		}
		s.byTo[key], s.byOutlet[out.at] = e, addr
	}
	return result(&frame.ConnectReply{Relay: e.outlet.at})
}

// at returns the name server whose exchange has this address.
func (s *exchanges) at(outlet netip.AddrPort) (netip.AddrPort, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to, ok := s.byOutlet[outlet]
	return to, ok
}

// serveExchange gives each datagram to its sender's socket until the broker is closed. Only processes of the session are served.
func (b *Broker) serveExchange(e *exchange) {
	defer context.AfterFunc(b.ctx, e.outlet.close)()
	defer e.outlet.close()
	for {
		d, from, err := e.outlet.receive()
		if err != nil {
			return
		}
		if a := b.sender(e, from); a != nil {
			select {
			case a.queue <- d:
				continue
			default: // the agent does not keep up
			}
		}
		d.Release()
	}
}

// sender returns what is known of a socket that sends, new if need be; nil for one that is not of the session.
func (b *Broker) sender(e *exchange, from netip.AddrPort) *sender {
	e.mu.Lock()
	a := e.senders[from]
	if a != nil {
		a.used = time.Now()
	}
	e.mu.Unlock()
	if a != nil || !sockets.OwnsUDP(from.Port()) {
		return a
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.senders) >= maxSenders {
		e.makeRoom()
	}
	a = &sender{queue: make(chan *wire.Datagram, senderQueue), used: time.Now()}
	a.ctx, a.end = context.WithCancel(b.ctx)
	if !b.spawn(func() { b.serveSender(e, from, a) }) {
		a.end()
		return nil
	}
	e.senders[from] = a
	return a
}

// makeRoom ends the senders whose sockets are closed, else the one that was idle longest. e.mu is held.
func (e *exchange) makeRoom() {
	open := map[uint16]bool{}
	known := sockets.EachUDP(func(s sockets.UDP) { open[s.Local.Port()] = true })
	var oldest netip.AddrPort
	for from, a := range e.senders {
		if known && !open[from.Port()] {
			e.forget(from)
		} else if !oldest.IsValid() || a.used.Before(e.senders[oldest].used) {
			oldest = from
		}
	}
	if len(e.senders) >= maxSenders {
		e.forget(oldest)
	}
}

// forget ends a sender. e.mu is held.
func (e *exchange) forget(from netip.AddrPort) {
	e.senders[from].end()
	delete(e.senders, from)
}

// serveSender carries the datagrams of one sender until it has sent none for a time.
func (b *Broker) serveSender(e *exchange, from netip.AddrPort, a *sender) {
	defer func() {
		e.mu.Lock()
		if e.senders[from] == a {
			delete(e.senders, from)
		}
		e.mu.Unlock()
		a.end()
	}()
	f := &flow{ctx: a.ctx, answered: make(chan struct{})}
	b.dialFlow(f, e.to)
	if f.agent == nil {
		return
	}
	var answers sync.WaitGroup
	defer answers.Wait()
	defer f.agent.Close()
	answers.Go(func() {
		for {
			d, err := wire.ReadDatagram(f.agent)
			if err == wire.ErrRefused { // an unconnected socket is not told
				continue
			}
			if err != nil {
				return
			}
			b.learn(e.to, d.Payload())
			e.outlet.send(d.Payload(), from)
			d.Release()
		}
	})
	idle := time.NewTimer(senderTime)
	defer idle.Stop()
	for {
		select {
		case d := <-a.queue:
			var err error
			if !b.answerHere(e.to, d, func(reply []byte) { e.outlet.send(reply, from) }) {
				err = d.Write(f.agent)
			}
			d.Release()
			if err != nil {
				return
			}
			idle.Reset(senderTime)
		case <-idle.C:
			return
		case <-a.ctx.Done():
			return
		}
	}
}
