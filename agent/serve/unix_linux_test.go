package serve_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/agent/target"
)

// unixServer greets and echoes on a Unix socket until the test ends.
func unixServer(t *testing.T, address, name string) {
	t.Helper()
	l, err := net.Listen("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	var handlers sync.WaitGroup
	handlers.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			handlers.Go(func() {
				defer c.Close()
				io.WriteString(c, name+" ")
				io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
			})
		}
	})
	t.Cleanup(func() { l.Close(); handlers.Wait() })
}

// rootfs is where the files of a target from openDir are.
func rootfs(d *target.Dir, path string) string { return filepath.Join(d.Root().Name(), path) }

func TestConnectUnix(t *testing.T) {
	mine := "mirrord-test-" + filepath.Base(t.TempDir()) + filepath.Base(filepath.Dir(t.TempDir()))
	deep := "/srv/" + strings.Repeat("d", 150) // sun_path has 108 bytes
	link, d := newLink(t, "routes: {unix:///run/routed.sock: ./elsewhere.sock, 'unix://@abstract': '@"+mine+"'}",
		map[string]string{"run/keep": "", deep[1:] + "/keep": ""})
	unixServer(t, rootfs(d, "run/app.sock"), "app")
	unixServer(t, filepath.Join(filepath.Dir(d.Root().Name()), "elsewhere.sock"), "elsewhere")
	unixServer(t, "@"+mine, "abstract")
	for link, to := range map[string]string{"run/link.sock": "/run/app.sock", "var": ".", deep[1:] + "/up.sock": "../../../../../run/link.sock"} {
		if err := os.Symlink(to, rootfs(d, link)); err != nil {
			t.Fatal(err)
		}
	}
	for name, greeting := range map[string]string{
		"/run/app.sock": "app ", "/run/link.sock": "app ", "/var/run/../run/app.sock": "app ", deep + "/up.sock": "app ",
		"/run/routed.sock": "elsewhere ", "@abstract": "abstract ",
	} {
		conn, err := link.ConnectUnix(t.Context(), name, true)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		io.WriteString(conn, "hi")
		conn.CloseWrite()
		if got, err := io.ReadAll(conn); string(got) != greeting+"hi" || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		conn.Close()
	}
}

func TestConnectUnixErrors(t *testing.T) {
	link, d := newLink(t, "{name: x}", map[string]string{"run/file": "", "etc/passwd": ""})
	gone, err := net.Listen("unix", rootfs(d, "run/gone.sock"))
	if err != nil {
		t.Fatal(err)
	}
	gone.(*net.UnixListener).SetUnlinkOnClose(false)
	gone.Close()
	datagrams, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: rootfs(d, "run/datagrams.sock"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	os.Symlink("/run/loop.sock", rootfs(d, "run/loop.sock"))
	unixServer(t, filepath.Join(filepath.Dir(d.Root().Name()), "outside.sock"), "outside")
	os.Symlink("../../../outside.sock", rootfs(d, "run/outside.sock"))
	for name, want := range map[string]syscall.Errno{
		"/run/none.sock": syscall.ENOENT, "/run/gone.sock": syscall.ECONNREFUSED, "/run/file": syscall.ECONNREFUSED, "/run": syscall.ECONNREFUSED,
		"/": syscall.ECONNREFUSED, "/run/file/x": syscall.ENOTDIR, "/run/loop.sock": syscall.ELOOP, "/run/datagrams.sock": syscall.EPROTOTYPE,
		"/run/outside.sock": syscall.ENOENT, "/../outside.sock": syscall.ENOENT, "outside.sock": syscall.ENOENT, "/run/\x00": syscall.ENOENT,
		"/" + strings.Repeat("x", 300): syscall.ENAMETOOLONG, "@nobody": syscall.ECONNREFUSED,
	} {
		if _, err := link.ConnectUnix(t.Context(), name, true); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
	}
	for _, name := range []string{"@", "@" + strings.Repeat("x", 108)} { // of a live pod, which has no routes
		if _, err := target.DialUnix(t.Context(), new(net.Dialer).DialContext, d.Root(), name, true); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// A full queue: who does not wait is told so, who waits comes in when there is room.
func TestConnectUnixQueue(t *testing.T) {
	link, d := newLink(t, "{name: x}", map[string]string{"run/keep": ""})
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: rootfs(d, "run/full.sock")}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	var waiting []links.Conn
	for {
		conn, err := link.ConnectUnix(t.Context(), "/run/full.sock", false)
		if errors.Is(err, syscall.EAGAIN) {
			break
		}
		if err != nil || len(waiting) > 10 {
			t.Fatalf("after %d: %v", len(waiting), err)
		}
		waiting = append(waiting, conn)
	}
	done := make(chan error, 1)
	go func() {
		conn, err := link.ConnectUnix(t.Context(), "/run/full.sock", true)
		if err == nil {
			conn.Close()
		}
		done <- err
	}()
	for range waiting {
		c, _, err := unix.Accept(fd)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(c)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, c := range waiting {
		c.Close()
	}
}
