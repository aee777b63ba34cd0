package target

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"mirrord/agent/files"
	"mirrord/agent/links"
)

// maxAbstract bounds an abstract name with its "@", in bytes: sun_path (unix(7)).
const maxAbstract = 108

// retryEvery is how often a full queue is tried again: the kernel tells nobody when there is room.
const retryEvery = 20 * time.Millisecond

// Dialer makes a connection as net.Dialer's DialContext does; in the network that abstract names are to be looked for in.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// DialUnix is Target's DialUnix with paths resolved inside root, which is nil where there are no files.
func DialUnix(ctx context.Context, dial Dialer, root *os.File, name string, wait bool) (links.Conn, error) {
	if strings.HasPrefix(name, "@") {
		if len(name) == 1 || len(name) > maxAbstract {
			return nil, syscall.ECONNREFUSED // nobody can have such a name
		}
		return dialUnix(ctx, dial, name, wait)
	}
	address, release, err := files.Address(root, name)
	if err != nil {
		return nil, err
	}
	defer release()
	return dialUnix(ctx, dial, address, wait)
}

func dialUnix(ctx context.Context, dial Dialer, address string, wait bool) (links.Conn, error) {
	for {
		conn, err := dial(ctx, "unix", address)
		if err == nil {
			return conn.(*net.UnixConn), nil
		}
		// The address is a name of the agent's own for what the program asked for.
		var errno syscall.Errno
		if errors.As(err, &errno) {
			err = errno
		}
		if !wait || errno != syscall.EAGAIN {
			return nil, err
		}
		select {
		case <-time.After(retryEvery):
		case <-ctx.Done():
			return nil, err
		}
	}
}
