package sockdiag

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Diag is a socket over which the kernel answers questions about TCP sockets of one network namespace (sock_diag(7)).
type Diag struct{ fd int }

// Open is for the namespace of this thread; the caller closes the Diag, which is for one goroutine at a time.
func Open() (*Diag, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	return &Diag{fd}, err
}

// Close is to be called once.
func (d *Diag) Close() error { return unix.Close(d.fd) }

const (
	requestSize = 56 // struct inet_diag_req_v2 of linux/inet_diag.h
	replySize   = 72 // struct inet_diag_msg, which begins with family and state and ends with the inode
	dumpSize    = 32 << 10
)

// Find looks for one end of a connection. ENOENT: there is none.
func (d *Diag) Find(e Ends) (found Socket, err error) {
	r := request(e.Local.Addr().Is4(), ^States(0), e.Local.Port())
	binary.BigEndian.PutUint16(r[10:], e.Remote.Port())
	copy(r[12:28], e.Local.Addr().AsSlice())
	copy(r[28:44], e.Remote.Addr().AsSlice())
	binary.NativeEndian.PutUint64(r[48:], ^uint64(0)) // INET_DIAG_NOCOOKIE
	if err := d.send(unix.NLM_F_REQUEST, r); err != nil {
		return found, err
	}
	err = d.receive(make([]byte, 4096), func(s Socket) (more bool) {
		found = s
		return false
	})
	switch {
	case err == nil && found.State == 0:
		err = unix.EIO
	case found.State == Listen, // as for a packet, whoever listens there is found where there is no connection
		found.State == Closed: // it was found in the moment in which it went
		err = unix.ENOENT
	}
	return found, err
}

// Each gives see the sockets that are in one of the states and have a local port, 0 is any.
func (d *Diag) Each(states States, port uint16, see func(Socket)) error {
	buf := make([]byte, dumpSize)
	for _, v4 := range []bool{true, false} {
		if err := d.send(unix.NLM_F_REQUEST|unix.NLM_F_DUMP, request(v4, states, port)); err != nil {
			return err
		}
		if err := d.receive(buf, func(s Socket) bool { see(s); return true }); err != nil {
			return err
		}
	}
	return nil
}

// Each is Diag.Each of the namespace of this thread.
func Each(states States, port uint16, see func(Socket)) error {
	d, err := Open()
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Each(states, port, see)
}

// request is a struct inet_diag_req_v2.
func request(v4 bool, states States, port uint16) []byte {
	r := make([]byte, requestSize)
	r[0], r[1] = unix.AF_INET6, unix.IPPROTO_TCP
	if v4 {
		r[0] = unix.AF_INET
	}
	binary.NativeEndian.PutUint32(r[4:], uint32(states))
	binary.BigEndian.PutUint16(r[8:], port)
	return r
}

func (d *Diag) send(flags uint16, request []byte) error {
	message := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+requestSize)
	binary.NativeEndian.PutUint32(message, uint32(unix.SizeofNlMsghdr+len(request)))
	binary.NativeEndian.PutUint16(message[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(message[6:], flags)
	return unix.Sendto(d.fd, append(message, request...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// receive reads an answer to its end, or until see has had enough. It overwrites buf.
func (d *Diag) receive(buf []byte, see func(Socket) (more bool)) error {
	for {
		n, _, err := unix.Recvfrom(d.fd, buf, 0)
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
			case m.Header.Type == unix.NLMSG_ERROR || len(m.Data) < replySize:
				return unix.EBADMSG
			case !see(socketOf(m.Data)):
				return nil
			}
		}
	}
}

// socketOf reads a struct inet_diag_msg: family and state, two more bytes, then struct inet_diag_sockid, which is big-endian, and at its end the inode.
func socketOf(m []byte) Socket {
	addr := func(at int) netip.Addr {
		if m[0] == unix.AF_INET {
			return netip.AddrFrom4([4]byte(m[at:]))
		}
		return netip.AddrFrom16([16]byte(m[at:])).Unmap()
	}
	port := func(at int) uint16 { return binary.BigEndian.Uint16(m[at:]) }
	return Socket{
		Ends:  Ends{netip.AddrPortFrom(addr(8), port(4)), netip.AddrPortFrom(addr(24), port(6))},
		State: 1 << m[1],
		Inode: binary.NativeEndian.Uint32(m[replySize-4:]),
	}
}
