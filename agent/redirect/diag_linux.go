package redirect

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
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

// connection is the two addresses of one.
type connection struct{ local, remote netip.AddrPort }

// TCP's states, as bits by their numbers in linux/tcp_states.h.
const (
	synReceived = 1 << 3
	// withBytes are those in which an end may have something to send: all but FIN_WAIT2, TIME_WAIT, CLOSE and LISTEN.
	withBytes = 1<<1 | 1<<2 | synReceived | 1<<4 | 1<<8 | 1<<9 | 1<<11
)

// connections asks the kernel for those in some states in this thread's namespace (sock_diag(7)). Unlike /proc/net/tcp it does not list what was not asked for: a busy port has
// tens of thousands in TIME_WAIT.
func connections(states uint32) (map[connection]bool, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	found := make(map[connection]bool)
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		const size = unix.SizeofNlMsghdr + 56 // struct inet_diag_req_v2 of linux/inet_diag.h
		var m [size]byte
		native := binary.NativeEndian
		native.PutUint32(m[0:], size)
		native.PutUint16(m[4:], unix.SOCK_DIAG_BY_FAMILY)
		native.PutUint16(m[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
		m[16], m[17] = family, unix.IPPROTO_TCP
		native.PutUint32(m[20:], states)
		if err := unix.Sendto(fd, m[:], 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return nil, err
		}
		if err := readConnections(fd, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// readConnections reads an answer to its end.
func readConnections(fd int, found map[connection]bool) error {
	for buf := make([]byte, 32<<10); ; {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		messages, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return err
		}
		for _, m := range messages {
			switch {
			case m.Header.Type == unix.NLMSG_DONE:
				return nil
			case m.Header.Type == unix.NLMSG_ERROR && len(m.Data) >= 4:
				return unix.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
			case len(m.Data) < 72: // struct inet_diag_msg
				return unix.EBADMSG
			}
			addr := func(at int) netip.Addr {
				if m.Data[0] == unix.AF_INET {
					return netip.AddrFrom4([4]byte(m.Data[at:]))
				}
				return netip.AddrFrom16([16]byte(m.Data[at:])).Unmap()
			}
			port := func(at int) uint16 { return binary.BigEndian.Uint16(m.Data[at:]) }
			found[connection{netip.AddrPortFrom(addr(8), port(4)), netip.AddrPortFrom(addr(24), port(6))}] = true
		}
	}
}
