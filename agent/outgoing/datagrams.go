package outgoing

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"mirrord/agent/links"
	"mirrord/agent/names"
	"mirrord/agent/target"
	"mirrord/agent/wire"
)

// Datagrams answers OpConnect for a UDP socket and carries datagrams until the launcher closes its direction, with what it had sent before gone out.
// Errors are Connect's.
func Datagrams(ctx context.Context, t target.Target, stream *links.Stream, req *wire.Request) error {
	if !req.Addr.IsValid() || req.Addr.Port() == 0 {
		return syscall.EADDRNOTAVAIL
	}
	if t.IsNameServer("udp", req.Addr) {
		if wire.WriteHeader(stream, &wire.Reply{Local: besides(req.Addr), Remote: req.Addr}) == nil {
			names.ServeDatagrams(ctx, t, stream)
		}
		return nil
	}
	conn, err := t.DialDatagrams(ctx, req.Addr)
	if err != nil {
		return err
	}
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	reply := &wire.Reply{Local: netip.AddrPortFrom(local.Addr().Unmap(), local.Port()), Remote: req.Addr}
	if wire.WriteHeader(stream, reply) != nil {
		return conn.Close()
	}
	carry(ctx, stream, conn)
	return nil
}

// carry owns conn.
func carry(ctx context.Context, stream *links.Stream, conn *net.UDPConn) {
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var fromTarget sync.WaitGroup
	fromTarget.Go(func() {
		raw, err := conn.SyscallConn()
		for err == nil {
			var d *wire.Datagram
			d, _, err = wire.ReceiveDatagram(raw)
			if err == nil {
				err = d.Write(stream)
				d.Release()
			} else if unreachable(err) {
				err = wire.WriteRefusal(stream)
			}
		}
	})
	for {
		d, err := wire.ReadDatagram(stream)
		if err != nil {
			break
		}
		// An error that an earlier datagram met is told here in place of sending this one.
		if _, err = conn.Write(d.Payload()); unreachable(err) {
			wire.WriteRefusal(stream)
			conn.Write(d.Payload())
		}
		d.Release()
	}
	conn.Close()
	fromTarget.Wait()
}

// unreachable tells the errors that ICMP brings.
func unreachable(err error) bool {
	for _, e := range []syscall.Errno{syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// besides is the local end of a connection to the name server in this process, which has no socket.
func besides(server netip.AddrPort) netip.AddrPort {
	ip := netip.IPv6Loopback()
	if server.Addr().Unmap().Is4() {
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.AddrPortFrom(ip, nameClient)
}

// nameClient is a port of the range from which Linux takes those of clients.
const nameClient = 32768
