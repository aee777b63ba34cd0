package broker

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// listening reports whether a socket listens there: it asks the kernel for those that do (sock_diag(7)), which disturbs nobody. Not every kernel answers.
func (s boundSock) listening() bool {
	found, err := listeningAddrs(s.addr.Port())
	if err != nil {
		return s.occupied()
	}
	return len(found[s.addr]) > 0
}

// sockets are the inodes of the sockets that listen there; none when the kernel does not tell.
func (s boundSock) sockets() []uint32 {
	found, _ := listeningAddrs(s.addr.Port())
	return found[s.addr]
}

// listeningAddrs are the addresses at which sockets of this network namespace listen on a port, 0 is any, and the inodes of those.
func listeningAddrs(port uint16) (map[netip.AddrPort][]uint32, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	found := map[netip.AddrPort][]uint32{}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		request := make([]byte, unix.NLMSG_HDRLEN+diagRequestSize)
		binary.NativeEndian.PutUint32(request, uint32(len(request)))
		binary.NativeEndian.PutUint16(request[4:], unix.SOCK_DIAG_BY_FAMILY)
		binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
		request[unix.NLMSG_HDRLEN], request[unix.NLMSG_HDRLEN+1] = family, unix.IPPROTO_TCP
		binary.NativeEndian.PutUint32(request[unix.NLMSG_HDRLEN+4:], 1<<tcpListen)
		binary.BigEndian.PutUint16(request[unix.NLMSG_HDRLEN+8:], port)
		if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return nil, err
		}
		if err := readListeners(fd, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

const (
	tcpListen       = 10 // TCP_LISTEN of the kernel's tcp_states.h
	diagRequestSize = 56 // struct inet_diag_req_v2
	diagReplySize   = 72 // struct inet_diag_msg, which ends with the inode
)

// readListeners reads an answer to its end.
func readListeners(fd int, found map[netip.AddrPort][]uint32) error {
	buf := make([]byte, 32<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EINTR {
			continue
		} else if err != nil {
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
			case m.Header.Type == unix.NLMSG_ERROR:
				if len(m.Data) < 4 {
					return unix.EIO
				}
				return unix.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
			case len(m.Data) >= diagReplySize:
				at := listenerOf(m.Data)
				found[at] = append(found[at], binary.NativeEndian.Uint32(m.Data[diagReplySize-4:]))
			}
		}
	}
}

// listenerOf is the local address in a struct inet_diag_msg: family u8, three more, then struct inet_diag_sockid, which is big-endian.
func listenerOf(m []byte) netip.AddrPort {
	ip := netip.AddrFrom16([16]byte(m[8:24])).Unmap()
	if m[0] == unix.AF_INET {
		ip = netip.AddrFrom4([4]byte(m[8:12]))
	}
	return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(m[4:]))
}
