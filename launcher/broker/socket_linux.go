package broker

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// listenAbstract opens an abstract socket: it has no permissions that could shut out a process that changed its user or its root, no file
// to leave behind, and is gone with the process. The address is without the leading NUL.
func listenAbstract(name string) (*net.UnixListener, string, error) {
	name = "mirrord-" + name
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: "@" + name, Net: "unix"})
	return l, name, err
}

// listenNotes opens the socket for datagrams beside the one at address. The kernel tells who sent each (SO_PASSCRED).
func listenNotes(address string) (*net.UnixConn, error) {
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "@" + address + notesSuffix, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	raw, err := c.SyscallConn()
	if err == nil {
		var set error
		err = raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
		err = errors.Join(err, set)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// senderOf reads SCM_CREDENTIALS from the control data of a datagram.
func senderOf(control []byte) (peer, bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return peer{}, false
	}
	for i := range messages {
		if c, err := unix.ParseUnixCredentials(&messages[i]); err == nil && c.Pid != 0 {
			return peer{pid: int(c.Pid), uid: int(c.Uid), gid: int(c.Gid)}, true
		}
	}
	return peer{}, false
}

// peerCred is SO_PEERCRED. The id is 0 for a process of another pid namespace.
func peerCred(fd int) (peer, bool) {
	c, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || c.Pid == 0 {
		return peer{}, false
	}
	return peer{pid: int(c.Pid), uid: int(c.Uid), gid: int(c.Gid)}, true
}
