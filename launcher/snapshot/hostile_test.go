package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mirrord/agent/links"
	"mirrord/agent/wire"
)

// Modes of what a fake has, with Linux's numbers.
const (
	dirMode  = 0o040755
	fileMode = 0o100644
	linkMode = 0o120777
)

// fake is an agent that has what its functions say.
type fake struct {
	stat    func(p string) (*wire.Stat, string) // with the errno instead
	list    func(p string) []wire.Entry
	content func(p string) (io.Reader, error)
	env     map[string]string
	systems map[string]uint64 // paths → types of their file systems
}

func (f *fake) Agent() wire.Hello {
	return wire.Hello{Capabilities: []string{"env", "files", "names", "outgoing"}, Name: "fake", Hostname: "fake"}
}

func (f *fake) Do(ctx context.Context, req *wire.Request) (*wire.Reply, error) {
	switch req.Op {
	case wire.OpEnv:
		return &wire.Reply{Env: f.env}, ctx.Err()
	case wire.OpStat:
		st, errno := f.stat(req.Path)
		if errno != "" {
			return nil, &wire.Error{Errno: errno}
		}
		return &wire.Reply{Stat: st}, ctx.Err()
	case wire.OpStatfs:
		return &wire.Reply{Statfs: &wire.Statfs{Type: f.systems[req.Path]}}, ctx.Err()
	case wire.OpLookup:
		return nil, &wire.Error{Errno: wire.ErrnoNotFound}
	}
	return nil, &wire.Error{Errno: "ENOENT"}
}

func (f *fake) Open(_ context.Context, req *wire.Request) (*wire.Reply, io.ReadCloser, error) {
	if !req.Dir {
		r, err := f.content(req.Path)
		if err != nil {
			return nil, nil, err
		}
		return &wire.Reply{Stat: &wire.Stat{Mode: fileMode}}, io.NopCloser(r), nil
	}
	var b []byte
	for _, e := range f.list(req.Path) {
		b = wire.AppendEntry(b, e)
	}
	return &wire.Reply{Stat: &wire.Stat{Mode: dirMode}}, io.NopCloser(bytes.NewReader(b)), nil
}

func entryOf(name string, mode uint32, size int64) wire.Entry {
	return wire.Entry{Name: []byte(name), Stat: &wire.Stat{Mode: mode, Size: size}}
}

// only has these entries in /d, and each file holds its name.
func only(entries ...wire.Entry) *fake {
	return &fake{
		stat: func(p string) (*wire.Stat, string) {
			if p == "/" || p == "/d" {
				return &wire.Stat{Mode: dirMode}, ""
			}
			return nil, "ENOENT"
		},
		list:    func(string) []wire.Entry { return entries },
		content: func(p string) (io.Reader, error) { return strings.NewReader(path.Base(p)), nil },
	}
}

func takeD(t *testing.T, link Link) (Options, *Result) {
	t.Helper()
	o := options(t, link)
	o.Globs = globs(t, "/d")
	return o, take(t, o)
}

func TestOddNames(t *testing.T) {
	long := strings.Repeat("x", 300)
	link := only(entryOf("new\nline", fileMode, 8), entryOf("\x1b[31m", fileMode, 5), entryOf("-rf", fileMode, 3), entryOf(long, fileMode, 3), entryOf("...", fileMode, 3),
		entryOf("\xff", fileMode, 1), entryOf("sock\nerror: fake", 0o140755, 0), entryOf(".", dirMode, 0), entryOf("..", dirMode, 0),
		wire.Entry{Name: []byte("out"), Stat: &wire.Stat{Mode: linkMode}, Target: []byte("/../../../../../../../../etc")},
		wire.Entry{Name: []byte("unsaid")})
	o, result := takeD(t, link)
	got := tree(t, o.Dir)
	want := map[string]string{"/d": "/", "/d/new\nline": "new\nline", "/d/\x1b[31m": "\x1b[31m", "/d/-rf": "-rf", "/d/...": "...", "/d/\xff": "\xff", "/d/out": "-> /../../../../../../../../etc"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{`"/d/sock\nerror: fake": a socket`, "/d/" + long + ": this machine cannot have a file of that name: file name too long"}, lefts(result)); d != "" {
		t.Error(d)
	}
}

// A node's processes, with their environments, may be mounted anywhere.
func TestKernelsFiles(t *testing.T) {
	mount := entryOf("host", dirMode, 0)
	mount.Stat.Dev = 5
	link := only(mount, entryOf("own", fileMode, 3))
	below := link.list
	link.list = func(p string) []wire.Entry {
		if p == "/d/host" {
			return []wire.Entry{entryOf("environ", fileMode, 7)}
		}
		return below(p)
	}
	link.systems = map[string]uint64{"/d/host": 0x9fa0} // PROC_SUPER_MAGIC
	o, result := takeD(t, link)
	if d := cmp.Diff(map[string]string{"/d": "/", "/d/own": "own"}, tree(t, o.Dir)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"/d/host: a file system of processes"}, lefts(result)); d != "" {
		t.Error(d)
	}
}

// What an agent must not say ends the snapshot, and nothing is left of it.
func TestBrokenAgent(t *testing.T) {
	for name, link := range map[string]*fake{
		"a name with a slash": only(entryOf("../../x", fileMode, 1)),
		"a cut listing":       {stat: only().stat, list: func(string) []wire.Entry { return []wire.Entry{{Name: bytes.Repeat([]byte("x"), wire.MaxName+1)}} }},
	} {
		o := options(t, link)
		o.Globs = globs(t, "/d")
		_, err := Take(t.Context(), o)
		if !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		nothingLeft(t, o)
	}
}

func nothingLeft(t *testing.T, o Options) {
	t.Helper()
	if left, err := os.ReadDir(filepath.Dir(o.Dir)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// Folders without end, in both directions.
func TestEndless(t *testing.T) {
	defer func(n int) { maxEntries = n }(maxEntries)
	maxEntries = 2000
	deep := only()
	deep.stat = func(p string) (*wire.Stat, string) { return &wire.Stat{Mode: dirMode}, "" }
	deep.list = func(string) []wire.Entry { return []wire.Entry{entryOf("d", dirMode, 0)} }
	wide := only()
	wide.list = func(p string) (all []wire.Entry) {
		if p != "/d" {
			return nil
		}
		for i := range 2 * maxEntries {
			all = append(all, entryOf(fmt.Sprint(i), dirMode, 0))
		}
		return all
	}
	crossed := only()
	crossed.stat = deep.stat
	crossed.list = func(string) []wire.Entry { return []wire.Entry{entryOf("a", dirMode, 0), entryOf("b", dirMode, 0)} }
	const full = "only 2000 entries of folders are looked at"
	for name, c := range map[string]struct {
		link *fake
		glob string
		left string
	}{"deep": {deep, "/d", "it is below 100 folders"}, "wide": {wide, "/d", full}, "wide pattern": {wide, "/d/*x", full}, "crossed": {crossed, "/**/a/**/b/**/none", full}} {
		o := options(t, c.link)
		o.Globs = globs(t, c.glob)
		result := take(t, o)
		if all := strings.Join(lefts(result), "\n"); !strings.Contains(all, c.left) {
			t.Errorf("%s: %.1000s", name, all)
		}
	}
}

// Sizes are bounded whatever the agent says of them.
func TestSizes(t *testing.T) {
	link := only(entryOf("fits", fileMode, 4), entryOf("grows", fileMode, 4), entryOf("huge", fileMode, 1<<40), entryOf("breaks", fileMode, 10),
		entryOf("gone", fileMode, 1), entryOf("locked", fileMode, 1), entryOf("shrinks", fileMode, 100))
	link.content = func(p string) (io.Reader, error) {
		switch path.Base(p) {
		case "grows":
			return strings.NewReader(strings.Repeat("x", 100)), nil
		case "endless":
			return endless{}, nil
		case "breaks":
			return io.MultiReader(strings.NewReader("half"), broken{&wire.Error{Errno: "EIO"}}), nil
		case "gone":
			return nil, &wire.Error{Errno: "ENOENT"}
		case "locked":
			return nil, &wire.Error{Errno: "EACCES"}
		}
		return strings.NewReader(path.Base(p)), nil
	}
	o, result := takeD(t, link)
	if d := cmp.Diff(map[string]string{"/d": "/", "/d/fits": "fits", "/d/grows": strings.Repeat("x", 100), "/d/shrinks": "shrinks"}, tree(t, o.Dir)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"/d/breaks: reading it: EIO", "/d/gone: ENOENT",
		"/d/huge: its 1024.0 GiB are more than what --max-size leaves", "/d/locked: EACCES"}, lefts(result)); d != "" {
		t.Error(d)
	}
	if result.Files != 3 || result.Bytes != 111 {
		t.Errorf("%+v", result)
	}
	link.list = func(string) []wire.Entry { return []wire.Entry{entryOf("endless", fileMode, 0)} }
	o, result = takeD(t, link)
	if got := tree(t, o.Dir); len(got) != 1 || len(result.Left) != 1 || result.Left[0].Why != "it has grown beyond what --max-size leaves" {
		t.Errorf("%v, %v", got, result.Left)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// A link that is lost, and a user who has enough, leave nothing, wherever it happens.
func TestCutShort(t *testing.T) {
	for _, when := range []string{"open", "read", "env"} {
		link := only(entryOf("a", fileMode, 1), entryOf("b", fileMode, 1), entryOf("c", fileMode, 1))
		ctx, cancel := context.WithCancel(t.Context())
		var opened atomic.Int32
		link.content = func(p string) (io.Reader, error) {
			if opened.Add(1) < 3 {
				return strings.NewReader("x"), nil
			}
			switch when {
			case "open":
				return nil, links.ErrLost
			case "read":
				return broken{fmt.Errorf("%w: gone", links.ErrLost)}, nil
			}
			cancel()
			return strings.NewReader("x"), nil
		}
		o := options(t, link)
		o.Globs = globs(t, "/d")
		_, err := Take(ctx, o)
		if want := map[string]error{"open": links.ErrLost, "read": links.ErrLost, "env": context.Canceled}[when]; !errors.Is(err, want) {
			t.Errorf("%s: %v", when, err)
		}
		nothingLeft(t, o)
		cancel()
	}
}

// A read that waits for the agent ends with the user's patience.
func TestInterruptedRead(t *testing.T) {
	link := only(entryOf("a", fileMode, 1))
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	o := options(t, waiting{link})
	o.Globs = globs(t, "/d")
	if _, err := Take(ctx, o); err == nil {
		t.Error("it did not end")
	}
	nothingLeft(t, o)
}

// waiting has bodies of files that only end when they are closed.
type waiting struct{ *fake }

func (w waiting) Open(ctx context.Context, req *wire.Request) (*wire.Reply, io.ReadCloser, error) {
	if req.Dir {
		return w.fake.Open(ctx, req)
	}
	r, _ := io.Pipe()
	return &wire.Reply{}, r, nil
}

func TestEnvironment(t *testing.T) {
	link := only()
	link.env = map[string]string{"GOOD": "[[[[ {{{ \u2028 \u0085 \x7f 'x' # y: \"z\" \\ <<", "<<": "merge", "*a": "&b", "": "empty", "BAD": "\xff", "~": "null", "NO": "true", "LINES": "a\r\n\tb\n\n"}
	for i := range 300 {
		link.env[fmt.Sprint("OPEN", i)] = "{[{[{["
	}
	delete(link.env, "")
	o := options(t, link)
	result := take(t, o)
	if d := cmp.Diff([]string{"the variable BAD: pod.yaml can only hold text, which it is not"}, lefts(result)); d != "" {
		t.Error(d)
	}
	delete(link.env, "BAD")
	reply, err := linkTo(t, o.Dir).Do(t.Context(), &wire.Request{Op: wire.OpEnv})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(link.env, reply.Env); d != "" {
		t.Error(d)
	}
	// What pod.yaml cannot hold at all is an error, not half a snapshot.
	link.env = map[string]string{"BIG": strings.Repeat("x", 1<<20)}
	o = options(t, link)
	if _, err := Take(t.Context(), o); err == nil || !strings.Contains(err.Error(), "read back") {
		t.Error(err)
	}
	nothingLeft(t, o)
}

func TestCheck(t *testing.T) {
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	for name, text := range map[string]string{"mine/file": "x", "pod/pod.yaml": "name: x", "old/pod.yaml": mark + " of x\n", "old/rootfs/x": "x", "file": "x", "empty/": ""} {
		if err := os.MkdirAll(filepath.Dir(at(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(at(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(at("empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("empty", at("link")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][2]string{ // without and with force
		"new":       {},
		"empty":     {},
		"empty/":    {},
		"old":       {"is a snapshot already", ""},
		"mine":      {"is not empty, and no snapshot", "is not empty, and no snapshot"},
		"pod":       {"is not empty, and no snapshot", "is not empty, and no snapshot"},
		"file":      {"is no folder", "is no folder"},
		"link":      {"is no folder", "is no folder"},
		"nowhere/x": {"cannot be made", "cannot be made"},
	} {
		for i, force := range []bool{false, true} {
			if err := Check(at(name), force); (err == nil) != (want[i] == "") || err != nil && !strings.Contains(err.Error(), want[i]) {
				t.Errorf("%s, force %v: %v, want %q", name, force, err, want[i])
			}
		}
	}
	for _, name := range []string{"old", "empty", "new"} {
		o := options(t, only())
		o.Dir, o.Force = at(name), true
		take(t, o)
		if got := tree(t, o.Dir); len(got) > 0 {
			t.Errorf("%s has %q of before", name, got)
		}
		if !isSnapshot(o.Dir) {
			t.Errorf("%s is no snapshot", name)
		}
	}
	left, _ := os.ReadDir(folder)
	if len(left) != 7 {
		t.Errorf("there is %v", left)
	}
}

// What a killed snapshot left is removed by the next one of that name, but not what another is at, or an earlier snapshot.
func TestKilledBefore(t *testing.T) {
	folder := t.TempDir()
	final := filepath.Join(folder, "x")
	other, err := begin(final, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".x.partial-1/rootfs", ".x.partial-2.old", ".y.partial-3"} {
		if err := os.MkdirAll(filepath.Join(folder, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	d, err := begin(final, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.discard(), other.write(podFile, nil), other.finish(), other.discard()); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil || fmt.Sprint(entries) != "[d .x.partial-2.old/ d .y.partial-3/ d x/]" {
		t.Error(entries, err)
	}
}
