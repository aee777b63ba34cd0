package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How often the kernel is asked whether a program has accepted a connection: most do at once.
const (
	firstLook = 50 * time.Microsecond
	rareLook  = 100 * time.Millisecond
)

// accepted waits until a program has accepted the connection c that waits in the queue of its listener s, and for acceptTime at most: a program that stands in a
// debugger is still the one that is meant. False: the listener has ended with the connection in its queue, so that nobody has read anything of it. before are the sockets
// that listened there when it came: a program may listen again at once.
func accepted(ctx context.Context, c *net.TCPConn, s boundSock, before []uint32) bool {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	defer context.AfterFunc(ctx, func() { c.Close() })()
	late := time.Now().Add(acceptTime)
	for wait := firstLook; ; wait = min(2*wait, rareLook) {
		switch waiting, err := queued(fd, endsOf(c)); {
		case errors.Is(err, unix.ENOENT):
			// A program may also accept a connection and reset it.
			if len(before) == 0 {
				return s.listening()
			}
			now := s.sockets()
			return !slices.ContainsFunc(before, func(inode uint32) bool { return !slices.Contains(now, inode) })
		case err != nil, !waiting, time.Now().After(late):
			return true
		}
		await(c, wait)
	}
}

// await waits until there is something to read from c, if only its end: a program that answers has accepted.
func await(c *net.TCPConn, limit time.Duration) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	c.SetReadDeadline(time.Now().Add(limit))
	defer c.SetReadDeadline(time.Time{})
	raw.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 || err != nil && err != unix.EINTR
	})
}

// queued asks the kernel (sock_diag(7)) for the program's end of a connection: one that was not accepted yet has no inode. ENOENT: there is no such connection.
func queued(fd int, key ends) (bool, error) {
	local, peer := key.local, key.peer
	request := make([]byte, unix.NLMSG_HDRLEN+diagRequestSize)
	binary.NativeEndian.PutUint32(request, uint32(len(request)))
	binary.NativeEndian.PutUint16(request[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST)
	r := request[unix.NLMSG_HDRLEN:]
	r[0], r[1] = unix.AF_INET6, unix.IPPROTO_TCP
	if local.Addr().Is4() {
		r[0] = unix.AF_INET
	}
	binary.NativeEndian.PutUint32(r[4:], ^uint32(0)) // any state
	binary.BigEndian.PutUint16(r[8:], local.Port())
	binary.BigEndian.PutUint16(r[10:], peer.Port())
	copy(r[12:28], local.Addr().AsSlice())
	copy(r[28:44], peer.Addr().AsSlice())
	binary.NativeEndian.PutUint64(r[48:], ^uint64(0)) // INET_DIAG_NOCOOKIE
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return false, err
	}
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return false, err
	}
	messages, err := syscall.ParseNetlinkMessage(buf[:n])
	if err != nil || len(messages) == 0 {
		return false, unix.EIO
	}
	data := messages[0].Data
	switch {
	case messages[0].Header.Type == unix.NLMSG_ERROR && len(data) >= 4:
		return false, unix.Errno(-int32(binary.NativeEndian.Uint32(data)))
	case len(data) < diagReplySize:
		return false, unix.EIO
	}
	const tcpEstablished, state, inode = 1, 1, 68 // offsets in struct inet_diag_msg
	return data[state] == tcpEstablished && binary.NativeEndian.Uint32(data[inode:]) == 0, nil
}
