// Package links is the connection between the launcher's broker and the agent. A link is two yamux sessions, each over a connection of its own: one for requests and
// files, one for relayed connections ("bulk"), so that a stat never waits behind a download. It tells when the far end is gone, is made anew after a cut, and relays.
package links

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"mirrord/agent/wire"
)

const (
	// helloTime limits the exchange of hellos on a new link.
	helloTime = 15 * time.Second
	// maxCalls bounds the requests that a launcher has under way at once; more wait. An agent answers at least MaxRequests, of which the rest is
	// for subscriptions.
	maxCalls = MaxRequests / 2
	// MaxRequests is how many streams of the session for requests an agent serves at once.
	MaxRequests = 256
	// MaxRelays is how many streams of the bulk session either end serves at once.
	MaxRelays = 16384
)

// Link is the launcher's end: both sessions to one agent. All methods are safe for concurrent use. Whatever fails because the link is gone
// wraps ErrLost; one lost session ends the other too. A link that can be made anew (Redial) is gone only when that fails.
type Link struct {
	session  string
	user     string
	redial   *Redial    // nil: a lost link is gone
	agent    wire.Hello // of the first pair
	slots    chan struct{}
	incoming chan incoming
	done     chan struct{}
	reason   error           // wraps ErrLost; written before done is closed
	closing  context.Context // ends with Close
	close    context.CancelFunc
	running  sync.WaitGroup

	mu            sync.Mutex
	pair          *pair         // nil while there is none
	changed       chan struct{} // closed, and replaced, with every change of pair
	subscriptions map[*subscription]struct{}
}

// New says hello on both connections, which it owns from now on, even when it fails. ctx limits the hellos only. session is the launcher's id of
// this session, any text.
func New(ctx context.Context, requests, bulk net.Conn, session string) (*Link, error) {
	return NewLasting(ctx, requests, bulk, session, "", nil)
}

// NewLasting is New for a link that is made anew when it is lost; user is who has the session, for people (Hello.User). redial may be nil.
func NewLasting(ctx context.Context, requests, bulk net.Conn, session, user string, redial *Redial) (*Link, error) {
	l := &Link{session: session, user: user, redial: redial, slots: make(chan struct{}, maxCalls), incoming: make(chan incoming), done: make(chan struct{}), reason: ErrLost,
		changed: make(chan struct{}), subscriptions: make(map[*subscription]struct{})}
	l.closing, l.close = context.WithCancel(context.Background())
	first, err := l.newPair(ctx, requests, bulk)
	if err != nil {
		l.close()
		return nil, err
	}
	l.agent, l.pair = first.agent, first
	l.running.Go(func() { l.keep(first) })
	return l, nil
}

func hello(ctx context.Context, s *Session, mine wire.Hello) (wire.Hello, error) {
	reply, stream, err := call(ctx, s, &wire.Request{Op: wire.OpHello, Hello: &mine})
	if stream != nil {
		stream.Close()
	}
	switch {
	case reply != nil && reply.Hello != nil && reply.Hello.Version != wire.Version:
		return wire.Hello{}, fmt.Errorf("the agent speaks version %d of the protocol, this mirrord version %d\nhint: use a mirrord and an agent of the same release",
			reply.Hello.Version, wire.Version)
	case err != nil:
		return wire.Hello{}, fmt.Errorf("the agent did not say hello: %w", err)
	case reply.Hello == nil:
		return wire.Hello{}, fmt.Errorf("the agent did not say hello: %w: a reply without it", wire.ErrMalformed)
	}
	return *reply.Hello, nil
}

// call opens a stream, sends req and reads the reply. The stream is nil when there was an error that is not an *Error, and else the caller's to
// close. An ended ctx ends the call.
func call(ctx context.Context, s *Session, req *wire.Request) (*wire.Reply, *Stream, error) {
	stream, err := s.Open(ctx)
	if err != nil {
		return nil, nil, err
	}
	wake := context.AfterFunc(ctx, func() { stream.SetDeadline(past) })
	reply := new(wire.Reply)
	err = wire.WriteHeader(stream, req)
	if err == nil {
		err = wire.ReadHeader(stream, reply)
	}
	if !wake() {
		err = ctx.Err()
	}
	var unsent *wire.Error
	switch {
	case err == nil:
		return reply, stream, reply.Err()
	case ctx.Err() != nil, errors.Is(err, ErrLost), errors.As(err, &unsent):
	default:
		// An agent that breaks the protocol is not one to go on with.
		err = fmt.Errorf("%w: no proper answer: %w", ErrLost, err)
		s.mux.Close()
	}
	stream.Close()
	return nil, nil, err
}

// Agent returns the agent's hello.
func (l *Link) Agent() wire.Hello { return l.agent }

// Do makes a request that is answered without a body. The error is an *Error with the errno's name, ctx's, or one that wraps ErrLost.
func (l *Link) Do(ctx context.Context, req *wire.Request) (*wire.Reply, error) {
	reply, body, err := l.Open(ctx, req)
	if body != nil {
		body.Close()
	}
	return reply, err
}

// Open makes an OpOpen request. The body is nil if there was an error (see Do), else the caller closes it, read to the end or not; ctx is no longer
// looked at. Reads of the body fail as NewBodyReader says, or with ErrLost.
func (l *Link) Open(ctx context.Context, req *wire.Request) (*wire.Reply, io.ReadCloser, error) {
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	case <-l.done:
		return nil, nil, ErrLost
	}
	reply, stream, err := l.request(ctx, req)
	if err != nil {
		if stream != nil {
			stream.Close()
		}
		<-l.slots
		return nil, nil, err
	}
	return reply, &body{Reader: wire.NewBodyReader(stream), stream: stream, slots: l.slots}, nil
}

type body struct {
	io.Reader
	stream *Stream
	slots  <-chan struct{}
	once   sync.Once
}

func (b *body) Close() error {
	b.once.Do(func() {
		b.stream.Close()
		<-b.slots
	})
	return nil
}

// Connect makes a TCP connection from the target. The reply carries both ends as the target sees them, which are also the connection's addresses.
// Errors are Do's; the connection is a *Stream.
func (l *Link) Connect(ctx context.Context, addr netip.AddrPort) (*wire.Reply, Conn, error) {
	return l.connect(ctx, &wire.Request{Op: wire.OpConnect, Addr: addr})
}

// ConnectDatagrams connects a UDP socket in the target. It is like Connect, but the connection carries datagrams: see Datagram and ReadDatagram.
func (l *Link) ConnectDatagrams(ctx context.Context, addr netip.AddrPort) (*wire.Reply, Conn, error) {
	return l.connect(ctx, &wire.Request{Op: wire.OpConnect, Addr: addr, Datagram: true})
}

// ConnectUnix connects to a stream socket of the target by its path, or by "@" and its abstract name. With wait it waits for room in the listener's queue.
// Errors are Do's.
func (l *Link) ConnectUnix(ctx context.Context, name string, wait bool) (Conn, error) {
	_, conn, err := l.connect(ctx, &wire.Request{Op: wire.OpConnect, Path: name, NoWait: !wait})
	return conn, err
}

// OpenFile makes an OpFile request; the stream, which the caller closes, then carries a FileRequest and the FileReply to it, in any order. What may be asked twice
// (neither creates nor truncates) waits for a lost link to be made anew. Errors are Do's.
func (l *Link) OpenFile(ctx context.Context, req *wire.Request) (*wire.Reply, *Stream, error) {
	again := l.redial != nil && req.Flags&(wire.OpenCreate|wire.OpenTruncate) == 0
	var p *pair
	for {
		var err error
		if p, err = l.wait(ctx, p); err != nil {
			return nil, nil, err
		}
		reply, stream, err := call(ctx, p.bulk, req)
		switch {
		case err == nil:
			return reply, stream, nil
		case stream != nil:
			stream.Close()
		}
		if !again || !errors.Is(err, ErrLost) {
			return nil, nil, err
		}
	}
}

func (l *Link) connect(ctx context.Context, req *wire.Request) (*wire.Reply, Conn, error) {
	p, err := l.wait(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	reply, stream, err := call(ctx, p.bulk, req)
	if err != nil {
		if stream != nil {
			stream.Close()
		}
		return nil, nil, err
	}
	stream.SetAddrs(reply.Local, reply.Remote)
	return reply, stream, nil
}

// Subscribe asks for the connections that reach the target's port, or for copies of them; they come out of AcceptIncoming until the returned Closer is
// closed. Errors are Do's: EADDRINUSE when somebody else has the port, EADDRNOTAVAIL when the target has no such port, ESRCH when it has no program
// there that could be mirrored. notice is called, from another goroutine, for what the agent says about the subscription: no errno when it doubts that
// connections will come, ENOBUFS when a copy was cut, one of the others when a new link has no subscription.
func (l *Link) Subscribe(ctx context.Context, port uint16, steal bool, notice func(*wire.Error)) (io.Closer, error) {
	s := &subscription{link: l, request: wire.Request{Op: wire.OpSubscribe, Port: port, Steal: steal}, notice: notice}
	// It is known before it is begun, so that a link which is made anew meanwhile has it too.
	l.mu.Lock()
	l.subscriptions[s] = struct{}{}
	l.mu.Unlock()
	var p *pair
	for {
		var err error
		if p, err = l.wait(ctx, p); err == nil {
			err = s.begin(ctx, p)
		}
		switch {
		case err == nil:
			return s, nil
		case p == nil || l.redial == nil || !errors.Is(err, ErrLost):
			s.Close()
			return nil, err
		}
	}
}

// IncomingConn is a connection to a subscribed port of the target, with both ends' addresses as the target sees them, whose first bytes were Early. Accept or Refuse must be
// called once before anything else; after Accept it is a connection, which its owner closes.
type IncomingConn struct {
	*Stream
	// Early has arrived with the offer. Who accepts the connection uses it before what is read; who refuses does not: the agent has kept it.
	Early []byte
}

// Accept takes the connection.
func (c *IncomingConn) Accept() error { return wire.WriteHeader(c.Stream, &wire.Reply{}) }

// Refuse gives the connection back, the agent passes it to the target's own program, and closes it here.
func (c *IncomingConn) Refuse(errno string) error {
	return errors.Join(wire.WriteHeader(c.Stream, &wire.Reply{Errno: errno}), c.Close())
}

// AcceptIncoming waits for the next connection to a subscribed port; the request carries Port, Local and Remote. It fails only when the link is lost,
// and says why, as far as that is known.
func (l *Link) AcceptIncoming() (*wire.Request, *IncomingConn, error) {
	select {
	case in := <-l.incoming:
		return in.req, in.conn, nil
	case <-l.done:
		return nil, nil, l.reason
	}
}

type incoming struct {
	req  *wire.Request
	conn *IncomingConn
}

// accept takes a stream that the agent opened.
func (l *Link) accept(stream *Stream, req *wire.Request) {
	if req.Op != wire.OpIncoming {
		wire.WriteHeader(stream, &wire.Reply{Errno: "ENOSYS", Text: fmt.Sprintf("a launcher has no operation %d", req.Op)})
		stream.Close()
		return
	}
	stream.SetAddrs(req.Local, req.Remote)
	conn := &IncomingConn{Stream: stream}
	if req.Early > 0 {
		conn.Early = make([]byte, min(req.Early, wire.MaxEarly))
		if _, err := io.ReadFull(stream, conn.Early); err != nil || req.Early > wire.MaxEarly {
			Refuse(stream)
			return
		}
	}
	select {
	case l.incoming <- incoming{req, conn}:
	case <-stream.life().Done(): // the session has ended too
		stream.Close()
	case <-l.done:
		stream.Close()
	}
}

// goodbyeTime limits how long a goodbye waits for its answer.
const goodbyeTime = 2 * time.Second

// Goodbye says that the link will be closed because it is not needed any more: an agent that runs for this launcher alone does not wait for it to come back.
// It is not an error that the link is lost.
func (l *Link) Goodbye() error {
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeTime)
	defer cancel()
	if _, err := l.Do(ctx, &wire.Request{Op: wire.OpGoodbye}); !errors.Is(err, ErrLost) {
		return err
	}
	return nil
}

// Done is closed when the link is lost for good, or closed.
func (l *Link) Done() <-chan struct{} { return l.done }

// Close ends both sessions and everything on them, and returns when nothing is left.
func (l *Link) Close() error {
	l.close()
	l.running.Wait()
	return nil
}
