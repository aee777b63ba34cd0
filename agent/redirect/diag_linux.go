package redirect

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"mirrord/agent/sockdiag"
)

// diag ends connections in TIME_WAIT. The end that closes first keeps its port for a minute, so that one address could pass 470 connections a second at
// most; the state guards against packets that come late, and between two sockets of one machine none does.
type diag struct {
	mu sync.Mutex
	fd int
}

func openDiag(n Network) (*diag, error) {
	d := new(diag)
	return d, n.Do(func() (err error) {
		d.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_INET_DIAG)
		return
	})
}

func (d *diag) close() error { return unix.Close(d.fd) }

// forget ends what is left of the closed connection with that cookie (SO_COOKIE). A kernel that cannot do that keeps it for its minute.
func (d *diag) forget(local, remote netip.AddrPort, cookie uint64) {
	// struct nlmsghdr of linux/netlink.h, then struct inet_diag_req_v2 of linux/inet_diag.h.
	const sockDestroy, header, size = 21, 16, 16 + 56
	var m [size]byte
	native, big := binary.NativeEndian, binary.BigEndian
	native.PutUint32(m[0:], size)
	native.PutUint16(m[4:], sockDestroy)
	native.PutUint16(m[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	r := m[header:]
	r[0], r[1] = unix.AF_INET6, unix.IPPROTO_TCP
	if local.Addr().Is4() {
		r[0] = unix.AF_INET
	}
	native.PutUint32(r[4:], 1<<6) // TCP_TIME_WAIT
	big.PutUint16(r[8:], local.Port())
	big.PutUint16(r[10:], remote.Port())
	copy(r[12:], local.Addr().AsSlice())
	copy(r[28:], remote.Addr().AsSlice())
	native.PutUint32(r[48:], uint32(cookie))
	native.PutUint32(r[52:], uint32(cookie>>32))
	d.mu.Lock()
	defer d.mu.Unlock()
	if unix.Sendto(d.fd, m[:], 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) == nil {
		var answer [256]byte
		unix.Read(d.fd, answer[:]) // its room is bounded
	}
}

// cookie is the number by which the kernel knows a socket, and what is left of it later.
func cookie(c syscall.Conn) (id uint64) {
	if raw, err := c.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { id, _ = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_COOKIE) })
	}
	return id
}

// connections are those in some states in this thread's namespace.
func connections(states sockdiag.States) (map[sockdiag.Ends]bool, error) {
	found := make(map[sockdiag.Ends]bool)
	return found, sockdiag.Each(states, 0, func(s sockdiag.Socket) { found[s.Ends] = true })
}
