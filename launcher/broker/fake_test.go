package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/agent/wire"
	"mirrord/launcher/config"
	"mirrord/launcher/config/traffic"
	"mirrord/launcher/events"
	"mirrord/layer/frame"
	"mirrord/sip"
)

// fakeAgent answers the link from functions; a nil one answers ENOSYS. It speaks the real protocol.
type fakeAgent struct {
	do      func(r *wire.Request) *wire.Reply
	open    func(r *wire.Request, s *links.Stream)
	connect func(r *wire.Request) (links.Conn, *wire.Reply)
	carry   func(r *wire.Request, s *links.Stream) // datagrams

	requests, bulk *links.Session
	mu             sync.Mutex
	subscribed     map[uint16]*subscription
	refuse         *wire.Reply // answers OpSubscribe when it is set
	doubt          string      // goes with the answer to OpSubscribe
}

type subscription struct {
	steal  bool
	stream *links.Stream
}

func (f *fakeAgent) serve(requests, bulk net.Conn) error {
	f.subscribed = map[uint16]*subscription{}
	var err error
	if f.requests, err = links.NewSession(requests, false, false); err != nil {
		return err
	}
	f.bulk, err = links.NewSession(bulk, false, true)
	return err
}

func (f *fakeAgent) handle(s *links.Stream, r *wire.Request) {
	switch {
	case r.Op == wire.OpHello:
		wire.WriteHeader(s, &wire.Reply{Hello: &wire.Hello{Version: wire.Version}})
	case r.Op == wire.OpOpen && f.open != nil:
		f.open(r, s)
	case r.Op == wire.OpConnect && r.Datagram && f.carry != nil:
		f.carry(r, s)
	case r.Op == wire.OpConnect && f.connect != nil:
		c, reply := f.connect(r)
		wire.WriteHeader(s, reply)
		if c != nil {
			links.Pipe(s, c)
			return
		}
	case r.Op == wire.OpSubscribe:
		if f.refuse != nil {
			wire.WriteHeader(s, f.refuse)
			break
		}
		f.subscribe(r.Port, &subscription{r.Steal, s})
		wire.WriteHeader(s, &wire.Reply{Text: f.doubt})
		io.Copy(io.Discard, s)
		f.subscribe(r.Port, nil)
	case f.do != nil:
		wire.WriteHeader(s, f.do(r))
	default:
		wire.WriteHeader(s, &wire.Reply{Errno: "ENOSYS"})
	}
	s.Close()
}

func (f *fakeAgent) subscribe(port uint16, to *subscription) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subscribed[port] = to
}

func (f *fakeAgent) isSubscribed(port uint16) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.subscribed[port] != nil
}

func (f *fakeAgent) stolen(port uint16) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.subscribed[port] != nil && f.subscribed[port].steal
}

// notify says something about all subscriptions.
func (f *fakeAgent) notify(errno string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.subscribed {
		wire.WriteHeader(s.stream, &wire.Reply{Errno: errno})
	}
}

// incoming opens a connection to a subscribed port and returns it when the launcher has accepted it, else the launcher's errno.
func (f *fakeAgent) incoming(t *testing.T, port uint16, local, remote string) (*links.Stream, string) {
	t.Helper()
	s := f.offer(t, port, local, remote)
	return s, answerTo(t, s)
}

// offer offers a connection, and answerTo reads what the broker says to it: nothing, or an errno.
func (f *fakeAgent) offer(t *testing.T, port uint16, local, remote string) *links.Stream {
	t.Helper()
	s, err := f.bulk.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := &wire.Request{Op: wire.OpIncoming, Port: port, Local: netip.MustParseAddrPort(local), Remote: netip.MustParseAddrPort(remote)}
	if err := wire.WriteHeader(s, r); err != nil {
		t.Fatal(err)
	}
	return s
}

func answerTo(t *testing.T, s *links.Stream) string {
	t.Helper()
	var reply wire.Reply
	if err := wire.ReadHeader(s, &reply); err != nil {
		t.Fatal(err)
	}
	return reply.Errno
}

// sendFile answers an OpOpen with a file of this content; a cut one breaks off before the clean end.
func sendFile(s *links.Stream, st *wire.Stat, content []byte, end func(*wire.BodyWriter)) {
	wire.WriteHeader(s, &wire.Reply{Stat: st})
	w := wire.NewBodyWriter(s)
	w.Write(content)
	end(w)
}

func cleanEnd(w *wire.BodyWriter) { w.Close() }

// session is a broker with its fake agent and the events it emitted.
type session struct {
	*Broker
	t     *testing.T
	agent *fakeAgent

	mu     sync.Mutex
	events []events.Event
}

// rulesPage is the smallest rules file.
func rulesPage() []byte {
	p := make([]byte, pageSize)
	copy(p, pageMagic)
	return p
}

// start runs a broker with a fake agent; see startOn.
func start(t testing.TB, agent *fakeAgent, change func(*Options)) *session {
	t.Helper()
	r1, r2 := socketPair(t)
	b1, b2 := socketPair(t)
	if err := agent.serve(r2, b2); err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { agent.requests.Serve(links.MaxRequests, agent.handle) })
	serving.Go(func() { agent.bulk.Serve(links.MaxRelays, agent.handle) })
	t.Cleanup(func() {
		agent.requests.Close()
		agent.bulk.Close()
		serving.Wait()
	})
	s := startOn(t, r1, b1, change)
	s.agent = agent
	return s
}

// startOn runs a broker that steals and has the pod's names; change edits its options. Everything ends with the test.
func startOn(t testing.TB, requests, bulk net.Conn, change func(*Options)) *session {
	t.Helper()
	link, err := links.New(t.Context(), requests, bulk, "test")
	if err != nil {
		t.Fatal(err)
	}
	s := new(session)
	s.t, _ = t.(*testing.T)
	c := config.Default()
	c.Feature.Network.Incoming.Mode = traffic.Steal
	o := Options{
		Link: link, Rules: rulesPage(), Emit: s.emit, Config: c, TempDir: t.TempDir(),
		Decide: func(r sip.Request) sip.Verdict { return sip.Verdict{Kind: sip.Inject, Path: r.Path} },
	}
	if change != nil {
		change(&o)
	}
	if s.Broker, err = Start(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		left, err := os.ReadDir(o.TempDir)
		if err != nil || len(left) > 0 {
			t.Errorf("left in the temporary directory: %v, %v", left, err)
		}
	})
	return s
}

func (s *session) emit(e events.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

// emitted returns the events of a type so far.
func (s *session) emitted(want events.Type) (out []events.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Type == want {
			out = append(out, e)
		}
	}
	return out
}

// loseLink breaks the link and waits until the broker knows.
func (s *session) loseLink() {
	s.agent.requests.Close()
	s.agent.bulk.Close()
	<-s.Link.Done()
}

func socketPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]net.Conn
	for i, fd := range fds {
		unix.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "")
		if conns[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return conns[0], conns[1]
}

// dialBroker connects as a layer does: with what Env says.
func (s *session) dialBroker(t testing.TB) (*net.UnixConn, [frame.TokenSize]byte) {
	t.Helper()
	i := strings.LastIndexByte(s.Env(), ':')
	name := s.Env()[:i]
	if s.socket.Addr().String()[0] == '@' {
		name = "@" + name
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	return c, s.token
}

// ask makes a request as a layer does, on a connection of its own. into may be nil. The file is nil if no descriptor came.
func (s *session) ask(t testing.TB, kind frame.Kind, m, into frame.Message) (int32, *os.File) {
	t.Helper()
	c, token := s.dialBroker(t)
	defer c.Close()
	return askOn(t, c, token, kind, m, into)
}

func askOn(t testing.TB, c *net.UnixConn, token [frame.TokenSize]byte, kind frame.Kind, m, into frame.Message) (int32, *os.File) {
	t.Helper()
	send(t, c, token, kind, m)
	if kind.OneWay() {
		return 0, nil
	}
	return receive(t, c, kind, into)
}

func send(t testing.TB, c *net.UnixConn, token [frame.TokenSize]byte, kind frame.Kind, m frame.Message) {
	t.Helper()
	out, err := frame.AppendRequest(nil, kind, 77, token, m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(out); err != nil {
		t.Fatal(err)
	}
}

// receive reads one reply: a datagram, or of a connection not a byte of the next.
func receive(t testing.TB, c *net.UnixConn, kind frame.Kind, into frame.Message) (int32, *os.File) {
	t.Helper()
	head, oob := make([]byte, frame.HeaderSize), make([]byte, 64)
	if c.LocalAddr().Network() == "unixgram" {
		head = make([]byte, frame.HeaderSize+frame.MaxPayload)
	}
	n, oobn, _, _, err := c.ReadMsgUnix(head, oob)
	if err != nil {
		t.Fatalf("no reply to kind %d: %v", kind, err)
	}
	h, err := frame.ReadHeader(bytes.NewReader(head[:n]))
	if err != nil || h.Kind != kind || h.ID != 77 {
		t.Fatalf("header %+v, %v", h, err)
	}
	payload := make([]byte, h.Len)
	if _, err := io.ReadFull(io.MultiReader(bytes.NewReader(head[frame.HeaderSize:n]), c), payload); err != nil {
		t.Fatal(err)
	}
	status, fields, err := frame.Status(payload)
	if err != nil {
		t.Fatal(err)
	}
	if into != nil && len(fields) > 0 {
		if err := frame.Decode(fields, into); err != nil {
			t.Fatal(err)
		}
	} else if len(fields) > 0 {
		t.Fatalf("unexpected fields %x", fields)
	}
	var file *os.File
	if oobn > 0 {
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			t.Fatal(err)
		}
		fds, err := unix.ParseUnixRights(&messages[0])
		if err != nil || len(fds) != 1 {
			t.Fatalf("descriptors %v, %v", fds, err)
		}
		unix.CloseOnExec(fds[0])
		file = os.NewFile(uintptr(fds[0]), "received")
	}
	if got, want := h.Flags == frame.FlagDescriptor, file != nil; got != want {
		t.Fatalf("flags %d, descriptor %v", h.Flags, file)
	}
	return status, file
}

// expect makes a request that is answered by a status alone.
func (s *session) expect(want int32, kind frame.Kind, m frame.Message) {
	s.t.Helper()
	if got, f := s.ask(s.t, kind, m, nil); got != want || f != nil {
		s.t.Errorf("%T%+v: status %d, file %v; want %d (%s)", m, m, got, f, want, unix.ErrnoName(syscall.Errno(max(0, want))))
	}
}

// eventually waits for something that another process would see a moment later.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("never: " + what)
}

// descriptors counts this process's.
func descriptors(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("needs /proc")
	}
	return len(names)
}

func word(p []byte, offset int) uint32 { return binary.LittleEndian.Uint32(p[offset:]) }

// rules parses entries of a filter.
func rules(t testing.TB, entries ...string) (out []traffic.Rule) {
	t.Helper()
	for _, e := range entries {
		r, err := traffic.ParseRule(e)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// nameOf is a descriptor's name as the layer reads it.
func nameOf(t *testing.T, f *os.File) string {
	t.Helper()
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("needs /proc")
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(name, " (deleted)")
}
