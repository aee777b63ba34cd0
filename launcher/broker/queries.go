package broker

import (
	"net"
	"net/netip"
	"os"

	"mirrord/agent/names"
	"mirrord/agent/target"
	"mirrord/agent/wire"
)

// maxQueries bounds the queries that this machine's resolver is asked at once; what is more is lost, as datagrams are.
const maxQueries = 64

// thisMachine is what names.Answer needs to answer with this machine's resolver.
type thisMachine struct {
	target.Target
	name string
}

func (m thisMachine) Hostname() string             { return m.name }
func (thisMachine) Hosts() map[string][]netip.Addr { return nil }
func (thisMachine) Resolver() target.Resolver      { return net.DefaultResolver }

// answerHere answers a query for a name that the user wants resolved on this machine. It reports false for every other datagram.
func (b *Broker) answerHere(to netip.AddrPort, d *wire.Datagram, send func([]byte)) bool {
	if filter := b.network.DNS.Filter; to.Port() != namePort || len(filter.Local)+len(filter.Remote) == 0 {
		return false
	}
	name, ok := names.Question(d.Payload())
	if !ok || b.network.DNS.Filter.RemoteName(name) {
		return false
	}
	query := append([]byte(nil), d.Payload()...)
	select {
	case b.queries <- struct{}{}:
	default:
		return true
	}
	hostname, _ := os.Hostname()
	if !b.spawn(func() {
		defer func() { <-b.queries }()
		if reply := names.Answer(b.ctx, thisMachine{name: hostname}, query, 0); reply != nil {
			send(reply)
		}
	}) {
		<-b.queries
	}
	return true
}
