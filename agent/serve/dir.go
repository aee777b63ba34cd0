package serve

import (
	"context"
	"net"

	"mirrord/agent/target"
)

// Dir serves a pod directory in this process and returns the launcher's two ends of the link, which seems as far away as the directory's latency.
// Closing an end, or ending ctx, ends the serving; done is closed when nothing of it is left. The directory stays open.
func Dir(ctx context.Context, d *target.Dir) (requests, bulk net.Conn, done <-chan struct{}, err error) {
	requests, theirRequests := Pair(d.Latency() / 2)
	bulk, theirBulk := Pair(d.Latency() / 2)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		Serve(ctx, theirRequests, theirBulk, d)
	}()
	return requests, bulk, finished, nil
}
