// Package sockets is what this machine's kernel tells of the sockets of programs, and what it can be made to do with them: which listen, which connections wait to be
// accepted, whose a datagram is, and a connect that stays in progress. It knows nothing of pods.
package sockets

import (
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Ends is a TCP connection as the kernel names it for a program.
type Ends struct{ Local, Peer netip.AddrPort }

// EndsOf is the ends of a connection whose other end is the program's.
func EndsOf(c *net.TCPConn) Ends {
	return Ends{Local: AddrOf(c.RemoteAddr()), Peer: AddrOf(c.LocalAddr())}
}

// AddrOf is the address of an end of a TCP connection or listener, as Unmap has it.
func AddrOf(a net.Addr) netip.AddrPort { return Unmap(a.(*net.TCPAddr).AddrPort()) }

// Unmap makes an IPv4 address of one that is mapped into IPv6, and leaves out the zone.
func Unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// Loopback is 127.0.0.1 or ::1.
func Loopback(v6 bool) netip.Addr {
	if v6 {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// Sockaddr is an address for the system calls.
func Sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

// AddrPort is an address of the system calls; the zero value for one that is not of the internet.
func AddrPort(s unix.Sockaddr) netip.AddrPort {
	switch s := s.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(s.Addr).Unmap(), uint16(s.Port))
	}
	return netip.AddrPort{}
}
