package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/agent/wire"
	"mirrord/launcher/anonfile"
	"mirrord/launcher/events"
	"mirrord/layer/frame"
)

// regular is the metadata of a pod's file of this size.
func regular(size int) *wire.Stat {
	return &wire.Stat{
		Dev: 0x801, Ino: 0xabc, Mode: unix.S_IFREG | 0o640, Nlink: 1, UID: 1000, GID: 1001, Size: int64(size), Blksize: 4096, Blocks: 8,
		Atime: 1700000000_000000001, Mtime: 1700000000_000000002, Ctime: 1700000000_000000003,
	}
}

// fileServer opens the files of a map, and fails others with ENOENT.
func fileServer(files map[string]func(s *links.Stream)) func(*wire.Request, *links.Stream) {
	return func(r *wire.Request, s *links.Stream) {
		if serve := files[r.Path]; serve != nil {
			serve(s)
		} else {
			wire.WriteHeader(s, &wire.Reply{Errno: "ENOENT"})
		}
	}
}

func whole(st *wire.Stat, content []byte) func(*links.Stream) {
	return func(s *links.Stream) { sendFile(s, st, content, cleanEnd) }
}

func TestOpen(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	s := start(t, &fakeAgent{open: fileServer(map[string]func(*links.Stream){
		"/empty": whole(regular(0), nil),
		"/small": whole(regular(5), []byte("hello")),
		"/big":   whole(regular(len(big)), big),
		"/grown": whole(regular(5), []byte("hello and more")),
		"/proc":  whole(regular(0), []byte("generated")),
		"/sysfs": whole(regular(4096), []byte("1\n")),
	})}, nil)
	for path, want := range map[string]string{
		"/empty": "", "/small": "hello", "/big": string(big), "/grown": "hello", "/proc": "generated", "/sysfs": "1\n",
	} {
		status, f := s.ask(t, frame.Open, &frame.OpenRequest{Path: path}, nil)
		if status != 0 || f == nil {
			t.Errorf("%s: status %d", path, status)
			continue
		}
		got, err := io.ReadAll(f)
		if err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v, want %d", path, len(got), err, len(want))
		}
		f.Close()
	}
	s.expect(int32(unix.ENOENT), frame.Open, &frame.OpenRequest{Path: "/none"})
	if e := s.emitted(events.File); len(e) != 7 || e[6].Path != "/none" || e[6].Errno != "ENOENT" || e[6].Op != "open" {
		t.Errorf("events %+v", e)
	}
}

func TestLongestTag(t *testing.T) {
	st := &wire.Stat{
		Dev: 1<<64 - 1, Ino: 1<<64 - 1, Mode: 1<<32 - 1, Nlink: 1<<64 - 1, UID: 1<<32 - 1, GID: 1<<32 - 1, Rdev: 1<<64 - 1,
		Size: -1, Blksize: -1, Blocks: -1, Atime: -1, Mtime: -1, Ctime: -1,
	}
	name := tag("d", st)
	if len(name) > 249 {
		t.Errorf("%d bytes", len(name))
	}
	w, r, err := (anonfile.Maker{Dir: t.TempDir()}).New(name)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(w)
	unix.Close(r)
}

func TestOpenLarge(t *testing.T) {
	const size = memoryLimit + 1
	s := start(t, &fakeAgent{open: fileServer(map[string]func(*links.Stream){
		"/large":   whole(regular(size), make([]byte, size)),
		"/cut":     func(s *links.Stream) { sendFile(s, regular(size), []byte("x"), func(*wire.BodyWriter) {}) },
		"/endless": whole(regular(0), make([]byte, unsizedLimit+1)),
		"/huge":    whole(regular(fileLimit+1), nil),
		"/refused": func(s *links.Stream) { wire.WriteHeader(s, &wire.Reply{Errno: "EFBIG"}) },
	})}, nil)
	status, f := s.ask(t, frame.Open, &frame.OpenRequest{Path: "/large"}, nil)
	if status != 0 {
		t.Fatalf("status %d", status)
	}
	defer f.Close()
	if n, err := io.Copy(io.Discard, f); n != size || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if name := nameOf(t, f); !strings.HasPrefix(name, s.TempDir) || !strings.HasPrefix(filepath.Base(name), "mirrord:f:100000000801-abc-") {
		t.Errorf("name %s", name)
	}
	if _, err := f.Write([]byte("x")); err == nil {
		t.Error("writable")
	}
	s.expect(int32(unix.EIO), frame.Open, &frame.OpenRequest{Path: "/cut"})
	for _, path := range []string{"/endless", "/huge", "/refused"} {
		s.expect(int32(unix.EFBIG), frame.Open, &frame.OpenRequest{Path: path})
	}
}

// TestOpenFails: a part of a file never looks like the whole.
func TestOpenFails(t *testing.T) {
	part := []byte("the first half")
	kinds := map[string]uint32{"/fifo": unix.S_IFIFO, "/socket": unix.S_IFSOCK, "/device": unix.S_IFCHR}
	files := map[string]func(*links.Stream){
		"/cut":   func(s *links.Stream) { sendFile(s, regular(100), part, func(*wire.BodyWriter) {}) },
		"/stale": func(s *links.Stream) { sendFile(s, regular(100), part, func(w *wire.BodyWriter) { w.Fail("ESTALE") }) },
		"/odd":   func(s *links.Stream) { wire.WriteHeader(s, &wire.Reply{Errno: "EWHATEVER"}) },
		"/blank": func(s *links.Stream) { wire.WriteHeader(s, &wire.Reply{}) },
	}
	for path, kind := range kinds {
		files[path] = whole(&wire.Stat{Mode: kind | 0o600}, nil)
	}
	s := start(t, &fakeAgent{open: fileServer(files)}, nil)
	before := descriptors(t)
	for path, want := range map[string]unix.Errno{
		"/cut": unix.EIO, "/stale": unix.ESTALE, "/odd": unix.EIO, "/blank": unix.EIO,
		"/fifo": unix.ENXIO, "/socket": unix.ENXIO, "/device": unix.ENXIO,
	} {
		s.expect(int32(want), frame.Open, &frame.OpenRequest{Path: path})
	}
	eventually(t, "no descriptor is left", func() bool { return descriptors(t) <= before })
}

func TestLinkLostDuringOpen(t *testing.T) {
	half, lost := make(chan struct{}), make(chan struct{})
	s := start(t, &fakeAgent{open: func(_ *wire.Request, stream *links.Stream) {
		sendFile(stream, regular(100), []byte("half"), func(*wire.BodyWriter) { close(half); <-lost })
	}}, nil)
	go func() {
		<-half
		s.loseLink()
		close(lost)
	}()
	s.expect(int32(unix.EIO), frame.Open, &frame.OpenRequest{Path: "/x"})
	<-lost
	for kind, m := range map[frame.Kind]frame.Message{
		frame.Open: &frame.OpenRequest{Path: "/x"}, frame.Stat: &frame.StatRequest{Path: "/x"}, frame.Access: &frame.AccessRequest{Path: "/x"},
		frame.Readlink: &frame.PathRequest{Path: "/x"}, frame.Realpath: &frame.PathRequest{Path: "/x"},
		frame.Change: &frame.ChangeRequest{Op: frame.Unlink, Path: "/x"},
	} {
		s.expect(int32(unix.EIO), kind, m)
	}
	eventually(t, "the user is told", func() bool {
		w := s.emitted(events.Link)
		return len(w) == 1 && strings.Contains(w[0].Message, "link")
	})
}

// readDirectory reads what a directory's descriptor holds, as the layer does: by opening it anew, for it must not be readable itself.
func readDirectory(t *testing.T, f *os.File) ([]byte, error) {
	if _, err := f.Read(make([]byte, 1)); !errors.Is(err, unix.EBADF) {
		t.Errorf("a directory can be read as a file: %v", err)
	}
	return os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}

func TestOpenDirectory(t *testing.T) {
	entries := wire.AppendEntry(wire.AppendEntry(nil, wire.Entry{Ino: 7, Kind: 4, Name: []byte(".")}), wire.Entry{Ino: 8, Kind: 8, Name: []byte("file")})
	described := wire.AppendEntry(entries[:13:13], wire.Entry{Ino: 8, Kind: 8, Name: []byte("file"), Stat: regular(5)})
	var request atomic.Pointer[wire.Request]
	s := start(t, &fakeAgent{open: func(r *wire.Request, stream *links.Stream) {
		request.Store(r)
		sendFile(stream, &wire.Stat{Mode: unix.S_IFDIR | 0o755, Size: 4096, Ino: 7}, described, cleanEnd)
	}}, nil)
	if word(s.page.mem, offLiveDirs) != 0 {
		t.Error("live_dirs before the first directory")
	}
	status, f := s.ask(t, frame.Open, &frame.OpenRequest{Path: "/srv/data", Flags: frame.OpenDirectory | frame.OpenNoFollow}, nil)
	if status != 0 {
		t.Fatalf("status %d", status)
	}
	defer f.Close()
	got, err := readDirectory(t, f)
	want := append(binary.LittleEndian.AppendUint16(nil, 9), "/srv/data"...)
	if want = append(want, entries...); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if name := nameOf(t, f); !strings.HasPrefix(name, "/memfd:mirrord:d:100000000000-7-41ed-") {
		t.Errorf("name %s", name)
	}
	if r := request.Load(); !r.Dir || !r.NoFollow || r.Limit != fileLimit {
		t.Errorf("asked %+v", r)
	}
	if word(s.page.mem, offLiveDirs) != 1 {
		t.Error("live_dirs is not set")
	}
}

// TestManyOpenFiles: what programs hold open costs the broker nothing.
func TestManyOpenFiles(t *testing.T) {
	n := 10_000
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < uint64(n)+200 {
		n = int(limit.Cur) - 200
	}
	s := start(t, &fakeAgent{open: fileServer(map[string]func(*links.Stream){"/x": whole(regular(1), []byte("x"))})}, nil)
	before := descriptors(t)
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for range n {
		status, f := s.ask(t, frame.Open, &frame.OpenRequest{Path: "/x"}, nil)
		if status != 0 {
			t.Fatalf("status %d after %d", status, len(files))
		}
		files = append(files, f)
	}
	eventually(t, "only the program's descriptors are left", func() bool { return descriptors(t) <= before+n })
}

func TestStat(t *testing.T) {
	st := regular(5)
	var request atomic.Pointer[wire.Request]
	s := start(t, &fakeAgent{do: func(r *wire.Request) *wire.Reply {
		request.Store(r)
		switch r.Op {
		case wire.OpStat:
			return &wire.Reply{Stat: st}
		case wire.OpAccess:
			return &wire.Reply{Errno: "EACCES"}
		}
		return &wire.Reply{Path: "/real" + r.Path}
	}}, nil)
	var reply frame.StatReply
	if status, _ := s.ask(t, frame.Stat, &frame.StatRequest{NoFollow: 1, Path: "/x"}, &reply); status != 0 || reply != (frame.StatReply{
		Dev: podDevice | 0x801, Ino: 0xabc, Mode: unix.S_IFREG | 0o640, Nlink: 1, UID: 1000, GID: 1001, Size: 5, Blksize: 4096, Blocks: 8,
		Atime: 1700000000_000000001, Mtime: 1700000000_000000002, Ctime: 1700000000_000000003,
	}) || !request.Load().NoFollow {
		t.Errorf("status %d, %+v", status, reply)
	}
	s.expect(int32(unix.EACCES), frame.Access, &frame.AccessRequest{Mode: 4, Path: "/x"})
	if r := request.Load(); r.Mode != 4 || r.Path != "/x" {
		t.Errorf("asked %+v", r)
	}
	for kind, op := range map[frame.Kind]wire.Op{frame.Readlink: wire.OpReadlink, frame.Realpath: wire.OpRealpath} {
		var path frame.PathReply
		if status, _ := s.ask(t, kind, &frame.PathRequest{Path: "/x"}, &path); status != 0 || path.Path != "/real/x" || request.Load().Op != op {
			t.Errorf("kind %d: status %d, %+v", kind, status, path)
		}
	}
}

// TestReadOnly is mode read: the pod's files do not change, what is written is this machine's.
func TestReadOnly(t *testing.T) {
	s := start(t, &fakeAgent{do: func(r *wire.Request) *wire.Reply {
		if (r.Op == wire.OpStat || r.Op == wire.OpAccess) && strings.HasPrefix(r.Path, "/usr") {
			return &wire.Reply{Stat: regular(1)}
		}
		return &wire.Reply{Errno: "ENOENT"}
	}}, nil)
	open := func(flags uint32, path string) *frame.OpenRequest {
		return &frame.OpenRequest{Flags: flags, Path: path}
	}
	change := func(op frame.Op, path string) *frame.ChangeRequest { return &frame.ChangeRequest{Op: op, Path: path} }
	const erofs, enoent, eexist, here = int32(unix.EROFS), int32(unix.ENOENT), int32(unix.EEXIST), frame.StatusLocal
	for _, c := range []struct {
		want int32
		kind frame.Kind
		m    frame.Message
	}{
		{erofs, frame.Open, open(frame.OpenReadWrite, "/usr/a")},
		{erofs, frame.Open, open(frame.OpenReadWrite|frame.OpenCreate, "/usr/a")},
		{erofs, frame.Open, open(frame.OpenTruncate, "/usr/a")},
		{erofs, frame.Open, open(frame.OpenTemporary|frame.OpenReadWrite, "/usr")},
		{enoent, frame.Open, open(frame.OpenReadWrite, "/none")},
		{eexist, frame.Open, open(frame.OpenReadWrite|frame.OpenCreate|frame.OpenExclusive, "/usr/a")},
		{erofs, frame.Change, change(frame.Unlink, "/usr/a")},
		{erofs, frame.Change, change(frame.Chmod, "/usr/a")},
		{erofs, frame.Change, change(frame.Chown, "/usr/a")},
		{erofs, frame.Change, change(frame.Truncate, "/usr/a")},
		{erofs, frame.Change, change(frame.Utimes, "/usr/a")},
		{erofs, frame.Change, change(frame.Rmdir, "/usr/a")},
		{erofs, frame.Change, &frame.ChangeRequest{Op: frame.Rename, Path: "/usr/a", Other: "/usr/z"}},
		{erofs, frame.Change, &frame.ChangeRequest{Op: frame.Link, Path: "/usr/a", Other: "/usr/z"}},
		{enoent, frame.Change, change(frame.Unlink, "/none")},
		{eexist, frame.Change, change(frame.Mkdir, "/usr/dir")},
		{int32(unix.EINVAL), frame.Change, change(99, "/usr/a")},

		{here, frame.Open, open(frame.OpenWrite, "/usr/a")},
		{here, frame.Open, open(frame.OpenReadWrite|frame.OpenCreate|frame.OpenTruncate, "/usr/b")},
		{here, frame.Open, open(frame.OpenReadWrite|frame.OpenCreate|frame.OpenAppend, "/usr/log")},
		{here, frame.Open, open(frame.OpenReadWrite|frame.OpenCreate|frame.OpenExclusive, "/var/lock")},
		{here, frame.Change, change(frame.Mkdir, "/var/dir")},
		{here, frame.Change, change(frame.Symlink, "/var/link")},
		{here, frame.Change, change(frame.Mknod, "/var/fifo")},
		{eexist, frame.Change, change(frame.Mknod, "/usr/replaced")},
		{here, frame.Change, &frame.ChangeRequest{Op: frame.Rename, Other: "/usr/replaced"}}, // by a file of this machine

		// From now on they are local, whatever is asked.
		{here, frame.Open, open(0, "/usr/a")},
		{here, frame.Open, open(frame.OpenWrite, "/usr/a")},
		{here, frame.Stat, &frame.StatRequest{Path: "/usr/./b"}},
		{here, frame.Access, &frame.AccessRequest{Path: "/var/lock"}},
		{here, frame.Readlink, &frame.PathRequest{Path: "/var/link"}},
		{here, frame.Change, change(frame.Unlink, "/usr/a")},
		{here, frame.Stat, &frame.StatRequest{Path: "/var/dir/deep/file"}},
		{enoent, frame.Stat, &frame.StatRequest{Path: "/var/directory"}},
		{here, frame.Realpath, &frame.PathRequest{Path: "/var/dir"}},

		// Where only the pod has the folder nothing can be written, and the file stays the pod's.
		{erofs, frame.Open, open(frame.OpenWrite|frame.OpenCreate, "/usr/none/file")},
		{erofs, frame.Open, open(frame.OpenWrite|frame.OpenCreate, "/usr/none/file")},
		{0, frame.Stat, &frame.StatRequest{Path: "/usr/none/file"}},
		{erofs, frame.Access, &frame.AccessRequest{Mode: 6, Path: "/usr/none/file"}},
		{0, frame.Access, &frame.AccessRequest{Mode: 4, Path: "/usr/none/file"}},
		{0, frame.Access, &frame.AccessRequest{Mode: 2, Path: "/usr/file"}},
		{enoent, frame.Open, open(frame.OpenWrite|frame.OpenCreate, "/var/none/none/file")},

		// Written beside and renamed over.
		{0, frame.Stat, &frame.StatRequest{Path: "/usr/c"}},
		{here, frame.Change, &frame.ChangeRequest{Op: frame.Rename, Path: "/usr/b", Other: "/usr/c"}},
		{here, frame.Stat, &frame.StatRequest{Path: "/usr/c"}},
		{here, frame.Change, &frame.ChangeRequest{Op: frame.Rename, Path: "/var/dir", Other: "/var/moved"}},
		{here, frame.Stat, &frame.StatRequest{Path: "/var/moved/x"}},
	} {
		if got, _ := s.ask(t, c.kind, c.m, new(frame.StatReply)); got != c.want {
			t.Errorf("%T%+v: status %d, want %d", c.m, c.m, got, c.want)
		}
	}
	var paths []string
	for _, e := range s.emitted(events.FileLocal) {
		paths = append(paths, strings.TrimSpace(e.Op+" "+e.Path+" "+e.Errno))
	}
	want := "open /usr/a,open /usr/b,open /usr/log,open /var/lock,mkdir /var/dir,symlink /var/link,mknod /var/fifo,rename /usr/replaced,open /usr/none/file EROFS,rename /usr/c,rename /var/moved"
	if got := strings.Join(paths, ","); got != want {
		t.Errorf("events %s\nwant %s", got, want)
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, size := range []int{1 << 10, 100 << 10, 10 << 20} {
		content := make([]byte, size)
		s := start(b, &fakeAgent{open: fileServer(map[string]func(*links.Stream){"/x": whole(regular(size), content)})}, nil)
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.SetBytes(int64(size))
			benchmark(b, s, frame.Open, &frame.OpenRequest{Path: "/x"})
		})
	}
}
