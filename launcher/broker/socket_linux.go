package broker

import (
	"net"

	"golang.org/x/sys/unix"
)

// listenSocket opens an abstract socket: it has no permissions that could shut out a process that changed its user or its root, no file
// to leave behind, and is gone with the process. The address is without the leading NUL.
func listenSocket(_, name string) (*net.UnixListener, string, error) {
	name = "mirrord-" + name
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: "@" + name, Net: "unix"})
	return l, name, err
}

// peerCred is SO_PEERCRED. The id is 0 for a process of another pid namespace.
func peerCred(fd int) (peer, bool) {
	c, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || c.Pid == 0 {
		return peer{}, false
	}
	return peer{pid: int(c.Pid), uid: int(c.Uid), gid: int(c.Gid)}, true
}
