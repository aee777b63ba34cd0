package serve_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/agent/target"
	"mirrord/agent/wire"
)

func root(d *target.Dir, name string) string { return filepath.Join(d.Root().Name(), name) }

// read opens a path through the link and reads its body.
func read(t *testing.T, link *links.Link, req wire.Request) (*wire.Stat, []byte, error) {
	t.Helper()
	req.Op = wire.OpOpen
	reply, body, err := link.Open(t.Context(), &req)
	if err != nil {
		return nil, nil, err
	}
	defer body.Close()
	raw, err := io.ReadAll(body)
	return reply.Stat, raw, err
}

func TestOpenFile(t *testing.T) {
	large := string(bytes.Repeat([]byte("0123456789abcdef"), 700<<10)) // 11 MiB, more than a window
	link, d := newLink(t, "name: x", map[string]string{"etc/hosts": "hello", "empty": "", "large": large})
	os.Symlink("/etc/hosts", root(d, "link"))
	for path, want := range map[string]string{"/etc/hosts": "hello", "/empty": "", "/large": large, "/link": "hello", "/etc/../etc/hosts": "hello"} {
		st, got, err := read(t, link, wire.Request{Path: path})
		if err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v", path, len(got), err)
			continue
		}
		var local unix.Stat_t
		if err := unix.Stat(root(d, path), &local); path != "/link" && (err != nil || st.Ino != local.Ino || st.Size != local.Size || st.Mode != uint32(local.Mode)) {
			t.Errorf("%s: %+v, want %+v, %v", path, st, local, err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	link, d := newLink(t, "name: x", map[string]string{"file": "12345", "dir/x": ""})
	os.Symlink("file", root(d, "link"))
	os.Symlink("../../../../../../etc/passwd", root(d, "out"))
	unix.Mkfifo(root(d, "fifo"), 0o644)
	listener, err := net.Listen("unix", root(d, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	reqs := map[string]struct {
		req  wire.Request
		want syscall.Errno
	}{
		"nowhere":               {wire.Request{Path: "/nowhere"}, unix.ENOENT},
		"outside":               {wire.Request{Path: "/out"}, unix.ENOENT},
		"fifo":                  {wire.Request{Path: "/fifo"}, unix.ENXIO},
		"socket":                {wire.Request{Path: "/socket"}, unix.ENXIO},
		"link with both":        {wire.Request{Path: "/link", NoFollow: true, Dir: true}, unix.ENOTDIR},
		"link with O_NOFOLLOW":  {wire.Request{Path: "/link", NoFollow: true}, unix.ELOOP},
		"file with O_DIRECTORY": {wire.Request{Path: "/file", Dir: true}, unix.ENOTDIR},
		"file with a slash":     {wire.Request{Path: "/file/"}, unix.ENOTDIR},
		"over the limit":        {wire.Request{Path: "/file", Limit: 4}, unix.EFBIG},
	}
	if unix.Mknod(root(d, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))) == nil { // needs a privileged user
		reqs["device"] = struct {
			req  wire.Request
			want syscall.Errno
		}{wire.Request{Path: "/null"}, unix.ENXIO}
	}
	for name, c := range reqs {
		if _, _, err := read(t, link, c.req); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, got, err := read(t, link, wire.Request{Path: "/file", Limit: 5}); string(got) != "12345" || err != nil {
		t.Errorf("at the limit: %q, %v", got, err)
	}
}

func TestNoRootfs(t *testing.T) {
	link, _ := newLink(t, "name: x", nil)
	for _, op := range []wire.Op{wire.OpOpen, wire.OpStat, wire.OpAccess, wire.OpReadlink, wire.OpRealpath, wire.OpStatfs} {
		if _, err := link.Do(t.Context(), &wire.Request{Op: op, Path: "/"}); !errors.Is(err, unix.ENOENT) {
			t.Errorf("operation %d: %v", op, err)
		}
	}
}

type entry struct {
	Kind uint8
	Name string
}

// entries reads packed entries; inodes are checked against the directory.
func entries(t *testing.T, dir string, raw []byte) (list []entry) {
	t.Helper()
	for len(raw) > 0 {
		size := int(binary.LittleEndian.Uint16(raw[10:]))
		e := entry{raw[8], string(raw[12 : 12+size])}
		var st unix.Stat_t
		if err := unix.Lstat(dir+"/"+e.Name, &st); err == nil && e.Name != ".." && st.Ino != binary.LittleEndian.Uint64(raw) {
			t.Errorf("%s has inode %d, not %d", e.Name, st.Ino, binary.LittleEndian.Uint64(raw))
		}
		list = append(list, e)
		raw = raw[12+size:]
	}
	return list
}

func TestOpenDirectory(t *testing.T) {
	link, d := newLink(t, "name: x", map[string]string{"d/file": "", "d/sub/x": ""})
	os.Symlink("file", root(d, "d/link"))
	unix.Mkfifo(root(d, "d/fifo"), 0o644)
	os.WriteFile(root(d, "d/\xff\xfe"), nil, 0o644)
	st, raw, err := read(t, link, wire.Request{Path: "/d", Dir: true})
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		t.Fatal(st, err)
	}
	list := entries(t, root(d, "d"), raw)
	if diff := cmp.Diff([]entry{{4, "."}, {4, ".."}}, list[:2]); diff != "" {
		t.Error(diff)
	}
	found := map[string]uint8{}
	for _, e := range list[2:] {
		found[e.Name] = e.Kind
	}
	if diff := cmp.Diff(map[string]uint8{"file": 8, "sub": 4, "link": 10, "fifo": 1, "\xff\xfe": 8}, found); diff != "" {
		t.Error(diff)
	}

	// The same with what lstat says of each, and where the links lead.
	_, raw, err = read(t, link, wire.Request{Path: "/d", Dir: true, Stats: true})
	if err != nil {
		t.Fatal(err)
	}
	described := 0
	for rest := raw; len(rest) > 0; {
		var e wire.Entry
		if e, rest, err = wire.ReadEntry(rest); err != nil {
			t.Fatal(err)
		}
		if e.Stat == nil {
			continue
		}
		described++
		var st unix.Stat_t
		unix.Lstat(root(d, "d/"+string(e.Name)), &st)
		if e.Stat.Ino != st.Ino || e.Stat.Mode != uint32(st.Mode) || e.Stat.Size != st.Size || e.Stat.Mtime != st.Mtim.Nano() {
			t.Errorf("%s: %+v, want %+v", e.Name, e.Stat, st)
		}
		if (string(e.Name) == "link") != (string(e.Target) == "file") {
			t.Errorf("%s leads to %q", e.Name, e.Target)
		}
	}
	if described != len(found) {
		t.Errorf("%d of %d entries are described", described, len(found))
	}

	// Above the root there is nothing: its ".." is itself.
	_, raw, err = read(t, link, wire.Request{Path: "/"})
	if err != nil || !bytes.Equal(raw[:8], raw[13:21]) {
		t.Errorf("the root's . and .. are %x and %x, %v", raw[:8], raw[13:21], err)
	}
	_, raw, _ = read(t, link, wire.Request{Path: "/d/sub"})
	if binary.LittleEndian.Uint64(raw[13:]) != st.Ino {
		t.Error("the .. of /d/sub is not /d")
	}
}

func TestOpenLargeDirectory(t *testing.T) {
	files := map[string]string{}
	for i := range 2000 {
		files[fmt.Sprintf("d/a-rather-long-name-of-a-file-%05d", i)] = ""
	}
	link, d := newLink(t, "name: x", files)
	_, raw, err := read(t, link, wire.Request{Path: "/d"})
	if n := len(entries(t, root(d, "d"), raw)); n != 2002 || err != nil {
		t.Errorf("%d entries, %v", n, err)
	}
}

func TestStatAndNames(t *testing.T) {
	link, d := newLink(t, "name: x", map[string]string{"usr/bin/tool": "#!"})
	os.Symlink("/usr/bin", root(d, "bin"))
	os.Chmod(root(d, "usr/bin/tool"), 0o640)
	ask := func(req wire.Request) *wire.Reply { t.Helper(); return do(t, link, &req) }
	if st := ask(wire.Request{Op: wire.OpStat, Path: "/bin/tool"}).Stat; st.Mode != unix.S_IFREG|0o640 || st.Size != 2 || st.Nlink != 1 {
		t.Errorf("stat: %+v", st)
	}
	if st := ask(wire.Request{Op: wire.OpStat, Path: "/bin", NoFollow: true}).Stat; st.Mode&unix.S_IFMT != unix.S_IFLNK {
		t.Errorf("lstat: %+v", st)
	}
	if got := ask(wire.Request{Op: wire.OpReadlink, Path: "/bin"}).Path; got != "/usr/bin" {
		t.Errorf("readlink: %s", got)
	}
	if got := ask(wire.Request{Op: wire.OpRealpath, Path: "/bin/../bin/tool"}).Path; got != "/usr/bin/tool" {
		t.Errorf("realpath: %s", got)
	}
	ask(wire.Request{Op: wire.OpAccess, Path: "/bin/tool"})
	ask(wire.Request{Op: wire.OpAccess, Path: "/bin/tool", Mode: unix.R_OK})
	ask(wire.Request{Op: wire.OpAccess, Path: "/bin", Mode: unix.X_OK | unix.R_OK})
	for want, req := range map[syscall.Errno]wire.Request{
		unix.EACCES: {Op: wire.OpAccess, Path: "/bin/tool", Mode: unix.X_OK},
		unix.ENOENT: {Op: wire.OpAccess, Path: "/bin/nothing"},
		unix.EINVAL: {Op: wire.OpReadlink, Path: "/usr"},
	} {
		if _, err := link.Do(t.Context(), &req); !errors.Is(err, want) {
			t.Errorf("%+v: %v, want %v", req, err, want)
		}
	}
	if _, err := link.Do(t.Context(), &wire.Request{Op: wire.OpAccess, Path: "/usr", Mode: 64}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("an access of no kind: %v", err)
	}
}

// A transfer stops at the size that the file had when it was opened, and a file that shrinks ends early and cleanly.
func TestOpenWhileTheFileChanges(t *testing.T) {
	const size = 32 << 20 // more than the link holds, so that most is read after the change
	link, d := newLink(t, "name: x", map[string]string{"grows": string(make([]byte, size)), "shrinks": string(make([]byte, size))})
	open := func(path string) (*wire.Reply, io.ReadCloser) {
		reply, body, err := link.Open(t.Context(), &wire.Request{Op: wire.OpOpen, Path: path})
		if err != nil {
			t.Fatal(err)
		}
		return reply, body
	}
	_, grows := open("/grows")
	defer grows.Close()
	f, err := os.OpenFile(root(d, "grows"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Write(make([]byte, 1<<20))
	f.Close()
	if n, err := io.Copy(io.Discard, grows); n != size || err != nil {
		t.Errorf("a file that grows: %d bytes, %v", n, err)
	}
	_, shrinks := open("/shrinks")
	defer shrinks.Close()
	os.Truncate(root(d, "shrinks"), 100)
	if n, err := io.Copy(io.Discard, shrinks); n >= size || err != nil {
		t.Errorf("a file that shrinks: %d bytes, %v", n, err)
	}
}

// Many readers, many of which give up: everybody gets the right bytes, and nothing is left.
func TestOpenMany(t *testing.T) {
	files := map[string]string{}
	for i := range 50 {
		files[fmt.Sprint(i)] = string(bytes.Repeat([]byte{byte(i)}, i*20_000))
	}
	link, _ := newLink(t, "name: x", files)
	var readers sync.WaitGroup
	for i := range 150 {
		readers.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			name := fmt.Sprint(i % 50)
			_, body, err := link.Open(ctx, &wire.Request{Op: wire.OpOpen, Path: "/" + name})
			if err != nil {
				t.Error(err)
				return
			}
			defer body.Close()
			if i%3 == 0 {
				body.Read(make([]byte, 10))
				return
			}
			if got, err := io.ReadAll(body); string(got) != files[name] || err != nil {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		})
	}
	readers.Wait()
}
