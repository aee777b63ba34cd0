// Package target is what the agent needs of the thing it serves: a live pod, or a pod directory on this machine (Dir).
package target

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"

	"mirrord/agent/links"
)

// Target is a pod as the agent serves it. Methods are safe for concurrent use.
type Target interface {
	// Name is the target's name for people, Hostname what gethostname tells in it.
	Name() string
	Hostname() string
	// Capabilities are those of wire.Hello that the target has.
	Capabilities() []string
	// Env is the environment of the target's program. The caller does not change it.
	Env() (map[string]string, error)
	// Root is the directory that the target sees as "/"; nil when it has no files. The target closes it.
	Root() *os.File
	// Hosts holds the names that the target knows without asking anybody, in lower case without a trailing dot.
	Hosts() map[string][]netip.Addr
	// Resolver answers the other names; *net.Resolver is one.
	Resolver() Resolver
	// Dial makes a TCP connection as the target's program would. Errors carry the errno.
	Dial(ctx context.Context, addr netip.AddrPort) (links.Conn, error)
	// DialDatagrams makes a UDP socket of the target's that is connected to the address; the unspecified one with port 53 is the target's first name server.
	// Errors carry the errno.
	DialDatagrams(ctx context.Context, addr netip.AddrPort) (*net.UDPConn, error)
	// DialUnix connects to a stream socket by its path as the target sees it, or by "@" and its abstract name. With wait it waits for room in the
	// listener's queue until ctx ends. Errors carry the errno.
	DialUnix(ctx context.Context, name string, wait bool) (links.Conn, error)
	// IsNameServer says that at this address of network ("tcp", "udp") the agent itself answers as the target's name server, so that it is not dialled.
	IsNameServer(network string, addr netip.AddrPort) bool
	// Steal offers every new connection to the target's port to take, until the Closer is closed. Connections that take does not want go to the
	// target's own program, as all do while nobody steals. user is who does that, for people. Errors carry EADDRINUSE when the port is being stolen,
	// EADDRNOTAVAIL when the target has no such port.
	Steal(port uint16, user string, take func(Incoming) bool) (io.Closer, error)
	// Mirror shows a copy of every new connection to the target's port to see, until the Closer is closed; whoever the connection goes to never waits
	// for that. see must not block, and owns the copy. There may be any number of mirrors beside a thief. Errors carry EADDRNOTAVAIL when the target
	// has no such port, ESRCH when it has no program there.
	Mirror(port uint16, user string, see func(*Copy)) (io.Closer, error)
}

// Mortal is a Target whose files can end while it is served.
type Mortal interface {
	// Gone is why they have; nil while they are there.
	Gone() error
}

// Lacking is a Target that may not see all of what it stands for.
type Lacking interface {
	// Lacks tells what of env, files and incoming cannot be had, and why. Files that cannot be seen may be there all the same, so nobody is told that they are not.
	Lacks() map[string]string
}

// Observant is a Target that sees where programs listen.
type Observant interface {
	// Unserved says, for people, that no program of the target's own listens on a port that is stolen or mirrored, if that is of any concern. It is "" when one does, and when
	// nobody knows.
	Unserved(port uint16, steal bool) string
}

// Incoming is a new connection to a port of the target. take owns Conn if it returns true, and must not have read from it otherwise.
type Incoming struct {
	Conn          links.Conn
	Local, Remote netip.AddrPort // as the target sees them
}

// Resolver asks a name server. Errors are *net.DNSError. Both methods are net.Resolver's.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupAddr(ctx context.Context, addr string) (names []string, err error)
}
