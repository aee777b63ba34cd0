//go:build linux && (amd64 || arm64)

package supervise

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mirrord/launcher/rules"
	"mirrord/launcher/seccomp"
)

func compiled(t testing.TB, in rules.Input) rules.File {
	t.Helper()
	b, err := rules.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	return rules.File(b)
}

// TestFilterIsAsSmallAsItCanBe: only what the rules make something of is reported.
func TestFilterIsAsSmallAsItCanBe(t *testing.T) {
	sizes := map[string]int{}
	for name, in := range map[string]rules.Input{
		"nothing": {Mode: "local"},
		"names":   {Mode: "local", Names: true},
		"network": {Mode: "local", Names: true, Outgoing: true, Incoming: true, UDP: true},
		"all":     {Mode: "read", Names: true, Outgoing: true, Incoming: true, UDP: true, NoIPv6: true, Hostname: "h"},
	} {
		code, err := Filter(compiled(t, in))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		sizes[name] = len(code)
	}
	if !(sizes["nothing"] < sizes["names"] && sizes["names"] < sizes["network"] && 2*sizes["network"] < sizes["all"]) {
		t.Errorf("sizes of the filters: %v", sizes)
	}
}

// memfd makes a descriptor with a tag, as the broker does.
func memfd(t *testing.T, name string, content []byte) int {
	t.Helper()
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if _, err := unix.Write(fd, content); err != nil {
		t.Fatal(err)
	}
	return fd
}

const fields = "801-2a-81a4-1-3e8-3e9-0-13-1000-8-17979cfe362a0000-17979cfe362a0001-17979cfe362a0002"

func TestTags(t *testing.T) {
	self := os.Getpid()
	file := memfd(t, "mirrord:f:"+fields, nil)
	kind, rest := tag(self, file)
	v, ok := tagged(rest)
	if kind != 'f' || !ok {
		t.Fatalf("%c %q", kind, rest)
	}
	want := numbers{0x801, 0x2a, 0o100644, 1, 1000, 1001, 0, 19, 4096, 8, 0x17979cfe362a0000, 0x17979cfe362a0001, 0x17979cfe362a0002}
	if diff := cmp.Diff(want, v); diff != "" {
		t.Error(diff)
	}
	for name, fd := range map[string]int{"another's memfd": memfd(t, "mirrord", nil), "no memfd": 0, "not open": 4711} {
		if kind, _ := tag(self, fd); kind != 0 {
			t.Errorf("%s has the tag of a %c", name, kind)
		}
	}
	content := append(binary.LittleEndian.AppendUint16(nil, 9), "/srv/data"...)
	if path, ok := directory(self, memfd(t, "mirrord:d:"+fields, content)); path != "/srv/data" || !ok {
		t.Errorf("the directory is %q, %v", path, ok)
	}
	if _, ok := directory(self, memfd(t, "mirrord:d:"+fields, []byte{9, 0, '/'})); ok {
		t.Error("a directory whose path is cut has one")
	}
	for _, wrong := range []string{"", "1", fields + "-1", "g" + fields[1:], fields[:len(fields)-1] + " "} {
		if _, ok := tagged(wrong); ok {
			t.Errorf("%q is a tag", wrong)
		}
	}
}

// entry is one of a directory's, as its descriptor holds them.
func dirEntry(ino uint64, kind byte, name string) []byte {
	b := binary.LittleEndian.AppendUint64(nil, ino)
	b = binary.LittleEndian.AppendUint16(append(b, kind, 0), uint16(len(name)))
	return append(b, name...)
}

func TestEntries(t *testing.T) {
	content := bytes.Join([][]byte{dirEntry(7, unix.DT_DIR, "sub"), dirEntry(8, unix.DT_REG, "a\nb"), dirEntry(9, unix.DT_LNK, string(bytes.Repeat([]byte{0xff}, 255)))}, nil)
	at := int64(11)
	var names []string
	for rest := content; len(rest) > 0; {
		out, used := direntsOf(rest, at, 300) // room for one with 255 bytes, or two others
		if used == 0 {
			t.Fatal("no progress")
		}
		for len(out) > 0 {
			size := binary.LittleEndian.Uint16(out[16:])
			name, _, _ := bytes.Cut(out[19:size], []byte{0})
			names = append(names, fmt.Sprintf("%d %d %q %d", binary.LittleEndian.Uint64(out), out[18], name, binary.LittleEndian.Uint64(out[8:])))
			out = out[size:]
		}
		rest, at = rest[used:], at+int64(used)
	}
	want := []string{`7 4 "sub" 26`, `8 8 "a\nb" 41`, fmt.Sprintf("9 10 %q 308", bytes.Repeat([]byte{0xff}, 255))}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	if out, used := direntsOf(content, at, 20); out != nil || used != 0 {
		t.Errorf("an entry that has no room: %d bytes of %d", len(out), used)
	}
}

func FuzzEntries(f *testing.F) {
	f.Add(append(dirEntry(1, 4, "sub"), dirEntry(2, 8, "x")...), 100)
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 1000)
	f.Fuzz(func(t *testing.T, raw []byte, room int) {
		out, used := direntsOf(raw, 0, room)
		if used > len(raw) || len(out) > max(room, 0) {
			t.Fatalf("%d bytes of %d, into %d of %d", used, len(raw), len(out), room)
		}
	})
}

func TestAddresses(t *testing.T) {
	for _, tt := range []struct {
		addr   string
		family int
		want   string
	}{
		{"10.96.0.7:80", unix.AF_INET, "10.96.0.7:80"},
		{"10.96.0.7:80", unix.AF_INET6, "10.96.0.7:80"},
		{"[fd00::7]:443", unix.AF_INET6, "[fd00::7]:443"},
		{"[fd00::7]:443", unix.AF_INET, "invalid AddrPort"},
	} {
		if got := parseAddress(rawAddress(netip.MustParseAddrPort(tt.addr), tt.family)).String(); got != tt.want {
			t.Errorf("%s in family %d: %s", tt.addr, tt.family, got)
		}
	}
	for addr, want := range map[string]bool{"224.0.0.1:1": true, "169.254.1.1:1": true, "169.254.169.254:80": false, "10.0.0.1:1": false, "[ff02::1]:1": true, "[fe80::1]:1": true, "[fd00::1]:1": false} {
		if got := staysLocal(netip.MustParseAddrPort(addr)); got != want {
			t.Errorf("%s stays here: %v", addr, got)
		}
	}
}

func FuzzAddress(f *testing.F) {
	f.Add([]byte{2, 0, 0, 80, 10, 96, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{10, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if addr := parseAddress(raw); addr.IsValid() && parseAddress(rawAddress(addr, unix.AF_INET6)) != netip.AddrPortFrom(addr.Addr().WithZone(""), addr.Port()) {
			t.Fatal(addr)
		}
	})
}

// TestFolders: a process is in the pod's directory that it has entered, or that who it comes from was in then.
func TestFolders(t *testing.T) {
	var f folders
	self, parent := os.Getpid(), os.Getppid()
	start := func() int {
		cmd := exec.Command("sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
		return cmd.Process.Pid
	}
	if got := f.of(self); got != "" {
		t.Errorf("at first: %q", got)
	}
	before := start()
	f.enter(self, "/srv")
	in := start()
	if got := f.of(in); got != "/srv" {
		t.Errorf("of the child: %q", got)
	}
	late := start()
	f.enter(in, "/srv/data")
	f.enter(self, "")
	after := start()
	for pid, want := range map[int]string{before: "", in: "/srv/data", late: "/srv", after: "", self: "", parent: ""} {
		if got := f.of(pid); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f.enter(self, "/srv")
	orphan := start()
	f.leave(self)
	f.mu.Lock()
	delete(f.known, self)
	f.mu.Unlock()
	if got := f.of(orphan); got != "/srv" {
		t.Errorf("of an orphan: %q", got)
	}
	if p, err := seccomp.About(self); err != nil || p.PID != self || p.Parent != parent || p.Since == 0 {
		t.Errorf("%+v, %v", p, err)
	}
	f.mu.Lock()
	f.known[self] = folder{1, "/of/another"} // which had this number before
	f.mu.Unlock()
	if got := f.of(self); got != "" {
		t.Errorf("of a number that came again: %q", got)
	}
}

// TestQuietCalls: what programs do with each file that they open, beside opening and describing it, is not reported. Go asks four times for a descriptor's flags.
func TestQuietCalls(t *testing.T) {
	for _, number := range []uint32{unix.SYS_READ, unix.SYS_PREAD64, unix.SYS_WRITE, unix.SYS_LSEEK, unix.SYS_CLOSE, unix.SYS_MMAP, unix.SYS_EPOLL_CTL, unix.SYS_FUTEX} {
		if _, reported := table[number]; reported {
			t.Errorf("call %d is reported", number)
		}
	}
	// A Go program asks four times for the flags of each file that it opens.
	if fcntl := table[unix.SYS_FCNTL]; len(fcntl.when) != 1 || slices.Contains(append(fcntl.when[0].Or, fcntl.when[0].Value), unix.F_GETFL) {
		t.Errorf("fcntl is reported when %+v", fcntl.when)
	}
}

// TestRoot: relative paths are looked at when a process may stand in the root, by whatever name that was reached.
func TestRoot(t *testing.T) {
	dir := t.TempDir()
	link := dir + "/link"
	if err := os.Symlink("/", link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{"/": true, link: true, dir + "/../../../../../../..": true, dir: false, "/none": false} {
		if got := isRoot(path); got != want {
			t.Errorf("%s is the root: %v", path, got)
		}
	}
}
