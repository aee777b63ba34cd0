package wire

import (
	"cmp"
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Redial is how a lost link is made anew. While that is tried, calls wait; what was under way on the old link is lost, except questions, which are asked again.
type Redial struct {
	Dial     func(ctx context.Context) (requests, bulk net.Conn, err error)
	Patience time.Duration // how long it is tried: the agent's lease
	// Changed is told that the link was lost, with why it could not be made anew so far (nil at first), and that it is there again. It may be nil.
	Changed func(up bool, err error)
}

// redialPause is between two attempts.
const redialPause = 250 * time.Millisecond

// pair is the two sessions of a link, until one of them is lost.
type pair struct {
	requests, bulk *Session
	agent          Hello
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
	p.serving.Go(func() { p.requests.Serve(1, func(s *Stream, _ *Request) { s.Close() }) }) // nothing an agent could ask
	p.serving.Go(func() {
		select {
		case <-p.requests.Done():
		case <-p.bulk.Done():
		}
		lose()
		p.requests.Close()
		p.bulk.Close()
	})
	ctx, cancel := context.WithTimeout(ctx, helloTime)
	defer cancel()
	var greeting sync.WaitGroup
	var bulkErr error
	greeting.Go(func() { _, bulkErr = hello(ctx, p.bulk, Hello{Version: Version, Session: l.session, Bulk: true}) })
	p.agent, err = hello(ctx, p.requests, Hello{Version: Version, Session: l.session})
	greeting.Wait()
	if err = cmp.Or(err, bulkErr); err != nil {
		p.close()
		return nil, err
	}
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
	tell := func(up bool, err error) {
		if l.redial.Changed != nil && l.closing.Err() == nil {
			l.redial.Changed(up, err)
		}
	}
	tell(false, nil)
	for {
		requests, bulk, err := l.redial.Dial(ctx)
		if err == nil {
			var p *pair
			if p, err = l.newPair(ctx, requests, bulk); err == nil {
				l.resubscribe(ctx, p)
				tell(true, nil)
				return p
			}
		}
		tell(false, err)
		select {
		case <-time.After(redialPause):
		case <-ctx.Done():
			return nil
		}
	}
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
			return nil, ErrLinkLost
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// request asks a question; one that a lost link leaves without an answer is asked again on the next one. Only questions may be: they change nothing.
func (l *Link) request(ctx context.Context, req *Request) (reply *Reply, stream *Stream, err error) {
	var p *pair
	for {
		if p, err = l.wait(ctx, p); err != nil {
			return nil, nil, err
		}
		if reply, stream, err = call(ctx, p.requests, req); !errors.Is(err, ErrLinkLost) || l.redial == nil || req.Op == OpGoodbye {
			return reply, stream, err
		}
	}
}

// subscription is one of Subscribe's, on whatever pair the link has.
type subscription struct {
	link    *Link
	request Request
	notice  func(*Error)

	mu     sync.Mutex
	stream *Stream
	closed bool
}

// begin subscribes on a pair.
func (s *subscription) begin(ctx context.Context, p *pair) error {
	_, stream, err := call(ctx, p.requests, &s.request)
	if err != nil {
		if stream != nil {
			stream.Close()
		}
		return err
	}
	s.mu.Lock()
	s.stream = stream
	closed := s.closed
	s.mu.Unlock()
	if closed { // meanwhile
		return stream.Close()
	}
	s.link.mu.Lock()
	s.link.subscriptions[s] = struct{}{}
	s.link.mu.Unlock()
	go func() { // ends with the stream
		for reply := new(Reply); ReadHeader(stream, reply) == nil; reply = new(Reply) {
			s.notice(&Error{Errno: reply.Errno, Text: reply.Text})
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
		var refused *Error
		if errors.As(s.begin(ctx, p), &refused) {
			s.notice(refused)
		}
	}
}
