// Package broker is the local end of a session: it answers the layers in the user's processes, from the agent's link, and relays their
// connections. What the layer may rely on is said at each handler; the frames are those of layer/frame.
//
// When the link is lost the broker goes on answering, with errors: what is remote never becomes local.
package broker

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
	"mirrord/launcher/config"
	"mirrord/launcher/events"
	tables "mirrord/launcher/rules"
	"mirrord/layer/frame"
	"mirrord/sip"
)

// Options is what a broker works with. All fields up to TempDir must be set.
type Options struct {
	Link    *wire.Link                    // owned by the broker once Start has succeeded
	Rules   []byte                        // the rules file; its relay network and live fields are written by the broker
	Emit    func(events.Event)            // called from many goroutines
	Config  *config.Config                // only feature.network and feature.fs.mapping are used
	Decide  func(sip.Request) sip.Verdict // called from many goroutines
	TempDir string                        // absolute; for files that do not go into memory, unlinked while they are open
	Overlay string                        // absolute: the folder of mode overlay, which is kept; empty: one in TempDir, which is not
	Values  bool                          // events carry values, not only names

	// Skips says of a process that said hello, by the path that it was executed by and its program's, that nothing of the pod is for it. It gets
	// Idle, a rules file by which all is this machine's, and what it starts is followed. It may be nil.
	Skips func(paths ...string) bool
	Idle  []byte // needed with Skips

	// Paths: the socket has a path in TempDir, and all files of the pod are unlinked ones there, with their tag in an extended attribute. This is how the layer
	// of macOS wants it, where there are neither abstract sockets nor files in memory; it is always so there.
	Paths bool
}

// Broker serves the layers of one session. Its descriptors need no limit raised: the Go runtime has set RLIMIT_NOFILE to the hard limit
// at start, and gives children the original one.
type Broker struct {
	Options
	network *config.Network
	token   [frame.TokenSize]byte
	socket  *net.UnixListener
	notes   *net.UnixConn // nil where the layer has no datagrams
	folder  string        // of the socket, when that has a path
	env     string
	page    *page
	idle    *page // nil when no process is skipped

	processes processes
	local     localPaths
	snapshots snapshots
	writable  bool // the rules let something be written to the pod, or over it
	over      over
	listings  listings
	mapping   mapping
	live      liveFiles
	names     nameTable
	relays    relays
	flows     flows
	streams   streams
	exchanges exchanges
	leaving   leaving
	queries   chan struct{} // holds one for each query that is being answered here
	listeners listeners
	queue     queue
	debuggers debuggers
	devices   devices
	locked    atomic.Bool  // a file of the pod
	opened    atomic.Bool  // a file or directory of the pod was handed out
	trees     atomic.Int32 // supervised programs with all that they have started, until the last has ended

	ctx    context.Context // ends at Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	open   map[io.Closer]struct{} // what Close closes to wake the goroutines that wait on it; nil after Close
	warned map[string]bool        // messages that were already emitted

	shedding sync.Mutex
	spare    *os.File // a descriptor to give up when there are no others; nil while there is none
}

// frameTimeout is how long a connection may take for a frame, and a layer to take its reply. Only tests change it.
var frameTimeout = 10 * time.Second

// Start opens the socket and serves until Close.
func Start(o Options) (*Broker, error) {
	b := &Broker{Options: o, network: &o.Config.Feature.Network, open: map[io.Closer]struct{}{}, warned: map[string]bool{},
		queries: make(chan struct{}, maxQueries), streams: newStreams()}
	b.Paths = b.Paths || onlyPaths
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.spare, _ = os.Open(os.DevNull)
	ok := false
	defer func() {
		if !ok {
			b.Options.Link = nil // stays the caller's
			b.Close()
		}
	}()
	var err error
	if b.mapping, err = newMapping(&o.Config.Feature.FS); err != nil {
		return nil, err
	}
	var name [16]byte
	rand.Read(name[:])
	rand.Read(b.token[:])
	if err := b.listenRelays(); err != nil {
		return nil, fmt.Errorf("cannot listen on a loopback address: %w", err)
	}
	if b.page, err = newPage(o.Rules, b.relays.network, b.anonymousFile); err != nil {
		return nil, err
	}
	b.writable = tables.File(b.page.mem).Writable()
	if tables.File(b.page.mem).Overlays() {
		if err := b.openOverlay(); err != nil {
			return nil, fmt.Errorf("cannot open the overlay of files: %w", err)
		}
	}
	if o.Skips != nil {
		if b.idle, err = newPage(o.Idle, netip.Prefix{}, b.anonymousFile); err != nil {
			return nil, err
		}
	}
	var address string
	if b.socket, b.notes, address, err = b.listenLayers(hex.EncodeToString(name[:])); err != nil {
		return nil, fmt.Errorf("cannot open the socket for the layers: %w", err)
	}
	b.env = address + ":" + hex.EncodeToString(b.token[:])
	ok = true

	b.track(b.socket)
	b.spawn(b.acceptLayers)
	if b.notes != nil {
		b.track(b.notes)
		b.spawn(b.readNotes)
	}
	b.spawn(b.acceptIncoming)
	b.spawn(b.sweepUntilClosed)
	b.spawn(b.watchListeners)
	return b, nil
}

// listenLayers opens the sockets for the layers, and gives their address.
func (b *Broker) listenLayers(name string) (*net.UnixListener, *net.UnixConn, string, error) {
	if b.Paths {
		l, err := b.listenPath()
		if err != nil {
			return nil, nil, "", err
		}
		return l, nil, l.Addr().String(), nil
	}
	l, address, err := listenAbstract(name)
	if err != nil {
		return nil, nil, "", err
	}
	notes, err := listenNotes(address)
	if err != nil {
		l.Close()
		return nil, nil, "", err
	}
	return l, notes, address, nil
}

// maxSocketPath is what sun_path holds on macOS, less its zero (xnu bsd/sys/un.h).
const maxSocketPath = 103

// listenPath opens a socket in a folder that only its owner may enter; in /tmp where the folder for temporary files has too long a path.
func (b *Broker) listenPath() (*net.UnixListener, error) {
	const pattern = "mirrord-*"
	dir := b.TempDir
	if len(filepath.Join(dir, pattern, "s"))+len("4294967295")+maxStreamSuffix > maxSocketPath {
		dir = "/tmp"
	}
	var err error
	if b.folder, err = os.MkdirTemp(dir, pattern); err != nil {
		return nil, err
	}
	return net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(b.folder, "s"), Net: "unix"})
}

// Env is the value of MIRRORD_BROKER for the processes of the session: the socket's name without the leading NUL of an abstract one, a
// colon, and the token in hex. It is a secret.
func (b *Broker) Env() string { return b.env }

// Drain waits, at most for limit, until the relayed connections have ended by themselves and the datagrams are sent. Of a program that has ended the
// kernel sends on what it wrote last; so does this.
func (b *Broker) Drain(limit time.Duration) {
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	b.flows.drain(ctx)
	b.relays.drain(ctx)
	b.streams.drain(ctx)
}

// Close ends the link, every connection and every goroutine of the broker. It may be called more than once.
func (b *Broker) Close() error {
	b.mu.Lock()
	open := b.open
	b.open = nil
	b.mu.Unlock()
	b.cancel()
	for c := range open {
		c.Close()
	}
	var err error
	if b.Link != nil && open != nil {
		err = b.Link.Close()
	}
	b.wg.Wait()
	b.relays.sweep(time.Now().Add(time.Hour)) // what still waited for its other half
	b.spare.Close()
	if b.over.temporary != "" {
		err = errors.Join(err, os.RemoveAll(b.over.temporary))
	}
	if b.folder != "" {
		err = errors.Join(err, os.RemoveAll(b.folder))
	}
	if b.page != nil && open != nil && b.trees.Load() == 0 { // who is supervised still goes by the rules, and is answered with errors
		b.page.close()
		if b.idle != nil {
			b.idle.close()
		}
	}
	return err
}

// spawn starts a goroutine that Close waits for; after Close it reports false and does not.
func (b *Broker) spawn(f func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open == nil {
		return false
	}
	b.wg.Go(f)
	return true
}

// track makes Close close c, and says false when that has happened already; then c is closed now.
func (b *Broker) track(c io.Closer) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open == nil {
		c.Close()
		return false
	}
	b.open[c] = struct{}{}
	return true
}

// drop closes what track was given.
func (b *Broker) drop(c io.Closer) {
	b.mu.Lock()
	delete(b.open, c)
	b.mu.Unlock()
	c.Close()
}

// warn emits a warning, once per message.
func (b *Broker) warn(message, hint string) {
	b.mu.Lock()
	seen := b.warned[message]
	if len(b.warned) < 1000 {
		b.warned[message] = true
	}
	b.mu.Unlock()
	if !seen {
		b.Emit(events.Event{Type: events.Warning, Message: message, Hint: hint})
	}
}

func (b *Broker) acceptLayers() {
	for {
		c, err := b.socket.AcceptUnix()
		if err == nil {
			b.spawnLayer(c)
		} else if !b.shed(err, b.socket) {
			return
		}
	}
}

// crowded reports whether descriptors run out, of which a new relay takes several and holds them for as long as the program likes. The rest is kept for
// requests, which end by themselves: a program that waits for an answer closes nothing.
func (b *Broker) crowded() bool {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return false
	}
	// The kernel gives the lowest number that is free.
	next, err := unix.FcntlInt(uintptr(b.page.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		unix.Close(next)
	}
	if err == nil && uint64(next) < limit.Cur-min(64, limit.Cur/3) {
		return false
	}
	b.warnCrowded()
	return true
}

func (b *Broker) warnCrowded() {
	b.warn("the broker has no descriptors left: what needs one fails", "raise the limit of open files (ulimit -Hn)")
}

// shed is called when accept failed, and returns whether to go on. Unless the listener was closed, descriptors have run out. Who waits for an answer
// may hold what uses them up, so it must not be left waiting: it is accepted with the spare one and hung up on. The kernel complains of descriptors
// before it looks whether anybody waits.
func (b *Broker) shed(err error, l deadlineListener) bool {
	if errors.Is(err, net.ErrClosed) {
		return false
	}
	b.warnCrowded()
	b.shedding.Lock()
	defer b.shedding.Unlock()
	if b.spare == nil {
		b.pause()
	} else {
		b.spare.Close()
		l.SetDeadline(time.Now().Add(10 * time.Millisecond))
		if c, err := l.Accept(); err == nil {
			wire.Refuse(c.(wire.Conn))
		}
		l.SetDeadline(time.Time{})
	}
	b.spare, _ = os.Open(os.DevNull)
	return b.ctx.Err() == nil
}

// deadlineListener is a *net.TCPListener or *net.UnixListener.
type deadlineListener interface {
	net.Listener
	SetDeadline(time.Time) error
}

// pause waits for somebody to close descriptors.
func (b *Broker) pause() bool {
	select {
	case <-b.ctx.Done():
		return false
	case <-time.After(50 * time.Millisecond):
		return true
	}
}

// spawnLayer is track and spawn in one, for the hot path.
func (b *Broker) spawnLayer(c *net.UnixConn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open == nil {
		c.Close()
		return
	}
	b.open[c] = struct{}{}
	b.wg.Go(func() { b.serve(c) })
}

// buffers hold a frame each. Most are far below 4 KiB; larger ones get a buffer of their own.
var buffers = sync.Pool{New: func() any { return new([4 << 10]byte) }}

// serve answers the requests of one connection. Whatever is no request of this session ends it without an answer.
func (b *Broker) serve(c *net.UnixConn) {
	defer b.drop(c)
	pooled := buffers.Get().(*[4 << 10]byte)
	defer buffers.Put(pooled)
	s := source{c: c, token: &b.token, buf: pooled[:]}
	from := asker{peer: func() (peer, bool) { return peerOf(c) }, source: &s}
	for {
		var fields []byte
		var err error
		if from.header, fields, err = s.next(); err != nil {
			return
		}
		a, err := b.dispatch(from, from.header.Kind, fields)
		if err != nil {
			return
		}
		if !from.header.Kind.OneWay() {
			if err := from.reply(a); err != nil {
				return
			}
		}
	}
}

// source is where the requests of one connection come from.
type source struct {
	c     *net.UnixConn
	token *[frame.TokenSize]byte
	buf   []byte
	n     int // bytes that have been read
	taken int // and how many of them the last request had
}

// next reads a request of this session; fields are valid until the next one is read.
func (s *source) next() (h frame.Header, fields []byte, err error) {
	s.n = copy(s.buf, s.buf[s.taken:s.n])
	s.taken = 0
	s.c.SetDeadline(time.Now().Add(frameTimeout))
	if s.buf, s.n, h, err = readFrame(s.c, s.buf, s.n); err != nil {
		return h, nil, err
	}
	s.taken = frame.HeaderSize + int(h.Len)
	token, fields, ok := frame.Token(s.buf[frame.HeaderSize:s.taken])
	if !ok || subtle.ConstantTimeCompare(token, s.token[:]) != 1 {
		return h, nil, frame.ErrMalformed
	}
	return h, fields, nil
}

// asker is who made a request.
type asker struct {
	peer   func() (peer, bool) // false where the kernel does not tell
	source *source             // nil for a datagram
	header frame.Header        // of the request; only with source
}

// reply sends an answer to a request that came on a connection.
func (a asker) reply(what answer) error {
	a.source.c.SetWriteDeadline(time.Now().Add(frameTimeout))
	return what.send(a.source.c, nil, a.header)
}

// readFrame reads until buf starts with a whole frame, of which n bytes are there already. A layer writes a frame in one piece, so one read
// mostly does; buf is replaced when the frame is larger.
func readFrame(c *net.UnixConn, buf []byte, n int) ([]byte, int, frame.Header, error) {
	var h frame.Header
	for want := frame.HeaderSize; ; {
		if n >= want {
			var err error
			if h, err = frame.ParseHeader(buf); err != nil {
				return buf, n, h, err
			}
			want = frame.HeaderSize + int(h.Len)
			if n >= want {
				return buf, n, h, nil
			}
			if len(buf) < want {
				buf = append(make([]byte, 0, want), buf[:n]...)[:want]
			}
		}
		m, err := c.Read(buf[n:])
		if err != nil {
			return buf, n, h, err
		}
		n += m
	}
}

// answer is a reply before it is a frame.
type answer struct {
	status int32
	fields frame.Message // nil for a reply without fields
	fd     int           // a descriptor to send along; -1 for none
	keep   bool          // the descriptor stays the broker's
	bytes  int64         // that the descriptor's content took on its way here, for events
}

func status(n int32) answer               { return answer{status: n, fd: -1} }
func failure(e unix.Errno) answer         { return status(frameErrno(e)) }
func result(fields frame.Message) answer  { return answer{fields: fields, fd: -1} }
func descriptor(fd int, keep bool) answer { return answer{fd: fd, keep: keep} }

var local = status(frame.StatusLocal)

// send writes the reply and closes its descriptor, sent or not. to is nil on a connection.
func (a answer) send(c *net.UnixConn, to *net.UnixAddr, h frame.Header) error {
	h.Flags = 0
	var rights []byte
	if a.fd >= 0 {
		if !a.keep {
			defer unix.Close(a.fd)
		}
		h.Flags = frame.FlagDescriptor
		rights = unix.UnixRights(a.fd)
	}
	var space [256]byte
	out, err := frame.AppendReply(space[:0], h, a.status, a.fields)
	if err != nil { // the pod's answer is longer than a frame
		out, err = frame.AppendReply(space[:0], h, frameErrno(unix.ENAMETOOLONG), nil)
	}
	if err != nil {
		return err
	}
	if rights == nil && to == nil {
		_, err = c.Write(out)
	} else {
		_, _, err = c.WriteMsgUnix(out, rights, to)
	}
	return err
}

// dispatch decodes a request and hands it to its handler.
func (b *Broker) dispatch(from asker, kind frame.Kind, fields []byte) (answer, error) {
	m := request(kind)
	if m == nil {
		return answer{}, fmt.Errorf("%w: kind %d", frame.ErrMalformed, kind)
	}
	if err := frame.Decode(fields, m); err != nil {
		return answer{}, err
	}
	return b.respond(from, kind, m), nil
}

// request is what a request of a kind is decoded into; nil when there is none.
func request(kind frame.Kind) frame.Message {
	switch kind {
	case frame.Hello:
		return new(frame.HelloRequest)
	case frame.Open:
		return new(frame.OpenRequest)
	case frame.OpenHow:
		return new(frame.OpenHowRequest)
	case frame.Fstatfs:
		return new(frame.DeviceRequest)
	case frame.Stat:
		return new(frame.StatRequest)
	case frame.Access:
		return new(frame.AccessRequest)
	case frame.Readlink, frame.Realpath, frame.Statfs, frame.UnixPeer:
		return new(frame.PathRequest)
	case frame.Change:
		return new(frame.ChangeRequest)
	case frame.Lookup:
		return new(frame.LookupRequest)
	case frame.Reverse:
		return new(frame.ReverseRequest)
	case frame.Connect:
		return new(frame.ConnectRequest)
	case frame.Unix:
		return new(frame.UnixRequest)
	case frame.Connected:
		return new(frame.ConnectedRequest)
	case frame.Endpoint:
		return new(frame.EndpointRequest)
	case frame.SockError:
		return new(frame.SockErrorRequest)
	case frame.Bind:
		return new(frame.BindRequest)
	case frame.Listen:
		return new(frame.ListenRequest)
	case frame.Exec:
		return new(frame.ExecRequest)
	case frame.Datagram:
		return new(frame.DatagramRequest)
	case frame.Supervise:
		return new(frame.SuperviseRequest)
	}
	return nil
}

// respond hands a request, of the type that its kind has, to its handler: from the layer, or for a supervised program.
func (b *Broker) respond(from asker, kind frame.Kind, m frame.Message) answer {
	switch m := m.(type) {
	case *frame.HelloRequest:
		return b.hello(from, m)
	case *frame.OpenRequest:
		return b.openFile(from, m)
	case *frame.OpenHowRequest:
		return b.openHow(from, m)
	case *frame.DeviceRequest:
		return b.fstatfs(m)
	case *frame.StatRequest:
		return b.stat(m)
	case *frame.AccessRequest:
		return b.access(m)
	case *frame.PathRequest:
		switch kind {
		case frame.Readlink:
			return b.readlink(m)
		case frame.Realpath:
			return b.realpath(m)
		case frame.UnixPeer:
			return b.unixPeer(m)
		}
		return b.statfs(m)
	case *frame.ChangeRequest:
		return b.change(from, m)
	case *frame.LookupRequest:
		return b.lookup(m)
	case *frame.ReverseRequest:
		return b.reverse(m)
	case *frame.ConnectRequest:
		return b.connectFrom(from, m)
	case *frame.UnixRequest:
		return b.connectUnix(from, m)
	case *frame.ConnectedRequest:
		return b.connected(m)
	case *frame.EndpointRequest:
		return b.endpoint(m)
	case *frame.SockErrorRequest:
		return b.sockError(m)
	case *frame.BindRequest:
		return b.bind(from, m)
	case *frame.ListenRequest:
		return b.listen(from, m)
	case *frame.ExecRequest:
		return b.exec(from, m)
	case *frame.DatagramRequest:
		return b.datagramLocal(m)
	case *frame.SuperviseRequest:
		return b.supervise(from, m)
	}
	return failure(unix.ENOSYS)
}
