package links

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"mirrord/agent/wire"
)

// Redial is how a lost link is made anew. While that is tried, calls wait; what was under way on the old link is lost, except questions, which are asked again.
type Redial struct {
	Dial     func(ctx context.Context) (requests, bulk net.Conn, err error) // an error that wraps ErrGone is the last
	Patience time.Duration                                                  // how long it is tried: the agent's lease
	// Changed is told that the link is lost (false), and that it is there again, not that it is given up. It may be nil.
	Changed func(up bool)
}

// ErrGone says that an agent is not there any more, so that nobody need try to reach it.
var ErrGone = errors.New("the agent is gone")

// redialPause is between two attempts.
const redialPause = 250 * time.Millisecond

// dialTime limits one attempt: a network that is there again is not noticed by one that began without it.
const dialTime = 10 * time.Second

// A link is lost when the agent was not heard of for so many beats, and twice the time that its hello took: who is connected to it waits in vain for as long.
var linkBeat = time.Second // tests are less patient

const linkPatience = 5

// pair is the two sessions of a link, until one of them is lost.
type pair struct {
	requests, bulk *Session
	agent          wire.Hello
	lost           context.Context
	serving        sync.WaitGroup
}

// newPair says hello on both connections, which it owns, even when it fails.
func (l *Link) newPair(ctx context.Context, requests, bulk net.Conn) (*pair, error) {
	p := new(pair)
	var err error
	if p.requests, err = NewSession(requests, true, false); err != nil {
		return nil, errors.Join(err, requests.Close(), bulk.Close())
	}
	if p.bulk, err = NewSession(bulk, true, true); err != nil {
		return nil, errors.Join(err, p.requests.Close(), bulk.Close())
	}
	lost, lose := context.WithCancel(context.Background())
	p.lost = lost
	p.serving.Go(func() { p.bulk.Serve(MaxRelays, l.accept) })
	p.serving.Go(func() { p.requests.Serve(1, func(s *Stream, _ *wire.Request) { s.Close() }) }) // nothing an agent could ask
	p.serving.Go(func() {
		select {
		case <-p.requests.Done():
		case <-p.bulk.Done():
		case <-lost.Done():
		}
		lose()
		p.requests.Close()
		p.bulk.Close()
	})
	ctx, cancel := context.WithTimeout(ctx, helloTime)
	defer cancel()
	began := time.Now()
	var greeting sync.WaitGroup
	var requestsErr error
	greeting.Go(func() {
		_, requestsErr = hello(ctx, p.requests, wire.Hello{Version: wire.Version, Session: l.session, User: l.user})
	})
	p.agent, err = hello(ctx, p.bulk, wire.Hello{Version: wire.Version, Session: l.session, User: l.user, Bulk: true})
	greeting.Wait()
	if err = cmp.Or(requestsErr, err); err != nil {
		p.close()
		return nil, err
	}
	// An agent that is far away, or behind a slow line, is not silent yet.
	patience := linkPatience + 2*int(time.Since(began)/linkBeat)
	p.serving.Go(func() {
		Pulse(lost, linkBeat, patience, func(heard bool) {
			if !heard {
				lose()
			}
		}, p.requests, p.bulk)
	})
	return p, nil
}

// close returns when nothing of the pair is left.
func (p *pair) close() {
	p.requests.Close()
	p.bulk.Close()
	p.serving.Wait()
}

// keep watches the pair, and those that take its place, until there is none any more.
func (l *Link) keep(p *pair) {
	defer l.close() // who waits for a pair, or offers a connection, waits in vain
	for p != nil {
		select {
		case <-p.lost.Done():
		case <-l.closing.Done():
			close(l.done)
			p.close()
			return
		}
		l.put(nil)
		if l.redial == nil {
			close(l.done)
			p.close()
			return
		}
		p.close()
		p = l.again()
		l.put(p)
	}
	close(l.done)
}

// put makes a pair the link's.
func (l *Link) put(p *pair) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pair = p
	close(l.changed)
	l.changed = make(chan struct{})
}

// again makes a new pair, with the subscriptions of the old one; nil when that could not be done in time, or the link is closing.
func (l *Link) again() *pair {
	ctx, cancel := context.WithTimeout(l.closing, l.redial.Patience)
	defer cancel()
	tell := func(up bool) {
		if l.redial.Changed != nil && l.closing.Err() == nil {
			l.redial.Changed(up)
		}
	}
	tell(false)
	for {
		p, err := l.attempt(ctx)
		if err == nil {
			tell(true)
			return p
		}
		if !errors.Is(err, ErrGone) {
			select {
			case <-time.After(redialPause):
				continue
			case <-ctx.Done():
			}
		}
		l.reason = fmt.Errorf("%w: %w", ErrLost, err)
		return nil
	}
}

// attempt makes a new pair once.
func (l *Link) attempt(ctx context.Context) (*pair, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	requests, bulk, err := l.redial.Dial(ctx)
	if err != nil {
		return nil, err
	}
	p, err := l.newPair(ctx, requests, bulk)
	if err == nil {
		l.resubscribe(ctx, p)
	}
	return p, err
}

// wait returns the link's pair as soon as there is one other than old.
func (l *Link) wait(ctx context.Context, old *pair) (*pair, error) {
	for {
		l.mu.Lock()
		p, changed := l.pair, l.changed
		l.mu.Unlock()
		if p != nil && p != old {
			return p, nil
		}
		select {
		case <-changed:
		case <-l.done:
			return nil, ErrLost
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// request asks a question; one that a lost link leaves without an answer is asked again on the next one. Questions change nothing; whether a change was made before
// the link was lost nobody knows, so that is not repeated.
func (l *Link) request(ctx context.Context, req *wire.Request) (reply *wire.Reply, stream *Stream, err error) {
	var p *pair
	for {
		if p, err = l.wait(ctx, p); err != nil {
			return nil, nil, err
		}
		if reply, stream, err = call(ctx, p.requests, req); !errors.Is(err, ErrLost) || l.redial == nil || req.Op == wire.OpGoodbye || req.Op == wire.OpChange {
			return reply, stream, err
		}
	}
}

// subscription is one of Subscribe's, on whatever pair the link has.
type subscription struct {
	link    *Link
	request wire.Request
	notice  func(*wire.Error)

	beginning sync.Mutex
	on        *pair // that it was begun on; guarded by beginning

	mu     sync.Mutex
	stream *Stream // nil at first
	closed bool
}

// begin subscribes on a pair, unless that is done.
func (s *subscription) begin(ctx context.Context, p *pair) error {
	s.beginning.Lock()
	defer s.beginning.Unlock()
	if s.on == p {
		return nil
	}
	reply, stream, err := call(ctx, p.requests, &s.request)
	if err != nil {
		if stream != nil {
			stream.Close()
		}
		return err
	}
	s.on = p
	s.mu.Lock()
	s.stream = stream
	closed := s.closed
	s.mu.Unlock()
	if closed { // meanwhile
		return stream.Close()
	}
	go func() { // ends with the stream
		if reply.Text != "" {
			s.notice(&wire.Error{Text: reply.Text})
		}
		for reply := new(wire.Reply); wire.ReadHeader(stream, reply) == nil; reply = new(wire.Reply) {
			s.notice(&wire.Error{Errno: reply.Errno, Text: reply.Text})
		}
	}()
	return nil
}

// Close gives the port back.
func (s *subscription) Close() error {
	s.link.mu.Lock()
	delete(s.link.subscriptions, s)
	s.link.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.stream == nil {
		return nil
	}
	return s.stream.Close()
}

// resubscribe begins all subscriptions again; one that cannot is told of it, as of all that happens later.
func (l *Link) resubscribe(ctx context.Context, p *pair) {
	l.mu.Lock()
	var all []*subscription
	for s := range l.subscriptions {
		all = append(all, s)
	}
	l.mu.Unlock()
	for _, s := range all {
		var refused *wire.Error
		if errors.As(s.begin(ctx, p), &refused) {
			s.notice(refused)
		}
	}
}
