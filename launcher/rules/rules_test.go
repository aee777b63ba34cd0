package rules

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// developer is what a session on a developer's machine looks like.
var developer = Input{
	Mode: "read", Home: "/home/u", TempDir: "/scratch/tmp", Cwd: "/code/shop/cart", ProjectRoot: "/code/shop", Executable: "/srv/bin/node",
	LocalDirs: []string{"/srv/tools", "/var/cache/mirrord"},
}

func compile(t testing.TB, in Input) File {
	t.Helper()
	b, err := Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestDefaults(t *testing.T) {
	f := compile(t, developer)
	for _, test := range []struct {
		path        string
		read, write Action
	}{
		{"/", Local, Local},
		{"/app", Remote, Remote},
		{"/app/config.yaml", Remote, Remote},
		{"/srv/data", Remote, Remote},
		{"/data", Remote, Remote},
		{"/mnt/x", Remote, Remote},
		{"/root/x", Remote, Remote},
		{"/var/log/x", Remote, Remote},
		{"/var/run/secrets/kubernetes.io/serviceaccount/token", Remote, Remote},
		{"/libexec/x", Remote, Remote}, // not below /lib

		{"/etc/hosts", Remote, Local},
		{"/etc/resolv.conf", Remote, Local},
		{"/etc/hostname", Remote, Local},
		{"/etc/ssl/certs", Remote, Local},
		{"/etc/ssl/certs/ca.pem", Remote, Local},
		{"/etc/ssl/certsx", Local, Local},
		{"/etc/hosts.allow", Local, Local},
		{"/etc/passwd", Local, Local},
		{"/ETC/Hosts", Remote, Local},

		{"/usr", Local, Local},
		{"/usr/x", Local, Local},
		{"/usrx", Remote, Remote},
		{"/proc/self/fd/3", Local, Local},
		{"/dev/null", Local, Local},
		{"/tmp/x", Local, Local},
		{"/var/tmp/x", Local, Local},
		{"/run/x", Local, Local},
		{"/home/u/x", Local, Local},
		{"/home/other/x", Local, Local},
		{"/Program Files/x", Local, Local},

		{"/home/u/.kube", NotFound, NotFound},
		{"/home/u/.kube/config", NotFound, NotFound},
		{"/home/u/.kubernetes", Local, Local},
		{"/home/u/.config/gcloud/credentials.db", NotFound, NotFound},
		{"/home/u/.config/other", Local, Local},
		{"/home/u/.azure", NotFound, NotFound},
		{"/home/other/.kube", Local, Local},

		{"/app/lib/x.so", Local, Local},
		{"/app/lib/x.so.6", Remote, Remote},
		{"/app/x.PY", Local, Local},
		{"/app/x.py/y", Remote, Remote},
		{"/app/x.json", Remote, Remote},
		{"/app/package.json", Local, Local},
		{"/app/mypackage.json", Remote, Remote},
		{"/app/pyvenv.cfg", Local, Local},
		{"/app/node_modules", Local, Local},
		{"/app/node_modules/a/b.json", Local, Local},
		{"/app/my_node_modules/a", Remote, Remote},
		{"/app/node_modul/node_modules", Local, Local},
		{"/app/.asdf/x", Local, Local},
		{"/app/.asdf", Remote, Remote},
		{"/app/clr-debug-pipe-12-in", Local, Local},

		{"/scratch/tmp/x", Local, Local},
		{"/scratch", Local, Local}, // leads to what is local; node asks for each folder above its program
		{"/scratch/other", Remote, Remote},
		{"/code/shop/cart/x", Local, Local},
		{"/code/shop/shared/x", Local, Local},
		{"/code/other/x", Remote, Remote},
		{"/srv/bin/node", Local, Local},
		{"/srv/bin/nodes", Remote, Remote},
		{"/srv/bin", Local, Local},
		{"/srv/data", Remote, Remote},
		{"/srv/tools/x", Local, Local},
		{"/var/cache/mirrord/libmirrord-0123", Local, Local},
	} {
		if got := [2]Action{f.Classify(test.path, false), f.Classify(test.path, true)}; got != [2]Action{test.read, test.write} {
			t.Errorf("%s: reading %v, writing %v; want %v, %v", test.path, got[0], got[1], test.read, test.write)
		}
	}
}

func TestOwnPlaces(t *testing.T) {
	for _, test := range []struct {
		name string
		in   Input
		path string
		want Action
	}{
		{"the root as working directory makes nothing local", Input{Cwd: "/"}, "/app/x", Remote},
		{"nor as the project", Input{ProjectRoot: "/"}, "/app/x", Remote},
		{"nor as the home", Input{Home: "/"}, "/app/x", Remote},
		{"the pod's certificates", Input{}, "/etc/ssl/certs/ca.pem", Remote},
		{"of which it has none", Input{LocalCerts: true}, "/etc/ssl/certs/ca.pem", Local},
		{"nor as a folder of the program", Input{LocalDirs: []string{"/", "/.", "//"}}, "/app/x", Remote},
		{"hidden entries of the root as home are local", Input{Home: "/"}, "/.npmrc", Local},
		{"credentials in the root as home are not found", Input{Home: "/"}, "/.kube/config", NotFound},
		{"a home elsewhere is local", Input{Home: "/root"}, "/root/.npmrc", Local},
		{"with its visible entries", Input{Home: "/root"}, "/root/go/pkg/mod/x.mod", Local},
		{"a home with a slash at its end", Input{Home: "/root/"}, "/root/.kube", NotFound},
		{"no home", Input{}, "/root/.kube", Remote},
		{"a working directory that is a home", Input{Cwd: "/root"}, "/root/x", Local},
		{"a working directory that is not normalised", Input{Cwd: "/srv/./a/../b/"}, "/srv/b/x", Local},
		{"a name beside the working directory", Input{Cwd: "/srv/b"}, "/srv/bb", Remote},
		{"an exception in the working directory", Input{Cwd: "/etc"}, "/etc/hosts", Remote},
		{"bytes that are not UTF-8", Input{Cwd: "/srv/\xff"}, "/srv/\xff/x", Local},
	} {
		test.in.Mode = "read"
		if got := compile(t, test.in).Classify(test.path, false); got != test.want {
			t.Errorf("%s: %s is %v, want %v", test.name, test.path, got, test.want)
		}
	}
}

func TestModes(t *testing.T) {
	user := Input{NotFound: []string{"^/app/hidden"}, ReadOnly: []string{"^/app/(data|hidden)", "^/usr/share/pod"}, Local: []string{"^/app/data/cache", "^/srv"}}
	for _, test := range []struct {
		mode, path  string
		read, write Action
	}{
		{"read", "/app/hidden", NotFound, NotFound}, // not_found wins over read_only
		{"read", "/app/data/x", Remote, Remote},
		{"read", "/app/data/cache", Remote, Remote}, // read_only wins over local
		{"read", "/usr/share/pod/x", Remote, Remote},
		{"read", "/srv/x", Local, Local},
		{"read", "/other", Remote, Remote},
		{"localwithoverrides", "/app/hidden", NotFound, NotFound},
		{"localwithoverrides", "/app/data/x", Remote, Remote},
		{"localwithoverrides", "/srv/x", Local, Local},
		{"localwithoverrides", "/other", Local, Local},
		{"localwithoverrides", "/etc/hosts", Remote, Local},
		{"local", "/app/hidden", Local, Local},
		{"local", "/app/data/x", Local, Local},
		{"local", "/other", Local, Local},
	} {
		in := user
		in.Mode = test.mode
		f := compile(t, in)
		if got := [2]Action{f.Classify(test.path, false), f.Classify(test.path, true)}; got != [2]Action{test.read, test.write} {
			t.Errorf("mode %s, %s: reading %v, writing %v; want %v, %v", test.mode, test.path, got[0], got[1], test.read, test.write)
		}
	}
}

func TestWrites(t *testing.T) {
	user := Input{NotFound: []string{"^/hidden"}, ReadWrite: []string{"^/(hidden|both)", "^/usr/share/pod"}, ReadOnly: []string{"^/(both|data)"}, Local: []string{"^/both", "^/srv"}}
	for _, test := range []struct {
		mode, path string
		action     Action
		writes     Writes
	}{
		{"read", "/hidden", NotFound, ReadOnly},
		{"read", "/both/x", Remote, Through}, // read_write wins over read_only and local
		{"read", "/usr/share/pod", Remote, Through},
		{"read", "/data", Remote, ReadOnly},
		{"read", "/other", Remote, ReadOnly},
		{"localwithoverrides", "/both", Remote, Through},
		{"localwithoverrides", "/data", Remote, ReadOnly},
		{"localwithoverrides", "/other", Local, ReadOnly},
		{"write", "/both", Remote, Through},
		{"write", "/data", Remote, ReadOnly},
		{"write", "/other", Remote, Through},
		{"write", "/srv/x", Local, ReadOnly},
		{"write", "/other.py", Local, ReadOnly},
		{"write", "/etc/hosts", Local, ReadOnly},
		{"overlay", "/both", Remote, Through},
		{"overlay", "/data", Remote, Over},
		{"overlay", "/other", Remote, Over},
		{"overlay", "/etc/hosts", Local, ReadOnly},
		{"local", "/both", Local, ReadOnly},
	} {
		in := user
		in.Mode = test.mode
		f := compile(t, in)
		if got, writes := f.Classify(test.path, true), f.Writes(test.path); got != test.action || writes != test.writes {
			t.Errorf("mode %s, writing %s: %v, %d; want %v, %d", test.mode, test.path, got, writes, test.action, test.writes)
		}
		if got, want := f.Writable(), test.mode != "local"; got != want {
			t.Errorf("mode %s: writable is %v", test.mode, got)
		}
		if got, want := f.Overlays(), test.mode == "overlay"; got != want {
			t.Errorf("mode %s: overlays is %v", test.mode, got)
		}
	}
	if compile(t, Input{Mode: "read", ReadOnly: []string{"^/data"}}).Writable() {
		t.Error("mode read alone writes nothing")
	}
}

func TestStreams(t *testing.T) {
	f := compile(t, Input{Mode: "local", UnixStreams: []string{`^/var/run/docker\.sock$`, "/pg/", "^@shop"}})
	for name, want := range map[string]bool{
		"/var/run/docker.sock": true, "/VAR/run/Docker.sock": true, "/var/run/docker.sock.1": false, "/tmp/pg/.s.PGSQL.5432": true, "@shop/db": true,
		"/srv/@shop": false, "/run/x": false, "": false,
	} {
		if got := f.Stream(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := f.Classify("/tmp/pg/x", false); got != Local {
		t.Errorf("as a file: %v", got)
	}
	if compile(t, developer).Stream("/run/x") {
		t.Error("without patterns every socket is local")
	}
}

// The C code reads the same bytes by its own structure.
func TestLayout(t *testing.T) {
	in := developer
	in.Hostname = "cart-7d9f"
	in.Names, in.Incoming = true, true
	in.RelayNet = netip.MustParsePrefix("127.18.52.9/24")
	f := compile(t, in)
	want := append([]byte("MIRRORD\x01"), binary.LittleEndian.AppendUint32(nil, uint32(len(f)))...)
	want = append(want,
		0b11011, 0, 0, 0, // files, names, incoming, hostname
		0, 52, 18, 127, 0, 255, 255, 255,
		0, 0, 0, 0, 0, 0, 0, 0,
		2, 2, 1, 1, 1, 1, 0, 0, 2, 2, 1, 0, 0, 0, 1, 1)
	if diff := cmp.Diff(want, []byte(f[:len(want)])); diff != "" {
		t.Errorf("first fields (-want +got):\n%s", diff)
	}
	if got := string(f[128:138]); got != "cart-7d9f\x00" {
		t.Errorf("hostname %q", got)
	}
	if at := binary.LittleEndian.Uint32(f[64:]); at != PageSize {
		t.Errorf("the first automaton is at %d", at)
	}
	none := compile(t, Input{Mode: "local"})
	if got := none[12:24]; !cmp.Equal([]byte(got), []byte{0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0}) {
		t.Errorf("flags and relay network of nothing: % x", got)
	}
}

func TestBadInput(t *testing.T) {
	for _, test := range []struct {
		in   Input
		want string
	}{
		{Input{Mode: "other"}, `unknown mode "other"`},
		{Input{Mode: "read", Cwd: "srv"}, `the working directory "srv" is not an absolute path`},
		{Input{Mode: "read", Executable: "node"}, `the program "node" is not an absolute path`},
		{Input{Mode: "read", Hostname: strings.Repeat("x", 256)}, "has 256 bytes (at most 255)"},
		{Input{Mode: "read", RelayNet: netip.MustParsePrefix("::1/128")}, "is not IPv4"},
		{Input{Mode: "read", Local: []string{"a", "(b"}}, `local: the pattern "(b", column 1: missing closing )`},
		{Input{Mode: "local", NotFound: []string{"x(?=y)"}}, `not_found: the pattern "x(?=y)", column 2: look-ahead is not supported`},
		{Input{Mode: "local", UnixStreams: []string{"(b"}}, `unix_streams: the pattern "(b", column 1: missing closing )`},
		{Input{Mode: "read", LocalDirs: manyDirs()}, "too long together"},
	} {
		if _, err := Compile(test.in); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got the error %v, want %s", err, test.want)
		}
	}
}

func manyDirs() []string {
	var dirs []string
	for i := range 20 {
		dirs = append(dirs, "/"+string(rune('a'+i))+strings.Repeat("/long/name", 400))
	}
	return dirs
}

func TestParseRefuses(t *testing.T) {
	good := compile(t, developer)
	u32 := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[at:], v); return b }
	}
	for name, break_ := range map[string]func([]byte) []byte{
		"empty":             func(b []byte) []byte { return nil },
		"short":             func(b []byte) []byte { return b[:PageSize-1] },
		"magic":             func(b []byte) []byte { b[7] = 2; return b },
		"size":              func(b []byte) []byte { return b[:len(b)-1] },
		"action":            func(b []byte) []byte { b[offActions] = 3; return b },
		"offset past end":   u32(offAutomata, uint32(len(good))&^7),
		"streams past end":  u32(offStreams, uint32(len(good))&^7),
		"offset odd":        u32(offAutomata, PageSize+4),
		"offset in page":    u32(offAutomata, 8),
		"no states":         u32(PageSize, 0),
		"too many states":   u32(PageSize, 1<<31),
		"too many classes":  u32(PageSize+4, 257),
		"class of a byte":   func(b []byte) []byte { b[PageSize+8] = 255; return b },
		"step out of range": func(b []byte) []byte { copy(b[len(b)-8:], "\xff\xff\xff\xff\xff\xff\xff\xff"); return b },
	} {
		if _, err := Parse(break_(append([]byte(nil), good...))); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got the error %v", name, err)
		}
	}
}

// Whatever Parse accepts can be walked.
func FuzzParse(f *testing.F) {
	good := compile(f, developer)
	f.Add([]byte(good), "/etc/hosts")
	f.Add([]byte(compile(f, Input{Mode: "local"})), "/x")
	f.Add([]byte(compile(f, Input{Mode: "local", UnixStreams: []string{"^/run/"}})), "/run/x")
	f.Fuzz(func(t *testing.T, b []byte, path string) {
		if file, err := Parse(b); err == nil {
			file.Classify(path, true)
			file.Stream(path)
		}
	})
}

func BenchmarkCompileDefaults(b *testing.B) {
	for b.Loop() {
		if _, err := Compile(developer); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkClassify(b *testing.B) {
	f := compile(b, developer)
	for b.Loop() {
		f.Classify("/code/shop/cart/node_modules/left-pad/index.js", false)
	}
}
