package broker

import (
	"errors"
	"net"
	"net/netip"
	"strings"
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
	statsd = netip.MustParseAddrPort("10.96.0.7:8125")
	server = netip.MustParseAddrPort("10.96.0.10:53")
)

// echoFlows echoes datagrams; "refuse" is refused in place of an echo. Addresses of 10.66.0.0/16 fail, with the errno of their last byte.
func echoFlows(r *wire.Request, s *links.Stream) {
	if a := r.Addr.Addr(); a.Is4() && a.As4()[1] == 66 {
		wire.WriteHeader(s, &wire.Reply{Errno: unix.ErrnoName(syscall.Errno(a.As4()[3]))})
		return
	}
	wire.WriteHeader(s, &wire.Reply{Local: podLocal, Remote: r.Addr})
	for {
		d, err := wire.ReadDatagram(s)
		if err != nil {
			return
		}
		if string(d.Payload()) == "refuse" {
			wire.WriteRefusal(s)
		} else {
			d.Write(s)
		}
		d.Release()
	}
}

// newUDP is a program's socket.
func newUDP(t testing.TB, family int) socket {
	t.Helper()
	fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.CloseOnExec(fd)
	limit := unix.NsecToTimeval((10 * time.Second).Nanoseconds())
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	s := socket{t, fd}
	t.Cleanup(s.close)
	return s
}

// connectUDP is what the layer does.
func (s *session) connectUDP(t testing.TB, p socket, to netip.AddrPort, flags uint8) int32 {
	t.Helper()
	var reply frame.ConnectReply
	status, _ := s.ask(t, frame.Connect, &frame.ConnectRequest{Flags: flags | frame.ConnectDatagram, Addr: to}, &reply)
	if status != frame.StatusOK {
		return status
	}
	if err := unix.Connect(p.fd, sockets.Sockaddr(reply.Relay)); err != nil {
		t.Fatal(err)
	}
	s.ask(t, frame.Connected, &frame.ConnectedRequest{Attempt: reply.Attempt, Local: p.ends().Local}, nil)
	return status
}

func (p socket) send(text string) error { return unix.Sendto(p.fd, []byte(text), 0, nil) }

// receiveFrom is recvfrom(2), which begins anew after a signal only where there is no time limit.
func receiveFrom(fd int, buf []byte) (n int, from unix.Sockaddr, err error) {
	for {
		if n, from, err = unix.Recvfrom(fd, buf, 0); err != unix.EINTR {
			return n, from, err
		}
	}
}

func (p socket) receive() string {
	p.t.Helper()
	buf := make([]byte, 1<<16)
	n, _, err := receiveFrom(p.fd, buf)
	if err != nil {
		return err.Error()
	}
	return string(buf[:n])
}

func (p socket) checkEcho(text string) {
	p.t.Helper()
	if err := p.send(text); err != nil {
		p.t.Errorf("send: %v", err)
	}
	if got := p.receive(); got != text {
		p.t.Errorf("%.20q came back as %.20q", text, got)
	}
}

func (s *session) flowCount() int {
	s.flows.mu.Lock()
	defer s.flows.mu.Unlock()
	return len(s.flows.byOutlet)
}

func TestDatagrams(t *testing.T) {
	s := start(t, &fakeAgent{carry: echoFlows}, nil)
	p := newUDP(t, unix.AF_INET)
	if status := s.connectUDP(t, p, statsd, 0); status != 0 {
		t.Fatalf("status %d", status)
	}
	s.checkView(t, p, frame.EndpointReply{Local: podLocal, Peer: statsd})
	for _, text := range []string{"hi", "", strings.Repeat("x", wire.MaxDatagram)} {
		p.checkEcho(text)
	}
	// Somebody else on this machine is not heard.
	stranger := newUDP(t, unix.AF_INET)
	if err := unix.Connect(stranger.fd, sockets.Sockaddr(p.ends().Peer)); err != nil {
		t.Fatal(err)
	}
	stranger.send("garbage")
	p.checkEcho("after the garbage")
	// The pod's errno, where a UDP socket could have one.
	if status := s.connectUDP(t, newUDP(t, unix.AF_INET), refusedBy(unix.ENETUNREACH), 0); status != int32(unix.ENETUNREACH) {
		t.Errorf("status %d", status)
	}
	got := s.emitted(events.Connect)
	if len(got) != 2 || got[0].Protocol != "udp" || got[0].Address != statsd.String() || got[1].Errno != "ENETUNREACH" {
		t.Errorf("events %+v", got)
	}
}

// refusals: a datagram that the pod refuses is an error of a later one, and the socket goes on to work.
func TestDatagramsRefused(t *testing.T) {
	s := start(t, &fakeAgent{carry: echoFlows}, nil)
	p := newUDP(t, unix.AF_INET)
	s.connectUDP(t, p, statsd, 0)
	p.send("refuse")
	s.flows.mu.Lock()
	out := s.flows.byOutlet[p.ends().Peer].outlet
	s.flows.mu.Unlock()
	eventually(t, "the outlet is shut", func() bool {
		out.mu.Lock()
		defer out.mu.Unlock()
		return out.conn == nil
	})
	refused := func() bool { return p.send("again") == unix.ECONNREFUSED }
	if p.send("again"); !refused() {
		t.Error("the second datagram was not refused")
	}
	out.mu.Lock()
	out.unshut()
	out.mu.Unlock()
	p.checkEcho("later")

	// An address that nobody has: connect succeeds, as for UDP it does.
	p = newUDP(t, unix.AF_INET)
	if status := s.connectUDP(t, p, refusedBy(unix.ECONNREFUSED), 0); status != 0 {
		t.Fatalf("status %d", status)
	}
	eventually(t, "a datagram is refused", refused)
}

// Non-blocking: the answer comes before the pod's, and what is sent meanwhile is sent on.
func TestDatagramsEarly(t *testing.T) {
	release := make(chan struct{})
	s := start(t, &fakeAgent{carry: func(r *wire.Request, s *links.Stream) {
		<-release
		echoFlows(r, s)
	}}, nil)
	p := newUDP(t, unix.AF_INET)
	if status := s.connectUDP(t, p, statsd, frame.ConnectNonblock); status != 0 {
		t.Fatalf("status %d", status)
	}
	for range 3 {
		p.send("early")
	}
	close(release)
	for range 3 {
		if got := p.receive(); got != "early" {
			t.Errorf("%q", got)
		}
	}
	s.checkView(t, p, frame.EndpointReply{Local: podLocal, Peer: statsd})
}

func TestDatagramsIPv6(t *testing.T) {
	s := start(t, &fakeAgent{carry: echoFlows}, nil)
	if !s.relays.fixed6.IsValid() {
		t.Skip("needs ::1")
	}
	p := newUDP(t, unix.AF_INET6)
	unix.SetsockoptInt(p.fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	to := netip.MustParseAddrPort("[fd00::7]:8125")
	if status := s.connectUDP(t, p, to, frame.ConnectV6Only); status != 0 {
		t.Fatalf("status %d", status)
	}
	s.checkView(t, p, frame.EndpointReply{Local: podLocal, Peer: to})
	p.checkEcho("hi")
}

// A flow ends when its program has closed the socket or connected it elsewhere, and is kept while it has not.
func TestDatagramsClosed(t *testing.T) {
	if _, known := sockets.UDPPeers(); !known {
		t.Skip("this system does not tell")
	}
	s := start(t, &fakeAgent{carry: echoFlows}, nil)
	before := descriptors(t)
	kept, moved, gone := newUDP(t, unix.AF_INET), newUDP(t, unix.AF_INET), newUDP(t, unix.AF_INET)
	for _, p := range []socket{kept, moved, gone} {
		s.connectUDP(t, p, statsd, 0)
		p.checkEcho("hi")
	}
	var never frame.ConnectReply
	s.ask(t, frame.Connect, &frame.ConnectRequest{Flags: frame.ConnectDatagram, Addr: statsd}, &never)
	s.flows.sweep(time.Now())
	if n := s.flowCount(); n != 4 {
		t.Errorf("%d flows, want 4", n)
	}
	s.connectUDP(t, moved, server, 0)
	moved.checkEcho("elsewhere")
	unix.Shutdown(gone.fd, unix.SHUT_RDWR)
	unix.Close(gone.fd)
	s.flows.sweep(time.Now())
	if n := s.flowCount(); n != 3 {
		t.Errorf("%d flows, want 3: kept, moved, and one that may yet be connected", n)
	}
	s.flows.sweep(time.Now().Add(attemptTime + time.Second))
	if n := s.flowCount(); n != 2 {
		t.Errorf("%d flows, want 2", n)
	}
	kept.checkEcho("still")
	moved.checkEcho("still")
	gone, _ = newUDP(t, unix.AF_INET), never // the test closes the number again
	eventually(t, "the descriptors are closed again", func() bool { return descriptors(t) <= before+3+2 })
}

// The number of flows is bounded, and sockets that are closed make room for new ones.
func TestDatagramsMany(t *testing.T) {
	if _, known := sockets.UDPPeers(); !known {
		t.Skip("this system does not tell")
	}
	s := start(t, &fakeAgent{carry: echoFlows}, func(o *Options) { o.Emit = func(events.Event) {} })
	kept := newUDP(t, unix.AF_INET)
	s.connectUDP(t, kept, statsd, 0)
	for range maxFlows + 200 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		p := socket{t, fd}
		if status := s.connectUDP(t, p, statsd, 0); status != 0 {
			t.Fatalf("status %d", status)
		}
		p.close()
	}
	if n := s.flowCount(); n > maxFlows {
		t.Errorf("%d flows", n)
	}
	kept.checkEcho("still")
}

func TestDatagramsLinkLost(t *testing.T) {
	s := start(t, &fakeAgent{carry: echoFlows}, nil)
	p := newUDP(t, unix.AF_INET)
	s.connectUDP(t, p, statsd, 0)
	p.checkEcho("hi")
	s.loseLink()
	eventually(t, "a datagram is refused", func() bool { return p.send("lost") == unix.ECONNREFUSED })
	s.checkView(t, p, frame.EndpointReply{Local: podLocal, Peer: statsd})
	s.expect(int32(unix.ENETUNREACH), frame.Connect, &frame.ConnectRequest{Flags: frame.ConnectDatagram, Addr: statsd})
}

// What a program sends just before it ends is sent on.
func TestDatagramsDrain(t *testing.T) {
	var mu sync.Mutex
	var got []string
	release := make(chan struct{})
	s := start(t, &fakeAgent{carry: func(r *wire.Request, s *links.Stream) {
		<-release
		wire.WriteHeader(s, &wire.Reply{Local: podLocal, Remote: r.Addr})
		for {
			d, err := wire.ReadDatagram(s)
			if err != nil {
				return
			}
			mu.Lock()
			got = append(got, string(d.Payload()))
			mu.Unlock()
			d.Release()
		}
	}}, nil)
	p := newUDP(t, unix.AF_INET)
	s.connectUDP(t, p, statsd, frame.ConnectNonblock)
	p.send("last")
	p.send("words")
	unix.Shutdown(p.fd, unix.SHUT_RDWR)
	time.AfterFunc(time.Millisecond, func() { close(release) })
	s.Drain(10 * time.Second)
	mu.Lock()
	defer mu.Unlock()
	if strings.Join(got, " ") != "last words" {
		t.Errorf("%q", got)
	}
}

func TestDatagramsLocal(t *testing.T) {
	s := start(t, &fakeAgent{carry: echoFlows}, func(o *Options) {
		o.Config.Feature.Network.Outgoing.Filter.Local = rules(t, "udp://10.96.0.7:8125", "tcp://10.96.0.8:8125", "10.96.0.0/24:53")
	})
	own := newUDP(t, unix.AF_INET)
	unix.Bind(own.fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	local := func(to string) bool {
		t.Helper()
		var reply frame.ConnectReply
		status, _ := s.ask(t, frame.Connect, &frame.ConnectRequest{Flags: frame.ConnectDatagram, Addr: netip.MustParseAddrPort(to)}, &reply)
		return status == frame.StatusLocal
	}
	for to, want := range map[string]bool{
		"10.96.0.7:8125": true, "10.96.0.8:8125": false, "10.96.0.10:53": true, "127.0.0.53:53": false, "127.0.0.1:8125": false,
		own.ends().Local.String(): true,
	} {
		if got := local(to); got != want {
			t.Errorf("%s: local %v", to, got)
		}
	}
	s = start(t, &fakeAgent{carry: echoFlows}, func(o *Options) { o.Config.Feature.Network.Outgoing.UDP = false })
	if !local(statsd.String()) || local("10.96.0.10:53") {
		t.Error("outgoing.udp off")
	}
	s = start(t, &fakeAgent{carry: echoFlows}, func(o *Options) { o.Config.Feature.Network.DNS.Enabled = false })
	if local(statsd.String()) || !local("10.96.0.10:53") {
		t.Error("names off")
	}
	s = start(t, &fakeAgent{carry: echoFlows}, func(o *Options) {
		o.Config.Feature.Network.Outgoing.IgnoreLocalhost = true
		o.Config.Feature.Network.Outgoing.Filter.Remote = rules(t, "10.96.0.7:80")
	})
	if !local("127.0.0.1:8125") || !local(statsd.String()) || local("127.0.0.53:53") {
		t.Error("loopback ignored, and a filter")
	}
}

// An unconnected socket's datagrams to a name server: every sender has its own answers.
func TestExchange(t *testing.T) {
	s := start(t, &fakeAgent{carry: echoFlows}, nil)
	ask := &frame.ConnectRequest{Flags: frame.ConnectDatagram | frame.ConnectNever, Addr: server}
	var at, again frame.ConnectReply
	if status, _ := s.ask(t, frame.Connect, ask, &at); status != 0 || at.Attempt != 0 {
		t.Fatalf("status %d, %+v", status, at)
	}
	if s.ask(t, frame.Connect, ask, &again); again != at {
		t.Errorf("%+v, then %+v", at, again)
	}
	for _, text := range []string{"a", "b"} {
		p := newUDP(t, unix.AF_INET)
		if err := unix.Sendto(p.fd, []byte(text), 0, sockets.Sockaddr(at.Relay)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 10)
		n, from, err := receiveFrom(p.fd, buf)
		if err != nil || string(buf[:n]) != text || sockets.AddrPort(from) != at.Relay {
			t.Errorf("%q from %v, %v", buf[:n], from, err)
		}
		var view frame.EndpointReply
		local := netip.AddrPortFrom(sockets.Loopback(false), p.ends().Local.Port())
		if status, _ := s.ask(t, frame.Endpoint, &frame.EndpointRequest{Local: local, Peer: at.Relay}, &view); status != 0 || view.Peer != server {
			t.Errorf("status %d, %+v", status, view)
		}
	}
	// Sockets that are closed make room for others.
	buf := make([]byte, 10)
	for i := range maxSenders + 50 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		limit := unix.NsecToTimeval((10 * time.Second).Nanoseconds())
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
		if err := unix.Sendto(fd, []byte("x"), 0, sockets.Sockaddr(at.Relay)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := receiveFrom(fd, buf); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		unix.Close(fd)
	}
	for i := range maxExchanges - 1 {
		ask.Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 53)
		if status, _ := s.ask(t, frame.Connect, ask, &again); status != 0 {
			t.Fatalf("%d: status %d", i, status)
		}
	}
	ask.Addr = statsd
	ask.Addr = netip.AddrPortFrom(ask.Addr.Addr(), 53)
	s.expect(int32(unix.ENOBUFS), frame.Connect, ask)
}

// Names that are this machine's are answered here, whichever way they are asked for.
func TestQueriesAnsweredHere(t *testing.T) {
	asked := make(chan string, 8)
	s := start(t, &fakeAgent{carry: func(r *wire.Request, s *links.Stream) {
		wire.WriteHeader(s, &wire.Reply{Local: podLocal, Remote: r.Addr})
		for {
			d, err := wire.ReadDatagram(s)
			if err != nil {
				return
			}
			asked <- string(d.Payload())
			d.Release()
		}
	}}, func(o *Options) { o.Config.Feature.Network.DNS.Filter.Local = rules(t, "localhost") })
	var at frame.ConnectReply
	s.ask(t, frame.Connect, &frame.ConnectRequest{Flags: frame.ConnectDatagram | frame.ConnectNever, Addr: server}, &at)
	connected, unconnected := newUDP(t, unix.AF_INET), newUDP(t, unix.AF_INET)
	s.connectUDP(t, connected, server, 0)
	const question = "\x00\x00\x01\x00\x01" // the root, type A, class IN
	const localhost, pods = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x09localhost" + question, "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02db" + question
	for name, p := range map[string]socket{"connected": connected, "unconnected": unconnected} {
		for _, query := range []string{localhost, pods} {
			var to unix.Sockaddr
			if name == "unconnected" {
				to = sockets.Sockaddr(at.Relay)
			}
			if err := unix.Sendto(p.fd, []byte(query), 0, to); err != nil {
				t.Fatal(err)
			}
		}
		if got := p.receive(); !strings.HasSuffix(got, "\x7f\x00\x00\x01") {
			t.Errorf("%s: %q", name, got)
		}
		if got := <-asked; got != pods {
			t.Errorf("%s: the pod was asked %q", name, got)
		}
	}
}

func TestDatagramReported(t *testing.T) {
	s := start(t, &fakeAgent{}, func(o *Options) {
		o.Config.Feature.Network.Outgoing.Filter.Local = rules(t, "10.96.0.9")
	})
	for _, to := range []string{"10.96.0.7:8125", "10.96.0.7:8125", "10.96.0.7:8126", "10.96.0.9:1"} {
		s.ask(t, frame.Datagram, &frame.DatagramRequest{Addr: netip.MustParseAddrPort(to)}, nil)
	}
	eventually(t, "both are reported", func() bool { return len(s.emitted(events.OutgoingLocal)) >= 2 })
	s.Close()
	got := s.emitted(events.OutgoingLocal)
	if len(got) != 2 || got[0].Protocol != "udp" {
		t.Errorf("%+v", got)
	}
}

func TestOutlet(t *testing.T) {
	o, err := newOutlet(sockets.Loopback(false))
	if err != nil {
		t.Fatal(err)
	}
	at := o.at
	o.shut(time.Hour)
	taken, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatalf("a shut outlet has its port: %v", err)
	}
	failed := make(chan error)
	go func() { _, _, err := o.receive(); failed <- err }()
	o.send([]byte("x"), at) // opens it, which fails
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("receive: %v", err)
	}
	taken.Close()
	o.close()
	o.close()
}
