// Package outgoing makes the program's connections from the target, and sends its datagrams.
package outgoing

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"time"

	"mirrord/agent/names"
	"mirrord/agent/target"
	"mirrord/agent/wire"
)

// dialTime limits one connect. Linux itself would try for two minutes; nobody waits that long.
const dialTime = 30 * time.Second

// Connect answers OpConnect on the stream and relays until both directions are done. An error is one that was not answered yet; it carries an errno.
// A launcher that closes the stream ends the attempt.
func Connect(ctx context.Context, t target.Target, stream *wire.Stream, req *wire.Request) error {
	if !req.Addr.IsValid() || req.Addr.Port() == 0 {
		return syscall.EADDRNOTAVAIL
	}
	if t.IsNameServer("tcp", req.Addr) {
		if wire.WriteHeader(stream, &wire.Reply{Local: besides(req.Addr), Remote: req.Addr}) == nil {
			names.ServeStream(ctx, t, stream)
		}
		return nil
	}
	watched, stop := stream.Watch(ctx)
	dial, cancel := context.WithTimeout(watched, dialTime)
	conn, err := t.Dial(dial, req.Addr)
	cancel()
	stop()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { wire.Refuse(conn) })()
	local := conn.LocalAddr().(*net.TCPAddr).AddrPort()
	reply := &wire.Reply{Local: netip.AddrPortFrom(local.Addr().Unmap(), local.Port()), Remote: req.Addr}
	if wire.WriteHeader(stream, reply) != nil {
		return wire.Refuse(conn)
	}
	wire.Pipe(stream, conn)
	return nil
}
