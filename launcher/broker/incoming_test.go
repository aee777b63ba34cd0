package broker

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/agent/wire"
	"mirrord/launcher/config/traffic"
	"mirrord/launcher/events"
	"mirrord/launcher/sockets"
	"mirrord/layer/frame"
)

// program is a listening socket, that the layer has told the broker of.
func (s *session) program(t *testing.T, at string, asked uint16) *net.TCPListener {
	t.Helper()
	var c net.ListenConfig
	c.SetMultipathTCP(false)
	network := "tcp4"
	if at[0] == '[' {
		network = "tcp" // dual-stack when unspecified
	}
	any, err := c.Listen(t.Context(), network, at)
	if err != nil {
		t.Fatal(err)
	}
	l := any.(*net.TCPListener)
	t.Cleanup(func() { l.Close() })
	s.tell(l, asked)
	return l
}

func (s *session) tell(l *net.TCPListener, asked uint16) {
	s.t.Helper()
	actual := l.Addr().(*net.TCPAddr).AddrPort()
	s.expect(frame.StatusOK, frame.Listen, &frame.ListenRequest{Requested: netip.AddrPortFrom(actual.Addr(), asked), Actual: actual})
}

func portOf(l *net.TCPListener) uint16 { return uint16(l.Addr().(*net.TCPAddr).Port) }

const podAddr, client = "10.1.2.3:8080", "10.9.8.7:51000"

// take has the program accept a connection to the pod's port, which is the program's only then.
func (s *session) take(l *net.TCPListener) (*links.Stream, *net.TCPConn) {
	s.t.Helper()
	far := s.agent.offer(s.t, 8080, podAddr, client)
	c, err := l.AcceptTCP()
	if err != nil {
		s.t.Fatal(err)
	}
	if errno := answerTo(s.t, far); errno != "" {
		s.t.Fatalf("refused: %s", errno)
	}
	return far, c
}

// checkIncoming checks that a connection to the pod's port arrives at the program, with its true ends.
func (s *session) checkIncoming(l *net.TCPListener) {
	s.t.Helper()
	far, c := s.take(l)
	defer c.Close()
	var view frame.EndpointReply
	ends := &frame.EndpointRequest{Local: c.LocalAddr().(*net.TCPAddr).AddrPort(), Peer: c.RemoteAddr().(*net.TCPAddr).AddrPort()}
	if status, _ := s.ask(s.t, frame.Endpoint, ends, &view); status != 0 || view.Local.String() != podAddr || view.Peer.String() != client {
		s.t.Errorf("the pod's view of %v: status %d, %+v", ends, status, view)
	}
	// Request and response, each ended by half-closing.
	far.Write([]byte("request"))
	far.CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "request" {
		s.t.Errorf("the program reads %q, %v", got, err)
	}
	c.Write([]byte("response"))
	c.CloseWrite()
	if got, err := io.ReadAll(far); err != nil || string(got) != "response" {
		s.t.Errorf("the client reads %q, %v", got, err)
	}
	far.Close()
}

func TestIncoming(t *testing.T) {
	for name, at := range map[string]string{
		"any IPv4": "0.0.0.0:0", "loopback": "127.0.0.1:0", "another loopback": "127.0.3.4:0", "dual-stack": "[::]:0", "IPv6": "[::1]:0",
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, &fakeAgent{}, nil)
			l := s.program(t, at, 8080)
			s.checkIncoming(l)
			if e := s.emitted(events.Incoming); len(e) != 1 || e[0].Port != 8080 || e[0].Peer != client {
				t.Errorf("events %+v", e)
			}
		})
	}
}

// TestIncomingOnInterface: a program may listen on an address of an interface only.
func TestIncomingOnInterface(t *testing.T) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if ip := a.(*net.IPNet).IP.To4(); ip != nil && !ip.IsLoopback() {
			s := start(t, &fakeAgent{}, nil)
			s.checkIncoming(s.program(t, ip.String()+":0", 8080))
			return
		}
	}
	t.Skip("no interface with IPv4 but loopback")
}

// TestListen: the port is published when it is another than the asked one, a second listen changes nothing, and when nobody listens any more the
// pod has its port back.
func TestListen(t *testing.T) {
	s := start(t, &fakeAgent{}, nil)
	l := s.program(t, "127.0.0.1:0", 8080)
	s.tell(l, 8080)
	if n, e := word(s.page.mem, offLivePortsN), word(s.page.mem, offLivePorts); n != 1 || e != uint32(portOf(l))|8080<<16 {
		t.Errorf("live_ports %d, %x", n, e)
	}
	if e := s.emitted(events.Listen); len(e) != 1 || e[0].Port != 8080 || e[0].ActualPort != int(portOf(l)) {
		t.Errorf("events %+v", e)
	}
	if !s.agent.isSubscribed(8080) {
		t.Error("not subscribed")
	}
	// Another worker; the newest gets the connections while it lives.
	second := s.program(t, "127.0.0.1:0", 8080)
	s.checkIncoming(second)
	second.Close()
	s.checkIncoming(l)
	// One more worker may share its port, if the kernel lets it.
	s.binds(portOf(l), &frame.BindRequest{Errno: uint32(unix.EADDRINUSE), Requested: netip.MustParseAddrPort("0.0.0.0:8080")})
	l.Close()
	if _, errno := s.agent.incoming(t, 8080, podAddr, client); errno != "ECONNREFUSED" {
		t.Errorf("errno %q, want ECONNREFUSED", errno)
	}
	eventually(t, "the subscription is dropped", func() bool { return !s.agent.isSubscribed(8080) })
	if e := word(s.page.mem, offLivePorts); e != 0 {
		t.Errorf("live_ports still %x", e)
	}
	// The program starts again.
	s.binds(0, &frame.BindRequest{Errno: uint32(unix.EADDRINUSE), Requested: netip.MustParseAddrPort("0.0.0.0:8080")})
	s.checkIncoming(s.program(t, "0.0.0.0:0", 8080))
}

// binds checks which port a program gets for the one that it asked for.
func (s *session) binds(want uint16, m *frame.BindRequest) {
	s.t.Helper()
	reply := frame.BindReply{Port: 1}
	if status, _ := s.ask(s.t, frame.Bind, m, &reply); status != frame.StatusOK || reply.Port != want {
		s.t.Errorf("%+v: status %d, port %d, want %d", m, status, reply.Port, want)
	}
}

// TestBind: the port is the program's in the pod, whoever has it on this machine.
func TestBind(t *testing.T) {
	s := start(t, &fakeAgent{}, func(o *Options) {
		in := &o.Config.Feature.Network.Incoming
		in.IgnorePorts, in.ListenPorts, in.IgnoreLocalhost = []uint16{9000}, [][2]uint16{{8000, 8001}}, true
	})
	request := func(e unix.Errno, port uint16) *frame.BindRequest {
		return &frame.BindRequest{Errno: uint32(e), Requested: netip.AddrPortFrom(netip.IPv4Unspecified(), port)}
	}
	s.binds(0, request(unix.EADDRINUSE, 8080))
	s.binds(0, request(unix.EACCES, 80))
	s.binds(0, request(unix.EADDRNOTAVAIL, 8080)) // the pod's own address
	s.binds(8001, request(0, 8000))
	s.expect(frame.StatusLocal, frame.Bind, request(0, 8080))
	s.expect(int32(unix.EINVAL), frame.Bind, request(unix.EINVAL, 8080))
	s.expect(int32(unix.EADDRINUSE), frame.Bind, request(unix.EADDRINUSE, 9000))
	s.expect(int32(unix.EADDRINUSE), frame.Bind, &frame.BindRequest{Errno: uint32(unix.EADDRINUSE), Requested: netip.MustParseAddrPort("127.0.0.1:8080")})
	l := s.program(t, "0.0.0.0:0", 8080)
	s.binds(portOf(l), request(unix.EADDRINUSE, 8080))
	l.Close() // and nobody tells: a restarted program must get it again
	s.binds(0, request(unix.EADDRINUSE, 8080))
	eventually(t, "the subscription is dropped", func() bool { return !s.agent.isSubscribed(8080) })
	same := s.program(t, "0.0.0.0:0", 0) // the session itself has the port
	s.tell(same, portOf(same))
	s.expect(int32(unix.EADDRINUSE), frame.Bind, request(unix.EADDRINUSE, portOf(same)))
}

func TestListenLocally(t *testing.T) {
	for name, change := range map[string]func(*traffic.Incoming){
		"off":       func(in *traffic.Incoming) { in.Mode = traffic.Off },
		"ignored":   func(in *traffic.Incoming) { in.IgnorePorts = []uint16{8080} },
		"others":    func(in *traffic.Incoming) { in.Ports = []uint16{9000} },
		"localhost": func(in *traffic.Incoming) { in.IgnoreLocalhost = true },
		"mapped":    func(in *traffic.Incoming) { in.PortMapping = [][2]uint16{{3000, 8080}} },
	} {
		s := start(t, &fakeAgent{}, func(o *Options) { change(&o.Config.Feature.Network.Incoming) })
		l := s.program(t, "127.0.0.1:0", 8080)
		if s.agent.isSubscribed(8080) {
			t.Errorf("%s: subscribed", name)
		}
		if w := s.emitted(events.Warning); len(w) > 0 {
			t.Errorf("%s: warnings %+v", name, w)
		}
		// For the session it is a listener all the same.
		if at, ok := s.listeners.reach(netip.MustParseAddrPort("127.0.0.1:8080")); !ok || at.Port() != portOf(l) {
			t.Errorf("%s: reached at %v, %v", name, at, ok)
		}
	}
	s := start(t, &fakeAgent{}, nil)
	l := s.program(t, "127.0.0.1:0", 0)
	if s.agent.isSubscribed(0) || s.agent.isSubscribed(portOf(l)) {
		t.Error("any port: subscribed")
	}
	s = start(t, &fakeAgent{}, func(o *Options) { o.Config.Feature.Network.Incoming.IgnoreLocalhost = true })
	s.program(t, "0.0.0.0:0", 8080)
	if !s.agent.isSubscribed(8080) {
		t.Error("not loopback alone: not subscribed")
	}
}

// TestPortMapping: the program's port is another than the pod's, and it never sees that.
func TestPortMapping(t *testing.T) {
	s := start(t, &fakeAgent{}, func(o *Options) { o.Config.Feature.Network.Incoming.PortMapping = [][2]uint16{{3000, 8080}} })
	l := s.program(t, "127.0.0.1:0", 3000)
	if !s.agent.isSubscribed(8080) || s.agent.isSubscribed(3000) {
		t.Error("subscribed to another port")
	}
	if e := s.emitted(events.Listen); len(e) != 1 || e[0].Port != 3000 || e[0].PodPort != 8080 {
		t.Errorf("events %+v", e)
	}
	far, c := s.take(l)
	defer far.Close()
	defer c.Close()
	var view frame.EndpointReply
	s.ask(t, frame.Endpoint, &frame.EndpointRequest{Local: sockets.AddrOf(c.LocalAddr()), Peer: sockets.AddrOf(c.RemoteAddr())}, &view)
	if view.Local.String() != "10.1.2.3:3000" || view.Peer.String() != client {
		t.Errorf("the program sees %+v", view)
	}
}

// TestMirror: the program reads a copy; what it answers goes nowhere, and nobody waits for it at the end.
func TestMirror(t *testing.T) {
	for _, mode := range []traffic.Mode{traffic.Mirror, traffic.Unset} {
		s := start(t, &fakeAgent{}, func(o *Options) { o.Config.Feature.Network.Incoming.Mode = mode })
		l := s.program(t, "127.0.0.1:0", 8080)
		if !s.agent.isSubscribed(8080) || s.agent.stolen(8080) {
			t.Errorf("%s: not mirrored", mode)
		}
		far, errno := s.agent.incoming(t, 8080, podAddr, client)
		if errno != "" {
			t.Fatal(errno)
		}
		c, err := l.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		far.Write([]byte("request"))
		if _, err := io.ReadFull(c, make([]byte, 7)); err != nil {
			t.Error(err)
		}
		c.Write([]byte("answer"))
		s.Drain(time.Hour)
		far.CloseWrite()
		if got, err := io.ReadAll(c); err != nil || len(got) > 0 {
			t.Errorf("the program reads %q, %v", got, err)
		}
		c.Close()
		if got, err := io.ReadAll(far); err != nil || len(got) > 0 {
			t.Errorf("the agent reads %q, %v", got, err)
		}
		far.Close()

		s.agent.notify("ENOBUFS")
		s.agent.notify("ENOBUFS")
		eventually(t, "the warning", func() bool { return len(s.emitted(events.Warning)) > 0 })
		if w := s.emitted(events.Warning); len(w) != 1 || !strings.Contains(w[0].Message, "port 8080 of the pod were cut") {
			t.Errorf("warnings %+v", w)
		}
	}
}

// TestFamilies: of two listeners the one of the client's family gets the connection, whichever is newer; the other is better than none.
func TestFamilies(t *testing.T) {
	s := start(t, &fakeAgent{}, nil)
	v4 := s.program(t, "127.0.0.1:0", 8080)
	v6 := s.program(t, "[::1]:0", 8080)
	s.checkIncoming(v4)
	v4.Close()
	s.checkIncoming(v6)
	any4, any6 := netip.MustParseAddrPort("0.0.0.0:80"), netip.MustParseAddrPort("[::]:80")
	l := listener{at: []sockets.Listener{{Addr: any4}, {Addr: any6}, {Addr: any6, V6Only: true}}}
	for from, want := range map[string][]sockets.Listener{
		"10.0.0.1": {{Addr: any6}, {Addr: any4}, {Addr: any6, V6Only: true}},
		"fd00::1":  {{Addr: any6, V6Only: true}, {Addr: any6}, {Addr: any4}},
	} {
		if got := l.inOrder(netip.MustParseAddr(from)); !slices.Equal(got, want) {
			t.Errorf("from %s: %v, want %v", from, got, want)
		}
	}
}

// TestNothingToMirror: a mode that nobody asked for is no error, but said.
func TestNothingToMirror(t *testing.T) {
	agent := &fakeAgent{refuse: &wire.Reply{Errno: "ESRCH"}}
	s := start(t, agent, func(o *Options) { o.Config.Feature.Network.Incoming.Mode = traffic.Unset })
	s.program(t, "127.0.0.1:0", 8080)
	if w := s.emitted(events.Warning); len(w) != 1 || !strings.Contains(w[0].Message, "port 8080") || !strings.Contains(w[0].Hint, "--steal") {
		t.Errorf("warnings %+v", w)
	}
}

// TestUnserved: that no program of the pod listens is said in the agent's words, once, and what that means.
func TestUnserved(t *testing.T) {
	for mode, hint := range map[traffic.Mode]string{traffic.Steal: "all the same", traffic.Mirror: "nothing to mirror"} {
		s := start(t, &fakeAgent{doubt: "nothing in the pod listens on port 8080"}, func(o *Options) { o.Config.Feature.Network.Incoming.Mode = mode })
		for range 2 {
			s.program(t, "127.0.0.1:0", 8080)
		}
		eventually(t, "the warning", func() bool { return len(s.emitted(events.Warning)) > 0 })
		if w := s.emitted(events.Warning); len(w) != 1 || w[0].Message != "nothing in the pod listens on port 8080" || !strings.Contains(w[0].Hint, hint) {
			t.Errorf("%s: warnings %+v", mode, w)
		}
	}
}

// TestNoConnections: who has the port, or that there is none, is said in the agent's words, without an errno.
func TestNoConnections(t *testing.T) {
	for _, refuse := range []wire.Reply{
		{Errno: "EADDRINUSE", Text: "port 8080 of the pod is stolen by ann@laptop: address already in use"},
		{Errno: "EADDRNOTAVAIL", Text: "pod.yaml lists no port 8080: cannot assign requested address"},
	} {
		s := start(t, &fakeAgent{refuse: &refuse}, nil)
		s.program(t, "127.0.0.1:0", 8080)
		why, _, _ := strings.Cut(refuse.Text, ": ")
		if w := s.emitted(events.Warning); len(w) != 1 || !strings.HasSuffix(w[0].Message, "do not come here: "+why) || w[0].Hint == "" {
			t.Errorf("warnings %+v", w)
		}
	}
}

// TestClosedListener: the pod gets a port back without anybody using it, and not before the last socket is closed.
func TestClosedListener(t *testing.T) {
	s := start(t, &fakeAgent{}, nil)
	l := s.program(t, "127.0.0.1:0", 8080)
	f, err := l.File() // a dup, as a fork has it
	if err != nil {
		t.Fatal(err)
	}
	other := s.program(t, "[::1]:0", 8080)
	l.Close()
	s.checkListeners()
	if !s.agent.isSubscribed(8080) || len(s.listeners.get(8080).at) != 2 {
		t.Error("given back although it is used")
	}
	f.Close()
	eventually(t, "one of two listeners is gone", func() bool {
		l := s.listeners.get(8080)
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.at) == 1
	})
	if !s.agent.isSubscribed(8080) {
		t.Error("given back although one listens")
	}
	other.Close()
	eventually(t, "the port is given back", func() bool { return !s.agent.isSubscribed(8080) })
}

// TestListenUnwanted: whatever the agent says, listen works.
func TestListenRefused(t *testing.T) {
	s := start(t, &fakeAgent{}, nil)
	s.loseLink()
	s.program(t, "127.0.0.1:0", 8080)
	if w := s.emitted(events.Warning); len(w) == 0 {
		t.Error("no warning")
	}
}

// TestLoopback: a program of the session is reached at the port that it asked for.
func TestLoopback(t *testing.T) {
	s := start(t, echoAgent(t), nil)
	connect := func(to string) (int32, netip.AddrPort) {
		var reply frame.ConnectReply
		status, _ := s.ask(t, frame.Connect, &frame.ConnectRequest{Addr: netip.MustParseAddrPort(to)}, &reply)
		return status, reply.Relay
	}
	any, special := s.program(t, "0.0.0.0:0", 8080), s.program(t, "127.0.3.4:0", 8081)
	for to, want := range map[string]netip.AddrPort{
		"127.0.0.1:8080": netip.AddrPortFrom(sockets.Loopback(false), portOf(any)),
		"127.0.0.9:8080": netip.AddrPortFrom(netip.MustParseAddr("127.0.0.9"), portOf(any)),
		"127.0.0.1:8081": special.Addr().(*net.TCPAddr).AddrPort(),
	} {
		status, relay := connect(to)
		if status != frame.StatusLocal || relay != want {
			t.Errorf("%s: status %d, %v, want %v", to, status, relay, want)
			continue
		}
		c, err := net.Dial("tcp", relay.String())
		if err != nil {
			t.Errorf("%s: %v", to, err)
			continue
		}
		c.Close()
	}
	// Nobody of the session: the pod's loopback.
	if status, relay := connect("127.0.0.1:8082"); status != frame.StatusOK || relay != s.relays.fixed4 {
		t.Errorf("status %d, %v", status, relay)
	}
}

// TestIncomingAbort: a program that resets a connection resets the client's.
func TestIncomingAbort(t *testing.T) {
	s := start(t, &fakeAgent{}, nil)
	l := s.program(t, "127.0.0.1:0", 8080)
	far, c := s.take(l)
	c.SetLinger(0)
	c.Close()
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the client reads %v, want a reset", err)
	}
	far.Close()
}
