package sockdiag

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// TCP gives see the sockets of this thread's network namespace that are in one of the states (sock_diag(7)).
func TCP(states States, see func(Socket)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		const size = unix.SizeofNlMsghdr + 56 // struct inet_diag_req_v2 of linux/inet_diag.h
		var m [size]byte
		native := binary.NativeEndian
		native.PutUint32(m[0:], size)
		native.PutUint16(m[4:], unix.SOCK_DIAG_BY_FAMILY)
		native.PutUint16(m[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
		m[16], m[17] = family, unix.IPPROTO_TCP
		native.PutUint32(m[20:], uint32(states))
		if err := unix.Sendto(fd, m[:], 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return err
		}
		if err := read(fd, see); err != nil {
			return err
		}
	}
	return nil
}

// read reads an answer to its end.
func read(fd int, see func(Socket)) error {
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
			see(Socket{netip.AddrPortFrom(addr(8), port(4)), netip.AddrPortFrom(addr(24), port(6))})
		}
	}
}
