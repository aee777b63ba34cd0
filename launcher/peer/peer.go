// Package peer is what the kernel tells of the process at the other end of a Unix socket.
package peer

import "net"

// Peer is who made a connection or sent a datagram, as the kernel saw it.
type Peer struct{ PID, UID, GID int }

// Of reports false where the kernel does not tell the process.
func Of(c *net.UnixConn) (p Peer, ok bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Peer{}, false
	}
	raw.Control(func(fd uintptr) { p, ok = credentials(int(fd)) })
	return p, ok
}
