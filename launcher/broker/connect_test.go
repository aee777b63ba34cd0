package broker

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/agent/wire"
	"mirrord/launcher/events"
	"mirrord/launcher/sockets"
	"mirrord/layer/frame"
)

var (
	podLocal = netip.MustParseAddrPort("10.1.2.3:33000")
	service  = netip.MustParseAddrPort("10.96.0.7:80")
)

// echoAgent connects to an echo server of the test's own. Addresses of 10.66.0.0/16 are refused, with the errno of their last byte.
func echoAgent(t testing.TB) *fakeAgent {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) // not by splice, whose pipes stay open for a while
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return &fakeAgent{connect: func(r *wire.Request) (links.Conn, *wire.Reply) {
		if a := r.Addr.Addr().As4(); a[1] == 66 {
			return nil, &wire.Reply{Errno: unix.ErrnoName(syscall.Errno(a[3]))}
		}
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return nil, &wire.Reply{Errno: "EIO"}
		}
		return c.(*net.TCPConn), &wire.Reply{Local: podLocal, Remote: r.Addr}
	}}
}

func refusedBy(e unix.Errno) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 66, 0, byte(e)}), 80)
}

// socket is a program's own, made with system calls as the program's would be.
type socket struct {
	t  testing.TB
	fd int
}

func newSocket(t testing.TB, family int, nonblock bool) socket {
	t.Helper()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, nonblock); err != nil {
		t.Fatal(err)
	}
	return socket{t, fd}
}

func (s socket) close() { unix.Close(s.fd) }

// ends are the socket's as the kernel names them.
func (s socket) ends() *frame.EndpointRequest {
	s.t.Helper()
	local, err := unix.Getsockname(s.fd)
	if err != nil {
		s.t.Fatal(err)
	}
	r := &frame.EndpointRequest{Local: sockets.AddrPort(local)}
	if peer, err := unix.Getpeername(s.fd); err == nil {
		r.Peer = sockets.AddrPort(peer)
	}
	return r
}

// wait waits until the socket is connected or has failed, and returns its SO_ERROR.
func (s socket) wait() unix.Errno {
	s.t.Helper()
	fds := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLOUT}}
	for {
		n, err := unix.Poll(fds, 10_000)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			s.t.Fatalf("poll: %d, %v", n, err)
		}
		break
	}
	e, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		s.t.Fatal(err)
	}
	return unix.Errno(e)
}

// conn makes a net.Conn of the socket, which it takes over.
func (s socket) conn() *net.TCPConn {
	s.t.Helper()
	f := os.NewFile(uintptr(s.fd), "")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		s.t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// connect is what the layer does in connect(2): ask, connect, say so. It returns the status, and the kernel's error for the socket.
func (s *session) connect(t testing.TB, p socket, to netip.AddrPort, flags uint8) (int32, error) {
	t.Helper()
	var reply frame.ConnectReply
	status, _ := s.ask(t, frame.Connect, &frame.ConnectRequest{Flags: flags, Addr: to}, &reply)
	if status != frame.StatusOK {
		return status, nil
	}
	err := unix.Connect(p.fd, sockets.Sockaddr(reply.Relay))
	if err == nil || err == unix.EINPROGRESS {
		s.ask(t, frame.Connected, &frame.ConnectedRequest{Attempt: reply.Attempt, Local: p.ends().Local}, nil)
	}
	return status, err
}

// checkEcho sends through a connection, ends its direction, and expects everything back.
func checkEcho(t testing.TB, c *net.TCPConn, size int) {
	t.Helper()
	defer c.Close()
	sent := bytes.Repeat([]byte("ping"), size/4)
	go func() {
		c.Write(sent)
		c.CloseWrite()
	}()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back, %v; want %d", len(got), err, len(sent))
	}
}

func (s *session) checkView(t testing.TB, p socket, want frame.EndpointReply) {
	t.Helper()
	var view frame.EndpointReply
	if status, _ := s.ask(t, frame.Endpoint, p.ends(), &view); status != 0 || view != want {
		t.Errorf("the pod's view: status %d, %v, want %v", status, view, want)
	}
}

func TestConnectBlocking(t *testing.T) {
	s := start(t, echoAgent(t), nil)
	p := newSocket(t, unix.AF_INET, false)
	if status, err := s.connect(t, p, service, 0); status != 0 || err != nil {
		t.Fatalf("status %d, %v", status, err)
	}
	s.checkView(t, p, frame.EndpointReply{Local: podLocal, Peer: service})
	checkEcho(t, p.conn(), 4<<20)
	for _, e := range []unix.Errno{unix.ECONNREFUSED, unix.ETIMEDOUT, unix.EHOSTUNREACH, unix.ENETUNREACH} {
		if status, _ := s.connect(t, p, refusedBy(e), 0); status != int32(e) {
			t.Errorf("status %d, want %d", status, e)
		}
	}
	got := s.emitted(events.Connect)
	if len(got) != 5 || got[0].Address != service.String() || got[0].Errno != "" || got[2].Errno != "ETIMEDOUT" {
		t.Errorf("events %+v", got)
	}
}

func TestConnectIPv6(t *testing.T) {
	s := start(t, echoAgent(t), nil)
	if !s.relays.fixed6.IsValid() {
		t.Skip("needs ::1")
	}
	to := netip.MustParseAddrPort("[fd00::7]:80")
	s.agent.connect = func(connect func(*wire.Request) (links.Conn, *wire.Reply)) func(*wire.Request) (links.Conn, *wire.Reply) {
		return func(r *wire.Request) (links.Conn, *wire.Reply) {
			c, reply := connect(&wire.Request{Addr: service})
			return c, &wire.Reply{Errno: reply.Errno, Local: podLocal, Remote: r.Addr}
		}
	}(s.agent.connect)
	for name, nonblock := range map[string]bool{"blocking": false, "non-blocking": true} {
		p := newSocket(t, unix.AF_INET6, nonblock)
		if err := unix.SetsockoptInt(p.fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			t.Fatal(err)
		}
		ask := frame.ConnectV6Only
		if nonblock {
			ask |= frame.ConnectNonblock
		}
		if status, err := s.connect(t, p, to, ask); status != 0 || err != nil && err != unix.EINPROGRESS {
			t.Fatalf("%s: status %d, %v", name, status, err)
		}
		if e := p.wait(); e != 0 {
			t.Fatalf("%s: %v", name, e)
		}
		s.checkView(t, p, frame.EndpointReply{Local: podLocal, Peer: to})
		checkEcho(t, p.conn(), 1000)
	}
}

// TestConnectDualStack: an IPv6 socket that goes to ::ffff:a.b.c.d is an IPv4 one here and in the pod.
func TestConnectDualStack(t *testing.T) {
	s := start(t, echoAgent(t), nil)
	p := newSocket(t, unix.AF_INET6, false)
	var reply frame.ConnectReply
	to := netip.AddrPortFrom(netip.MustParseAddr("::ffff:10.96.0.7"), 80)
	if status, _ := s.ask(t, frame.Connect, &frame.ConnectRequest{Addr: to}, &reply); status != 0 {
		t.Fatalf("status %d", status)
	}
	mapped := &unix.SockaddrInet6{Addr: reply.Relay.Addr().As16(), Port: int(reply.Relay.Port())}
	if err := unix.Connect(p.fd, mapped); err != nil {
		t.Fatal(err)
	}
	s.ask(t, frame.Connected, &frame.ConnectedRequest{Attempt: reply.Attempt, Local: p.ends().Local}, nil)
	var view frame.EndpointReply
	ends := p.ends()
	asked := &frame.EndpointRequest{ // as the kernel names them
		Local: netip.AddrPortFrom(netip.AddrFrom16(ends.Local.Addr().As16()), ends.Local.Port()),
		Peer:  netip.AddrPortFrom(netip.AddrFrom16(ends.Peer.Addr().As16()), ends.Peer.Port()),
	}
	if status, _ := s.ask(t, frame.Endpoint, asked, &view); status != 0 || view.Peer != service {
		t.Errorf("status %d, %v", status, view)
	}
	checkEcho(t, p.conn(), 1000)
}

// TestConnectEarly is a non-blocking connect where the system has no handshake.
func TestConnectEarly(t *testing.T) {
	s := start(t, echoAgent(t), nil)
	for _, to := range []netip.AddrPort{service, refusedBy(unix.EHOSTUNREACH)} {
		p := newSocket(t, unix.AF_INET, false)
		a := &attempt{port: make(chan uint16, 1), cancel: func() {}}
		s.relays.add(a)
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.finishLater(t.Context(), a, nil, to)
		}()
		if err := unix.Connect(p.fd, sockets.Sockaddr(s.relays.fixed4)); err != nil {
			t.Fatal(err)
		}
		local := p.ends().Local
		s.ask(t, frame.Connected, &frame.ConnectedRequest{Attempt: a.id, Local: local}, nil)
		<-done
		if to == service {
			checkEcho(t, p.conn(), 1000)
			continue
		}
		if _, err := p.conn().Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("read: %v, want a reset", err)
		}
		s.expect(int32(unix.EHOSTUNREACH), frame.SockError, &frame.SockErrorRequest{Local: local})
	}
}

// TestHalves: an attempt without its connection, and a connection without its attempt, are given up.
func TestHalves(t *testing.T) {
	s := start(t, echoAgent(t), nil)
	before := descriptors(t)
	var never, later frame.ConnectReply
	s.ask(t, frame.Connect, &frame.ConnectRequest{Addr: service}, &never)
	s.ask(t, frame.Connect, &frame.ConnectRequest{Addr: service, Flags: frame.ConnectNonblock}, &later)
	s.ask(t, frame.Connected, &frame.ConnectedRequest{Attempt: 4711, Local: netip.AddrPortFrom(sockets.Loopback(false), 1)}, nil)
	for range 2 { // the second shows that the first is over
		var orphan frame.ConnectReply
		s.ask(t, frame.Connect, &frame.ConnectRequest{Addr: service}, &orphan)
		s.ask(t, frame.Connected, &frame.ConnectedRequest{Attempt: orphan.Attempt, Local: netip.AddrPortFrom(sockets.Loopback(false), 1)}, nil)
	}
	c, err := net.Dial("tcp", s.relays.fixed4.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	count := func() (int, int, int) {
		s.relays.mu.Lock()
		defer s.relays.mu.Unlock()
		return len(s.relays.attempts), len(s.relays.waiting), len(s.relays.accepted)
	}
	eventually(t, "all wait", func() bool { a, w, c := count(); return a == 2 && w == 1 && c == 1 })
	s.relays.sweep(time.Now().Add(attemptTime / 2))
	if a, w, c := count(); a != 2 || w != 1 || c != 1 {
		t.Errorf("given up too early: %d, %d, %d", a, w, c)
	}
	s.relays.sweep(time.Now().Add(attemptTime + time.Second))
	if a, w, c := count(); a+w+c != 0 {
		t.Errorf("still there: %d, %d, %d", a, w, c)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is open")
	}
	eventually(t, "the descriptors are closed again", func() bool { return descriptors(t) <= before+1 })
}

// TestCloseHalves: Close gives them up, too.
func TestCloseHalves(t *testing.T) {
	agent := echoAgent(t)
	before := descriptors(t)
	s := start(t, agent, nil)
	s.ask(t, frame.Connect, &frame.ConnectRequest{Addr: service}, new(frame.ConnectReply))
	s.ask(t, frame.Connect, &frame.ConnectRequest{Addr: service, Flags: frame.ConnectNonblock}, new(frame.ConnectReply))
	c, err := net.Dial("tcp", s.relays.fixed4.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	eventually(t, "the connection is accepted", func() bool {
		s.relays.mu.Lock()
		defer s.relays.mu.Unlock()
		return len(s.relays.accepted) == 1
	})
	s.Close()
	s.loseLink()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is open")
	}
	eventually(t, "the descriptors are closed again", func() bool { return descriptors(t) <= before+1 })
}

func TestErrnosAreForgotten(t *testing.T) {
	r := &relays{failed: map[meeting]failedConnect{}}
	for port := range maxErrnos + 10 {
		r.fail(meeting{port: uint16(port + 1)}, unix.ETIMEDOUT)
	}
	if len(r.failed) != maxErrnos {
		t.Errorf("%d remembered", len(r.failed))
	}
	r.sweep(time.Now().Add(errnoTime + time.Second))
	if len(r.failed) != 0 {
		t.Errorf("%d remembered for ever", len(r.failed))
	}
}

// TestAbort: a reset of either end is one of the other.
func TestAbort(t *testing.T) {
	remote := make(chan *net.TCPConn, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := start(t, &fakeAgent{connect: func(r *wire.Request) (links.Conn, *wire.Reply) {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return nil, &wire.Reply{Errno: "EIO"}
		}
		far, err := l.Accept()
		if err != nil {
			return nil, &wire.Reply{Errno: "EIO"}
		}
		remote <- far.(*net.TCPConn)
		return c.(*net.TCPConn), &wire.Reply{Local: podLocal, Remote: r.Addr}
	}}, nil)
	for _, name := range []string{"program", "remote"} {
		p := newSocket(t, unix.AF_INET, false)
		if status, err := s.connect(t, p, service, 0); status != 0 || err != nil {
			t.Fatalf("status %d, %v", status, err)
		}
		near, far := p.conn(), <-remote
		aborts, sees := near, far
		if name == "remote" {
			aborts, sees = far, near
		}
		aborts.Write([]byte("x"))
		if _, err := io.ReadFull(sees, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		aborts.SetLinger(0)
		aborts.Close()
		if _, err := sees.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("%s aborts: the other reads %v, want a reset", name, err)
		}
		sees.Close()
	}
}

func TestConnectLocal(t *testing.T) {
	local := func(s *session, to string) (int32, frame.ConnectReply) {
		var reply frame.ConnectReply
		status, _ := s.ask(t, frame.Connect, &frame.ConnectRequest{Addr: netip.MustParseAddrPort(to)}, &reply)
		return status, reply
	}
	s := start(t, echoAgent(t), func(o *Options) {
		o.Config.Feature.Network.Outgoing.IgnoreLocalhost = true
		o.Config.Feature.Network.Outgoing.Filter.Local = rules(t, "10.96.0.9", "db.internal:5432")
	})
	s.names.add(netip.MustParseAddr("10.96.0.10"), "db.internal")
	for to, want := range map[string]int32{
		"127.0.0.1:80": frame.StatusLocal, "[::1]:80": frame.StatusLocal, "0.0.0.0:80": frame.StatusLocal, "10.96.0.9:80": frame.StatusLocal,
		"10.96.0.10:5432": frame.StatusLocal, "10.96.0.7:0": frame.StatusLocal, "10.96.0.10:80": frame.StatusOK,
	} {
		if status, reply := local(s, to); status != want || status == frame.StatusLocal && reply.Relay.IsValid() {
			t.Errorf("%s: status %d, %v, want %d", to, status, reply.Relay, want)
		}
	}
	s = start(t, echoAgent(t), func(o *Options) { o.Config.Feature.Network.Outgoing.TCP = false })
	if status, _ := local(s, "10.96.0.7:80"); status != frame.StatusLocal {
		t.Errorf("outgoing off: status %d", status)
	}
}

func TestConnectLinkLost(t *testing.T) {
	s := start(t, echoAgent(t), nil)
	p := newSocket(t, unix.AF_INET, false)
	if status, err := s.connect(t, p, service, 0); status != 0 || err != nil {
		t.Fatalf("status %d, %v", status, err)
	}
	s.checkView(t, p, frame.EndpointReply{Local: podLocal, Peer: service})
	s.loseLink()
	c := p.conn()
	defer c.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("a connection of a lost link reads %v, want a reset", err)
	}
	s.expect(int32(unix.ENETUNREACH), frame.Connect, &frame.ConnectRequest{Addr: service})
}

func TestEndpointUnknown(t *testing.T) {
	s := start(t, &fakeAgent{}, nil)
	s.expect(frame.StatusLocal, frame.Endpoint, &frame.EndpointRequest{Local: podLocal, Peer: s.relays.fixed4})
	s.expect(frame.StatusLocal, frame.Endpoint, &frame.EndpointRequest{Local: podLocal})
}

// TestEndpointBeforeConnected: the layer's one-way message may be overtaken by its next request.
func TestEndpointBeforeConnected(t *testing.T) {
	s := start(t, echoAgent(t), nil)
	p := newSocket(t, unix.AF_INET, false)
	var reply frame.ConnectReply
	s.ask(t, frame.Connect, &frame.ConnectRequest{Addr: service}, &reply)
	if err := unix.Connect(p.fd, sockets.Sockaddr(reply.Relay)); err != nil {
		t.Fatal(err)
	}
	answered := make(chan frame.EndpointReply)
	at := p.ends()
	key := sockets.Ends{Local: at.Local, Peer: at.Peer}
	go func() {
		view, _ := s.relays.view(t.Context(), key)
		answered <- view
	}()
	s.ask(t, frame.Connected, &frame.ConnectedRequest{Attempt: reply.Attempt, Local: key.Local}, nil)
	if view := <-answered; view.Peer != service {
		t.Errorf("view %v", view)
	}
	p.close()
}
