package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the golden files in testdata")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var compareAddrs = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

// The bytes of the protocol are a contract between releases: a change here needs a new Version.
var headers = []struct {
	name string
	msg  any
}{
	{"hello", &Request{Op: OpHello, Hello: &Hello{Version: 1, Session: "s1", Bulk: true}}},
	{"hello-reply", &Reply{Hello: &Hello{Version: 1, Session: "s1", Capabilities: []string{"env", "files"}, Name: "cart", Hostname: "cart-0"}}},
	{"env", &Request{Op: OpEnv}},
	{"env-reply", &Reply{Env: map[string]string{"B": "2", "A": "\xff"}}},
	{"open", &Request{Op: OpOpen, Path: "/etc/\xffx", NoFollow: true, Dir: true, Limit: 1 << 26}},
	{"stat-reply", &Reply{Stat: &Stat{Dev: 1, Ino: 2, Mode: 0o100644, Nlink: 3, UID: 4, GID: 5, Rdev: 6, Size: 7, Blksize: 4096, Blocks: 8, Atime: -9, Mtime: 10, Ctime: 1 << 60}}},
	{"access", &Request{Op: OpAccess, Path: "/", Mode: 6}},
	{"path-reply", &Reply{Path: "/usr/lib"}},
	{"lookup", &Request{Op: OpLookup, Name: "db.internal", Family: 6}},
	{"lookup-reply", &Reply{Name: "db", Addrs: []netip.Addr{netip.MustParseAddr("10.96.0.9"), netip.MustParseAddr("fd00::9")}}},
	{"reverse", &Request{Op: OpReverse, Addr: netip.MustParseAddrPort("10.96.0.9:0")}},
	{"connect", &Request{Op: OpConnect, Addr: netip.MustParseAddrPort("[fd00::9]:443")}},
	{"connect-datagram", &Request{Op: OpConnect, Addr: netip.MustParseAddrPort("10.96.0.9:53"), Datagram: true}},
	{"connect-unix", &Request{Op: OpConnect, Path: "@a\x00\xff", NoWait: true}},
	{"connect-reply", &Reply{Local: netip.MustParseAddrPort("10.0.0.1:40000"), Remote: netip.MustParseAddrPort("10.96.0.9:80")}},
	{"error-reply", &Reply{Errno: "ECONNREFUSED", Text: "nobody listens"}},
	{"subscribe", &Request{Op: OpSubscribe, Port: 8080, Steal: true}},
	{"incoming", &Request{Op: OpIncoming, Port: 8080, Local: netip.MustParseAddrPort("10.0.0.1:8080"), Remote: netip.MustParseAddrPort("10.0.0.2:50000")}},
	{"reset", &Request{Op: OpReset, Stream: 7}},
	{"list", &Request{Op: OpOpen, Path: "/srv", Dir: true, Stats: true}},
	{"statfs", &Request{Op: OpStatfs, Path: "/srv"}},
	{"change", &Request{Op: OpChange, Path: "/srv/a\n\xff", Change: &Change{
		Kind: ChangeRename, Flags: NoReplace, Other: "/srv/b", Mode: 0o40755, UID: 1000, GID: Unchanged, Size: 1 << 40, Atime: -1, Mtime: 1700000000000000002,
	}}},
	{"statfs-reply", &Reply{Statfs: &Statfs{Type: 0xef53, Bsize: 4096, Frsize: 4096, Blocks: 1 << 30, Bfree: 2, Bavail: 3, Files: 4, Ffree: 5, Fsid: 1<<64 - 1, Namelen: 255, Flags: 1024}}},
	{"empty-reply", &Reply{}},
}

// blank returns a new zero message of the same type as msg.
func blank(msg any) any {
	if _, ok := msg.(*Request); ok {
		return new(Request)
	}
	return new(Reply)
}

func encode(t testing.TB, msg any) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteHeader(&b, msg); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// golden compares lines of `name hex` with a file in testdata.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestHeadersGolden(t *testing.T) {
	var got strings.Builder
	for _, h := range headers {
		raw := encode(t, h.msg)
		fmt.Fprintf(&got, "%s %x\n", h.name, raw)
		back := blank(h.msg)
		r := bytes.NewReader(append(raw, "rest"...))
		if err := ReadHeader(r, back); err != nil {
			t.Errorf("%s: %v", h.name, err)
		}
		if diff := cmp.Diff(h.msg, back, compareAddrs, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s (-sent +read):\n%s", h.name, diff)
		}
		if r.Len() != len("rest") {
			t.Errorf("%s: read %d bytes past the header", h.name, len("rest")-r.Len())
		}
	}
	golden(t, "testdata/headers.hex", got.String())
}

func TestReadHeaderNewerPeer(t *testing.T) {
	// {1: 4, 99: ["new"], "name": 1}: keys that this version does not know.
	raw, _ := hex.DecodeString("a3010418638163" + hex.EncodeToString([]byte("new")) + "64" + hex.EncodeToString([]byte("name")) + "01")
	var req Request
	if err := ReadHeader(bytes.NewReader(framed(raw)), &req); err != nil || req.Op != OpStat {
		t.Errorf("got %+v, %v", req, err)
	}
}

func framed(payload []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

func TestReadHeaderHostile(t *testing.T) {
	good := encode(t, headers[0].msg)
	unhex := func(s string) []byte { b, _ := hex.DecodeString(s); return framed(b) }
	for _, c := range []struct {
		name string
		raw  []byte
		want error
	}{
		{"nothing", nil, io.EOF},
		{"half a length", good[:2], io.ErrUnexpectedEOF},
		{"half a header", good[:len(good)-1], io.ErrUnexpectedEOF},
		{"only a length", good[:4], io.ErrUnexpectedEOF},
		{"no payload", framed(nil), ErrMalformed},
		{"over MaxRequest", binary.LittleEndian.AppendUint32(nil, MaxRequest+1), ErrMalformed},
		{"huge length", []byte{255, 255, 255, 255}, ErrMalformed},
		{"no map", unhex("01"), ErrMalformed},
		{"key twice", unhex("a201040105"), ErrMalformed},
		{"trailing bytes", unhex("a1010400"), ErrMalformed},
		{"indefinite length", unhex("bf0104ff"), ErrMalformed},
		{"tag", unhex("a101c104"), ErrMalformed},
		{"nested", unhex("a11818" + strings.Repeat("81", 100) + "01"), ErrMalformed},
		{"array of 2^32 elements", unhex("a1059b00000000ffffffff"), ErrMalformed},
		{"address of 3 bytes", unhex("a20107" + "0943010203"), ErrMalformed},
		{"op too large", unhex("a101190100"), ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := ReadHeader(bytes.NewReader(c.raw), new(Request)); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// A reply may be as large as a request may not.
func TestReadReplyTooLarge(t *testing.T) {
	for size, want := range map[uint32]error{MaxRequest + 1: io.ErrUnexpectedEOF, MaxHeader: io.ErrUnexpectedEOF, MaxHeader + 1: ErrMalformed} {
		raw := append(binary.LittleEndian.AppendUint32(nil, size), 0xa1)
		if err := ReadHeader(bytes.NewReader(raw), new(Reply)); !errors.Is(err, want) {
			t.Errorf("%d bytes: %v, want %v", size, err, want)
		}
	}
}

// A length is cheap to send: it must not be expensive to receive.
func TestReadHeaderAllocatesAsBytesArrive(t *testing.T) {
	raw := append(binary.LittleEndian.AppendUint32(nil, MaxHeader), 0xa1)
	const times = 100
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range times {
		ReadHeader(bytes.NewReader(raw), new(Reply))
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / times; got > 64<<10 {
		t.Errorf("%d bytes allocated for a header of which one byte came", got)
	}
}

func TestWriteHeaderTooLarge(t *testing.T) {
	for _, message := range []any{&Request{Op: OpStat, Path: strings.Repeat("x", MaxRequest)}, &Reply{Path: strings.Repeat("x", MaxHeader)}} {
		var b bytes.Buffer
		var failure *Error
		err := WriteHeader(&b, message)
		if !errors.As(err, &failure) || failure.Errno != "E2BIG" || b.Len() != 0 {
			t.Errorf("%T: got %v and %d bytes, want E2BIG and none", message, err, b.Len())
		}
	}
	if err := WriteHeader(io.Discard, &Reply{Path: strings.Repeat("x", MaxRequest)}); err != nil {
		t.Errorf("a reply has the bound of a request: %v", err)
	}
}

func TestErrors(t *testing.T) {
	if err := (&Reply{}).Err(); err != nil {
		t.Errorf("a success: %v", err)
	}
	err := (&Reply{Errno: "ENOENT", Text: "no such file"}).Err()
	if !errors.Is(err, fs.ErrNotExist) || err.Error() != "no such file" {
		t.Errorf("ENOENT became %v", err)
	}
	if err := (&Reply{Errno: ErrnoNoData}).Err(); errors.Unwrap(err) != nil || err.Error() != "NODATA" {
		t.Errorf("NODATA became %v", err)
	}
	expired, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	_, late := new(net.Dialer).DialContext(expired, "tcp", "127.0.0.1:9")
	for _, c := range []struct {
		err  error
		want string
	}{
		{late, "ETIMEDOUT"},
		{syscall.EHOSTUNREACH, "EHOSTUNREACH"},
		{fmt.Errorf("dial: %w", &os.SyscallError{Syscall: "connect", Err: syscall.ECONNREFUSED}), "ECONNREFUSED"},
		{&fs.PathError{Err: syscall.EACCES}, "EACCES"},
		{os.ErrDeadlineExceeded, "ETIMEDOUT"},
		{&Error{Errno: ErrnoAgain}, "AGAIN"},
		{io.ErrUnexpectedEOF, "EIO"},
		{syscall.Errno(9999), "EIO"},
	} {
		if got := ErrnoName(c.err); got != c.want {
			t.Errorf("ErrnoName(%v) = %s, want %s", c.err, got, c.want)
		}
	}
}

func FuzzReadHeader(f *testing.F) {
	for _, h := range headers {
		f.Add(encode(f, h.msg))
	}
	f.Add([]byte{5, 0, 0, 0, 0xbf, 1, 4, 0xff, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, msg := range []any{new(Request), new(Reply)} {
			if ReadHeader(bytes.NewReader(raw), msg) != nil {
				continue
			}
			// What was understood can be said again and means the same.
			var b bytes.Buffer
			if err := WriteHeader(&b, msg); err != nil {
				t.Fatalf("%+v: %v", msg, err)
			}
			first := bytes.Clone(b.Bytes())
			again := blank(msg)
			if err := ReadHeader(&b, again); err != nil {
				t.Fatalf("%x: %v", first, err)
			}
			if second := encode(t, again); !bytes.Equal(first, second) {
				t.Fatalf("%x became %x", first, second)
			}
		}
	})
}
