package broker

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/agent/wire"
	"mirrord/launcher/events"
	"mirrord/layer/frame"
)

func TestConnectNonblocking(t *testing.T) {
	agent := echoAgent(t)
	answer, release := agent.connect, make(chan struct{})
	agent.connect = func(r *wire.Request) (links.Conn, *wire.Reply) {
		<-release
		return answer(r)
	}
	s := start(t, agent, nil)
	good, bad, bound := newSocket(t, unix.AF_INET, true), newSocket(t, unix.AF_INET, true), newSocket(t, unix.AF_INET, true)
	defer bad.close()
	if err := unix.Bind(bound.fd, &unix.SockaddrInet4{Addr: [4]byte{127, 9, 9, 9}}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		p  socket
		to netip.AddrPort
	}{"good": {good, service}, "bad": {bad, refusedBy(unix.EHOSTUNREACH)}, "bound": {bound, service}} {
		// The answer came although the pod has not answered.
		if status, err := s.connect(t, c.p, c.to, frame.ConnectNonblock); status != 0 || err != unix.EINPROGRESS {
			t.Fatalf("%s: status %d, %v, want EINPROGRESS", name, status, err)
		}
		if n, err := unix.Poll([]unix.PollFd{{Fd: int32(c.p.fd), Events: unix.POLLOUT}}, 0); n != 0 || err != nil {
			t.Fatalf("%s: connected before the pod is", name)
		}
	}
	ends := bad.ends()
	s.expect(frame.StatusLocal, frame.SockError, &frame.SockErrorRequest{Local: ends.Local})
	close(release)
	if e := good.wait(); e != 0 {
		t.Fatal(e)
	}
	s.checkView(t, good, frame.EndpointReply{Local: podLocal, Peer: service})
	checkEcho(t, good.conn(), 1<<20)
	if e := bad.wait(); e != unix.ECONNREFUSED {
		t.Errorf("SO_ERROR %v, want ECONNREFUSED", e)
	}
	s.expect(int32(unix.EHOSTUNREACH), frame.SockError, &frame.SockErrorRequest{Local: ends.Local})
	// It is found by its repeated SYN.
	if e := bound.wait(); e != 0 {
		t.Fatal(e)
	}
	s.checkView(t, bound, frame.EndpointReply{Local: podLocal, Peer: service})
	checkEcho(t, bound.conn(), 1000)
}

// TestManyAttempts: ports do not run out, nor do descriptors, whatever becomes of the attempts.
func TestManyAttempts(t *testing.T) {
	s := start(t, echoAgent(t), func(o *Options) { o.Emit = func(events.Event) {} })
	before := descriptors(t)
	const n = 3000
	for i := range n {
		to, want := service, unix.Errno(0)
		if i%100 == 0 { // its SYN is repeated after a second, so not many
			to, want = refusedBy(unix.ECONNREFUSED), unix.ECONNREFUSED
		}
		p := newSocket(t, unix.AF_INET, true)
		if status, err := s.connect(t, p, to, frame.ConnectNonblock); status != 0 || err != unix.EINPROGRESS {
			t.Fatalf("%d: status %d, %v", i, status, err)
		}
		if want == 0 {
			if e := p.wait(); e != 0 {
				t.Fatalf("%d: %v", i, e)
			}
		} // else the program gives up at once
		p.close()
	}
	for i := range n {
		p := newSocket(t, unix.AF_INET, false)
		if status, err := s.connect(t, p, service, 0); status != 0 || err != nil {
			t.Fatalf("%d: status %d, %v", i, status, err)
		}
		p.close()
	}
	eventually(t, "the descriptors are closed again", func() bool { return descriptors(t) <= before+10 })
	eventually(t, "nothing is left in the tables", func() bool {
		s.relays.mu.Lock()
		defer s.relays.mu.Unlock()
		return len(s.relays.attempts)+len(s.relays.waiting)+len(s.relays.accepted)+len(s.relays.live) == 0
	})
}

func TestConnectNonblockingLinkLost(t *testing.T) {
	s := start(t, echoAgent(t), nil)
	s.loseLink()
	later := newSocket(t, unix.AF_INET, true)
	defer later.close()
	if status, err := s.connect(t, later, service, frame.ConnectNonblock); status != 0 || err != unix.EINPROGRESS {
		t.Fatalf("status %d, %v", status, err)
	}
	local := later.ends().Local
	if e := later.wait(); e != unix.ECONNREFUSED {
		t.Errorf("SO_ERROR %v", e)
	}
	s.expect(int32(unix.ENETUNREACH), frame.SockError, &frame.SockErrorRequest{Local: local})
}

func BenchmarkConnect(b *testing.B) {
	for name, nonblock := range map[string]bool{"blocking": false, "nonblocking": true} {
		b.Run(name, func(b *testing.B) {
			s := start(b, echoAgent(b), func(o *Options) { o.Emit = func(events.Event) {} })
			var ask uint8
			if nonblock {
				ask = frame.ConnectNonblock
			}
			for b.Loop() {
				p := newSocket(b, unix.AF_INET, nonblock)
				if status, err := s.connect(b, p, service, ask); status != 0 || err != nil && err != unix.EINPROGRESS {
					b.Fatal(status, err)
				}
				if e := p.wait(); e != 0 {
					b.Fatal(e)
				}
				p.close()
			}
		})
	}
}
