package broker

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/agent/wire"
	"mirrord/launcher/events"
	"mirrord/layer/frame"
)

// streamAgent has a socket /run/echo.sock, and an abstract one, which echo; /run/full.sock has no room for who does not wait. Everything else is not there.
func streamAgent(t testing.TB) *fakeAgent {
	t.Helper()
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	return &fakeAgent{connect: func(r *wire.Request) (links.Conn, *wire.Reply) {
		switch {
		case r.Path == "/run/full.sock" && r.NoWait:
			return nil, &wire.Reply{Errno: "EAGAIN"}
		case r.Path != "/run/echo.sock" && r.Path != "@echo\x00\x01" && r.Path != "/run/full.sock":
			return nil, &wire.Reply{Errno: "ENOENT", Text: "the pod has no such socket"}
		}
		ours, theirs := socketPair(t)
		serving.Go(func() {
			defer ours.Close()
			io.Copy(struct{ io.Writer }{ours}, struct{ io.Reader }{ours})
		})
		return theirs.(links.Conn), &wire.Reply{}
	}}
}

// dialStream connects a socket as the layer does.
func (s *session) dialStream(t testing.TB, name string) *net.UnixConn {
	t.Helper()
	relay := s.askStream(t, name)
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: s.relayAddress(relay), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *session) askStream(t testing.TB, name string) string {
	t.Helper()
	var reply frame.PathReply
	if status, _ := s.ask(t, frame.Unix, &frame.UnixRequest{Name: name}, &reply); status != frame.StatusOK {
		t.Fatalf("%q: status %d", name, status)
	}
	return reply.Path
}

// relayAddress is what Go calls the socket.
func (s *session) relayAddress(relay string) string {
	if strings.HasPrefix(relay, "/") {
		return relay
	}
	return "@" + relay
}

func testStreams(t *testing.T, change func(*Options)) {
	s := start(t, streamAgent(t), change)
	for _, name := range []string{"/run/echo.sock", "@echo\x00\x01"} {
		relay := s.askStream(t, name)
		own, _, _ := strings.Cut(s.Env(), ":")
		if !strings.HasPrefix(relay, own+"-") || len(relay) > len(own)+maxStreamSuffix {
			t.Errorf("the relay %s cannot be known by %s", relay, own)
		}
		c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: s.relayAddress(relay), Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		var peer frame.PathReply
		if status, _ := s.ask(t, frame.UnixPeer, &frame.PathRequest{Path: relay}, &peer); status != frame.StatusOK || peer.Path != name {
			t.Errorf("the peer is %q, status %d", peer.Path, status)
		}
		sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		go func() {
			c.Write(sent)
			c.CloseWrite()
		}()
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%q: %d bytes, %v", name, len(got), err)
		}
		c.Close()
		eventually(t, "the relay is gone", func() bool { return s.streams.name(relay) == "" })
		s.expect(frame.StatusLocal, frame.UnixPeer, &frame.PathRequest{Path: relay})
	}
	s.expect(frameErrno(unix.ENOENT), frame.Unix, &frame.UnixRequest{Name: "/run/none.sock"})
	s.expect(frameErrno(unix.EAGAIN), frame.Unix, &frame.UnixRequest{Name: "/run/full.sock", Flags: frame.ConnectNonblock})
	s.dialStream(t, "/run/full.sock").Close()
	for range 2 {
		s.expect(frame.StatusLocal, frame.Unix, &frame.UnixRequest{Name: "@echo\x00\x01", Flags: frame.ConnectDatagram})
	}
	s.expect(frame.StatusLocal, frame.Unix, &frame.UnixRequest{Name: "/srv/other.sock", Flags: frame.ConnectNever})
	if e := s.emitted(events.OutgoingLocal); len(e) != 2 || e[0].Path != "@echo@\x01" || e[0].Protocol != "unix" || !strings.Contains(e[0].Reason, "only streams") ||
		e[1].Path != "/srv/other.sock" || !strings.Contains(e[1].Reason, "does not name it") {
		t.Errorf("%+v", e)
	}
	e := s.emitted(events.Connect)
	if len(e) != 5 || e[0].Path != "/run/echo.sock" || e[1].Path != "@echo@\x01" || e[2].Errno != "ENOENT" || e[2].Reason != "the pod has no such socket" || e[3].Errno != "EAGAIN" || e[4].Protocol != "unix" {
		t.Errorf("%+v", e)
	}
}

func TestStreams(t *testing.T)      { testStreams(t, nil) }
func TestStreamsPaths(t *testing.T) { testStreams(t, func(o *Options) { o.Paths = true }) }

func TestStreamMapping(t *testing.T) {
	s := start(t, streamAgent(t), func(o *Options) {
		o.Config.Feature.FS.Mapping = map[string]string{"^/home/u/": "/run/"}
	})
	relay := s.askStream(t, "/home/u/echo.sock")
	if got := s.streams.name(relay); got != "/home/u/echo.sock" {
		t.Errorf("the program sees %s", got)
	}
}

// Descriptors that a program sends are closed, which is said once; what came with them arrives.
func TestStreamDescriptors(t *testing.T) {
	s := start(t, streamAgent(t), nil)
	c := s.dialStream(t, "/run/echo.sock")
	defer c.Close()
	var pipe [2]int
	if err := unix.Pipe(pipe[:]); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	for range 2 {
		if _, _, err := c.WriteMsgUnix([]byte("x"), unix.UnixRights(pipe[1], pipe[1]), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	unix.Close(pipe[1])
	// A pipe ends when nobody has its other end.
	if n, err := unix.Read(pipe[0], make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if e := s.emitted(events.Warning); len(e) != 1 || !strings.Contains(e[0].Message, "/run/echo.sock have been closed") {
		t.Errorf("%+v", e)
	}
}

// Who is not the process that asked gets nothing, and does not take its place.
func TestStreamOfOthers(t *testing.T) {
	if at := os.Getenv("MIRRORD_TEST_STREAM"); at != "" { // the other process
		c, err := net.Dial("unix", at)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Error(err)
		}
		c.Close()
		return
	}
	s := start(t, streamAgent(t), nil)
	at := s.relayAddress(s.askStream(t, "/run/echo.sock"))
	other := exec.Command(os.Args[0], "-test.run=^TestStreamOfOthers$", "-test.timeout=1m")
	other.Env = append(os.Environ(), "MIRRORD_TEST_STREAM="+at)
	if out, err := other.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	c, err := net.Dial("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte("x"))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

// A lost link ends connections: a Unix socket knows no reset, so its end is one. Attempts fail.
func TestStreamLinkLost(t *testing.T) {
	s := start(t, streamAgent(t), nil)
	c := s.dialStream(t, "/run/echo.sock")
	defer c.Close()
	s.loseLink()
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("%v", err)
	}
	s.expect(frameErrno(unix.ENETUNREACH), frame.Unix, &frame.UnixRequest{Name: "/run/echo.sock"})
}

// What a program wrote last arrives although it has ended.
func TestStreamDrain(t *testing.T) {
	s := start(t, streamAgent(t), nil)
	c := s.dialStream(t, "/run/echo.sock")
	c.Write([]byte("x"))
	c.Close()
	s.Drain(time.Minute)
	s.streams.mu.Lock()
	defer s.streams.mu.Unlock()
	if len(s.streams.asked) > 0 {
		t.Error("a connection is left")
	}
}

func TestManyStreams(t *testing.T) {
	before := descriptors(t)
	s := start(t, streamAgent(t), nil)
	var all []*net.UnixConn
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < 10_000 {
		t.Skipf("left out: at most %d open files", limit.Cur)
	}
	for range 1000 {
		all = append(all, s.dialStream(t, "/run/echo.sock"))
	}
	for _, c := range all {
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range all {
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	eventually(t, "every descriptor is closed", func() bool { return descriptors(t) < before+50 })
}
