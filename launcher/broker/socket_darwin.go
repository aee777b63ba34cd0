package broker

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// listenAbstract and what belongs to it are of Linux.
func listenAbstract(string) (*net.UnixListener, string, error) { return nil, "", errors.ErrUnsupported }
func listenNotes(string) (*net.UnixConn, error)                { return nil, errors.ErrUnsupported }
func senderOf([]byte) (peer, bool)                             { return peer{}, false }

// peerCred is LOCAL_PEERPID and LOCAL_PEERCRED (xnu bsd/sys/un.h).
func peerCred(fd int) (peer, bool) {
	pid, err := unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	if err != nil || pid <= 0 {
		return peer{}, false
	}
	c, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil || c.Ngroups < 1 {
		return peer{}, false
	}
	return peer{pid: pid, uid: int(c.Uid), gid: int(c.Groups[0])}, true
}
