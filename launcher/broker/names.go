package broker

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"mirrord/agent/names"
	"mirrord/agent/wire"
	"mirrord/launcher/events"
	"mirrord/layer/frame"
)

// lookup answers with the addresses that the pod's resolver gives.
func (b *Broker) lookup(m *frame.LookupRequest) answer {
	if !b.network.DNS.Enabled || !b.network.DNS.Filter.RemoteName(m.Name) {
		return local
	}
	asked := time.Now()
	reply, err := b.Link.Do(b.ctx, &wire.Request{Op: wire.OpLookup, Name: m.Name, Family: m.Family})
	e := events.Event{Type: events.Name, Name: m.Name, Took: milliseconds(time.Since(asked))}
	if err != nil {
		n, errno := lookupStatus(err)
		e.Errno, e.Reason = errno, reason(err)
		b.Emit(e)
		return status(n)
	}
	out := &frame.LookupReply{Canonical: reply.Name}
	for _, a := range reply.Addrs {
		if b.Values {
			e.Addresses = append(e.Addresses, a.String())
		}
		b.names.add(a, m.Name)
		out.Addrs = append(out.Addrs, netip.AddrPortFrom(a, 0))
	}
	b.Emit(e)
	if len(out.Addrs) == 0 {
		return status(frame.LookupNoData)
	}
	return result(out)
}

// reverse answers with the name that the pod's resolver gives to an address.
func (b *Broker) reverse(m *frame.ReverseRequest) answer {
	if !b.network.DNS.Enabled {
		return local
	}
	reply, err := b.Link.Do(b.ctx, &wire.Request{Op: wire.OpReverse, Addr: netip.AddrPortFrom(m.Addr.Addr().Unmap(), m.Addr.Port())})
	if err != nil {
		n, _ := lookupStatus(err)
		return status(n)
	}
	return result(&frame.NameReply{Name: reply.Name})
}

// lookupStatus is the status of a failed lookup, and its name in events. A lost link may come back: asking again is what programs should do.
func lookupStatus(err error) (int32, string) {
	var refused *wire.Error
	if !errors.As(err, &refused) {
		return frame.LookupAgain, wire.ErrnoAgain
	}
	switch refused.Errno {
	case wire.ErrnoNotFound:
		return frame.LookupNotFound, refused.Errno
	case wire.ErrnoNoData:
		return frame.LookupNoData, refused.Errno
	case wire.ErrnoAgain:
		return frame.LookupAgain, refused.Errno
	}
	return frame.LookupFail, refused.Errno
}

// Bounds of the remembered names: addresses, and names of one address.
const (
	maxNames       = 4096
	maxNamesOfAddr = 8
)

// nameTable remembers by which names the program came to an address, for filters by name and for events.
type nameTable struct {
	mu    sync.Mutex
	names map[netip.Addr][]string
	order [maxNames]netip.Addr // the oldest is overwritten
	next  int
}

// learn remembers what the pod's name server has answered to a program that asks by itself.
func (b *Broker) learn(server netip.AddrPort, answer []byte) {
	if server.Port() != namePort {
		return
	}
	name, addrs := names.Addresses(answer)
	for _, a := range addrs {
		b.names.add(a, name)
	}
}

func (t *nameTable) add(a netip.Addr, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.names == nil {
		t.names = map[netip.Addr][]string{}
	}
	known, ok := t.names[a]
	if !ok {
		delete(t.names, t.order[t.next])
		t.order[t.next] = a
		t.next = (t.next + 1) % maxNames
	}
	if !slices.Contains(known, name) && len(known) < maxNamesOfAddr {
		t.names[a] = append(known[:len(known):len(known)], name) // of may have handed out known
	}
}

func (t *nameTable) of(a netip.Addr) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.names[a]
}
