package links

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/yamux"

	"mirrord/agent/wire"
)

// Conn is a connection whose two directions end separately. *net.TCPConn, *net.UnixConn and *Stream are Conns.
type Conn interface {
	net.Conn
	CloseWrite() error
}

// lingerTime is how long a closed relay waits for the far end to finish before it is reset, as Linux does with a socket that nobody owns any more
// (tcp_fin_timeout).
const lingerTime = 60 * time.Second

// past is a deadline that wakes whoever waits.
var past = time.Unix(1, 0)

// Stream is one stream of a Session. On a bulk session it behaves like a TCP connection: after CloseWrite the other direction goes on, Close lets
// what was written arrive and resets the far end if it still sends, and after SetLinger(0) Close resets it at once. On a session for requests
// Close ends both directions.
//
// Errors: io.EOF after the far end closed cleanly, syscall.ECONNRESET after a reset, os.ErrDeadlineExceeded, net.ErrClosed, and ErrLost when
// the session is gone, so that a broken link never looks like a clean end.
type Stream struct {
	mux     *yamux.Stream
	session *Session

	alive context.Context // of a relay: ends when it was reset, the link is lost or it is closed
	die   context.CancelFunc

	local, remote netip.AddrPort // set before the stream is shared; invalid: yamux's own

	reading sync.Mutex  // yamux allows one reader at a time, and Close may have to read the rest
	busy    atomic.Bool // has received since the last sweep
	eof     atomic.Bool
	hard    atomic.Bool // SetLinger(0)
	reset   atomic.Bool // by the far end
	closed  atomic.Bool
}

// Read reads what has arrived. With an empty p it waits until there is something to read, or an error, and returns 0.
func (s *Stream) Read(p []byte) (int, error) {
	if s.closed.Load() {
		return 0, net.ErrClosed
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	n, err := s.mux.Read(p)
	if n > 0 || err == nil {
		if n > 0 && s.session.relays != nil {
			s.busy.Store(true)
			s.session.count(n)
		}
		return n, nil
	}
	return 0, s.fault(err)
}

// Write sends p in frames of at most wire.FrameSize.
func (s *Stream) Write(p []byte) (int, error) {
	if s.reset.Load() {
		return 0, syscall.ECONNRESET
	}
	done := 0
	for done < len(p) {
		n, err := s.mux.Write(p[done:min(done+wire.FrameSize, len(p))])
		done += n
		if err != nil {
			return done, s.fault(err)
		}
	}
	return done, nil
}

// fault is what an error of yamux means for the user of the stream.
func (s *Stream) fault(err error) error {
	switch {
	case s.closed.Load():
		return net.ErrClosed
	case s.reset.Load(), errors.Is(err, yamux.ErrConnectionReset):
		return syscall.ECONNRESET
	case s.session.mux.IsClosed():
		return fmt.Errorf("%w: %w", ErrLost, err)
	case err == io.EOF:
		s.eof.Store(true)
		return io.EOF
	case errors.Is(err, yamux.ErrTimeout):
		return os.ErrDeadlineExceeded
	case errors.Is(err, yamux.ErrStreamClosed):
		return syscall.EPIPE // after CloseWrite
	default:
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
}

// CloseWrite ends the direction to the far end, which reads io.EOF after what was written.
func (s *Stream) CloseWrite() error { return s.mux.Close() }

// SetLinger says how Close ends a relay: with 0 it resets, otherwise as usual. It never fails.
func (s *Stream) SetLinger(seconds int) error {
	s.hard.Store(seconds == 0)
	return nil
}

// Close ends the stream without blocking on the far end.
func (s *Stream) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.mux.SetDeadline(past)
	if s.session.relays == nil || s.reset.Load() || s.session.mux.IsClosed() {
		s.session.forget(s)
		return s.mux.Close()
	}
	if s.hard.Load() {
		// The FIN waits until the far end knows of the reset, or it might take it for a clean end.
		s.session.later(func() {
			s.session.sendReset(s.mux.StreamID())
			s.mux.Close()
			s.session.forget(s)
		})
		return nil
	}
	err := s.mux.Close()
	if s.eof.Load() {
		s.session.forget(s)
		return err
	}
	s.session.later(s.linger)
	return err
}

// linger waits for the far end to close too. If it sends instead, or takes too long, it is reset.
func (s *Stream) linger() {
	defer s.session.forget(s)
	s.reading.Lock()
	defer s.reading.Unlock()
	s.mux.SetReadDeadline(time.Now().Add(s.session.linger))
	if s.reset.Load() {
		return
	}
	if n, err := s.mux.Read(make([]byte, 1)); n > 0 || errors.Is(err, yamux.ErrTimeout) {
		s.session.sendReset(s.mux.StreamID())
	}
}

// wasReset: the far end wants no more. What has arrived before can still be read.
func (s *Stream) wasReset() {
	s.reset.Store(true)
	s.mux.SetDeadline(past)
	s.mux.Close()
	s.die()
}

// life ends when nothing more can come.
func (s *Stream) life() context.Context { return s.alive }

// Watch returns a context that ends when the far end closes its direction: it does not wait for the answer any more. stop ends the watching, after
// which the stream can be read again; it must be called, and nobody may read before.
func (s *Stream) Watch(ctx context.Context) (watched context.Context, stop func()) {
	watched, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := s.Read(nil); err != nil {
			cancel()
		}
	}()
	return watched, func() {
		s.SetReadDeadline(past)
		<-done
		s.SetReadDeadline(time.Time{})
		cancel()
	}
}

// SetAddrs sets what LocalAddr and RemoteAddr tell. It must come before the stream is shared.
func (s *Stream) SetAddrs(local, remote netip.AddrPort) { s.local, s.remote = local, remote }

// LocalAddr is the address given to SetAddrs, else the session's.
func (s *Stream) LocalAddr() net.Addr {
	if s.local.IsValid() {
		return net.TCPAddrFromAddrPort(s.local)
	}
	return s.mux.LocalAddr()
}

// RemoteAddr is the address given to SetAddrs, else the session's.
func (s *Stream) RemoteAddr() net.Addr {
	if s.remote.IsValid() {
		return net.TCPAddrFromAddrPort(s.remote)
	}
	return s.mux.RemoteAddr()
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (s *Stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline limits Read, also one that waits already.
func (s *Stream) SetReadDeadline(t time.Time) error {
	s.mux.SetReadDeadline(t)
	return s.stillOver()
}

// SetWriteDeadline limits Write, also one that waits already.
func (s *Stream) SetWriteDeadline(t time.Time) error {
	s.mux.SetWriteDeadline(t)
	return s.stillOver()
}

// stillOver keeps a new deadline from letting a call wait on a stream that is over.
func (s *Stream) stillOver() error {
	if s.closed.Load() || s.reset.Load() || s.session.mux.IsClosed() {
		return s.mux.SetDeadline(past)
	}
	return nil
}
