// Package broker is the local end of a session: it answers the layers in the user's processes, from the agent's link, and relays their
// connections. What the layer may rely on is said at each handler; the frames are those of layer/frame.
//
// When the link is lost the broker goes on answering, with errors: what is remote never becomes local.
package broker

import (
	"context"
	"crypto/rand"
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

	"mirrord/agent/links"
	"mirrord/launcher/anonfile"
	"mirrord/launcher/config"
	"mirrord/launcher/debuggers"
	"mirrord/launcher/events"
	"mirrord/launcher/peer"
	tables "mirrord/launcher/rules"
	"mirrord/layer/frame"
	"mirrord/sip"
)

// Options is what a broker works with. All fields up to TempDir must be set.
type Options struct {
	Link    *links.Link                   // owned by the broker once Start has succeeded
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
	anon    anonfile.Maker

	processes processes
	local     localPaths
	nowhere   localPaths // that were to be written, and could not be on this machine either
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
	debuggers debuggers.Ports
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
	b.Paths = b.Paths || anonfile.OnlyPaths
	b.anon = anonfile.Maker{Dir: o.TempDir, Paths: b.Paths}
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
	if b.page, err = newPage(o.Rules, b.relays.network, b.anon); err != nil {
		return nil, err
	}
	b.writable = tables.File(b.page.mem).Writable()
	if tables.File(b.page.mem).Overlays() {
		if err := b.openOverlay(); err != nil {
			return nil, fmt.Errorf("cannot open the overlay of files: %w", err)
		}
	}
	if o.Skips != nil {
		if b.idle, err = newPage(o.Idle, netip.Prefix{}, b.anon); err != nil {
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
	address := "mirrord-" + name
	l, err := peer.ListenAbstract(address)
	if err != nil {
		return nil, nil, "", err
	}
	notes, err := peer.ListenPackets(address + notesSuffix)
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
	if b.over.files != nil {
		err = errors.Join(err, b.over.files.Close())
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
			links.Refuse(c.(links.Conn))
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
