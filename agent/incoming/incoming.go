// Package incoming gives the connections that reach a port of the target to the launcher, or copies of them.
package incoming

import (
	"context"
	"io"
	"sync"
	"syscall"
	"time"

	"mirrord/agent/links"
	"mirrord/agent/target"
	"mirrord/agent/wire"
)

// Variables for tests.
var (
	// answerTime limits how long the launcher may think about a connection before the target's own program gets it.
	answerTime = 10 * time.Second
	// beat is how often the launcher is asked for a sign of life.
	beat = 500 * time.Millisecond
)

// patience is for how many beats a launcher may be silent: then it is offered nothing, and what it was offered is taken back, until it is heard of again.
const patience = 2

// drainTime limits how long what came before a connection broke is still sent to its mirror.
const drainTime = 5 * time.Second

// subscription is one OpSubscribe while it is open, and after that while its connections are.
type subscription struct {
	ctx    context.Context // the link's
	bulk   *links.Session
	port   uint16
	relays sync.WaitGroup // and connections that the launcher thinks about: it may have accepted before it unsubscribed

	mu      sync.Mutex
	closed  bool            // guards relays.Add against Wait
	heard   context.Context // while the launcher is heard of
	silence context.CancelFunc

	writing sync.Mutex
	stream  *links.Stream
	noticed bool
}

// Subscribe answers OpSubscribe on the stream, of the session for requests, and offers the port's connections (or copies) on the bulk session until
// the launcher closes the stream or ctx ends. Only a launcher that answers is offered connections. It returns when no relay is left, so that connections
// outlive their subscription but not the link. An error is one that was not answered yet; it carries an errno. user is the launcher's.
func Subscribe(ctx context.Context, t target.Target, user string, requests, bulk *links.Session, stream *links.Stream, req *wire.Request) error {
	s := &subscription{ctx: ctx, bulk: bulk, port: req.Port, stream: stream}
	s.listen(true)
	defer s.listen(false) // when nothing is on offer any more
	defer s.relays.Wait()
	watched, stop := context.WithCancel(ctx)
	defer stop()
	if req.Steal { // connections may come before the reply has left
		s.relays.Go(func() { links.Pulse(watched, beat, patience, s.listen, requests, bulk) })
	}
	s.writing.Lock() // a notice comes after the reply
	var taken io.Closer
	var err error
	if req.Steal {
		taken, err = t.Steal(req.Port, user, s.take)
	} else {
		taken, err = t.Mirror(req.Port, user, s.see)
	}
	if err != nil {
		s.writing.Unlock()
		return err
	}
	reply := new(wire.Reply)
	if observant, ok := t.(target.Observant); ok {
		reply.Text = observant.Unserved(req.Port, req.Steal)
	}
	err = wire.WriteHeader(stream, reply)
	s.writing.Unlock()
	if err == nil {
		defer context.AfterFunc(ctx, func() { stream.SetReadDeadline(time.Unix(1, 0)) })()
		io.Copy(io.Discard, stream)
	}
	taken.Close()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	return nil
}

// listen notes whether the launcher is heard of.
func (s *subscription) listen(heard bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silence != nil {
		s.silence()
	}
	s.heard, s.silence = context.WithCancel(s.ctx)
	if !heard {
		s.silence()
	}
}

// begin counts a connection, unless the subscription is over.
func (s *subscription) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.relays.Add(1)
	}
	return !s.closed
}

// take offers a connection that is to be stolen.
func (s *subscription) take(in target.Incoming) bool {
	if !s.begin() {
		return false
	}
	first := peek(in.Conn)
	out := s.offer(in, first)
	if out == nil {
		s.relays.Done()
		return false
	}
	go func() {
		defer s.relays.Done()
		defer context.AfterFunc(s.ctx, func() { links.Refuse(in.Conn) })()
		if drop(in.Conn, first) {
			links.Pipe(out, in.Conn)
		} else {
			links.Refuse(out)
			links.Refuse(in.Conn)
		}
	}()
	return true
}

// see offers a copy of a connection that is mirrored.
func (s *subscription) see(c *target.Copy) {
	if !s.begin() {
		c.Close()
		return
	}
	go func() {
		defer s.relays.Done()
		defer context.AfterFunc(s.ctx, func() { c.Close() })()
		if out := s.offer(target.Incoming{Local: c.Local, Remote: c.Remote}, nil); out != nil {
			s.play(out, c)
		}
		c.Close()
	}()
}

// play sends a copy to the launcher. What comes back goes nowhere; a reset is the program's wish to see no more.
func (s *subscription) play(out *links.Stream, c *target.Copy) {
	answers := make(chan struct{})
	go func() {
		defer close(answers)
		if _, err := io.Copy(io.Discard, out); err != nil {
			c.Close()
		}
	}()
	// A launcher that does not read would keep us writing.
	defer context.AfterFunc(c.Broken(), func() {
		limit := time.Now()
		if context.Cause(c.Broken()) != syscall.ENOBUFS {
			limit = limit.Add(drainTime)
		}
		out.SetWriteDeadline(limit)
	})()
	for {
		p, err := c.Next()
		if err == nil {
			if _, err = out.Write(p); err == nil {
				continue
			}
		}
		if err == io.EOF {
			out.CloseWrite()
			<-answers
			out.Close()
			return
		}
		if cause := context.Cause(c.Broken()); cause == syscall.ENOBUFS {
			s.notice(cause)
		}
		links.Refuse(out)
		<-answers
		return
	}
}

// notice tells the launcher, once, that a copy was cut.
func (s *subscription) notice(err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if !s.noticed {
		s.noticed = true
		wire.WriteHeader(s.stream, &wire.Reply{Errno: wire.ErrnoName(err), Text: "a copy was cut: the mirror is too slow for it"})
	}
}

// offer asks the launcher to take a connection that begins with first, and returns the stream that carries it, or nil.
func (s *subscription) offer(in target.Incoming, first []byte) *links.Stream {
	s.mu.Lock()
	heard := s.heard
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(heard, answerTime)
	defer cancel()
	stream, err := s.bulk.Open(ctx)
	if err != nil {
		return nil
	}
	wake := context.AfterFunc(ctx, func() { stream.SetDeadline(time.Unix(1, 0)) })
	var reply wire.Reply
	err = wire.WriteHeader(stream, &wire.Request{Op: wire.OpIncoming, Port: s.port, Local: in.Local, Remote: in.Remote, Early: uint32(len(first))})
	if err == nil {
		_, err = stream.Write(first)
	}
	if err == nil {
		err = wire.ReadHeader(stream, &reply)
	}
	if !wake() || err != nil || reply.Errno != "" {
		// A launcher that answers too late must not take a connection that is somebody else's by then.
		links.Refuse(stream)
		return nil
	}
	return stream
}
