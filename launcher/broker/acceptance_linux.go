package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How often the kernel is asked whether a program has accepted a connection: most do at once.
const (
	firstLook = 50 * time.Microsecond
	rareLook  = 100 * time.Millisecond
)

// accepted waits until a program has accepted a connection that waits in its listener's queue, and for acceptTime at most: a program that stands in a debugger
// is still the one that is meant. False: the listener has ended with the connection in its queue, so that nobody has read anything of it.
func accepted(ctx context.Context, key ends, s boundSock) bool {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	ctx, cancel := context.WithTimeout(ctx, acceptTime)
	defer cancel()
	for wait := firstLook; ; wait = min(2*wait, rareLook) {
		switch waiting, err := queued(fd, key); {
		case errors.Is(err, unix.ENOENT):
			// A program may also accept a connection and reset it.
			return s.listening()
		case err != nil, !waiting:
			return true
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return true
		}
	}
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
