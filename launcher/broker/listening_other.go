//go:build !linux

package broker

import "golang.org/x/sys/unix"

// listening reports whether a socket still listens there, by whether the address could be bound. SO_REUSEADDR passes what only lingers.
func (s boundSock) listening() bool {
	family := unix.AF_INET
	if s.addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if s.v6only {
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	return unix.Bind(fd, sockaddr(s.addr)) == unix.EADDRINUSE
}
