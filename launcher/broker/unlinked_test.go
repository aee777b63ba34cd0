package broker

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/launcher/anonfile"
	"mirrord/layer/frame"
)

// TestPaths: what the layer of macOS is served, here too.
func TestPaths(t *testing.T) {
	s := start(t, &fakeAgent{open: fileServer(map[string]func(*links.Stream){"/small": whole(regular(5), []byte("hello"))})}, func(o *Options) { o.Paths = true })
	socket := s.socket.Addr().String()
	if info, err := os.Stat(filepath.Dir(socket)); err != nil || info.Mode() != fs.ModeDir|0o700 || len(socket) > maxSocketPath {
		t.Errorf("socket %q in %v, %v", socket, info, err)
	}
	long := filepath.Join(t.TempDir(), strings.Repeat("long", 25))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	if far := start(t, &fakeAgent{}, func(o *Options) { o.Paths, o.TempDir = true, long }); len(far.socket.Addr().String()) > maxSocketPath {
		t.Errorf("the socket has a path of %d bytes", len(far.socket.Addr().String()))
	}
	tagOf := func(f *os.File) string {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Nlink != 0 {
			t.Errorf("%d links, %v", st.Nlink, err)
		}
		tag := make([]byte, 512)
		n, err := unix.Fgetxattr(int(f.Fd()), anonfile.TagAttribute, tag)
		if err != nil {
			t.Fatal(err)
		}
		return string(tag[:n])
	}
	status, rules := s.ask(t, frame.Hello, &frame.HelloRequest{PID: uint32(os.Getpid())}, nil)
	if rules == nil || tagOf(rules) != rulesTag {
		t.Fatalf("hello: %d, %v", status, rules)
	}
	defer rules.Close()
	_, f := s.ask(t, frame.Open, &frame.OpenRequest{Path: "/small"}, nil)
	defer f.Close()
	if want := tag("f", regular(5)); tagOf(f) != want {
		t.Errorf("tag %s, want %s", tagOf(f), want)
	}
	if text, err := io.ReadAll(f); err != nil || string(text) != "hello" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := f.Write([]byte("x")); err == nil {
		t.Error("it can be written")
	}
}
