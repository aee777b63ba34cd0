package broker

import (
	"io"
	"net/netip"
	"testing"

	"mirrord/agent/links"
	"mirrord/agent/sockdiag"
	"mirrord/agent/wire"
	"mirrord/launcher/sockets"
)

// inQueues counts the connections that wait for a program to accept them.
func (s *session) inQueues(t *testing.T) (n int) {
	t.Helper()
	d, err := sockdiag.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	s.relays.mu.Lock()
	defer s.relays.mu.Unlock()
	for key := range s.relays.live {
		if waits, err := sockets.Waits(d, key); err == nil && waits {
			n++
		}
	}
	return n
}

// TestIncomingNotAccepted: what waits in the queue of a listener that ends is given back whole.
func TestIncomingNotAccepted(t *testing.T) {
	s := start(t, &fakeAgent{}, nil)
	for _, at := range []string{"127.0.0.1:0", "[::]:0"} {
		l := s.program(t, at, 8080)
		var waiting []*links.Stream
		for range 3 {
			waiting = append(waiting, s.agent.offer(t, 8080, podAddr, client))
		}
		eventually(t, "the connections are in the queue", func() bool { return s.inQueues(t) == len(waiting) })
		l.Close()
		for _, far := range waiting {
			if errno := answerTo(t, far); errno != "ECONNREFUSED" {
				t.Errorf("%s: errno %q, want ECONNREFUSED", at, errno)
			}
			far.Close()
		}
		s.relays.mu.Lock()
		if n := len(s.relays.live); n > 0 {
			t.Errorf("%s: %d connections are kept", at, n)
		}
		s.relays.mu.Unlock()
	}
}

// TestIncomingEarly: a program that accepts has what came with the offer, before the broker has said anything to the agent, and what it answers goes back.
func TestIncomingEarly(t *testing.T) {
	s := start(t, &fakeAgent{}, nil)
	l := s.program(t, "127.0.0.1:0", 8080)
	far, err := s.agent.bulk.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	r := &wire.Request{Op: wire.OpIncoming, Port: 8080, Local: netip.MustParseAddrPort(podAddr), Remote: netip.MustParseAddrPort(client), Early: 7}
	if err := wire.WriteHeader(far, r); err != nil {
		t.Fatal(err)
	}
	far.Write([]byte("request"))
	eventually(t, "the connection is in the queue", func() bool { return s.inQueues(t) == 1 })
	c, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got := make([]byte, 7)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "request" {
		t.Fatalf("the program reads %q, %v", got, err)
	}
	c.Write([]byte("answer"))
	if errno := answerTo(t, far); errno != "" {
		t.Fatalf("refused: %s", errno)
	}
	if _, err := io.ReadFull(far, got[:6]); err != nil || string(got[:6]) != "answer" {
		t.Errorf("the client reads %q, %v", got[:6], err)
	}
}
