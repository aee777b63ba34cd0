package peer

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// ListenAbstract, ListenPackets and Sender are of Linux.
func ListenAbstract(string) (*net.UnixListener, error) { return nil, errors.ErrUnsupported }
func ListenPackets(string) (*net.UnixConn, error)      { return nil, errors.ErrUnsupported }
func Sender([]byte) (Peer, bool)                       { return Peer{}, false }

// credentials are LOCAL_PEERPID and LOCAL_PEERCRED (xnu bsd/sys/un.h).
func credentials(fd int) (Peer, bool) {
	pid, err := unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	if err != nil || pid <= 0 {
		return Peer{}, false
	}
	c, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil || c.Ngroups < 1 {
		return Peer{}, false
	}
	return Peer{PID: pid, UID: int(c.Uid), GID: int(c.Groups[0])}, true
}
