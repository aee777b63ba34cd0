package frame

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/frames.hex")

// Every frame of the golden file has this id, every request this token.
const goldenID = 0x0102030405060708

var goldenToken = [TokenSize]byte{0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f}

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// golden is testdata/frames.hex in values: line by line, name and frame.
var golden = []struct {
	name    string
	kind    Kind
	request bool
	flags   uint16
	status  int32   // replies
	m       Message // nil: a reply without fields
}{
	{"hello.request", Hello, true, 0, 0, &HelloRequest{PID: 4711, PPID: 4710, How: HowExec, Exe: "/usr/bin/node", Argv0: "node"}},
	{"hello.reply", Hello, false, FlagDescriptor, StatusOK, nil},
	{"open.request", Open, true, 0, 0, &OpenRequest{Flags: 0o2000100, Mode: 0o644, Path: "/etc/app/settings.json"}},
	{"open.reply", Open, false, FlagDescriptor, StatusOK, nil},
	{"open.reply.enoent", Open, false, 0, 2, nil},
	{"open.reply.local", Open, false, 0, StatusLocal, nil},
	{"stat.request", Stat, true, 0, 0, &StatRequest{NoFollow: 1, Path: "/etc/hostname"}},
	{"stat.reply", Stat, false, 0, StatusOK, &StatReply{
		Dev: 0x801, Ino: 0x123456789a, Mode: 0o100640, Nlink: 2, UID: 1000, GID: 1001, Rdev: 0x0503, Size: 1 << 33, Blksize: 4096, Blocks: 1 << 24,
		Atime: 1700000000000000001, Mtime: 1700000000000000002, Ctime: 1700000000000000003, Life: 999, Neighbours: "\x01\x00x",
	}},
	{"access.request", Access, true, 0, 0, &AccessRequest{Mode: 4, Path: "/etc/shadow"}},
	{"access.reply.eacces", Access, false, 0, 13, nil},
	{"readlink.request", Readlink, true, 0, 0, &PathRequest{Path: "/etc/localtime"}},
	{"readlink.reply", Readlink, false, 0, StatusOK, &PathReply{Path: "../usr/share/zoneinfo/UTC"}},
	{"realpath.request", Realpath, true, 0, 0, &PathRequest{Path: "/srv/current/app"}},
	{"realpath.reply", Realpath, false, 0, StatusOK, &PathReply{Path: "/srv/releases/42/app"}},
	{"change.request", Change, true, 0, 0, &ChangeRequest{Op: Rename, Flags: ChangeNoReplace, Path: "/srv/a", Other: "/srv/b"}},
	{"change.utimes.request", Change, true, 0, 0, &ChangeRequest{Op: Utimes, Flags: ChangeNoFollow, Mode: 0o644, UID: 1000, GID: ^uint32(0), Size: 1 << 40,
		Atime: 1700000000000000001, Mtime: ^uint64(0), Path: "/srv/a"}},
	{"change.reply.erofs", Change, false, 0, 30, nil},
	{"lookup.request", Lookup, true, 0, 0, &LookupRequest{Family: 0, Name: "db.internal"}},
	{"lookup.reply", Lookup, false, 0, StatusOK, &LookupReply{Canonical: "db.svc", Addrs: []netip.AddrPort{addr("10.96.0.9:0"), addr("[fd00::9]:0")}}},
	{"lookup.reply.notfound", Lookup, false, 0, LookupNotFound, nil},
	{"reverse.request", Reverse, true, 0, 0, &ReverseRequest{Addr: addr("10.96.0.9:0")}},
	{"reverse.reply", Reverse, false, 0, StatusOK, &NameReply{Name: "db.internal"}},
	{"connect.request", Connect, true, 0, 0, &ConnectRequest{Flags: ConnectNonblock | ConnectV6Only, Addr: addr("[fd00::7]:8080")}},
	{"connect.reply", Connect, false, 0, StatusOK, &ConnectReply{Attempt: 0x1122334455667788, Relay: addr("127.10.20.1:40001")}},
	{"connect.reply.local", Connect, false, 0, StatusLocal, &ConnectReply{}},
	{"connect.reply.econnrefused", Connect, false, 0, 111, nil},
	{"connected.request", Connected, true, 0, 0, &ConnectedRequest{Attempt: 0x1122334455667788, Local: addr("127.0.0.1:50123")}},
	{"endpoint.request", Endpoint, true, 0, 0, &EndpointRequest{Local: addr("127.0.0.1:50123"), Peer: addr("127.10.20.1:40001")}},
	{"endpoint.reply", Endpoint, false, 0, StatusOK, &EndpointReply{Local: addr("10.1.2.3:33000"), Peer: addr("10.96.0.7:80")}},
	{"sockerror.request", SockError, true, 0, 0, &SockErrorRequest{Local: addr("127.0.0.1:50124")}},
	{"sockerror.reply.ehostunreach", SockError, false, 0, 113, nil},
	{"bind.request", Bind, true, 0, 0, &BindRequest{Errno: 98, Requested: addr("0.0.0.0:8080")}},
	{"bind.reply", Bind, false, 0, StatusOK, &BindReply{Port: 8000}},
	{"bind.reply.local", Bind, false, 0, StatusLocal, nil},
	{"listen.request", Listen, true, 0, 0, &ListenRequest{V6Only: 1, Requested: addr("[::]:8080"), Actual: addr("[::]:41234")}},
	{"listen.reply", Listen, false, 0, StatusOK, nil},
	{"exec.request", Exec, true, 0, 0, &ExecRequest{Flags: ExecSearch, Path: "npm", Cwd: "/srv/app", Argv0: "npm", PathVar: "/usr/bin:/bin", DeveloperDir: "/d"}},
	{"exec.ask.request", Exec, true, 0, 0, &ExecRequest{Flags: ExecAsk, Path: "/usr/bin/su", Argv0: "su"}},
	{"exec.wait.reply", Exec, false, 0, StatusWait, nil},
	{"exec.argv.reply", Exec, false, 0, StatusArgv, nil},
	{"argv.request", Argv, true, 0, 0, &ArgvRequest{Words: []string{"su", "dropped", "--"}}},
	{"supervise.request", Supervise, true, 0, 0, &SuperviseRequest{PPID: 41, Socket: 3, Scratch: 0x7ffd12345678, Program: "/usr/local/go/bin/go", Cwd: "/srv/data"}},
	{"supervise.reply", Supervise, false, 0, StatusOK, &SuperviseReply{Filter: "\x20\x00\x00\x00\x04\x00\x00\x00\x06\x00\x00\x00\x00\x00\xff\x7f"}},
	{"listener.request", Listener, true, 0, 0, &ListenerRequest{Descriptor: 4, Errno: 1}},
	{"statfs.request", Statfs, true, 0, 0, &PathRequest{Path: "/srv/data"}},
	{"statfs.reply", Statfs, false, 0, StatusOK, &StatfsReply{
		Type: 0xef53, Bsize: 4096, Frsize: 4096, Blocks: 1 << 30, Bfree: 1 << 20, Bavail: 1 << 19, Files: 1000, Ffree: 999, Fsid: 0x0102030405060708,
		Namelen: 255, Flags: 1024,
	}},
	{"exec.reply", Exec, false, 0, StatusOK, &ExecReply{
		Verdict: 4, Flags: ExecARM64e, Path: "/usr/bin/env", Skip: 2, Words: []string{"env"}, Edits: []string{"SET=by the broker", "GONE", "REPLACED="},
	}},
	{"unix.request", Unix, true, 0, 0, &UnixRequest{Flags: ConnectNonblock, Name: "@shop\x00db"}},
	{"unix.reply", Unix, false, 0, StatusOK, &PathReply{Path: "mirrord-0123-9"}},
	{"unix.reply.enoent", Unix, false, 0, 2, nil},
	{"unixpeer.request", UnixPeer, true, 0, 0, &PathRequest{Path: "mirrord-0123-9"}},
	{"unixpeer.reply", UnixPeer, false, 0, StatusOK, &PathReply{Path: "/run/db.sock"}},
	{"openhow.request", OpenHow, true, 0, 0, &OpenHowRequest{Flags: 02000000, Ways: 0x18, From: "/srv/data", Path: "sub/deep"}},
	{"openhow.reply.exdev", OpenHow, false, 0, 18, nil},
	{"fstatfs.request", Fstatfs, true, 0, 0, &DeviceRequest{Dev: 0x100000000801}},
	{"datagram.request", Datagram, true, 0, 0, &DatagramRequest{Addr: addr("10.96.0.9:8125")}},
}

func TestGolden(t *testing.T) {
	var frames [][]byte
	var text bytes.Buffer
	for _, g := range golden {
		b, err := AppendReply(nil, Header{Kind: g.kind, Flags: g.flags, ID: goldenID}, g.status, g.m)
		if g.request {
			b, err = AppendRequest(nil, g.kind, goldenID, goldenToken, g.m)
		}
		if err != nil {
			t.Fatalf("%s: %v", g.name, err)
		}
		frames = append(frames, b)
		fmt.Fprintf(&text, "%s %x\n", g.name, b)
	}
	if *update {
		if err := os.WriteFile("testdata/frames.hex", text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.ReadFile("testdata/frames.hex")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(file), "\n"), strings.Split(text.String(), "\n")); diff != "" {
		t.Fatalf("frames differ (-file +encoded):\n%s", diff)
	}

	for i, g := range golden {
		h, err := ReadHeader(bytes.NewReader(frames[i]))
		want := Header{Len: uint32(len(frames[i]) - HeaderSize), Kind: g.kind, Flags: g.flags, ID: goldenID}
		if err != nil || h != want {
			t.Errorf("%s: header %+v, %v, want %+v", g.name, h, err, want)
		}
		payload := frames[i][HeaderSize:]
		var fields []byte
		if g.request {
			token, rest, ok := Token(payload)
			if !ok || [TokenSize]byte(token) != goldenToken {
				t.Errorf("%s: token %x, %v", g.name, token, ok)
			}
			fields = rest
		} else {
			status, rest, err := Status(payload)
			if err != nil || status != g.status {
				t.Errorf("%s: status %d, %v", g.name, status, err)
			}
			fields = rest
		}
		if g.m == nil {
			if len(fields) > 0 {
				t.Errorf("%s: fields in a reply without any", g.name)
			}
			continue
		}
		got := blank(g.m)
		if err := Decode(fields, got); err != nil {
			t.Errorf("%s: %v", g.name, err)
		}
		if diff := cmp.Diff(g.m, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", g.name, diff)
		}
		for n := range fields {
			if err := Decode(fields[:n], blank(g.m)); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s cut to %d bytes: %v, want ErrMalformed", g.name, n, err)
			}
		}
		if err := Decode(append(fields[:len(fields):len(fields)], 0), blank(g.m)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s with a byte too many: %v, want ErrMalformed", g.name, err)
		}
	}
}

// blank is an empty message of m's type.
func blank(m Message) Message {
	return reflect.New(reflect.TypeOf(m).Elem()).Interface().(Message)
}

func TestTooLong(t *testing.T) {
	long := strings.Repeat("x", 40<<10)
	for name, m := range map[string]Message{
		"string":    &PathRequest{Path: long + long},
		"payload":   &ChangeRequest{Op: Rename, Path: long, Other: long},
		"addresses": &LookupReply{Addrs: make([]netip.AddrPort, 5000)},
		"count":     &LookupReply{Addrs: make([]netip.AddrPort, 70000)},
		"strings":   &ArgvRequest{Words: make([]string, 70000)},
	} {
		if b, err := AppendReply([]byte("kept"), Header{}, StatusOK, m); !errors.Is(err, ErrMalformed) || string(b) != "kept" {
			t.Errorf("%s: %d bytes, %v; want the buffer as it was and ErrMalformed", name, len(b), err)
		}
	}
}

func TestBadAddress(t *testing.T) {
	valid := appendAddr(nil, addr("10.0.0.1:80"))
	for name, change := range map[string]func(b []byte){
		"family":                 func(b []byte) { b[0] = 5 },
		"IPv4 with 16 bytes":     func(b []byte) { b[18] = 1 },
		"no family but a port":   func(b []byte) { clear(b); b[1] = 80 },
		"no family, an address":  func(b []byte) { clear(b); b[5] = 1 },
		"family of another type": func(b []byte) { b[0] = 10 },
	} {
		b := bytes.Clone(valid)
		change(b)
		if err := Decode(b, &ReverseRequest{}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
}

func TestReadHeader(t *testing.T) {
	for name, c := range map[string]struct {
		in   []byte
		want error
	}{
		"nothing":   {nil, io.EOF},
		"half":      {make([]byte, HeaderSize/2), io.ErrUnexpectedEOF},
		"too large": {AppendHeader(nil, Header{Len: MaxPayload + 1}), ErrMalformed},
		"largest":   {AppendHeader(nil, Header{Len: MaxPayload}), nil},
	} {
		if _, err := ReadHeader(bytes.NewReader(c.in)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// FuzzFrame: no frame makes a decoder fail other than with an error, and what is decoded is written back as it was.
func FuzzFrame(f *testing.F) {
	file, err := os.ReadFile("testdata/frames.hex")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(file)) {
		_, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		b, err := hex.DecodeString(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		h, err := ReadHeader(bytes.NewReader(in))
		if err != nil || len(in) < HeaderSize+int(h.Len) {
			return
		}
		payload := in[HeaderSize : HeaderSize+int(h.Len)]
		for _, g := range golden {
			if g.kind != h.Kind || g.m == nil {
				continue
			}
			m := blank(g.m)
			if token, fields, ok := Token(payload); g.request && ok && Decode(fields, m) == nil {
				back, err := AppendRequest(nil, h.Kind, h.ID, [TokenSize]byte(token), m)
				if err != nil || !bytes.Equal(back[HeaderSize:], payload) {
					t.Errorf("%s: %x came back as %x (%v)", g.name, payload, back, err)
				}
			}
			if status, fields, err := Status(payload); !g.request && err == nil && Decode(fields, m) == nil {
				back, err := AppendReply(nil, h, status, m)
				if err != nil || !bytes.Equal(back[HeaderSize:], payload) {
					t.Errorf("%s: %x came back as %x (%v)", g.name, payload, back, err)
				}
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	in, err := AppendRequest(nil, Open, 1, goldenToken, &OpenRequest{Path: "/etc/app/settings.json"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var m OpenRequest
		if err := Decode(in[HeaderSize+TokenSize:], &m); err != nil {
			b.Fatal(err)
		}
	}
}
