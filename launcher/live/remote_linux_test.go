package live

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/agent/serve"
	"mirrord/agent/target"
	"mirrord/agent/wire"
)

func (p *pod) file(name string) string { return p.dir + name }

func (p *pod) write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(p.file(name), content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// What is appended in the pod is read here, and the size is the pod's.
func TestGrows(t *testing.T) {
	p := newPod(t, "name: x")
	p.write(t, "/log", []byte("one\n"))
	f := p.open(t, "/log", wire.OpenRead, 0)
	if got, err := io.ReadAll(f); string(got) != "one\n" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	near, err := os.OpenFile(p.file("/log"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := ""
	for i := range 20 {
		line := "line " + strconv.Itoa(i) + "\n"
		near.WriteString(line)
		want += line
		got := ""
		for b := make([]byte, 100); got != line; { // fails by go test's own time limit
			n, err := f.Read(b)
			if got += string(b[:n]); err != nil && err != io.EOF || len(got) > len(line) {
				t.Fatalf("%q, %v", got, err)
			}
		}
	}
	if st, err := f.Stat(); err != nil || st.Size() != int64(len("one\n"+want)) {
		t.Errorf("%v, %v", st, err)
	}
	// And what is another now, though it is as long.
	near.Close()
	changed, err := os.OpenFile(p.file("/log"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer changed.Close()
	changed.WriteString("ONE\n")
	for b := make([]byte, 4); string(b) != "ONE\n"; { // fails by go test's own time limit
		if _, err := f.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// writeMapped is a child of the test: it maps its standard input, and writes that to its standard output.
func writeMapped() {
	var st unix.Stat_t
	if err := unix.Fstat(0, &st); err != nil {
		panic(err)
	}
	mapped, err := unix.Mmap(0, 0, int(st.Size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	if _, err := os.Stdout.Write(bytes.Clone(mapped)); err != nil {
		panic(err)
	}
}

// Read ahead or not, every byte is where it belongs, and nothing is kept in the end.
func TestReadsAhead(t *testing.T) {
	p := newPod(t, "name: x\nlatency: 4ms")
	content := make([]byte, 20<<20+12345)
	for i := 0; i < len(content); i += 7 {
		content[i] = byte(rand.IntN(256))
	}
	p.write(t, "/big", content)
	f := p.open(t, "/big", wire.OpenRead, 0)
	if got, err := io.ReadAll(f); !bytes.Equal(got, content) || err != nil {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	var reading sync.WaitGroup
	for range 4 {
		reading.Go(func() {
			b := make([]byte, 200_000)
			for range 20 {
				at := rand.IntN(len(content))
				n, err := f.ReadAt(b, int64(at))
				if want := content[at:min(at+len(b), len(content))]; !bytes.Equal(b[:n], want) || n < len(b) && err != io.EOF {
					t.Errorf("%d bytes at %d, %v", n, at, err)
				}
			}
		})
	}
	reading.Wait()
	child := exec.Command("/proc/self/exe")
	child.Env, child.Stdin, child.Stderr = append(os.Environ(), childVariable+"=map"), f, os.Stderr
	if mapped, err := child.Output(); err != nil || !bytes.Equal(mapped, content) {
		t.Errorf("mapped it is another: %d bytes, %v", len(mapped), err)
	}
	f.Close()
	for p.fs.kept.Load() != 0 || p.fs.open() > 0 { // the kernel says later that it has closed one
		time.Sleep(time.Millisecond)
	}
}

func (fs *FS) open() int {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return len(fs.files) + len(fs.opened)
}

// Whatever is done to a descriptor is done in the pod.
func TestChanges(t *testing.T) {
	p := newPod(t, "name: x")
	f := p.open(t, "/f", wire.OpenReadWrite|wire.OpenCreate, 0o600)
	f.WriteString("0123456789")
	other := p.open(t, "/f", wire.OpenRead, 0)
	b := make([]byte, 20)
	if n, _ := other.ReadAt(b, 0); string(b[:n]) != "0123456789" {
		t.Errorf("%q", b[:n])
	}
	f.WriteAt([]byte("xx"), 3)
	if n, _ := other.ReadAt(b, 0); string(b[:n]) != "012xx56789" {
		t.Errorf("another descriptor has not seen what was written: %q", b[:n])
	}
	for name, err := range map[string]error{
		"truncate": f.Truncate(5), "chmod": f.Chmod(0o640), "sync": f.Sync(), "datasync": unix.Fdatasync(int(f.Fd())),
		"utimes": unix.Futimes(int(f.Fd()), []unix.Timeval{{Sec: 1000}, {Sec: 2000}}), "allocate": unix.Fallocate(int(f.Fd()), 0, 0, 100),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if os.Getuid() == 0 {
		if err := f.Chown(12, 34); err != nil {
			t.Error(err)
		}
		var st unix.Stat_t
		if unix.Stat(p.file("/f"), &st); st.Uid != 12 || st.Gid != 34 {
			t.Errorf("%d:%d", st.Uid, st.Gid)
		}
	}
	st, _ := os.Stat(p.file("/f"))
	if got, _ := os.ReadFile(p.file("/f")); st.Mode() != 0o640 || st.Size() != 100 || string(got[:5]) != "012xx" {
		t.Errorf("%v, %q", st, got)
	}
	a := p.open(t, "/f", wire.OpenWrite|wire.OpenAppend, 0)
	os.WriteFile(p.file("/f"), []byte("pod "), 0)
	a.WriteString("appended")
	if got, _ := os.ReadFile(p.file("/f")); string(got) != "pod appended" {
		t.Errorf("%q", got)
	}

	// What was opened for reading changes nothing.
	p.write(t, "/r", []byte("read"))
	r := p.open(t, "/r", wire.OpenRead, 0)
	for name, err := range map[string]error{"chmod": r.Chmod(0o600), "chown": r.Chown(1, 1), "utimes": unix.Futimes(int(r.Fd()), []unix.Timeval{{}, {}})} {
		if !errors.Is(err, unix.EROFS) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.WriteString("x"); !errors.Is(err, unix.EBADF) {
		t.Error(err)
	}
	self := "/proc/self/fd/" + strconv.Itoa(int(r.Fd()))
	if _, err := os.OpenFile(self, os.O_RDWR, 0); !errors.Is(err, unix.EROFS) {
		t.Error(err)
	}
	if got, err := os.ReadFile(self); string(got) != "read" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestOpenErrors(t *testing.T) {
	p := newPod(t, "name: x")
	p.write(t, "/f", nil)
	os.Mkdir(p.file("/dir"), 0o755)
	os.Symlink("/f", p.file("/link"))
	os.Symlink("/made", p.file("/dangling"))
	os.Symlink("loop", p.file("/loop"))
	os.Symlink("../../../../etc", p.file("/out"))
	for _, tt := range []struct {
		path  string
		flags uint32
		want  unix.Errno
	}{
		{"/none", wire.OpenRead, unix.ENOENT},
		{"/none/f", wire.OpenWrite | wire.OpenCreate, unix.ENOENT},
		{"/f/x", wire.OpenWrite | wire.OpenCreate, unix.ENOTDIR},
		{"/dir", wire.OpenWrite, unix.EISDIR},
		{"/new/", wire.OpenWrite | wire.OpenCreate, unix.EISDIR},
		{"/f", wire.OpenRead | wire.OpenDirectory, unix.ENOTDIR},
		{"/f", wire.OpenWrite | wire.OpenCreate | wire.OpenExclusive, unix.EEXIST},
		{"/dangling", wire.OpenWrite | wire.OpenCreate | wire.OpenExclusive, unix.EEXIST},
		{"/link", wire.OpenRead | wire.OpenNoFollow, unix.ELOOP},
		{"/loop", wire.OpenRead, unix.ELOOP},
		{"/out/passwd", wire.OpenRead, unix.ENOENT},
		{"/f", 3, unix.EINVAL},
	} {
		if fd, err := p.fs.Open(t.Context(), tt.path, tt.flags, 0o644); err != tt.want {
			t.Errorf("%s, %o: %d, %v", tt.path, tt.flags, fd, err)
		}
	}
	p.open(t, "/dangling", wire.OpenWrite|wire.OpenCreate, 0o600).WriteString("x")
	if got, err := os.ReadFile(p.file("/made")); string(got) != "x" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// Who does not wait for a FIFO any more loses nothing of it.
func TestFIFO(t *testing.T) {
	p := newPod(t, "name: x")
	if err := unix.Mkfifo(p.file("/fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := openRemote(t.Context(), p.fs.link, "/fifo", wire.OpenRead, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	r.heard = func(*wire.Stat, time.Time) {}
	read := wire.FileRequest{Op: wire.FileRead, Length: 100}
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		if reply, err := r.call(ctx, read); err != unix.EINTR {
			t.Fatalf("%+v, %v", reply, err)
		}
		cancel()
	}
	w, err := os.OpenFile(p.file("/fifo"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.WriteString("hello")
	if reply, err := r.call(t.Context(), read); err != nil || string(reply.Data) != "hello" {
		t.Errorf("%+v, %v", reply, err)
	}
	read.How = 1
	if reply, err := r.call(t.Context(), read); err != unix.EAGAIN {
		t.Errorf("%+v, %v", reply, err)
	}
	read.How = 0
	w.Close()
	if reply, err := r.call(t.Context(), read); err != nil || len(reply.Data) > 0 {
		t.Errorf("%+v, %v", reply, err)
	}
}

// lasting is a pod whose link is made anew when cut cuts it.
func lasting(t *testing.T) (p *pod, cut func()) {
	t.Helper()
	p, first := newLink(t, "name: x")
	first.Close()
	d, err := target.OpenDir(p.dir + "/..")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var conns []net.Conn
	var served []<-chan struct{}
	dial := func(context.Context) (net.Conn, net.Conn, error) {
		requests, bulk, done, err := serve.Dir(t.Context(), d)
		mu.Lock()
		defer mu.Unlock()
		conns, served = []net.Conn{requests, bulk}, append(served, done)
		return requests, bulk, err
	}
	up := make(chan bool, 10)
	requests, bulk, _ := dial(nil)
	link, err := links.NewLasting(t.Context(), requests, bulk, "test", "", &links.Redial{Dial: dial, Patience: time.Minute, Changed: func(is bool) { up <- is }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		link.Close()
		for _, done := range served {
			<-done
		}
		d.Close()
	})
	if p.fs, err = New(link, t.TempDir()); err != nil {
		t.Skipf("left out: %v", err)
	}
	t.Cleanup(func() { p.fs.Close() })
	return p, func() {
		mu.Lock()
		conns[0].Close()
		mu.Unlock()
		<-up
		<-up
	}
}

// A cut does no harm to what is open, unless another file has its name meanwhile.
func TestCut(t *testing.T) {
	p, cut := lasting(t)
	p.write(t, "/f", []byte("before"))
	p.write(t, "/gone", []byte("before"))
	f := p.open(t, "/f", wire.OpenReadWrite|wire.OpenTruncate|wire.OpenCreate, 0)
	a := p.open(t, "/f", wire.OpenWrite|wire.OpenAppend, 0)
	gone := p.open(t, "/gone", wire.OpenRead, 0)
	f.WriteString("first ")
	cut()
	if _, err := f.WriteString("second "); err != nil {
		t.Error(err)
	}
	if _, err := a.WriteString("third"); err != nil {
		t.Error(err)
	}
	b := make([]byte, 100)
	if n, err := f.ReadAt(b, 0); string(b[:n]) != "first second third" || err != io.EOF {
		t.Errorf("%q, %v", b[:n], err)
	}
	os.Remove(p.file("/gone"))
	p.write(t, "/other", nil)
	p.write(t, "/gone", []byte("another"))
	cut()
	if n, err := gone.Read(b); !errors.Is(err, unix.EIO) && !errors.Is(err, unix.ESTALE) {
		t.Errorf("%q, %v", b[:n], err)
	}
}

// Without the link, or the file system, there is an errno, and nobody hangs.
func TestLost(t *testing.T) {
	p := newPod(t, "name: x")
	p.write(t, "/f", bytes.Repeat([]byte("x"), 1<<20))
	unix.Mkfifo(p.file("/fifo"), 0o644)
	f, fifo := p.open(t, "/f", wire.OpenRead, 0), p.open(t, "/fifo", wire.OpenRead, 0)
	ended := make(chan error)
	go func() {
		_, err := fifo.Read(make([]byte, 1))
		ended <- err
	}()
	p.fs.link.Close()
	if err := <-ended; !errors.Is(err, unix.EIO) {
		t.Error(err)
	}
	if _, err := f.ReadAt(make([]byte, 10), 1<<19); !errors.Is(err, unix.EIO) {
		t.Error(err)
	}
	if _, err := p.fs.Open(t.Context(), "/f", wire.OpenRead, 0); err != unix.EIO {
		t.Error(err)
	}
	p.fs.Close()
	if _, err := f.ReadAt(make([]byte, 10), 0); err == nil {
		t.Error("read from nothing")
	}
	if _, err := p.fs.Open(t.Context(), "/f", wire.OpenRead, 0); err == nil {
		t.Error("opened")
	}
}
