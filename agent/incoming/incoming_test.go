package incoming

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mirrord/agent/links"
	"mirrord/agent/target"
	"mirrord/agent/wire"
)

// network is one that can be cut without a word.
type network struct {
	mu   sync.Mutex
	open chan struct{} // closed while it is
}

func newNetwork() *network {
	n := &network{open: make(chan struct{})}
	close(n.open)
	return n
}

func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open = make(chan struct{})
}

func (n *network) mend() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.open)
}

func (n *network) pipe() (near, far net.Conn) {
	near, far = net.Pipe()
	return conn{near, n}, conn{far, n}
}

type conn struct {
	net.Conn
	network *network
}

func (c conn) Write(p []byte) (int, error) {
	c.network.mu.Lock()
	open := c.network.open
	c.network.mu.Unlock()
	<-open
	return c.Conn.Write(p)
}

// one is a target with one port.
type one struct {
	target.Target
	taker chan func(target.Incoming) bool
}

func (o one) Steal(_ uint16, _ string, take func(target.Incoming) bool) (io.Closer, error) {
	o.taker <- take
	return io.NopCloser(nil), nil
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A launcher that falls silent loses what it was offered, is offered nothing, and gets connections again when it is back.
func TestSilence(t *testing.T) {
	answerTime, beat = time.Hour, 20*time.Millisecond
	wires := newNetwork()
	start := func(bulk bool) (launcher, agent *links.Session) {
		near, far := wires.pipe()
		launcher, err := links.NewSession(near, true, bulk)
		if err != nil {
			t.Fatal(err)
		}
		if agent, err = links.NewSession(far, false, bulk); err != nil {
			t.Fatal(err)
		}
		return launcher, agent
	}
	requests, agentRequests := start(false)
	bulk, agentBulk := start(true)
	ctx, cancel := context.WithCancel(t.Context())
	pod := one{taker: make(chan func(target.Incoming) bool, 1)}
	var running sync.WaitGroup
	running.Go(func() {
		agentRequests.Serve(8, func(s *links.Stream, req *wire.Request) {
			if err := Subscribe(ctx, pod, "", agentRequests, agentBulk, s, req); err != nil {
				t.Error(err)
			}
			s.Close()
		})
	})
	running.Go(func() { agentBulk.Serve(8, func(s *links.Stream, _ *wire.Request) { s.Close() }) })
	running.Go(func() { requests.Serve(8, func(s *links.Stream, _ *wire.Request) { s.Close() }) })
	offered := make(chan *links.Stream, 8)
	running.Go(func() { bulk.Serve(8, func(s *links.Stream, _ *wire.Request) { offered <- s }) })
	subscription, err := requests.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wire.WriteHeader(subscription, &wire.Request{Op: wire.OpSubscribe, Port: 80, Steal: true})
	take := <-pod.taker
	taken := make(chan bool, 1)
	offer := func() {
		running.Go(func() {
			ours, theirs := net.Pipe()
			defer theirs.Close()
			ok := take(target.Incoming{Conn: halves{ours}})
			taken <- ok
			if ok {
				theirs.Read(make([]byte, 1)) // until it is closed
			}
		})
	}
	// A busy machine makes a launcher seem silent at any time, so a connection is offered until it is taken, and what was taken back before comes beside it.
	accepts := func() {
		offer()
		for {
			select {
			case stream := <-offered:
				wire.WriteHeader(stream, &wire.Reply{})
				stream.Close()
			case ok := <-taken:
				if ok {
					return
				}
				offer()
			}
		}
	}
	accepts()
	offer()
	for thinking := false; !thinking; {
		select {
		case <-offered:
			thinking = true
		case <-taken:
			offer()
		}
	}
	wires.cut()
	if <-taken {
		t.Error("taken by nobody")
	}
	if offer(); <-taken {
		t.Error("taken by a silent launcher")
	}
	wires.mend()
	accepts() // what it was offered before is over, what comes now is its own as soon as it was heard of

	cancel()
	for _, s := range []*links.Session{requests, bulk, agentRequests, agentBulk} {
		s.Close()
	}
	running.Wait()
}

// halves is a connection that ends whole.
type halves struct{ net.Conn }

func (h halves) CloseWrite() error { return h.Close() }
