package serve

import (
	"context"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"mirrord/agent/target"
)

// Dir serves a pod directory in this process and returns the launcher's two ends of the link, which seems as far away as the directory's latency.
// Closing an end, or ending ctx, ends the serving; done is closed when nothing of it is left. The directory stays open.
func Dir(ctx context.Context, d *target.Dir) (requests, bulk net.Conn, done <-chan struct{}, err error) {
	var ends [4]net.Conn // the launcher's requests and bulk, the agent's requests and bulk
	for i := range 2 {
		if ends[i], ends[i+2], err = socketPair(); err != nil {
			if i == 1 {
				ends[0].Close()
				ends[2].Close()
			}
			return nil, nil, nil, fmt.Errorf("a link to the pod directory: %w", err)
		}
	}
	if half := d.Latency() / 2; half > 0 {
		for i := range ends {
			ends[i] = Delay(ends[i], half)
		}
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		Serve(ctx, ends[2], ends[3], d)
	}()
	return ends[0], ends[1], finished, nil
}

// socketPair returns the two ends of a connection inside this process.
func socketPair() (a, b net.Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, err
	}
	unix.CloseOnExec(fds[0])
	unix.CloseOnExec(fds[1])
	if a, err = fileConn(fds[0]); err != nil {
		unix.Close(fds[1])
		return nil, nil, err
	}
	if b, err = fileConn(fds[1]); err != nil {
		a.Close()
		return nil, nil, err
	}
	return a, b, nil
}

// fileConn makes a net.Conn of a descriptor, which it consumes.
func fileConn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "link")
	defer f.Close()
	return net.FileConn(f)
}
