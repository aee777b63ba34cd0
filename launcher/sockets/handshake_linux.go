package sockets

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Handshake holds the socket of a non-blocking connect in SYN_SENT until the other side has answered. The program connects to Addr, where a listener's
// queue is full: it holds the filler, a connection of ours. So the kernel drops the program's SYN and the socket stays in progress. To
// succeed, we connect from Addr to the program's socket: both have sent a SYN, which TCP calls a simultaneous open. To fail, Close
// closes the listener, and the program's next SYN, at most a second later, is refused.
type Handshake struct {
	Addr             netip.AddrPort
	listener, filler int
}

// Time limits of system calls that on loopback do not wait: for our own connections, and for a SYN of the program to be repeated (Linux
// does after 1, 3 and 7 seconds).
const (
	loopbackTime = 2 * time.Second
	repeatTime   = 8 * time.Second
)

// NewHandshake opens a handshake on a free port of ip.
func NewHandshake(ip netip.Addr) (*Handshake, error) {
	h := &Handshake{listener: -1, filler: -1}
	err := h.open(ip)
	for range 3 { // another socket may have been bound to the port and listened first
		if err != unix.EADDRINUSE {
			break
		}
		h.Close()
		err = h.open(ip)
	}
	if err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

func (h *Handshake) open(ip netip.Addr) (err error) {
	if h.listener, err = boundSocket(netip.AddrPortFrom(ip, 0)); err != nil {
		return err
	}
	if err := unix.Listen(h.listener, 0); err != nil { // a queue of one
		return err
	}
	at, err := unix.Getsockname(h.listener)
	if err != nil {
		return err
	}
	h.Addr = AddrPort(at)
	if h.filler, err = tcpSocket(ip); err != nil {
		return err
	}
	if err := connect(h.filler, at); err != nil {
		return err
	}
	// Connected is not yet queued: only then is the next SYN dropped.
	return await(h.listener, unix.POLLIN)
}

// connect is connect(2). With a time limit a signal ends that, and the Go runtime sends itself some; the connection goes on being made.
func connect(fd int, to unix.Sockaddr) error {
	err := unix.Connect(fd, to)
	if err != unix.EINTR {
		return err
	}
	if err := await(fd, unix.POLLOUT); err != nil {
		return err
	}
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	return err
}

// await waits for loopbackTime at most.
func await(fd int, events int16) error {
	ready := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		n, err := unix.Poll(ready, int(loopbackTime.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = unix.ETIMEDOUT
		}
		return err
	}
}

// Establish completes the connect of the program's socket with this local port. The handshake must still be closed.
func (h *Handshake) Establish(port uint16) (*net.TCPConn, error) {
	// SO_REUSEPORT lets it be bound beside the listener, so that at no time a repeated SYN finds the port closed.
	fd, err := boundSocket(h.Addr)
	if err != nil {
		return nil, err
	}
	err = connect(fd, Sockaddr(netip.AddrPortFrom(Loopback(h.Addr.Addr().Is6()), port)))
	if err == unix.ECONNREFUSED {
		unix.Close(fd)
		return h.accept(port)
	}
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	if err != nil {
		return nil, err
	}
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// accept waits for the program's SYN to be repeated: it is not where it was looked for, because its socket is bound to another address than loopback's
// (or is closed).
func (h *Handshake) accept(port uint16) (*net.TCPConn, error) {
	f := os.NewFile(uintptr(h.listener), "")
	h.listener = -1
	any, err := net.FileListener(f)
	f.Close()
	if err != nil {
		return nil, err
	}
	l := any.(*net.TCPListener)
	defer l.Close()
	l.SetDeadline(time.Now().Add(repeatTime))
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			return nil, err
		}
		if AddrOf(c.RemoteAddr()).Port() == port {
			return c, nil
		}
		c.Close() // the filler
	}
}

// Close ends the handshake; a socket that is still in progress will be refused. It is safe to call twice.
func (h *Handshake) Close() {
	for _, fd := range []*int{&h.listener, &h.filler} { // in this order the filler is reset and leaves no TIME_WAIT
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
}

// tcpSocket makes a blocking socket whose connect waits at most loopbackTime.
func tcpSocket(ip netip.Addr) (int, error) {
	family := unix.AF_INET
	if ip.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	limit := unix.NsecToTimeval(loopbackTime.Nanoseconds())
	return fd, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit)
}

// boundSocket is a tcpSocket bound to at, beside others of its kind.
func boundSocket(at netip.AddrPort) (int, error) {
	fd, err := tcpSocket(at.Addr())
	if err != nil {
		return -1, err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
	)
	if err == nil {
		err = unix.Bind(fd, Sockaddr(at))
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// LoopbackNetwork is a random /24 of 127.0.0.0/8, all of which is this host's. It keeps away from the first addresses, where services live.
func LoopbackNetwork() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{127, byte(80 + rand.IntN(170)), byte(rand.IntN(256)), 0}), 24)
}
