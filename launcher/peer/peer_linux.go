package peer

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// ListenAbstract opens an abstract socket of this name (without the leading NUL): it has no permissions that could shut out a process that changed its user or its root,
// no file to leave behind, and is gone with the process.
func ListenAbstract(name string) (*net.UnixListener, error) {
	return net.ListenUnix("unix", &net.UnixAddr{Name: "@" + name, Net: "unix"})
}

// ListenPackets is ListenAbstract for datagrams. The kernel tells who sent each (SO_PASSCRED), which Sender reads.
func ListenPackets(name string) (*net.UnixConn, error) {
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "@" + name, Net: "unixgram"})
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

// Sender reads SCM_CREDENTIALS from the control data of a datagram.
func Sender(control []byte) (Peer, bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return Peer{}, false
	}
	for i := range messages {
		if c, err := unix.ParseUnixCredentials(&messages[i]); err == nil && c.Pid != 0 {
			return Peer{PID: int(c.Pid), UID: int(c.Uid), GID: int(c.Gid)}, true
		}
	}
	return Peer{}, false
}

// credentials are SO_PEERCRED. The id is 0 for a process of another pid namespace.
func credentials(fd int) (Peer, bool) {
	c, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || c.Pid == 0 {
		return Peer{}, false
	}
	return Peer{PID: int(c.Pid), UID: int(c.Uid), GID: int(c.Gid)}, true
}
