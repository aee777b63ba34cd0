// Package serve is the agent's end of a link: it answers what a launcher asks about one target.
package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"mirrord/agent/files"
	"mirrord/agent/incoming"
	"mirrord/agent/links"
	"mirrord/agent/names"
	"mirrord/agent/outgoing"
	"mirrord/agent/target"
	"mirrord/agent/wire"
)

// Serve answers one launcher over the two connections of a link, which it owns from now on, until the launcher hangs up, a connection breaks or
// ctx ends; then it returns with everything it opened closed. The target stays open. The error is ErrGoodbye if the launcher has said so, and nil after a
// hang-up without a word or ctx's end.
func Serve(ctx context.Context, requests, bulk net.Conn, t target.Target) error {
	s := &server{target: t}
	var err error
	if s.requests, err = links.NewSession(requests, false, false); err != nil {
		return errors.Join(err, requests.Close(), bulk.Close())
	}
	if s.bulk, err = links.NewSession(bulk, false, true); err != nil {
		return errors.Join(err, s.requests.Close(), bulk.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	var errs [2]error
	var running sync.WaitGroup
	running.Go(func() {
		errs[0] = s.requests.Serve(links.MaxRequests, func(stream *links.Stream, req *wire.Request) { s.request(ctx, stream, req) })
	})
	running.Go(func() {
		errs[1] = s.bulk.Serve(links.MaxRelays, func(stream *links.Stream, req *wire.Request) { s.relay(ctx, stream, req) })
	})
	select { // one lost session is a lost link
	case <-s.requests.Done():
	case <-s.bulk.Done():
	case <-ctx.Done():
	}
	cancel()
	s.requests.Close()
	s.bulk.Close()
	running.Wait()
	if s.goodbye.Load() {
		return ErrGoodbye
	}
	return errors.Join(errs[:]...)
}

// hangUpTime is how long a launcher that said goodbye may take to hang up: a port-forward may not pass that on.
const hangUpTime = time.Second

// ErrGoodbye says that the launcher needs the agent no more.
var ErrGoodbye = errors.New("the launcher said goodbye")

// server is one link. Nothing is answered on a session before its hello, and both hellos must name the same launcher's session.
type server struct {
	target         target.Target
	requests, bulk *links.Session
	greeted        [2]atomic.Bool // requests, bulk
	goodbye        atomic.Bool

	mu      sync.Mutex
	session *string // of the first hello
	name    string  // the launcher's user
}

func (s *server) user() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.name
}

// request answers a stream of the session for requests, and relay one of the bulk session.
func (s *server) request(ctx context.Context, stream *links.Stream, req *wire.Request) {
	defer stream.Close()
	var reply *wire.Reply
	var err error
	switch {
	case req.Op == wire.OpHello:
		reply, err = s.hello(req, false)
	case !s.greeted[0].Load():
		err = errNoHello
	default:
		reply, err = s.answer(ctx, stream, req)
	}
	respond(ctx, stream, reply, err)
}

func (s *server) relay(ctx context.Context, stream *links.Stream, req *wire.Request) {
	defer stream.Close()
	var reply *wire.Reply
	var err error
	switch {
	case req.Op == wire.OpHello:
		reply, err = s.hello(req, true)
	case !s.greeted[1].Load():
		err = errNoHello
	case req.Op == wire.OpConnect && req.Datagram:
		err = outgoing.Datagrams(ctx, s.target, stream, req)
	case req.Op == wire.OpConnect && req.Path != "":
		err = outgoing.Unix(ctx, s.target, stream, req)
	case req.Op == wire.OpConnect:
		err = outgoing.Connect(ctx, s.target, stream, req)
	case req.Op == wire.OpFile:
		if err = s.unseen(); err == nil {
			err = files.Keep(ctx, s.target.Root(), stream, req)
		}
	default:
		err = errUnknown(req.Op)
	}
	respond(ctx, stream, reply, err)
}

// answer does what a request asks for. A nil reply without an error means that the stream has had its answer.
func (s *server) answer(ctx context.Context, stream *links.Stream, req *wire.Request) (*wire.Reply, error) {
	switch req.Op {
	case wire.OpEnv:
		if err := s.gone(); err != nil {
			return nil, err
		}
	case wire.OpOpen, wire.OpStat, wire.OpAccess, wire.OpReadlink, wire.OpRealpath, wire.OpStatfs, wire.OpChange:
		if err := s.unseen(); err != nil {
			return nil, err
		}
	}
	switch req.Op {
	case wire.OpEnv:
		env, err := s.target.Env()
		return &wire.Reply{Env: env}, err
	case wire.OpOpen:
		err := files.Open(ctx, s.target.Root(), stream, req)
		if text := s.made(req, err); text != "" {
			return nil, sendMade(stream, text)
		}
		return nil, err
	case wire.OpStat, wire.OpAccess, wire.OpReadlink, wire.OpRealpath, wire.OpStatfs:
		reply, err := files.Do(s.target.Root(), req)
		if text := s.made(req, err); text != "" {
			return answerMade(req, text)
		}
		return reply, err
	case wire.OpChange:
		return &wire.Reply{}, files.Change(s.target.Root(), req)
	case wire.OpLookup, wire.OpReverse:
		ctx, stop := stream.Watch(ctx)
		defer stop()
		if req.Op == wire.OpReverse {
			return names.Reverse(ctx, s.target, req)
		}
		return names.Lookup(ctx, s.target, req)
	case wire.OpGoodbye:
		s.goodbye.Store(true)
		time.AfterFunc(hangUpTime, func() { s.requests.Close() })
		return &wire.Reply{}, nil
	case wire.OpSubscribe:
		return nil, incoming.Subscribe(ctx, s.target, s.user(), s.requests, s.bulk, stream, req)
	default:
		return nil, errUnknown(req.Op)
	}
}

// gone is an error when the target has ended, and unseen also when its files may not be seen.
func (s *server) gone() error {
	if mortal, ok := s.target.(target.Mortal); ok {
		if err := mortal.Gone(); err != nil {
			return &wire.Error{Errno: "EIO", Text: err.Error()}
		}
	}
	return nil
}

func (s *server) unseen() error {
	if err := s.gone(); err != nil {
		return err
	}
	if lacking, ok := s.target.(target.Lacking); ok {
		if why := lacking.Lacks()["files"]; why != "" {
			return &wire.Error{Errno: "EACCES", Text: why}
		}
	}
	return nil
}

var errNoHello = &wire.Error{Errno: "EPROTO", Text: "the first request of a session must be its hello"}

func errUnknown(op wire.Op) error {
	return &wire.Error{Errno: "ENOSYS", Text: fmt.Sprintf("this agent has no operation %d here", op)}
}

// hello answers with the agent's hello, also to a launcher with another version: its message for people needs ours.
func (s *server) hello(req *wire.Request, bulk bool) (*wire.Reply, error) {
	if req.Hello == nil || req.Hello.Bulk != bulk {
		return nil, &wire.Error{Errno: "EPROTO", Text: "a hello that does not belong to this session"}
	}
	mine := &wire.Hello{Version: wire.Version, Bulk: bulk, Session: req.Hello.Session,
		Capabilities: s.target.Capabilities(), Name: s.target.Name(), Hostname: s.target.Hostname()}
	if req.Hello.Version != wire.Version {
		return &wire.Reply{Errno: "EPROTONOSUPPORT", Text: fmt.Sprintf("the agent speaks version %d", wire.Version), Hello: mine}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == nil {
		s.session, s.name = &req.Hello.Session, req.Hello.User
	}
	if *s.session != req.Hello.Session {
		return nil, &wire.Error{Errno: "EPROTO", Text: "the two sessions of a link belong to different launchers"}
	}
	if bulk {
		s.greeted[1].Store(true)
	} else {
		s.greeted[0].Store(true)
	}
	return &wire.Reply{Hello: mine}, nil
}

// respond sends a reply or an error, if there is one of them. An answer that cannot be sent is nobody's loss: the launcher is gone, or it is too
// large, which is an answer too. When the link ends (ctx), what failed for that reason must not look like the target's own answer.
func respond(ctx context.Context, stream *links.Stream, reply *wire.Reply, err error) {
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		var known *wire.Error
		if !errors.As(err, &known) {
			known = &wire.Error{Errno: wire.ErrnoName(err), Text: err.Error()}
		}
		reply = &wire.Reply{Errno: known.Errno, Text: known.Text}
	}
	if reply == nil {
		return
	}
	var tooLarge *wire.Error
	if errors.As(wire.WriteHeader(stream, reply), &tooLarge) {
		wire.WriteHeader(stream, &wire.Reply{Errno: tooLarge.Errno, Text: tooLarge.Text})
	}
}
