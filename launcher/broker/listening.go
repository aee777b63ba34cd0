package broker

import "golang.org/x/sys/unix"

// occupied reports whether a socket listens there by whether the address could be bound, which disturbs who binds it in the same moment. SO_REUSEADDR
// passes what only lingers.
func (s boundSock) occupied() bool {
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
