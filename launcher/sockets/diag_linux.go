package sockets

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Diag is a socket over which the kernel answers questions about TCP sockets of this network namespace (sock_diag(7)), which disturbs nobody. Not every kernel answers.
type Diag struct{ fd int }

// OpenDiag opens one; the caller closes it.
func OpenDiag() (*Diag, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	return &Diag{fd}, err
}

// Close is to be called once.
func (d *Diag) Close() error { return unix.Close(d.fd) }

const (
	tcpEstablished = 1  // of the kernel's tcp_states.h
	tcpListen      = 10 // the same

	diagRequestSize = 56 // struct inet_diag_req_v2
	diagReplySize   = 72 // struct inet_diag_msg, which begins with family and state and ends with the inode
)

// Waits says whether a connection that is established waits in a listener's queue: its socket has no inode before it is accepted. ENOENT: there is no such connection.
func (d *Diag) Waits(c Ends) (bool, error) {
	r := make([]byte, diagRequestSize)
	r[0], r[1] = unix.AF_INET6, unix.IPPROTO_TCP
	if c.Local.Addr().Is4() {
		r[0] = unix.AF_INET
	}
	binary.NativeEndian.PutUint32(r[4:], ^uint32(0)) // any state
	binary.BigEndian.PutUint16(r[8:], c.Local.Port())
	binary.BigEndian.PutUint16(r[10:], c.Peer.Port())
	copy(r[12:28], c.Local.Addr().AsSlice())
	copy(r[28:44], c.Peer.Addr().AsSlice())
	binary.NativeEndian.PutUint64(r[48:], ^uint64(0)) // INET_DIAG_NOCOOKIE
	if err := d.send(unix.NLM_F_REQUEST, r); err != nil {
		return false, err
	}
	state, inode := byte(0), uint32(0)
	err := d.receive(make([]byte, 4096), func(m []byte) bool {
		state, inode = m[1], inodeOf(m)
		return false
	})
	switch {
	case err != nil:
		return false, err
	case state == 0:
		return false, unix.EIO
	case state == tcpListen: // as for a packet, whoever listens there is found where there is no connection
		return false, unix.ENOENT
	}
	return state == tcpEstablished && inode == 0, nil
}

// Listening are the addresses at which sockets listen on a port, 0 is any, and the inodes of those.
func (d *Diag) Listening(port uint16) (map[netip.AddrPort][]uint32, error) {
	found := map[netip.AddrPort][]uint32{}
	buf := make([]byte, 32<<10) // what the kernel fills at most
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		r := make([]byte, diagRequestSize)
		r[0], r[1] = family, unix.IPPROTO_TCP
		binary.NativeEndian.PutUint32(r[4:], 1<<tcpListen)
		binary.BigEndian.PutUint16(r[8:], port)
		if err := d.send(unix.NLM_F_REQUEST|unix.NLM_F_DUMP, r); err != nil {
			return nil, err
		}
		if err := d.receive(buf, func(m []byte) bool {
			at := localOf(m)
			found[at] = append(found[at], inodeOf(m))
			return true
		}); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// Listening is Diag.Listening, once.
func Listening(port uint16) (map[netip.AddrPort][]uint32, error) {
	d, err := OpenDiag()
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Listening(port)
}

// Open reports whether a socket listens there.
func (l Listener) Open() bool {
	found, err := Listening(l.Addr.Port())
	if err != nil {
		return l.occupied()
	}
	return len(found[l.Addr]) > 0
}

// Inodes are those of the sockets that listen there; none when the kernel does not tell.
func (l Listener) Inodes() []uint32 {
	found, _ := Listening(l.Addr.Port())
	return found[l.Addr]
}

// send asks by a struct inet_diag_req_v2.
func (d *Diag) send(flags uint16, request []byte) error {
	message := make([]byte, unix.NLMSG_HDRLEN, unix.NLMSG_HDRLEN+diagRequestSize)
	binary.NativeEndian.PutUint32(message, uint32(unix.NLMSG_HDRLEN+len(request)))
	binary.NativeEndian.PutUint16(message[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(message[6:], flags)
	return unix.Sendto(d.fd, append(message, request...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// receive reads the answer, each struct inet_diag_msg of it, to its end or until each has had enough. It may overwrite buf.
func (d *Diag) receive(buf []byte, each func(message []byte) (more bool)) error {
	for {
		n, _, err := unix.Recvfrom(d.fd, buf, 0)
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
			case m.Header.Type == unix.NLMSG_ERROR && len(m.Data) >= 4:
				return unix.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
			case m.Header.Type == unix.NLMSG_ERROR || len(m.Data) < diagReplySize:
				return unix.EIO
			case !each(m.Data):
				return nil
			}
		}
	}
}

// inodeOf is the last field of a struct inet_diag_msg.
func inodeOf(m []byte) uint32 { return binary.NativeEndian.Uint32(m[diagReplySize-4:]) }

// localOf is the local address in a struct inet_diag_msg: family u8, three more, then struct inet_diag_sockid, which is big-endian.
func localOf(m []byte) netip.AddrPort {
	ip := netip.AddrFrom16([16]byte(m[8:24])).Unmap()
	if m[0] == unix.AF_INET {
		ip = netip.AddrFrom4([4]byte(m[8:12]))
	}
	return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(m[4:]))
}
