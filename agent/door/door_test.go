package door

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/agent/serve"
	"mirrord/agent/startup"
)

// site is a door, its listener, which needs no network, and what it serves: links that say which they are and end when the test says how.
type site struct {
	t     *testing.T
	token startup.Token
	conns chan net.Conn
	close sync.Once
	done  chan struct{}
	ends  chan error
	ended chan error // Run's
}

func open(t *testing.T, ctx context.Context) *site {
	s := &site{t: t, token: startup.NewToken(), conns: make(chan net.Conn), done: make(chan struct{}), ends: make(chan error), ended: make(chan error, 1)}
	d := &Door{Hash: sha256.Sum256(s.token[:]), Lease: time.Minute, Serve: func(ctx context.Context, requests, bulk net.Conn) error {
		defer requests.Close()
		defer bulk.Close()
		io.WriteString(requests, "r")
		io.WriteString(bulk, "b")
		select {
		case err := <-s.ends:
			return err
		case <-ctx.Done():
			return nil
		}
	}}
	go func() { s.ended <- d.Run(ctx, s) }()
	return s
}

func (s *site) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

func (s *site) Close() error {
	s.close.Do(func() { close(s.done) })
	return nil
}

func (s *site) Addr() net.Addr { return nil }

// dial connects, without a word.
func (s *site) dial() net.Conn {
	ours, theirs := net.Pipe()
	s.conns <- theirs
	s.t.Cleanup(func() { ours.Close() })
	return ours
}

// knock is one connection of a link.
func (s *site) knock(token startup.Token, id startup.LinkID, bulk bool) (net.Conn, error) {
	conn := s.dial()
	return conn, (&startup.Knock{Token: token, Link: id, Bulk: bulk}).Enter(s.t.Context(), conn)
}

// link makes a whole link, whose connections must lead where they should.
func (s *site) link(bulkFirst bool) (requests, bulk net.Conn) {
	s.t.Helper()
	id := startup.NewLinkID()
	for _, isBulk := range []bool{bulkFirst, !bulkFirst} {
		conn, err := s.knock(s.token, id, isBulk)
		if err != nil {
			s.t.Fatal(err)
		}
		if isBulk {
			bulk = conn
		} else {
			requests = conn
		}
	}
	got := make([]byte, 2)
	io.ReadFull(requests, got[:1])
	io.ReadFull(bulk, got[1:])
	if string(got) != "rb" {
		s.t.Fatalf("the connections say %q", got)
	}
	return requests, bulk
}

func (s *site) isOpen() bool {
	synctest.Wait()
	select {
	case err := <-s.ended:
		s.ended <- err
		return false
	default:
		return true
	}
}

func TestLeaseAndGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.Context())
		time.Sleep(59 * time.Second)
		s.link(false)
		time.Sleep(time.Hour) // a link needs no lease
		s.ends <- nil         // lost
		time.Sleep(59 * time.Second)
		s.link(true)
		s.ends <- errors.New("broken")
		time.Sleep(59 * time.Second)
		if !s.isOpen() {
			t.Fatal("the agent ended before its lease")
		}
		s.link(true)
		s.ends <- serve.ErrGoodbye
		if err := <-s.ended; err != nil {
			t.Errorf("after a goodbye: %v", err)
		}
		late := open(t, t.Context())
		if err := <-late.ended; !errors.Is(err, ErrLease) {
			t.Errorf("nobody came: %v", err)
		}
	})
}

func TestNewLinkEndsTheOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := open(t, ctx)
		old, _ := s.link(false)
		s.link(true)
		if _, err := old.Read(make([]byte, 1)); err == nil {
			t.Error("the old link goes on")
		}
		if !s.isOpen() {
			t.Error("the agent ended with the old link")
		}
		cancel()
		if err := <-s.ended; err != nil {
			t.Error(err)
		}
	})
}

func TestGuesser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.Context())
		for range 20 {
			s.dial().Close() // not an attempt
		}
		s.dial() // nor is one that says nothing
		for i := range maxFailures {
			if !s.isOpen() {
				t.Fatalf("closed after %d failures", i)
			}
			if i == 1 {
				conn := s.dial()
				io.WriteString(conn, "GET / HTTP/1.1\r\nHost: somewhere\r\nUser-Agent: somebody\r\nAccept: */*\r\n\r\n"[:57])
				continue
			}
			if _, err := s.knock(startup.NewToken(), startup.NewLinkID(), false); !errors.Is(err, startup.ErrNotAdmitted) {
				t.Fatalf("a wrong token: %v", err)
			}
		}
		if err := <-s.ended; !errors.Is(err, ErrFailures) {
			t.Error(err)
		}
	})
}

// Halves that are never completed do not pile up, and do not keep others out.
func TestHalves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := open(t, ctx)
		same := startup.NewLinkID()
		for i := range 3 * maxHalves {
			id := same
			if i%2 == 0 {
				id = startup.NewLinkID()
			}
			if _, err := s.knock(s.token, id, true); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		s.link(false)
		cancel()
		if err := <-s.ended; err != nil {
			t.Error(err)
		}
	})
}
