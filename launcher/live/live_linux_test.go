package live

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/agent/serve"
	"mirrord/agent/target"
	"mirrord/agent/wire"
)

func TestMain(m *testing.M) {
	switch os.Getenv(childVariable) {
	case "open":
		waitForEver()
	case "map":
		writeMapped()
	default:
		goleak.VerifyTestMain(m)
	}
}

// pod is a pod directory, its files on this machine, and a file system of them.
type pod struct {
	dir string
	fs  *FS
}

// newPod mounts as this machine allows it.
func newPod(t *testing.T, yaml string) *pod {
	t.Helper()
	p, link := newLink(t, yaml)
	fs, err := New(link, t.TempDir())
	if err != nil {
		t.Skipf("left out: %v", err)
	}
	t.Cleanup(func() { fs.Close() })
	p.fs = fs
	return p
}

func newLink(t *testing.T, yaml string) (*pod, *links.Link) {
	t.Helper()
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "rootfs"), 0o755)
	os.WriteFile(filepath.Join(dir, "pod.yaml"), []byte(yaml), 0o644)
	d, err := target.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	requests, bulk, done, err := serve.Dir(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	link, err := links.New(t.Context(), requests, bulk, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { link.Close(); <-done; d.Close() })
	return &pod{dir: filepath.Join(dir, "rootfs")}, link
}

// Each way to mount gives the same, and leaves nothing in any folder.
func TestWays(t *testing.T) {
	for name, way := range map[string]func(string) (int, int, error){"detached": detached, "namespaced": namespaced, "helped": helped} {
		t.Run(name, func(t *testing.T) {
			p, link := newLink(t, "name: x")
			dir := t.TempDir()
			device, root, err := way(dir)
			if err != nil {
				t.Skipf("left out: %v", err)
			}
			unix.SetNonblock(device, true)
			if p.fs, err = newFS(link, os.NewFile(uintptr(device), "/dev/fuse"), root); err != nil {
				t.Fatal(err)
			}
			defer p.fs.Close()
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			if mounts, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(mounts), dir) {
				t.Errorf("mounted: %s", mounts)
			}
			f := p.open(t, "/new", wire.OpenReadWrite|wire.OpenCreate, 0o600)
			if _, err := f.WriteAt([]byte("hello"), 3); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 9)
			if n, err := f.ReadAt(b, 0); string(b[:n]) != "\x00\x00\x00hello" || err != io.EOF {
				t.Errorf("%q, %v", b[:n], err)
			}
			f.Close()
		})
	}
}

func (p *pod) open(t *testing.T, path string, flags, mode uint32) *os.File {
	t.Helper()
	fd, err := p.fs.Open(t.Context(), path, flags, mode)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	t.Cleanup(func() { f.Close() })
	return f
}

func TestWrite(t *testing.T) {
	p := newPod(t, "name: x")
	f := p.open(t, "/new", wire.OpenWrite|wire.OpenCreate|wire.OpenTruncate, 0o640)
	if _, err := f.WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(p.dir + "/new"); string(got) != "hello" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if st, _ := os.Stat(p.dir + "/new"); st.Mode() != 0o640 {
		t.Errorf("%v", st.Mode())
	}
	if _, err := p.fs.Open(t.Context(), "/new", wire.OpenWrite|wire.OpenCreate|wire.OpenExclusive, 0o640); err != unix.EEXIST {
		t.Errorf("O_EXCL: %v", err)
	}
	if err := f.Truncate(2); err != nil {
		t.Error(err)
	}
	f.Close()
	r := p.open(t, "/new", wire.OpenRead, 0)
	b := make([]byte, 10)
	if n, err := r.Read(b); string(b[:n]) != "he" || err != nil {
		t.Errorf("%q, %v", b[:n], err)
	}
}
