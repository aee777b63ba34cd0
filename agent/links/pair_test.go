package links

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"mirrord/agent/wire"
)

// site is an agent that launchers may come back to: each pair of connections is served anew.
type site struct {
	t      *testing.T
	answer func(*Stream, *wire.Request)

	mu      sync.Mutex
	refuse  error // of Dial
	shut    bool  // what launchers send is lost
	current *fakeAgent
	dials   int
	news    []string // what Changed was told
	told    chan struct{}
}

func (s *site) dial(context.Context) (requests, bulk net.Conn, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dials++
	if s.refuse != nil {
		return nil, nil, s.refuse
	}
	requests, theirs := net.Pipe()
	bulk, theirBulk := net.Pipe()
	a := &fakeAgent{hello: wire.Reply{Hello: &wire.Hello{Version: wire.Version, Name: "cart"}}, answer: s.answer}
	a.requests, _ = NewSession(theirs, false, false)
	a.bulk, _ = NewSession(theirBulk, false, true)
	handle := func(stream *Stream, req *wire.Request) {
		if req.Op == wire.OpHello {
			wire.WriteHeader(stream, &a.hello)
			stream.Close()
			return
		}
		a.answer(stream, req)
	}
	var serving sync.WaitGroup
	serving.Go(func() { a.requests.Serve(MaxRequests, handle) })
	serving.Go(func() { a.bulk.Serve(MaxRelays, handle) })
	s.t.Cleanup(func() { a.die(); serving.Wait() })
	s.current = a
	return requests, bulk, nil
}

func (s *site) changed(up bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.news = append(s.news, map[bool]string{false: "down", true: "up"}[up])
	s.told <- struct{}{}
}

func (s *site) die() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current.die()
}

func (s *site) set(refuse error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = refuse
}

func lasting(t *testing.T, patience time.Duration, answer func(*Stream, *wire.Request)) (*Link, *site) {
	t.Helper()
	s := &site{t: t, answer: answer, told: make(chan struct{}, 16)}
	requests, bulk, err := s.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	link, err := NewLasting(t.Context(), requests, bulk, "session-1", "ann@laptop", &Redial{Dial: s.dial, Patience: patience, Changed: s.changed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { link.Close() })
	return link, s
}

func reply(s *Stream, r *wire.Reply) {
	wire.WriteHeader(s, r)
	s.Close()
}

// A question that the lost link leaves open is answered on the next one, and so are those that come while there is none.
func TestRedial(t *testing.T) {
	first := make(chan struct{})
	var once sync.Once
	link, s := lasting(t, time.Minute, func(stream *Stream, req *wire.Request) {
		silent := false
		once.Do(func() { silent = true; close(first) })
		if silent {
			return
		}
		reply(stream, &wire.Reply{Name: "answered"})
	})
	answers := make(chan error, 3)
	question := func() {
		r, err := link.Do(t.Context(), &wire.Request{Op: wire.OpLookup})
		if err == nil && r.Name != "answered" {
			err = errors.New("something else was answered")
		}
		answers <- err
	}
	go question()
	<-first
	s.set(errors.New("no network"))
	s.die()
	<-s.told // down
	go question()
	go question()
	s.set(nil)
	for range cap(answers) {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	<-s.told
	if s.mu.Lock(); len(s.news) != 2 || s.news[1] != "up" || link.Agent().Name != "cart" {
		t.Errorf("told %q", s.news)
	}
	s.mu.Unlock()
	select {
	case <-link.Done():
		t.Error("done")
	default:
	}
}

// A change that the lost link leaves without an answer may have been made: it fails. One that comes while there is no link waits for the next.
func TestRedialChange(t *testing.T) {
	first := make(chan struct{})
	var once sync.Once
	link, s := lasting(t, time.Minute, func(stream *Stream, req *wire.Request) {
		silent := false
		once.Do(func() { silent = true; close(first) })
		if !silent {
			reply(stream, &wire.Reply{})
		}
	})
	answers := make(chan error)
	change := func() {
		_, err := link.Do(t.Context(), &wire.Request{Op: wire.OpChange, Path: "/d", Change: &wire.Change{Kind: wire.ChangeMkdir}})
		answers <- err
	}
	go change()
	<-first
	s.set(errors.New("no network"))
	s.die()
	if err := <-answers; !errors.Is(err, ErrLost) {
		t.Errorf("the first one: %v", err)
	}
	<-s.told // down
	go change()
	s.set(nil)
	if err := <-answers; err != nil {
		t.Errorf("the second one: %v", err)
	}
}

func TestRedialSubscriptions(t *testing.T) {
	subscribed := make(chan uint16, 8)
	link, s := lasting(t, time.Minute, func(stream *Stream, req *wire.Request) {
		subscribed <- req.Port
		wire.WriteHeader(stream, &wire.Reply{}) // and stays open
	})
	closed, err := link.Subscribe(t.Context(), 80, true, func(*wire.Error) {})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := link.Subscribe(t.Context(), 82, true, func(*wire.Error) {})
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	<-subscribed
	<-subscribed
	s.die()
	if port := <-subscribed; port != 82 {
		t.Errorf("subscribed to %d again", port)
	}
	<-s.told
	<-s.told
	if len(subscribed) > 0 {
		t.Errorf("subscribed to %d too", <-subscribed)
	}
	kept.Close()
}

// A link that nobody answers any more is lost when the agent's lease is over.
func TestRedialGivesUp(t *testing.T) {
	link, s := lasting(t, 50*time.Millisecond, nil)
	s.set(errors.New("no network"))
	s.die()
	if _, err := link.Do(t.Context(), &wire.Request{Op: wire.OpEnv}); !errors.Is(err, ErrLost) {
		t.Error(err)
	}
	<-link.Done()
	if _, _, err := link.AcceptIncoming(); !errors.Is(err, ErrLost) {
		t.Error(err)
	}
}

func TestCloseWhileRedialling(t *testing.T) {
	link, s := lasting(t, time.Hour, nil)
	s.set(errors.New("no network"))
	s.die()
	<-s.told
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := link.Do(ctx, &wire.Request{Op: wire.OpEnv}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	link.Close()
	<-link.Done()
	if _, _, err := link.Connect(t.Context(), netip.MustParseAddrPort("127.0.0.1:1")); !errors.Is(err, ErrLost) {
		t.Error(err)
	}
}

// valve is the way of one connection, which can be shut without a word.
type valve struct {
	net.Conn
	site *site
}

func (v valve) Write(p []byte) (int, error) {
	v.site.mu.Lock()
	shut := v.site.shut
	v.site.mu.Unlock()
	if shut {
		return len(p), nil // gone
	}
	return v.Conn.Write(p)
}

// A link whose network says nothing any more is lost within seconds, and what was asked meanwhile is answered on the next one.
func TestSilentLink(t *testing.T) {
	linkBeat = 20 * time.Millisecond
	defer func() { linkBeat = time.Second }()
	s := &site{t: t, answer: func(stream *Stream, _ *wire.Request) { reply(stream, &wire.Reply{}) }, told: make(chan struct{}, 16)}
	dial := func(ctx context.Context) (requests, bulk net.Conn, err error) {
		requests, bulk, err = s.dial(ctx)
		return valve{requests, s}, valve{bulk, s}, err
	}
	requests, bulk, _ := dial(t.Context())
	link, err := NewLasting(t.Context(), requests, bulk, "session-1", "ann@laptop", &Redial{Dial: dial, Patience: time.Minute, Changed: s.changed})
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.shut = true
	s.mu.Unlock()
	answered := make(chan error, 1)
	go func() {
		_, err := link.Do(t.Context(), &wire.Request{Op: wire.OpEnv})
		answered <- err
	}()
	<-s.told
	s.mu.Lock()
	s.shut = false
	s.mu.Unlock()
	if err := <-answered; err != nil {
		t.Error(err)
	}
	link.Close()
}

// Who begins to listen while the link is down has its connections when it is there again, and who ends meanwhile does not.
func TestSubscribeWhileDown(t *testing.T) {
	subscribed := make(chan uint16, 8)
	link, s := lasting(t, time.Minute, func(stream *Stream, req *wire.Request) {
		subscribed <- req.Port
		wire.WriteHeader(stream, &wire.Reply{}) // and stays open
	})
	early, err := link.Subscribe(t.Context(), 80, true, func(*wire.Error) {})
	if err != nil || <-subscribed != 80 {
		t.Fatal(err)
	}
	s.set(errors.New("no network"))
	s.die()
	<-s.told
	begun := make(chan error, 1)
	go func() {
		_, err := link.Subscribe(t.Context(), 81, true, func(*wire.Error) {})
		begun <- err
	}()
	early.Close()
	s.set(nil)
	if err := <-begun; err != nil {
		t.Error(err)
	}
	if port := <-subscribed; port != 81 {
		t.Errorf("subscribed to %d", port)
	}
	<-s.told
	if len(subscribed) > 0 {
		t.Errorf("subscribed to %d as well", <-subscribed)
	}
}

// An agent that is gone is not looked for until its lease ends.
func TestAgentGone(t *testing.T) {
	link, s := lasting(t, time.Hour, nil)
	s.set(fmt.Errorf("%w: its pod was deleted", ErrGone))
	s.die()
	<-link.Done()
	if _, _, err := link.AcceptIncoming(); !errors.Is(err, ErrLost) || !errors.Is(err, ErrGone) {
		t.Error(err)
	}
}
