package sockets

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// Listener is where a program listens for TCP connections.
type Listener struct {
	Addr   netip.AddrPort
	V6Only bool // of an address of IPv6: connections of IPv4 do not come there
}

// occupied reports whether a socket listens there by whether the address could be bound, which disturbs who binds it in the same moment. SO_REUSEADDR
// passes what only lingers.
func (l Listener) occupied() bool {
	family := unix.AF_INET
	if l.Addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if l.V6Only {
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	return unix.Bind(fd, Sockaddr(l.Addr)) == unix.EADDRINUSE
}
