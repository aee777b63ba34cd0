package sockets

import (
	"context"
	"errors"
	"net"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/sockdiag"
)

// How often the kernel is asked whether a program has accepted a connection: most do at once.
const (
	firstLook = 50 * time.Microsecond
	rareLook  = 100 * time.Millisecond
)

// Accepted waits until a program has accepted the connection c that waits in the queue of its listener l, and until limit at most: a program that stands in a
// debugger is still the one that is meant. False: the listener has ended with the connection in its queue, so that nobody has read anything of it. before are the inodes
// that listened there when it came: a program may listen again at once. The end of ctx closes c.
func Accepted(ctx context.Context, c *net.TCPConn, l Listener, before []uint32, limit time.Duration) bool {
	d, err := sockdiag.Open()
	if err != nil {
		return true
	}
	defer d.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	late := time.Now().Add(limit)
	for wait := firstLook; ; wait = min(2*wait, rareLook) {
		switch waits, err := Waits(d, EndsOf(c)); {
		case errors.Is(err, unix.ENOENT):
			// A program may also accept a connection and reset it.
			if len(before) == 0 {
				return l.Open()
			}
			now := l.Inodes()
			return !slices.ContainsFunc(before, func(inode uint32) bool { return !slices.Contains(now, inode) })
		case err != nil, !waits, time.Now().After(late):
			return true
		}
		untilReadable(c, wait)
	}
}

// untilReadable waits until there is something to read from c, if only its end: a program that answers has accepted.
func untilReadable(c *net.TCPConn, limit time.Duration) {
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

// Waits says whether a connection waits in a listener's queue: before it is accepted no process has its socket. ENOENT: there is no such connection.
func Waits(d *sockdiag.Diag, c Ends) (bool, error) {
	s, err := d.Find(sockdiag.Ends{Local: c.Local, Remote: c.Peer})
	return s.State&(sockdiag.Established|sockdiag.CloseWait) != 0 && s.Inode == 0, err
}
