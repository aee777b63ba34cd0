// Package outgoing makes the program's connections from the target, and sends its datagrams.
package outgoing

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"time"

	"mirrord/agent/links"
	"mirrord/agent/names"
	"mirrord/agent/target"
	"mirrord/agent/wire"
)

// dialTime limits one connect. Linux itself would try for two minutes; nobody waits that long.
const dialTime = 30 * time.Second

// Connect answers OpConnect on the stream and relays until both directions are done. An error is one that was not answered yet; it carries an errno.
// A launcher that closes the stream ends the attempt.
func Connect(ctx context.Context, t target.Target, stream *links.Stream, req *wire.Request) error {
	if !req.Addr.IsValid() || req.Addr.Port() == 0 {
		return syscall.EADDRNOTAVAIL
	}
	if t.IsNameServer("tcp", req.Addr) {
		if wire.WriteHeader(stream, &wire.Reply{Local: besides(req.Addr), Remote: req.Addr}) == nil {
			names.ServeStream(ctx, t, stream)
		}
		return nil
	}
	conn, err := dial(ctx, stream, func(ctx context.Context) (links.Conn, error) { return t.Dial(ctx, req.Addr) })
	if err != nil {
		return err
	}
	local := conn.LocalAddr().(*net.TCPAddr).AddrPort()
	return relay(ctx, stream, conn, &wire.Reply{Local: netip.AddrPortFrom(local.Addr().Unmap(), local.Port()), Remote: req.Addr})
}

// dial has connect try for dialTime, or until the launcher closes the stream.
func dial(ctx context.Context, stream *links.Stream, connect func(context.Context) (links.Conn, error)) (links.Conn, error) {
	watched, stop := stream.Watch(ctx)
	defer stop()
	limited, cancel := context.WithTimeout(watched, dialTime)
	defer cancel()
	return connect(limited)
}

// relay sends the reply and carries bytes until both directions are done, or ctx ends. It owns conn.
func relay(ctx context.Context, stream *links.Stream, conn links.Conn, reply *wire.Reply) error {
	defer context.AfterFunc(ctx, func() { links.Refuse(conn) })()
	if wire.WriteHeader(stream, reply) != nil {
		return links.Refuse(conn)
	}
	links.Pipe(stream, conn)
	return nil
}
