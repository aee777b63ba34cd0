package broker

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/agent/wire"
	"mirrord/launcher/anonfile"
	"mirrord/launcher/events"
	"mirrord/layer/frame"
	"mirrord/sip"
)

func TestHello(t *testing.T) {
	s := start(t, &fakeAgent{}, nil)
	if s.Injected(os.Getpid()) {
		t.Error("injected before hello")
	}
	status, f := s.ask(t, frame.Hello, &frame.HelloRequest{PID: 1, PPID: 2, Exe: "/bin/x"}, nil)
	if status != frame.StatusOK || f == nil {
		t.Fatalf("status %d, file %v", status, f)
	}
	defer f.Close()
	if !s.Injected(os.Getpid()) || s.Injected(1) {
		t.Error("the kernel's process id does not count")
	}
	if e := s.emitted(events.ProcessInject); len(e) != 1 || e[0].PID != os.Getpid() || e[0].Path != "/bin/x" {
		t.Errorf("events %+v", e)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, pageSize, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	if string(mem[:8]) != pageMagic {
		t.Errorf("magic %q", mem[:8])
	}
	net4 := s.relays.fixed4.Addr().As4()
	if ip := netip.AddrFrom4([4]byte{mem[19], mem[18], mem[17], mem[16]}); ip.As4() != [4]byte{127, net4[1], net4[2], 0} {
		t.Errorf("relay network %v for %v", ip, s.relays.fixed4)
	}
	if mask := word(mem, offRelayMask); mask != 0xffffff00 {
		t.Errorf("mask %x", mask)
	}
	s.page.publish(40000, 8080)
	if n, e := word(mem, offLivePortsN), word(mem, offLivePorts); n != 1 || e != 40000|8080<<16 {
		t.Errorf("the shared page does not show what is published: %d, %x", n, e)
	}
	if _, err := unix.Mmap(int(f.Fd()), 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
		t.Error("a layer can write the rules")
	}
	if w, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), os.O_RDWR, 0); err == nil {
		defer w.Close()
		if _, err := w.WriteAt([]byte{1}, 0); err == nil {
			t.Error("a layer can open the rules to write them")
		}
	}
}

func TestLivePorts(t *testing.T) {
	s := start(t, &fakeAgent{}, nil)
	for i := range maxLivePorts {
		if !s.page.publish(uint16(1+i), 8080) {
			t.Fatalf("full after %d", i)
		}
	}
	if s.page.publish(50000, 8080) {
		t.Error("more than fits")
	}
	if !s.page.publish(3, 8080) {
		t.Error("what is there is refused")
	}
	s.page.withdraw(7, 8080)
	if !s.page.publish(50000, 8080) || word(s.page.mem, offLivePortsN) != maxLivePorts {
		t.Error("a withdrawn place is not used")
	}
}

func TestBadRules(t *testing.T) {
	for _, rules := range [][]byte{nil, make([]byte, 100), make([]byte, pageSize)} {
		if p, err := newPage(rules, netip.Prefix{}, anonfile.Maker{Dir: t.TempDir()}); err == nil {
			p.close()
			t.Errorf("%d bytes were taken for rules", len(rules))
		}
	}
	s := start(t, &fakeAgent{}, nil)
	before := descriptors(t)
	o := s.Options
	o.Rules = nil
	if b, err := Start(o); err == nil {
		b.Close()
		t.Error("started without rules")
	}
	if now := descriptors(t); now != before {
		t.Errorf("%d descriptors, %d before", now, before)
	}
	s.expect(int32(unix.ENOSYS), frame.Stat, &frame.StatRequest{Path: "/the/link/stays/the/callers"})
}

func TestBadFrames(t *testing.T) {
	s := start(t, &fakeAgent{}, nil)
	before := descriptors(t)
	_, token := s.dialBroker(t)
	wrong := token
	wrong[15]++
	frameOf := func(kind frame.Kind, token [frame.TokenSize]byte, m frame.Message) []byte {
		b, err := frame.AppendRequest(nil, kind, 1, token, m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	valid := frameOf(frame.Stat, token, &frame.StatRequest{Path: "/x"})
	garbage := make([]byte, 1<<20)
	rand.Read(garbage)
	for name, in := range map[string][]byte{
		"nothing":       nil,
		"garbage":       garbage,
		"half a header": valid[:7],
		"half a frame":  valid[:30],
		"wrong token":   frameOf(frame.Stat, wrong, &frame.StatRequest{Path: "/x"}),
		"no token":      frame.AppendHeader(nil, frame.Header{Kind: frame.Hello}),
		"unknown kind":  frameOf(99, token, nil),
		"short fields":  frameOf(frame.Open, token, &frame.StatRequest{Path: ""}),
		"too large":     frame.AppendHeader(nil, frame.Header{Kind: frame.Hello, Len: 1 << 30}),
	} {
		c, _ := s.dialBroker(t)
		c.Write(in) // may fail: the broker need not read all
		c.CloseWrite()
		got, _ := io.ReadAll(c) // a reset when it did not
		if len(got) > 0 {
			t.Errorf("%s is answered with %x", name, got)
		}
		c.Close()
	}
	eventually(t, "the descriptors are closed again", func() bool { return descriptors(t) <= before+1 })
	s.expect(int32(unix.ENOSYS), frame.Stat, &frame.StatRequest{Path: "/still/served"})
}

// TestSilence: a connection that sends nothing, or stops midway, is closed.
func TestSilence(t *testing.T) {
	defer func(d time.Duration) { frameTimeout = d }(frameTimeout)
	frameTimeout = 20 * time.Millisecond
	s := start(t, &fakeAgent{}, nil)
	defer s.Close() // before the time is changed back
	for _, in := range [][]byte{nil, make([]byte, 5), frame.AppendHeader(nil, frame.Header{Kind: frame.Hello, Len: 100})} {
		c, _ := s.dialBroker(t)
		defer c.Close()
		c.Write(in)
		if got, _ := io.ReadAll(c); len(got) > 0 { // ends only when the broker closes
			t.Errorf("%x is answered with %x", in, got)
		}
	}
}

func TestSeveralRequestsOnOneConnection(t *testing.T) {
	s := start(t, &fakeAgent{do: func(r *wire.Request) *wire.Reply { return &wire.Reply{Path: r.Path} }}, nil)
	c, token := s.dialBroker(t)
	defer c.Close()
	for _, path := range []string{"/a", "/" + strings.Repeat("b", 40<<10), "/c"} {
		var reply frame.PathReply
		if status, _ := askOn(t, c, token, frame.Readlink, &frame.PathRequest{Path: path}, &reply); status != 0 || reply.Path != path {
			t.Errorf("status %d, a path of %d bytes, want %d", status, len(reply.Path), len(path))
		}
	}
	// Two at once, in one write.
	one, err := frame.AppendRequest(nil, frame.Readlink, 1, token, &frame.PathRequest{Path: "/d"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(bytes.Repeat(one, 2)); err != nil {
		t.Fatal(err)
	}
	size := frame.HeaderSize + 4 + 2 + len("/d")
	if _, err := io.ReadFull(c, make([]byte, 2*size)); err != nil {
		t.Error(err)
	}
}

// TestCloseWhileBusy: every goroutine ends (TestMain looks), whatever it waits for.
func TestCloseWhileBusy(t *testing.T) {
	blocked, asked := make(chan struct{}), make(chan struct{}, 8)
	wait := func() { asked <- struct{}{}; <-blocked }
	agent := &fakeAgent{
		do:      func(*wire.Request) *wire.Reply { wait(); return &wire.Reply{} },
		connect: func(*wire.Request) (links.Conn, *wire.Reply) { wait(); return nil, &wire.Reply{Errno: "EIO"} },
	}
	s := start(t, agent, nil)
	idle, token := s.dialBroker(t)
	defer idle.Close()
	for _, r := range []struct {
		kind frame.Kind
		m    frame.Message
	}{
		{frame.Stat, &frame.StatRequest{Path: "/x"}},
		{frame.Connect, &frame.ConnectRequest{Addr: netip.MustParseAddrPort("10.1.1.1:80")}},
		{frame.Connect, &frame.ConnectRequest{Addr: netip.MustParseAddrPort("10.1.1.1:80"), Flags: frame.ConnectNonblock}},
	} {
		c, _ := s.dialBroker(t)
		defer c.Close()
		b, err := frame.AppendRequest(nil, r.kind, 1, token, r.m)
		if err != nil {
			t.Fatal(err)
		}
		c.Write(b)
		<-asked
	}
	s.Close()
	s.Close()
	close(blocked)
}

func TestExec(t *testing.T) {
	verdicts := map[string]sip.Verdict{
		"node":    {Kind: sip.Inject, Path: "/usr/bin/node"},
		"/bin/go": {Kind: sip.Outside, Path: "/bin/go", Reason: "a Go program"},
		"/no":     {Kind: sip.Fails},
		"/signed": {Kind: sip.Inject, Path: "/signed", Variant: sip.VariantARM64e},
		"script":  {Kind: sip.Inject, Path: "/bin/sh", Words: []string{"/bin/sh", "/x/script"}},
		"copied": {Kind: sip.Copy, Path: "/cache/ruby", Words: []string{"/bin/ruby", "-w", "./copied"}, Light: true, Chain: []string{"/w/copied", "/bin/ruby"},
			Edits: []sip.Edit{{Name: "A", Value: "b=c"}}},
	}
	asked := make(chan sip.Request, 1)
	s := start(t, &fakeAgent{}, func(o *Options) {
		o.Decide = func(r sip.Request) sip.Verdict { asked <- r; return verdicts[r.Path] }
	})
	for path, want := range map[string]frame.ExecReply{
		"node": {Verdict: uint8(sip.Inject), Path: "/usr/bin/node"}, "/bin/go": {Verdict: uint8(sip.Outside)},
		"/no": {Verdict: uint8(sip.Fails)}, "/signed": {Verdict: uint8(sip.Inject), Flags: frame.ExecARM64e}, "script": {Verdict: uint8(sip.Inject), Path: "/bin/sh", Skip: 1, Words: []string{"/bin/sh", "/x/script"}},
		"copied": {Verdict: uint8(sip.Copy), Flags: frame.ExecLight, Path: "/cache/ruby", Skip: 1, Words: []string{"/bin/ruby", "-w", "./copied"}, Edits: []string{"A=b=c"}},
	} {
		var reply frame.ExecReply
		status, _ := s.ask(t, frame.Exec, &frame.ExecRequest{
			Flags: frame.ExecSearch | frame.ExecAsk, Path: path, Cwd: "/w", Argv0: "a", PathVar: "/usr/bin", DeveloperDir: "/x.app",
		}, &reply)
		if diff := cmp.Diff(want, reply); status != 0 || diff != "" {
			t.Errorf("%s: status %d (-want +got)\n%s", path, status, diff)
		}
		me := sip.Request{Path: path, Argv0: "a", Cwd: "/w", PathVar: "/usr/bin", Search: true, Env: []string{"DEVELOPER_DIR=/x.app", "PATH=/usr/bin"},
			Caller: &sip.Creds{UID: os.Getuid(), GID: os.Getgid()}}
		if diff := cmp.Diff(me, <-asked, cmpopts.IgnoreUnexported(sip.Request{})); diff != "" {
			t.Errorf("asked (-want +got)\n%s", diff)
		}
	}
	if n, out := len(s.emitted(events.ProcessExec)), s.emitted(events.ProcessOutside); n != 6 || len(out) != 1 ||
		out[0].Path != "/bin/go" || out[0].Reason != "a Go program" || out[0].PID != os.Getpid() {
		t.Errorf("%d execs, outside %+v", n, out)
	}

	// Who does not wait for the answer can put nothing in the program's place.
	s.ask(t, frame.Exec, &frame.ExecRequest{Path: "node", Cwd: "/w"}, &frame.ExecReply{})
	if got := <-asked; !got.AsIs || got.Search {
		t.Errorf("announced %+v", got)
	}
}

// The broker asks for the words when the verdict depends on them, and says that it is alive as long as it works.
func TestExecInSteps(t *testing.T) {
	proceed := make(chan bool)
	s := start(t, &fakeAgent{}, func(o *Options) {
		o.Decide = func(r sip.Request) sip.Verdict {
			if r.Args == nil {
				return sip.Verdict{Kind: sip.Copy, Path: "/cache/env", AskArgv: true}
			}
			<-proceed
			return sip.Verdict{Kind: sip.Copy, Path: "/cache/node", Argv: append([]string{"node"}, r.Args[1:]...)}
		}
	})
	c, token := s.dialBroker(t)
	defer c.Close()
	send(t, c, token, frame.Exec, &frame.ExecRequest{Flags: frame.ExecAsk, Path: "/usr/bin/env", Argv0: "env"})
	if status, _ := receive(t, c, frame.Exec, nil); status != frame.StatusArgv {
		t.Fatalf("status %d, want that for the words", status)
	}
	send(t, c, token, frame.Argv, &frame.ArgvRequest{Words: []string{"env", "node", "x.js", "y"}})
	for range 2 {
		if status, _ := receive(t, c, frame.Exec, nil); status != frame.StatusWait {
			t.Fatalf("status %d, want a sign of life", status)
		}
	}
	close(proceed)
	var reply frame.ExecReply
	status := frame.StatusWait
	for status == frame.StatusWait {
		status, _ = receive(t, c, frame.Exec, &reply)
	}
	want := frame.ExecReply{Verdict: uint8(sip.Copy), Path: "/cache/node", Skip: 1}
	if diff := cmp.Diff(want, reply); status != 0 || diff != "" {
		t.Errorf("status %d (-want +got)\n%s", status, diff)
	}
	// What is no list of words is no answer, and there is none.
	c, _ = s.dialBroker(t)
	defer c.Close()
	send(t, c, token, frame.Exec, &frame.ExecRequest{Flags: frame.ExecAsk, Path: "/usr/bin/env", Argv0: "env"})
	receive(t, c, frame.Exec, nil)
	send(t, c, token, frame.Stat, &frame.StatRequest{Path: "/x"})
	if status, _ := receive(t, c, frame.Exec, &reply); status != 0 || reply.Path != "/cache/env" {
		t.Errorf("without words: status %d, %+v", status, reply)
	}
}

func TestReplaced(t *testing.T) {
	for _, tt := range []struct {
		from, to []string
		skip     uint16
		words    []string
	}{
		{[]string{"a", "b"}, []string{"a", "b"}, 0, nil},
		{[]string{"./s", "b"}, []string{"/bin/sh", "-e", "./s", "b"}, 0, []string{"/bin/sh", "-e"}},
		{[]string{"s", "b"}, []string{"/bin/sh", "/x/s", "b"}, 1, []string{"/bin/sh", "/x/s"}},
		{[]string{"env", "node", "x"}, []string{"node", "x"}, 1, nil},
		{[]string{"env", "A=1", "node"}, []string{"sh"}, 3, []string{"sh"}},
		{nil, []string{"sh"}, 0, []string{"sh"}},
	} {
		skip, words := replaced(tt.from, tt.to)
		if skip != tt.skip || !slices.Equal(words, tt.words) {
			t.Errorf("%q to %q: skip %d, %q", tt.from, tt.to, skip, words)
		}
	}
}

func TestNames(t *testing.T) {
	agent := &fakeAgent{do: func(r *wire.Request) *wire.Reply {
		switch {
		case r.Op == wire.OpReverse && r.Addr.Addr() == netip.MustParseAddr("10.0.0.1"):
			return &wire.Reply{Name: "one.internal"}
		case r.Name == "db":
			return &wire.Reply{Name: "db.svc", Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}}
		case r.Name == "v6only" && r.Family == 4:
			return &wire.Reply{Errno: wire.ErrnoNoData}
		case r.Name == "slow":
			return &wire.Reply{Errno: wire.ErrnoAgain}
		case r.Name == "odd":
			return &wire.Reply{Errno: "EIO"}
		}
		return &wire.Reply{Errno: wire.ErrnoNotFound}
	}}
	s := start(t, agent, func(o *Options) {
		o.Config.Feature.Network.DNS.Filter.Local = rules(t, "corp.example")
	})
	var reply frame.LookupReply
	if status, _ := s.ask(t, frame.Lookup, &frame.LookupRequest{Name: "db"}, &reply); status != 0 || reply.Canonical != "db.svc" ||
		len(reply.Addrs) != 2 || reply.Addrs[1] != netip.MustParseAddrPort("[fd00::1]:0") {
		t.Errorf("db: status %d, %+v", status, reply)
	}
	for name, want := range map[string]int32{
		"v6only": frame.LookupNoData, "slow": frame.LookupAgain, "odd": frame.LookupFail, "none": frame.LookupNotFound, "corp.example": frame.StatusLocal,
	} {
		s.expect(want, frame.Lookup, &frame.LookupRequest{Name: name, Family: 4})
	}
	var name frame.NameReply
	if status, _ := s.ask(t, frame.Reverse, &frame.ReverseRequest{Addr: netip.MustParseAddrPort("[::ffff:10.0.0.1]:0")}, &name); status != 0 || name.Name != "one.internal" {
		t.Errorf("reverse: status %d, %+v", status, name)
	}
	s.expect(frame.LookupNotFound, frame.Reverse, &frame.ReverseRequest{Addr: netip.MustParseAddrPort("10.0.0.2:0")})
	for _, e := range s.emitted(events.Name) {
		if e.Address != "" || e.Message != "" {
			t.Errorf("an event carries values: %+v", e)
		}
	}
	s.loseLink()
	s.expect(frame.LookupAgain, frame.Lookup, &frame.LookupRequest{Name: "db"})
	s.expect(frame.LookupAgain, frame.Reverse, &frame.ReverseRequest{Addr: netip.MustParseAddrPort("10.0.0.1:0")})
}

func TestNamesOff(t *testing.T) {
	s := start(t, &fakeAgent{}, func(o *Options) { o.Config.Feature.Network.DNS.Enabled = false })
	s.expect(frame.StatusLocal, frame.Lookup, &frame.LookupRequest{Name: "db"})
	s.expect(frame.StatusLocal, frame.Reverse, &frame.ReverseRequest{Addr: netip.MustParseAddrPort("10.0.0.2:0")})
}

func TestNameTableIsBounded(t *testing.T) {
	var table nameTable
	first := netip.MustParseAddr("10.0.0.0")
	for i, a := 0, first; i < maxNames+10; i, a = i+1, a.Next() {
		for n := range maxNamesOfAddr + 2 {
			table.add(a, strings.Repeat("n", n+1))
		}
	}
	if len(table.names) != maxNames || table.of(first) != nil || len(table.of(netip.MustParseAddr("10.0.1.0"))) != maxNamesOfAddr {
		t.Errorf("%d addresses, the first %v", len(table.names), table.of(first))
	}
}

// BenchmarkRequest is what a request costs the layer that needs nothing from the agent: connect, ask, read, close.
func BenchmarkRequest(b *testing.B) {
	s := start(b, &fakeAgent{}, nil)
	b.Run("exec", func(b *testing.B) {
		benchmark(b, s, frame.Exec, &frame.ExecRequest{Path: "/bin/true", Cwd: "/", Argv0: "true"})
	})
	b.Run("sockerror", func(b *testing.B) { benchmark(b, s, frame.SockError, &frame.SockErrorRequest{}) })
	b.Run("hello", func(b *testing.B) { benchmark(b, s, frame.Hello, &frame.HelloRequest{PID: 1, Exe: "/bin/true"}) })
}

// benchmark asks with plain system calls, as C does, so that only the broker is Go.
func benchmark(b *testing.B, s *session, kind frame.Kind, m frame.Message) {
	out, err := frame.AppendRequest(nil, kind, 1, s.token, m)
	if err != nil {
		b.Fatal(err)
	}
	name, _, _ := strings.Cut(s.Env(), ":")
	to := &unix.SockaddrUnix{Name: "@" + name}
	buf, oob := make([]byte, 4096), make([]byte, 64)
	for b.Loop() {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err == nil {
			err = unix.Connect(fd, to)
		}
		if err == nil {
			_, err = unix.Write(fd, out)
		}
		n, oobn := 0, 0
		if err == nil {
			n, oobn, _, _, err = unix.Recvmsg(fd, buf, oob, 0)
		}
		if err != nil || n == 0 {
			b.Fatal(n, err)
		}
		if oobn > 0 {
			messages, _ := unix.ParseSocketControlMessage(oob[:oobn])
			fds, _ := unix.ParseUnixRights(&messages[0])
			unix.Close(fds[0])
		}
		unix.Close(fd)
	}
}

// When descriptors have run out for a moment, layers find the broker again, also by its path.
func TestShedKeepsSocket(t *testing.T) {
	s := start(t, &fakeAgent{}, func(o *Options) { o.Paths = true })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if !s.shed(unix.EMFILE, l.(*net.TCPListener)) {
		t.Error("the broker accepts no more")
	}
	s.expect(frame.StatusLocal, frame.UnixPeer, &frame.PathRequest{Path: "nobody"})
}
