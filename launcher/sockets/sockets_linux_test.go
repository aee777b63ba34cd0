package sockets

import (
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/sockdiag"
)

// dial connects to a listener that does not accept yet, and waits until the connection is in its queue.
func dial(t *testing.T, d *sockdiag.Diag, l *net.TCPListener) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	tcp := c.(*net.TCPConn)
	for {
		waits, err := Waits(d, EndsOf(tcp))
		if err != nil && !errors.Is(err, unix.ENOENT) {
			t.Fatal(err)
		}
		if waits {
			return tcp
		}
	}
}

func openDiag(t *testing.T) *sockdiag.Diag {
	t.Helper()
	d, err := sockdiag.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestWaits(t *testing.T) {
	d := openDiag(t)
	for _, at := range []string{"127.0.0.1:0", "[::1]:0", "[::]:0"} {
		l, _ := listen(t, at)
		c := dial(t, d, l)
		near, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if waits, err := Waits(d, EndsOf(c)); waits || err != nil {
			t.Errorf("%s: accepted, and waits %v, %v", at, waits, err)
		}
		c.SetLinger(0)
		ends := EndsOf(c)
		c.Close()
		near.Close()
		if _, err := Waits(d, ends); err != unix.ENOENT {
			t.Errorf("%s: reset, and %v", at, err)
		}
	}
}

// TestAccepted: what a listener leaves in its queue was not accepted, though another listens in its place.
func TestAccepted(t *testing.T) {
	d := openDiag(t)
	for name, then := range map[string]struct {
		do   func(t *testing.T, l *net.TCPListener)
		want bool
	}{
		"accepts": {func(_ *testing.T, l *net.TCPListener) { l.Accept() }, true},
		"closes":  {func(_ *testing.T, l *net.TCPListener) { l.Close() }, false},
		"listens again": {func(t *testing.T, l *net.TCPListener) {
			l.Close()
			listen(t, l.Addr().String())
		}, false},
		"is slow": {func(*testing.T, *net.TCPListener) {}, true},
	} {
		t.Run(name, func(t *testing.T) {
			l, s := listen(t, "127.0.0.1:0")
			before := s.Inodes()
			if len(before) != 1 {
				t.Fatalf("%d sockets listen", len(before))
			}
			c := dial(t, d, l)
			then.do(t, l)
			limit := time.Minute
			if name == "is slow" {
				limit = 0
			}
			if got := Accepted(t.Context(), c, s, before, limit); got != then.want {
				t.Errorf("accepted: %v", got)
			}
		})
	}
}

// connecting is a socket whose connect is in progress, and its port.
func connecting(t *testing.T, h *Handshake) (int, uint16) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Connect(fd, Sockaddr(h.Addr)); err != unix.EINPROGRESS {
		t.Fatalf("connect: %v", err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, AddrPort(at).Port()
}

// outcome waits for the end of a connect.
func outcome(t *testing.T, fd int) unix.Errno {
	t.Helper()
	if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1); err != nil {
		t.Fatal(err)
	}
	e, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		t.Fatal(err)
	}
	return unix.Errno(e)
}

func TestHandshake(t *testing.T) {
	network := LoopbackNetwork()
	for name, establish := range map[string]bool{"established": true, "refused": false} {
		t.Run(name, func(t *testing.T) {
			h, err := NewHandshake(network.Addr().Next())
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			fd, port := connecting(t, h)
			if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 0); n != 0 || err != nil {
				t.Fatalf("it is not in progress: %d, %v", n, err)
			}
			want := unix.ECONNREFUSED
			if establish {
				want = 0
				c, err := h.Establish(port)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if ends := EndsOf(c); ends.Peer != h.Addr || ends.Local.Port() != port {
					t.Errorf("%+v", ends)
				}
			}
			h.Close()
			if e := outcome(t, fd); e != want {
				t.Errorf("connect: %v, want %v", e, want)
			}
		})
	}
}

func TestUDP(t *testing.T) {
	near, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	at := near.LocalAddr().(*net.UDPAddr).AddrPort()
	far, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	if peers, ok := UDPPeers(); !ok {
		t.Error("the system does not tell")
	} else if _, ok := peers[at]; !ok {
		t.Errorf("%v is no peer of %v", at, peers)
	}
	if !OwnsUDP(at.Port()) {
		t.Error("the socket is not ours")
	}
	near.Close()
	if OwnsUDP(at.Port()) {
		t.Error("the socket is closed, and ours")
	}
}
