package broker

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
	"mirrord/layer/frame"
)

const (
	// maxExchanges bounds the addresses that have an exchange, and maxAskers the sockets of programs that use one at a time.
	maxExchanges = 64
	maxAskers    = 256
	// askerTime is how long an asker is kept without a datagram: no client waits that long for a name server.
	askerTime = 60 * time.Second
	// askerQueue is how many datagrams wait for the agent to answer the first.
	askerQueue = 16
)

// exchange takes what unconnected sockets of the session send to one name server. Each sender has a connected socket in the pod.
type exchange struct {
	to     netip.AddrPort
	outlet *outlet

	mu     sync.Mutex
	askers map[netip.AddrPort]chan *wire.Datagram
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
		e = &exchange{to: addr, outlet: out, askers: map[netip.AddrPort]chan *wire.Datagram{}}
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
		e.mu.Lock()
		queue := e.askers[from]
		if queue == nil && len(e.askers) < maxAskers && ownsDatagrams(from.Port()) {
			queue = make(chan *wire.Datagram, askerQueue)
			if b.spawn(func() { b.serveAsker(e, from, queue) }) {
				e.askers[from] = queue
			}
		}
		select {
		case queue <- d: // never for a nil one
		default:
			d.Release()
		}
		e.mu.Unlock()
	}
}

// serveAsker carries the datagrams of one sender until it has sent none for a time.
func (b *Broker) serveAsker(e *exchange, from netip.AddrPort, queue chan *wire.Datagram) {
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.askers, from)
		for len(queue) > 0 {
			(<-queue).Release()
		}
	}()
	f := &flow{ctx: b.ctx, answered: make(chan struct{})}
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
			e.outlet.send(d.Payload(), from)
			d.Release()
		}
	})
	idle := time.NewTimer(askerTime)
	defer idle.Stop()
	for {
		select {
		case d := <-queue:
			err := d.Write(f.agent)
			d.Release()
			if err != nil {
				return
			}
			idle.Reset(askerTime)
		case <-idle.C:
			return
		case <-b.ctx.Done():
			return
		}
	}
}
