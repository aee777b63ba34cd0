package outgoing

import (
	"context"

	"mirrord/agent/links"
	"mirrord/agent/target"
	"mirrord/agent/wire"
)

// Unix answers OpConnect for a Unix socket and relays as Connect does. What travels is bytes: the kernel closes descriptors that come with them.
func Unix(ctx context.Context, t target.Target, stream *links.Stream, req *wire.Request) error {
	conn, err := dial(ctx, stream, func(ctx context.Context) (links.Conn, error) { return t.DialUnix(ctx, req.Path, !req.NoWait) })
	if err != nil {
		return err
	}
	return relay(ctx, stream, conn, &wire.Reply{})
}
