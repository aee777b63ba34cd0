package links

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"mirrord/agent/wire"
)

// sessions returns the two ends of a session; handle runs at the far one. Both are closed at the end of the test.
func sessions(t *testing.T, bulk bool, limit int, handle func(*Stream, *wire.Request)) (near, far *Session) {
	t.Helper()
	a, b := net.Pipe()
	near, err := NewSession(a, true, bulk)
	if err != nil {
		t.Fatal(err)
	}
	if far, err = NewSession(b, false, bulk); err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { far.Serve(limit, handle) })
	serving.Go(func() { near.Serve(limit, func(s *Stream, _ *wire.Request) { s.Close() }) })
	t.Cleanup(func() {
		near.Close()
		far.Close()
		serving.Wait()
	})
	return near, far
}

// streams returns the two ends of one stream of a bulk session.
func streams(t *testing.T) (near, far *Stream) {
	t.Helper()
	accepted := make(chan *Stream)
	s, _ := sessions(t, true, MaxRelays, func(s *Stream, _ *wire.Request) { accepted <- s })
	return open(t, s), <-accepted
}

// open starts a stream with a request.
func open(t *testing.T, s *Session) *Stream {
	t.Helper()
	stream, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := wire.WriteHeader(stream, &wire.Request{Op: wire.OpConnect}); err != nil {
		t.Fatal(err)
	}
	return stream
}

// readAll reads to the end and returns how many bytes came.
func readAll(s io.Reader) (int64, error) { return io.Copy(io.Discard, s) }

func TestHalfClose(t *testing.T) {
	if SessionConfig().StreamCloseTimeout != 0 {
		t.Error("yamux would cut a relay that is half closed for that long")
	}
	near, far := streams(t)
	near.Write([]byte("question"))
	near.CloseWrite()
	if got, err := io.ReadAll(far); string(got) != "question" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	if _, err := near.Write([]byte("x")); err != syscall.EPIPE {
		t.Errorf("writing after CloseWrite: %v", err)
	}
	if _, err := far.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	far.CloseWrite()
	if got, err := io.ReadAll(near); string(got) != "answer" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	near.Close()
	if _, err := near.Read(make([]byte, 1)); err != net.ErrClosed {
		t.Errorf("reading after Close: %v", err)
	}
}

// A file up to fileWindow is sent without waiting for its reader.
func TestFileWindow(t *testing.T) {
	accepted := make(chan *Stream)
	s, _ := sessions(t, false, MaxRequests, func(s *Stream, _ *wire.Request) { accepted <- s })
	near := open(t, s)
	far := <-accepted
	far.SetWriteDeadline(time.Now().Add(20 * time.Second))
	if n, err := far.Write(make([]byte, fileWindow)); n != fileWindow || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	near.Close()
	far.Close()
}

// What was sent before a reset arrives; then there is the reset and never a clean end.
func TestReset(t *testing.T) {
	accepted := make(chan *Stream)
	s, _ := sessions(t, true, MaxRelays, func(s *Stream, _ *wire.Request) { accepted <- s })
	for range 200 {
		near := open(t, s)
		far := <-accepted
		near.Write([]byte("hello"))
		near.SetLinger(0)
		near.Close()
		if n, err := readAll(far); n != 5 || err != syscall.ECONNRESET {
			t.Fatalf("the far end read %d bytes, then %v", n, err)
		}
		if _, err := far.Write([]byte("x")); err != syscall.ECONNRESET {
			t.Fatalf("the far end writes: %v", err)
		}
		far.Close()
	}
}

func TestResetWakesBlockedWriter(t *testing.T) {
	near, far := streams(t)
	failed := make(chan error)
	go func() {
		_, err := far.Write(make([]byte, 64<<20)) // more than any window
		failed <- err
	}()
	near.Read(make([]byte, 1))
	near.SetLinger(0)
	near.Close()
	if err := <-failed; err != syscall.ECONNRESET {
		t.Errorf("got %v", err)
	}
}

// Close lets what was written arrive, as with a socket.
func TestCloseDelivers(t *testing.T) {
	near, far := streams(t)
	const size = 3 << 20
	near.Write(make([]byte, size))
	near.Close()
	if n, err := readAll(far); n != size || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	far.Close()
}

// After Close nobody reads: a far end that goes on sending is told so, even when it waits for a window.
func TestCloseResetsSender(t *testing.T) {
	near, far := streams(t)
	near.Close()
	if _, err := far.Write(make([]byte, 64<<20)); err != syscall.ECONNRESET {
		t.Errorf("got %v", err)
	}
}

func TestCloseResetsSilentPeer(t *testing.T) {
	near, far := streams(t)
	near.session.linger = time.Millisecond
	near.Close()
	for !far.reset.Load() {
		runtime.Gosched()
	}
	if _, err := far.Write([]byte("x")); err != syscall.ECONNRESET {
		t.Errorf("got %v", err)
	}
}

func TestCloseWakesReader(t *testing.T) {
	near, _ := streams(t)
	failed := make(chan error)
	go func() {
		_, err := near.Read(make([]byte, 1))
		failed <- err
	}()
	near.Close()
	if err := <-failed; err != net.ErrClosed {
		t.Errorf("got %v", err)
	}
}

// The end of the session is not the end of a stream: a reader must not take what it has for all there is.
func TestLostSessionIsNotEOF(t *testing.T) {
	accepted := make(chan *Stream)
	s, other := sessions(t, true, MaxRelays, func(s *Stream, _ *wire.Request) { accepted <- s })
	near := open(t, s)
	far := <-accepted
	far.Write([]byte("hel"))
	io.ReadFull(near, make([]byte, 3))
	other.Close()
	if n, err := readAll(near); n != 0 || !errors.Is(err, ErrLost) {
		t.Errorf("read %d, %v", n, err)
	}
	if _, err := near.Write([]byte("x")); !errors.Is(err, ErrLost) {
		t.Errorf("write: %v", err)
	}
	if _, err := s.Open(t.Context()); !errors.Is(err, ErrLost) {
		t.Errorf("open: %v", err)
	}
}

// Who waits on a relay is told of the session's end at once, not only when yamux has come to that stream.
func TestEndWakesReaders(t *testing.T) {
	a, b := net.Pipe()
	far, _ := NewSession(b, false, true)
	defer far.Close()
	closing := &slowClose{Conn: a, closing: make(chan struct{}), closed: make(chan struct{})}
	near, _ := NewSession(closing, true, true)
	stream := open(t, near)
	read := make(chan error)
	go func() {
		_, err := stream.Read(make([]byte, 1))
		read <- err
	}()
	var ended sync.WaitGroup
	ended.Go(func() { near.Close() })
	<-closing.closing // yamux goes through its streams when this returns
	if err := <-read; !errors.Is(err, ErrLost) {
		t.Error(err)
	}
	stream.SetReadDeadline(time.Time{})
	if _, err := stream.Read(nil); !errors.Is(err, ErrLost) {
		t.Error("without a deadline:", err)
	}
	close(closing.closed)
	ended.Wait()
}

// So is who has asked the far end to end a relay, and waits for that.
func TestEndWakesResets(t *testing.T) {
	a, b := net.Pipe()
	far, _ := NewSession(b, false, true)
	defer far.Close()
	closing := &slowClose{Conn: a, closing: make(chan struct{}), closed: make(chan struct{})}
	near, _ := NewSession(closing, true, true)
	id := open(t, near).mux.StreamID()
	asked := make(chan struct{})
	go func() {
		near.sendReset(id)
		close(asked)
	}()
	for _, op := range []wire.Op{0, wire.OpReset} { // the relay, and the request to end it, which nobody answers
		stream, err := far.mux.AcceptStream()
		if err != nil {
			t.Fatal(err)
		}
		var req wire.Request
		if op != 0 && (wire.ReadHeader(stream, &req) != nil || req.Op != op) {
			t.Fatalf("asked for %d", req.Op)
		}
	}
	var ended sync.WaitGroup
	ended.Go(func() { near.Close() })
	<-closing.closing
	<-asked
	close(closing.closed)
	ended.Wait()
}

// slowClose is a connection whose Close takes as long as the test wants.
type slowClose struct {
	net.Conn
	closing, closed chan struct{}
}

func (c *slowClose) Close() error {
	close(c.closing)
	<-c.closed
	return c.Conn.Close()
}

// Pipe relies on this to wait without a buffer; it is what yamux happens to do.
func TestEmptyReadWaits(t *testing.T) {
	near, far := streams(t)
	time.AfterFunc(10*time.Millisecond, func() { far.Write([]byte("x")) })
	if _, err := near.Read(nil); err != nil {
		t.Fatal(err)
	}
	near.SetReadDeadline(past)
	if n, err := near.Read(make([]byte, 8)); n != 1 || err != nil {
		t.Fatalf("nothing to read after the wait: %d, %v", n, err)
	}
	near.SetReadDeadline(time.Time{})
	far.CloseWrite()
	if _, err := near.Read(nil); err != io.EOF {
		t.Fatal(err)
	}
}

func TestWatch(t *testing.T) {
	near, far := streams(t)
	ctx, stop := far.Watch(t.Context())
	stop()
	near.Write([]byte("still readable"))
	if _, err := io.ReadFull(far, make([]byte, 14)); err != nil {
		t.Fatal(err)
	}
	ctx, stop = far.Watch(t.Context())
	near.CloseWrite()
	<-ctx.Done()
	stop()
}

// frames records the largest data frame that goes through a connection.
type frames struct {
	net.Conn
	mu      sync.Mutex
	raw     []byte
	largest uint32
	writes  int
}

func (f *frames) Write(p []byte) (int, error) {
	f.mu.Lock()
	f.writes++
	f.raw = append(f.raw, p...)
	for len(f.raw) >= 12 {
		size := binary.BigEndian.Uint32(f.raw[8:])
		if f.raw[1] != 0 {
			size = 0 // not data: the field means something else
		}
		if len(f.raw) < 12+int(size) {
			break
		}
		f.largest = max(f.largest, size)
		f.raw = f.raw[12+size:]
	}
	f.mu.Unlock()
	return f.Conn.Write(p)
}

func TestFramesAreBounded(t *testing.T) {
	a, b := net.Pipe()
	spy := &frames{Conn: a}
	near, _ := NewSession(spy, true, true)
	far, _ := NewSession(b, false, true)
	var serving sync.WaitGroup
	serving.Go(func() { far.Serve(8, func(s *Stream, _ *wire.Request) { readAll(s); s.Close() }) })
	stream := open(t, near)
	if n, err := stream.Write(make([]byte, 1<<20)); n != 1<<20 || err != nil {
		t.Error(n, err)
	}
	near.Close()
	far.Close()
	serving.Wait()
	if spy.largest != wire.FrameSize {
		t.Errorf("the largest frame has %d bytes, want %d", spy.largest, wire.FrameSize)
	}
}

func TestServeLimit(t *testing.T) {
	release := make(chan struct{})
	s, _ := sessions(t, false, 2, func(s *Stream, _ *wire.Request) {
		<-release
		wire.WriteHeader(s, &wire.Reply{})
		s.Close()
	})
	first, second := open(t, s), open(t, s)
	var reply wire.Reply
	if err := wire.ReadHeader(open(t, s), &reply); err != nil || reply.Errno != "EAGAIN" {
		t.Errorf("the third got %+v, %v", reply, err)
	}
	close(release)
	for _, stream := range []*Stream{first, second} {
		var reply wire.Reply
		if err := wire.ReadHeader(stream, &reply); err != nil || reply.Errno != "" {
			t.Errorf("got %+v, %v", reply, err)
		}
	}
}

// A stream that never sends its header, or half of one, is closed.
func TestServeHeaderTime(t *testing.T) {
	s, far := sessions(t, false, 1, func(*Stream, *wire.Request) { t.Error("served") })
	far.header = time.Millisecond
	stream, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stream.Write([]byte{5, 0})
	if n, err := readAll(stream); n != 0 || err != nil {
		t.Error(n, err)
	}
}

func TestServeGarbage(t *testing.T) {
	s, _ := sessions(t, true, 4, func(*Stream, *wire.Request) { t.Error("served") })
	stream, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stream.Write([]byte{255, 255, 255, 255})
	if n, err := readAll(stream); n != 0 || err != nil {
		t.Error(n, err)
	}
	s.sendReset(4711) // no such stream: nothing happens, and it is answered
}

func TestServeReturnsWhyTheSessionBroke(t *testing.T) {
	a, b := net.Pipe()
	s, _ := NewSession(b, false, false)
	go a.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	if err := s.Serve(1, nil); !errors.Is(err, ErrLost) {
		t.Errorf("got %v", err)
	}
	s.Close()
	a.Close()
}

func TestOpenGivesUp(t *testing.T) {
	a, b := net.Pipe() // nobody reads b
	defer b.Close()
	s, _ := NewSession(a, true, false)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	if _, err := s.Open(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	s.Close()
}
