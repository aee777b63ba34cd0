package links

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/yamux"

	"mirrord/agent/wire"
)

// ErrLost is wrapped by every error of a call that failed because its session ended, on either side and for whatever reason.
var ErrLost = errors.New("the link to the agent is lost")

const (
	// headerTime limits how long the header of a new stream may take: both ends write it at once, so only a broken peer is slower.
	headerTime = 30 * time.Second
	// sweepTime is how often idle streams give back what they buffered, and sweepSize after how many bytes received besides: a thousand relays that
	// carry something one after the other would all keep it.
	sweepTime = 5 * time.Second
	sweepSize = 4 << 20
)

// fileWindow is the window of streams of the session for requests, in bytes. Files are fetched whole, so twice the relays' is worth it: 10 MiB take two
// round trips less, and 300 MiB half the time at 20 ms. 16 MiB are faster still alone, but make a stat beside a download wait longer than the round trip.
const fileWindow = 8 << 20

// SessionConfig returns how both ends run yamux; on the session for requests windows are fileWindow.
func SessionConfig() *yamux.Config {
	return &yamux.Config{
		// As many streams may wait for an answer to their SYN; the surplus waits in OpenStream.
		AcceptBacklog: 1024,
		// A dead link is noticed after at most KeepAliveInterval + ConnectionWriteTimeout. The latter also kills a single write that a
		// stalled link holds up: yamux's 10 s are shorter than a port-forward's hiccups.
		EnableKeepAlive:        true,
		KeepAliveInterval:      10 * time.Second,
		ConnectionWriteTimeout: 30 * time.Second,
		// One stream's throughput is at most window / round trip: 4 MiB is 1.6 Gbit/s at 20 ms, 256 KiB was measured at 57 Mbit/s.
		// 16 MiB brought little more and doubled the wait of everybody else.
		MaxStreamWindowSize: 4 << 20,
		// Off: it costs a goroutine per stream, and the keepalive finds the same dead peers.
		StreamOpenTimeout: 0,
		// Off: it would cut a relay that has been half closed for that long, which may be a download of hours. Both ends of ours always
		// close their side, and the session's end frees the rest.
		StreamCloseTimeout: 0,
		// yamux's own log would land in the user's terminal; what matters comes back as errors.
		Logger: log.New(io.Discard, "", 0),
	}
}

// Session is one yamux session and what the two ends agree on beyond yamux: headers, frames of bounded size, and on the bulk session connections
// that can be reset. All methods are safe for concurrent use.
type Session struct {
	mux            *yamux.Session
	wire           *joiner
	header, linger time.Duration // headerTime, lingerTime; tests are less patient

	pinging atomic.Bool // a ping is unanswered

	alive context.Context // of a bulk session: ends with it
	die   context.CancelFunc

	received atomic.Int64  // bytes read from streams of a bulk session since the last sweep
	full     chan struct{} // has one when they are sweepSize

	mu      sync.Mutex
	relays  map[uint32]*Stream // streams of a bulk session by id, for resets; nil on a session for requests
	closing bool
	late    sync.WaitGroup // streams that are still being closed
}

// NewSession starts a session over conn, which it owns from now on. Exactly one end is the client: the launcher.
func NewSession(conn net.Conn, client, bulk bool) (*Session, error) {
	start := yamux.Server
	if client {
		start = yamux.Client
	}
	settings := SessionConfig()
	if !bulk {
		settings.MaxStreamWindowSize = fileWindow
	}
	s := &Session{header: headerTime, linger: lingerTime}
	if bulk {
		s.relays = make(map[uint32]*Stream)
	}
	s.wire = &joiner{Conn: conn, closed: s.wake}
	mux, err := start(s.wire, settings)
	if err != nil {
		return nil, err
	}
	s.mux = mux
	if bulk {
		s.alive, s.die = context.WithCancel(context.Background())
		s.full = make(chan struct{}, 1)
		s.late.Go(s.sweep)
	}
	return s, nil
}

// sweep frees the receive buffers of streams that hold nothing, until the session ends: after one burst an idle relay would keep up to a window for
// as long as it lives. A busy one keeps its buffer while others fill theirs, for making them is what costs.
func (s *Session) sweep() {
	defer s.die()
	tick := time.NewTicker(sweepTime)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.shrink(true)
		case <-s.full:
			s.shrink(false)
		case <-s.Done():
			return
		}
	}
}

func (s *Session) shrink(busy bool) {
	s.received.Store(0)
	for _, stream := range s.streams() { // without the lock: a frame that trickles in holds its stream up
		if !stream.busy.Swap(false) || busy {
			stream.mux.Shrink()
		}
	}
}

// count has the buffers swept when much was received.
func (s *Session) count(n int) {
	if now := s.received.Add(int64(n)); now < sweepSize || now-int64(n) >= sweepSize {
		return // not yet, or it has been told: a second sweep right after the first would find the busy ones idle
	}
	select {
	case s.full <- struct{}{}:
	default:
	}
}

// Open starts a stream. It blocks while too many new streams are unanswered.
func (s *Session) Open(ctx context.Context) (*Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	type result struct {
		stream *yamux.Stream
		err    error
	}
	opened := make(chan result, 1)
	go func() {
		stream, err := s.mux.OpenStream()
		opened <- result{stream, err}
	}()
	select {
	case r := <-opened:
		if r.err != nil {
			return nil, fmt.Errorf("%w: %w", ErrLost, r.err)
		}
		return s.adopt(r.stream), nil
	case <-ctx.Done():
		go func() {
			if r := <-opened; r.err == nil {
				r.stream.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// Serve accepts streams, reads their requests and runs handle for each in a goroutine of its own; handle owns the stream
// and holds one of limit places until it returns. Without a free place a stream is answered with EAGAIN. Resets are dealt with here. Serve returns when the session has ended and every handle has
// returned: nil if either end closed its connection, else why the session broke.
//
// A peer that does not end its streams when they are answered is hung up on: each keeps what it has sent, even after this end has closed.
func (s *Session) Serve(limit int, handle func(*Stream, *wire.Request)) error {
	var handlers sync.WaitGroup
	defer handlers.Wait()
	slots := make(chan struct{}, limit)
	for {
		accepted, err := s.mux.AcceptStream()
		if err != nil {
			s.mux.Close()
			return ending(err)
		}
		if s.mux.NumStreams() > limit+limit/2 {
			s.mux.Close()
			return fmt.Errorf("%w: the far end left %d streams open", wire.ErrMalformed, s.mux.NumStreams())
		}
		stream := s.adopt(accepted)
		select {
		case slots <- struct{}{}:
		default:
			wire.WriteHeader(stream, &wire.Reply{Errno: "EAGAIN", Text: fmt.Sprintf("more than %d requests at once", limit)})
			stream.Close()
			continue
		}
		handlers.Go(func() {
			defer func() { <-slots }()
			var req wire.Request
			stream.SetReadDeadline(time.Now().Add(s.header))
			if wire.ReadHeader(stream, &req) != nil {
				stream.Close()
				return
			}
			stream.SetReadDeadline(time.Time{})
			if req.Op == wire.OpReset {
				s.reset(req.Stream)
				stream.Close()
				return
			}
			handle(stream, &req)
		})
	}
}

// ending tells why a session ended, nil for a closed connection, which shows in many ways.
func ending(err error) error {
	for _, closed := range []error{yamux.ErrSessionShutdown, io.EOF, io.ErrClosedPipe, net.ErrClosed, syscall.EPIPE, syscall.ECONNRESET} {
		if errors.Is(err, closed) {
			return nil
		}
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
}

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.mux.CloseChan() }

// Close ends the session with all its streams and waits until nothing of it is left.
func (s *Session) Close() error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	err := s.mux.Close()
	s.late.Wait()
	return err
}

// adopt makes a Stream of a new stream; on a bulk session it is known for resets before its first byte is sent or read.
func (s *Session) adopt(mux *yamux.Stream) *Stream {
	stream := &Stream{mux: mux, session: s}
	if s.relays != nil {
		stream.alive, stream.die = context.WithCancel(s.alive)
		s.mu.Lock()
		s.relays[mux.StreamID()] = stream
		s.mu.Unlock()
	}
	return stream
}

func (s *Session) forget(stream *Stream) {
	if s.relays == nil {
		return
	}
	stream.die()
	s.mu.Lock()
	delete(s.relays, stream.mux.StreamID())
	s.mu.Unlock()
}

// reset is the peer's wish that a stream ends at once; an unknown one has ended by itself.
func (s *Session) reset(id uint32) {
	s.mu.Lock()
	stream := s.relays[id]
	s.mu.Unlock()
	if stream != nil {
		stream.wasReset()
	}
}

// sendReset asks the peer to end a stream at once and returns when it has, or when the session has ended.
func (s *Session) sendReset(id uint32) {
	mux, err := s.mux.OpenStream()
	if err != nil {
		return
	}
	stream := s.adopt(mux) // for wake
	defer s.forget(stream)
	defer mux.Close()
	if wire.WriteHeader(stream, &wire.Request{Op: wire.OpReset, Stream: id}) == nil {
		io.Copy(io.Discard, stream)
	}
}

// later runs f, which ends soon after the session at the latest, unless the session is closing already.
func (s *Session) later(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		s.late.Go(f)
	}
}

// joinSize is up to how many bytes a body is copied behind its header; a longer one is sent from where it is.
const joinSize = 4 << 10

// wake ends all waiting on relays, when the session has ended but none of its streams: until yamux has come to a stream, who waits on it would ask it again and
// again, and a thousand of those keep yamux from getting there.
func (s *Session) wake() {
	for _, stream := range s.streams() {
		stream.mux.SetDeadline(past)
	}
}

// streams are those of a bulk session.
func (s *Session) streams() []*Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.relays))
}

// joiner sends yamux's two writes of a data frame, header and body, as one: half the system calls. Only yamux's sending goroutine writes.
type joiner struct {
	net.Conn
	closed func()                      // told before Conn is closed
	frame  [headerSize + joinSize]byte // a header whose body is the next write, and room for that
	held   bool
	reads  atomic.Uint64 // those that brought something
}

func (j *joiner) Read(p []byte) (int, error) {
	n, err := j.Conn.Read(p)
	if n > 0 {
		j.reads.Add(1)
	}
	return n, err
}

const headerSize = 12 // of a yamux frame

// Close is how every end of a session begins.
func (j *joiner) Close() error {
	j.closed()
	return j.Conn.Close()
}

func (j *joiner) Write(p []byte) (int, error) {
	if j.held {
		j.held = false
		if len(p) <= joinSize {
			n, err := j.Conn.Write(j.frame[:headerSize+copy(j.frame[headerSize:], p)])
			return max(0, n-headerSize), err
		}
		parts := net.Buffers{j.frame[:headerSize], p}
		n, err := parts.WriteTo(j.Conn)
		return max(0, int(n)-headerSize), err
	}
	const typeData = 0 // byte 1 of a header; bytes 8 to 11 are the body's length (yamux's spec.md)
	if len(p) == headerSize && p[1] == typeData && binary.BigEndian.Uint32(p[8:]) > 0 {
		copy(j.frame[:], p)
		j.held = true
		return len(p), nil
	}
	return j.Conn.Write(p)
}
