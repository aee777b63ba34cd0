package links

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mirrord/agent/wire"
)

// fakeAgent answers a link by hand.
type fakeAgent struct {
	requests, bulk *Session
	hello          wire.Reply
	answer         func(*Stream, *wire.Request) // what is not a hello, on either session
}

// connect links a launcher to an agent that answers hellos; both end with the test.
func connect(t *testing.T, answer func(*Stream, *wire.Request)) (*Link, *fakeAgent) {
	t.Helper()
	agent := &fakeAgent{hello: wire.Reply{Hello: &wire.Hello{Version: wire.Version, Name: "cart"}}, answer: answer}
	link, err := agent.link(t)
	if err != nil {
		t.Fatal(err)
	}
	return link, agent
}

func (a *fakeAgent) link(t *testing.T) (*Link, error) {
	t.Helper()
	requests, theirs := net.Pipe()
	bulk, theirBulk := net.Pipe()
	a.requests, _ = NewSession(theirs, false, false)
	a.bulk, _ = NewSession(theirBulk, false, true)
	var serving sync.WaitGroup
	handle := func(s *Stream, req *wire.Request) {
		if req.Op == wire.OpHello {
			wire.WriteHeader(s, &a.hello)
			s.Close()
			return
		}
		a.answer(s, req)
	}
	serving.Go(func() { a.requests.Serve(MaxRequests, handle) })
	serving.Go(func() { a.bulk.Serve(MaxRelays, handle) })
	link, err := New(t.Context(), requests, bulk, "session-1")
	t.Cleanup(func() {
		if link != nil {
			link.Close()
		}
		a.die()
		serving.Wait()
	})
	return link, err
}

// die breaks the link as the agent's death would.
func (a *fakeAgent) die() {
	a.requests.Close()
	a.bulk.Close()
}

func TestHello(t *testing.T) {
	link, _ := connect(t, nil)
	if diff := cmp.Diff(wire.Hello{Version: wire.Version, Name: "cart"}, link.Agent()); diff != "" {
		t.Error(diff)
	}
	select {
	case <-link.Done():
		t.Error("done at once")
	default:
	}
	link.Close()
	<-link.Done()
	if _, err := link.Do(t.Context(), &wire.Request{Op: wire.OpEnv}); !errors.Is(err, ErrLost) {
		t.Errorf("a request on a closed link: %v", err)
	}
}

func TestHelloRefused(t *testing.T) {
	for want, reply := range map[string]wire.Reply{
		"speaks version 99 of the protocol, this mirrord version 1\nhint:": {Errno: "EPROTONOSUPPORT", Hello: &wire.Hello{Version: 99}},
		"version 0 of the protocol":                                        {Hello: &wire.Hello{}},
		"a reply without it":                                               {},
		"other launcher":                                                   {Errno: "EPROTO", Text: "other launcher"},
	} {
		agent := &fakeAgent{hello: reply}
		if _, err := agent.link(t); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// Whatever is at the other end: an error, and nothing left.
func TestHelloToStrangers(t *testing.T) {
	for name, stranger := range map[string]func(net.Conn){
		"hangs up":    func(c net.Conn) { c.Close() },
		"http server": func(c net.Conn) { c.Read(make([]byte, 4)); c.Write([]byte("HTTP/1.1 400 Bad wire.Request\r\n\r\n")) },
		"half a frame": func(c net.Conn) {
			c.Read(make([]byte, 4))
			c.Write([]byte{0, 0, 0, 1})
			c.Close()
		},
	} {
		requests, a := net.Pipe()
		bulk, b := net.Pipe()
		go stranger(a)
		go stranger(b)
		if _, err := New(t.Context(), requests, bulk, "s"); !errors.Is(err, ErrLost) {
			t.Errorf("%s: %v", name, err)
		}
		a.Close()
		b.Close()
	}
}

func TestHelloSilence(t *testing.T) {
	requests, a := net.Pipe()
	bulk, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := New(ctx, requests, bulk, "s"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestDo(t *testing.T) {
	link, _ := connect(t, func(s *Stream, req *wire.Request) {
		defer s.Close()
		switch req.Op {
		case wire.OpStat:
			wire.WriteHeader(s, &wire.Reply{Errno: "ENOENT", Text: req.Path})
		default:
			wire.WriteHeader(s, &wire.Reply{Path: req.Path + "!"})
		}
	})
	reply, err := link.Do(t.Context(), &wire.Request{Op: wire.OpRealpath, Path: "/x"})
	if err != nil || reply.Path != "/x!" {
		t.Errorf("got %+v, %v", reply, err)
	}
	var failure *wire.Error
	if _, err := link.Do(t.Context(), &wire.Request{Op: wire.OpStat, Path: "/y"}); !errors.As(err, &failure) || *failure != (wire.Error{Errno: "ENOENT", Text: "/y"}) {
		t.Errorf("got %v", err)
	}
	if _, err := link.Do(t.Context(), &wire.Request{Op: wire.OpStat, Path: strings.Repeat("x", wire.MaxHeader)}); !errors.Is(err, syscall.E2BIG) {
		t.Errorf("a request that is too large: %v", err)
	}
	var many sync.WaitGroup
	for range 3 * maxCalls { // more than may be under way at once
		many.Go(func() {
			if _, err := link.Do(t.Context(), &wire.Request{Op: wire.OpRealpath}); err != nil {
				t.Error(err)
			}
		})
	}
	many.Wait()
}

// A call that is given up ends at both ends, and the link goes on.
func TestDoCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan struct{})
	link, _ := connect(t, func(s *Stream, req *wire.Request) {
		defer s.Close()
		if req.Op == wire.OpLookup {
			watched, stop := s.Watch(t.Context())
			defer stop()
			cancel()
			<-watched.Done()
			close(gone)
			return
		}
		wire.WriteHeader(s, &wire.Reply{})
	})
	if _, err := link.Do(ctx, &wire.Request{Op: wire.OpLookup}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-gone
	if _, err := link.Do(t.Context(), &wire.Request{Op: wire.OpEnv}); err != nil {
		t.Errorf("the next: %v", err)
	}
}

// An agent that breaks the protocol, or dies in the middle of a request, loses the link: nobody waits for ever and nothing looks like an answer.
func TestAgentBreaksOff(t *testing.T) {
	var agent *fakeAgent
	for name, answer := range map[string]func(*Stream, *wire.Request){
		"dies":          func(*Stream, *wire.Request) { agent.die() },
		"no answer":     func(s *Stream, _ *wire.Request) { s.Close() },
		"half a reply":  func(s *Stream, _ *wire.Request) { s.Write([]byte{9, 0, 0, 0, 0xa1}); s.Close() },
		"garbage":       func(s *Stream, _ *wire.Request) { s.Write([]byte{2, 0, 0, 0, 0xff, 0xff}); s.Close() },
		"endless reply": func(s *Stream, _ *wire.Request) { s.Write(binary.LittleEndian.AppendUint32(nil, 1<<31)) },
	} {
		calls := map[string]func(*Link) error{
			"Do":   func(l *Link) error { _, err := l.Do(t.Context(), &wire.Request{Op: wire.OpStat}); return err },
			"Open": func(l *Link) error { _, _, err := l.Open(t.Context(), &wire.Request{Op: wire.OpOpen}); return err },
			"Connect": func(l *Link) error {
				_, _, err := l.Connect(t.Context(), netip.MustParseAddrPort("10.0.0.1:80"))
				return err
			},
			"Subscribe": func(l *Link) error { _, err := l.Subscribe(t.Context(), 80, true, nil); return err },
		}
		for call, f := range calls {
			var link *Link
			link, agent = connect(t, answer)
			waiting := make(chan error)
			go func() { _, _, err := link.AcceptIncoming(); waiting <- err }()
			if err := f(link); !errors.Is(err, ErrLost) {
				t.Errorf("%s, agent: %s: %v", call, name, err)
			}
			<-link.Done()
			if err := <-waiting; !errors.Is(err, ErrLost) {
				t.Errorf("AcceptIncoming, agent: %s: %v", name, err)
			}
			link.Close()
		}
	}
}

func TestOpen(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 500<<10) // more than a window
	link, _ := connect(t, func(s *Stream, _ *wire.Request) {
		wire.WriteHeader(s, &wire.Reply{Stat: &wire.Stat{Size: int64(len(content))}})
		w := wire.NewBodyWriter(s)
		w.Write(content)
		w.Close()
		s.Close()
	})
	reply, body, err := link.Open(t.Context(), &wire.Request{Op: wire.OpOpen})
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(body)
	if err != nil || !bytes.Equal(got, content) || reply.Stat.Size != int64(len(content)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	body.Close()
	body.Close() // harmless
}

// The death of the agent in the middle of a body is never its end.
func TestOpenAgentDies(t *testing.T) {
	var agent *fakeAgent
	link, agent := connect(t, func(s *Stream, _ *wire.Request) {
		wire.WriteHeader(s, &wire.Reply{Stat: &wire.Stat{Size: 10}})
		wire.NewBodyWriter(s).Write([]byte("hello"))
	})
	_, body, err := link.Open(t.Context(), &wire.Request{Op: wire.OpOpen})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	io.ReadFull(body, make([]byte, 5))
	agent.die()
	if n, err := readAll(body); n != 0 || !errors.Is(err, ErrLost) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// A reader that has had enough closes the body, and an agent that waits for the window learns of it.
func TestOpenClosedEarly(t *testing.T) {
	noticed := make(chan struct{})
	link, _ := connect(t, func(s *Stream, _ *wire.Request) {
		defer s.Close()
		wire.WriteHeader(s, &wire.Reply{Stat: &wire.Stat{}})
		ctx, stop := s.Watch(t.Context())
		defer stop()
		defer context.AfterFunc(ctx, func() { s.SetWriteDeadline(past) })()
		for w := wire.NewBodyWriter(s); ; {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				close(noticed)
				return
			}
		}
	})
	_, body, err := link.Open(t.Context(), &wire.Request{Op: wire.OpOpen})
	if err != nil {
		t.Fatal(err)
	}
	io.ReadFull(body, make([]byte, 1))
	body.Close()
	<-noticed
}

func TestConnect(t *testing.T) {
	local, remote := netip.MustParseAddrPort("10.0.0.1:40000"), netip.MustParseAddrPort("10.96.0.7:80")
	link, _ := connect(t, func(s *Stream, req *wire.Request) {
		if req.Addr != remote {
			wire.WriteHeader(s, &wire.Reply{Errno: "ECONNREFUSED"})
			s.Close()
			return
		}
		wire.WriteHeader(s, &wire.Reply{Local: local, Remote: req.Addr})
		io.Copy(s, s)
		s.Close()
	})
	_, conn, err := link.Connect(t.Context(), remote)
	if err != nil {
		t.Fatal(err)
	}
	if conn.LocalAddr().String() != local.String() || conn.RemoteAddr().String() != remote.String() {
		t.Errorf("the ends are %v and %v", conn.LocalAddr(), conn.RemoteAddr())
	}
	io.WriteString(conn, "ping")
	conn.CloseWrite()
	if got, err := io.ReadAll(conn); string(got) != "ping" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	conn.Close()
	if _, _, err := link.Connect(t.Context(), local); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v", err)
	}
}

func TestIncoming(t *testing.T) {
	subscribed := make(chan *wire.Request)
	ended := make(chan struct{})
	link, agent := connect(t, func(s *Stream, req *wire.Request) {
		subscribed <- req
		wire.WriteHeader(s, &wire.Reply{})
		readAll(s)
		s.Close()
		close(ended)
	})
	subscription := make(chan io.Closer)
	go func() {
		c, err := link.Subscribe(t.Context(), 8080, true, nil)
		if err != nil {
			t.Error(err)
		}
		subscription <- c
	}()
	if req := <-subscribed; req.Op != wire.OpSubscribe || req.Port != 8080 || !req.Steal {
		t.Errorf("asked for %+v", req)
	}

	want := &wire.Request{Op: wire.OpIncoming, Port: 8080, Local: netip.MustParseAddrPort("10.0.0.1:8080"), Remote: netip.MustParseAddrPort("10.0.0.2:50000")}
	for _, refuse := range []bool{false, true} {
		s, err := agent.bulk.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wire.WriteHeader(s, want)
		req, conn, err := link.AcceptIncoming()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, req, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
			t.Error(diff)
		}
		var reply wire.Reply
		if refuse {
			conn.Refuse("ECONNREFUSED")
			if err := wire.ReadHeader(s, &reply); err != nil || reply.Errno != "ECONNREFUSED" {
				t.Errorf("a refusal came as %+v, %v", reply, err)
			}
		} else {
			conn.Accept()
			io.WriteString(conn, "hello")
			conn.Close()
			if err := wire.ReadHeader(s, &reply); err != nil || reply.Errno != "" {
				t.Errorf("an acceptance came as %+v, %v", reply, err)
			}
			if got, err := io.ReadAll(s); string(got) != "hello" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
			if conn.RemoteAddr().String() != want.Remote.String() {
				t.Errorf("from %v", conn.RemoteAddr())
			}
		}
		s.Close()
	}
	(<-subscription).Close()
	<-ended

	s, err := agent.bulk.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var reply wire.Reply
	wire.WriteHeader(s, &wire.Request{Op: wire.OpConnect})
	if err := wire.ReadHeader(s, &reply); err != nil || reply.Errno != "ENOSYS" {
		t.Errorf("a launcher asked to connect answers %+v, %v", reply, err)
	}
}
