//go:build linux && (amd64 || arm64)

package supervise

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"mirrord/launcher/rules"
	"mirrord/launcher/seccomp"
)

// sizes of struct sockaddr_in and sockaddr_in6, and of the largest there is.
const (
	size4   = 16
	size6   = 28
	size6No = 24 // without the scope, as programs of old give it
	sizeAny = 128
)

// readAddress reads what a call says of where it goes: the raw bytes, and the address, which is invalid for anything but IP.
func readAddress(c *seccomp.Call, at, length uint64) (raw []byte, addr netip.AddrPort, err error) {
	if at == 0 || length < 2 || length > sizeAny {
		return nil, addr, unix.EINVAL
	}
	raw = make([]byte, length)
	n, err := c.Read(at, raw)
	if err == nil && n < len(raw) {
		err = unix.EFAULT
	}
	return raw, parseAddress(raw), err
}

// parseAddress reads struct sockaddr_in or sockaddr_in6; an IPv4 address mapped into IPv6 counts as IPv4.
func parseAddress(raw []byte) netip.AddrPort {
	if len(raw) < 2 {
		return netip.AddrPort{}
	}
	switch family := binary.LittleEndian.Uint16(raw); {
	case family == unix.AF_INET && len(raw) >= size4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(raw[4:8])), binary.BigEndian.Uint16(raw[2:]))
	case family == unix.AF_INET6 && len(raw) >= size6No:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(raw[8:24])).Unmap(), binary.BigEndian.Uint16(raw[2:]))
	}
	return netip.AddrPort{}
}

// rawAddress is addr for a socket of a family: IPv4 is mapped for an IPv6 one. nil when the family cannot say it.
func rawAddress(addr netip.AddrPort, family int) []byte {
	switch {
	case !addr.IsValid():
		return nil
	case family == unix.AF_INET && addr.Addr().Is4():
		raw := make([]byte, size4)
		binary.LittleEndian.PutUint16(raw, unix.AF_INET)
		binary.BigEndian.PutUint16(raw[2:], addr.Port())
		ip := addr.Addr().As4()
		copy(raw[4:], ip[:])
		return raw
	case family == unix.AF_INET6:
		raw := make([]byte, size6)
		binary.LittleEndian.PutUint16(raw, unix.AF_INET6)
		binary.BigEndian.PutUint16(raw[2:], addr.Port())
		ip := addr.Addr().As16()
		copy(raw[8:], ip[:])
		return raw
	}
	return nil
}

// writeAddress gives an address to the program as the kernel would: as much as there is room for, and its true length.
func writeAddress(c *seccomp.Call, raw []byte, at, lengthAt uint64) error {
	if at == 0 {
		return nil
	}
	var room [4]byte
	if n, err := c.Read(lengthAt, room[:]); err != nil || n < 4 {
		return unix.EFAULT
	}
	size := int32(binary.LittleEndian.Uint32(room[:]))
	if size < 0 {
		return unix.EINVAL
	}
	binary.LittleEndian.PutUint32(room[:], uint32(len(raw)))
	if size > 0 {
		if err := c.Write(at, raw[:min(len(raw), int(size))]); err != nil {
			return err
		}
	}
	return c.Write(lengthAt, room[:])
}

// isLoopback: connecting to the unspecified address reaches loopback, too.
func isLoopback(a netip.AddrPort) bool { return a.Addr().IsLoopback() || a.Addr().IsUnspecified() }

// metadata is where clouds answer questions of their machines: the pod's, though the address is link-local.
var metadata = netip.AddrFrom4([4]byte{169, 254, 169, 254})

// staysLocal: multicast, broadcast and link-local addresses mean this machine's links.
func staysLocal(a netip.AddrPort) bool {
	ip := a.Addr()
	if ip.Is4() {
		return ip.As4()[0] >= 224 || ip.IsLinkLocalUnicast() && ip != metadata
	}
	return ip.IsMulticast() || ip.As16()[0] == 0xfe && ip.As16()[1]&0xc0 == 0x80
}

// mayBeRelayed says whether the broker may be at the other end. IPv4 relays have addresses of the session's own; on IPv6 there is only ::1.
func mayBeRelayed(r rules.File, peer netip.AddrPort) bool {
	if !peer.IsValid() {
		return false
	}
	if peer.Addr().Is4() {
		return r.Relays(peer.Addr().As4())
	}
	return peer.Addr() == netip.IPv6Loopback()
}

// socket is a duplicate of one of the program's.
type socket struct {
	fd     int
	family int
	stream bool
	udp    bool
}

// socketOf duplicates the program's socket; ok is false when it is none of IP, and nothing is left open then.
func socketOf(c *seccomp.Call, fd int) (s socket, ok bool) {
	own, err := c.Descriptor(fd)
	if err != nil {
		return s, false
	}
	s = socket{fd: own, family: option(own, unix.SOL_SOCKET, unix.SO_DOMAIN)}
	if s.family == unix.AF_INET || s.family == unix.AF_INET6 {
		s.stream = option(own, unix.SOL_SOCKET, unix.SO_TYPE) == unix.SOCK_STREAM
		s.udp = !s.stream && option(own, unix.SOL_SOCKET, unix.SO_PROTOCOL) == unix.IPPROTO_UDP
	}
	if !s.stream && !s.udp {
		unix.Close(own)
		return s, false
	}
	return s, true
}

// streamOf is socketOf where TCP sockets alone matter: false when it is none, and the call is the kernel's then.
func streamOf(c *seccomp.Call) (socket, bool) {
	s, ok := socketOf(c, c.Arg(0))
	if ok && s.stream {
		return s, true
	}
	if ok {
		s.close()
	}
	c.Continue()
	return socket{}, false
}

func (s socket) close() { unix.Close(s.fd) }

func option(fd, level, name int) int {
	v, err := unix.GetsockoptInt(fd, level, name)
	if err != nil {
		return -1
	}
	return v
}

func (s socket) v6only() bool {
	return s.family == unix.AF_INET6 && option(s.fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY) == 1
}

func (s socket) nonblocking() bool {
	flags, err := unix.FcntlInt(uintptr(s.fd), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_NONBLOCK != 0
}

// local and peer are the ends as the kernel has them; invalid without one.
func (s socket) local() netip.AddrPort { a, _ := unix.Getsockname(s.fd); return addressOf(a) }
func (s socket) peer() netip.AddrPort  { a, _ := unix.Getpeername(s.fd); return addressOf(a) }

func addressOf(a unix.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}
