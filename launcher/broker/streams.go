package broker

import (
	"context"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/launcher/events"
	"mirrord/launcher/peer"
	"mirrord/layer/frame"
)

// maxStreamSuffix is what a relay's name has beyond the name of the broker's own socket, by which the layer knows it, in bytes: "-" and 64 bits in base 36.
const maxStreamSuffix = 1 + 13

// streams are the connections to Unix sockets of the pod. A program's socket has no address by which it could be told apart, so each attempt has a listener
// of its own.
type streams struct {
	mu       sync.Mutex
	asked    map[string]string // by the name of the listener: what the program asked for, until the connection has ended
	changed  chan struct{}     // closed and replaced when one has ended
	reported map[string]bool   // names of sockets that stay here, which was said
}

// connectUnix answers where to connect to for a Unix socket of the pod. As the kernel does for one of this machine, it answers when the connection is there;
// a non-blocking socket only does not wait for room in a queue that is full.
func (b *Broker) connectUnix(from asker, m *frame.UnixRequest) answer {
	switch {
	case m.Flags&frame.ConnectNever != 0:
		b.streamStays(m.Name, "its path is the pod's, but feature.network.outgoing.unix_streams does not name it")
		return local
	case m.Flags&frame.ConnectDatagram != 0:
		b.streamStays(m.Name, "only streams (SOCK_STREAM) are connected to in the pod")
		return local
	}
	if b.crowded() {
		return failure(unix.ENOBUFS)
	}
	name := m.Name
	if strings.HasPrefix(name, "/") {
		name = b.mapping.pod(name)
	}
	e := events.Event{Type: events.Connect, Path: shownStream(m.Name), Protocol: "unix"}
	asked := time.Now()
	agent, err := b.Link.ConnectUnix(b.ctx, name, m.Flags&frame.ConnectNonblock == 0)
	e.Took = milliseconds(time.Since(asked))
	if err != nil {
		errno := errnoOf(err, unix.ENETUNREACH)
		e.Errno, e.Reason = unix.ErrnoName(errno), reason(err)
		b.Emit(e)
		return failure(errno)
	}
	b.Emit(e)
	relay := b.socket.Addr().String() + "-" + strconv.FormatUint(rand.Uint64(), 36)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: relay, Net: "unix"})
	if err != nil {
		links.Refuse(agent)
		return failure(unix.ENOBUFS)
	}
	relay = strings.TrimPrefix(relay, "@")
	b.streams.add(relay, m.Name)
	who, known := from.peer()
	expected := func(c *net.UnixConn) bool {
		p, ok := peer.Of(c)
		return ok == known && p.PID == who.PID
	}
	if !b.spawn(func() { b.carryStream(l, relay, expected, agent) }) {
		l.Close()
		b.streams.remove(relay)
		links.Refuse(agent)
		return failure(unix.ENETUNREACH)
	}
	return result(&frame.PathReply{Path: relay})
}

// carryStream waits for the program, which expected knows, and carries bytes until both directions have ended. It owns l and agent.
func (b *Broker) carryStream(l *net.UnixListener, relay string, expected func(*net.UnixConn) bool, agent links.Conn) {
	defer b.streams.remove(relay)
	if !b.track(l) {
		links.Refuse(agent)
		return
	}
	l.SetDeadline(time.Now().Add(attemptTime))
	c, err := l.AcceptUnix()
	for err == nil && !expected(c) { // anybody may connect to an abstract name
		c.Close()
		c, err = l.AcceptUnix()
	}
	b.drop(l)
	if err != nil {
		links.Refuse(agent)
		return
	}
	if b.track(c) {
		name := shownStream(b.streams.name(relay))
		began, program := time.Now(), &programStream{UnixConn: c, lost: func() {
			b.warn("descriptors that were sent to the pod's socket "+name+" have been closed", "only bytes travel to a socket of the pod")
		}}
		links.Pipe(program, agent)
		b.drop(c)
		ended := events.Event{Type: events.ConnectEnded, Path: name, Protocol: "unix"}
		program.tell(&ended, began)
		b.Emit(ended)
	}
}

// programStream is a program's end of a connection. The kernel closes the descriptors that come with what is read, and says so.
type programStream struct {
	*net.UnixConn
	meter
	lost func()
}

func (s *programStream) Write(p []byte) (int, error) { return s.wrote(s.UnixConn.Write(p)) }

func (s *programStream) Receive(fd int, p []byte) (int, error) {
	n, _, flags, _, err := unix.Recvmsg(fd, p, nil, 0)
	if err == nil && flags&unix.MSG_CTRUNC != 0 {
		s.lost()
	}
	return n, err
}

// unixPeer answers what the program asked for when it was connected to this relay.
func (b *Broker) unixPeer(m *frame.PathRequest) answer {
	if name := b.streams.name(m.Path); name != "" {
		return result(&frame.PathReply{Path: name})
	}
	return local
}

// streamStays reports, once per name, a socket that is connected to here although one may expect the pod's.
func (b *Broker) streamStays(name, reason string) {
	s := &b.streams
	s.mu.Lock()
	known := s.reported[name] || len(s.reported) >= maxLeaving
	if !known {
		s.reported[name] = true
	}
	s.mu.Unlock()
	if !known {
		b.Emit(events.Event{Type: events.OutgoingLocal, Path: shownStream(name), Protocol: "unix", Reason: reason})
	}
}

// shownStream is a socket's name as ss shows it.
func shownStream(name string) string { return strings.ReplaceAll(name, "\x00", "@") }

func newStreams() streams {
	return streams{asked: map[string]string{}, changed: make(chan struct{}), reported: map[string]bool{}}
}

func (s *streams) add(relay, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[relay] = name
}

func (s *streams) remove(relay string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.asked, relay)
	close(s.changed)
	s.changed = make(chan struct{})
}

// name is what was asked for, empty when the relay is not one.
func (s *streams) name(relay string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[relay]
}

// drain waits until there is no connection any more.
func (s *streams) drain(ctx context.Context) {
	for {
		s.mu.Lock()
		n, changed := len(s.asked), s.changed
		s.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
