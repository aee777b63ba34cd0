package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// podDir writes a pod directory and returns its path.
func podDir(t *testing.T, pod string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, podFile), []byte(pod), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func openDir(t *testing.T, format string, args ...any) *Dir {
	t.Helper()
	d, err := OpenDir(podDir(t, fmt.Sprintf(format, args...)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// server answers each connection with its greeting and the bytes it gets, until the test ends.
func server(t *testing.T, greeting string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.WriteString(c, greeting)
				io.Copy(c, c)
			}()
		}
	}()
	t.Cleanup(func() { listener.Close(); <-done })
	return listener.Addr().String()
}

// ask sends text to an address and returns all that comes back.
func ask(t *testing.T, addr, text string) (string, error) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	io.WriteString(c, text)
	c.(*net.TCPConn).CloseWrite()
	raw, err := io.ReadAll(c)
	return string(raw), err
}

func TestOpenDirFaults(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	empty := t.TempDir()
	rootIsFile := podDir(t, "name: x")
	os.WriteFile(filepath.Join(rootIsFile, "rootfs"), nil, 0o644)
	yamlIsDir := t.TempDir()
	os.Mkdir(filepath.Join(yamlIsDir, podFile), 0o755)
	for _, c := range []struct{ name, path, want string }{
		{"no directory", filepath.Join(empty, "nowhere"), "there is no pod directory " + filepath.Join(empty, "nowhere") + "\nhint: "},
		{"no pod.yaml", empty, filepath.Join(empty, podFile) + " does not exist\nhint: "},
		{"empty pod.yaml", podDir(t, ""), "pod.yaml:1:1: the file is empty\nhint: "},
		{"pod.yaml is a directory", yamlIsDir, filepath.Join(yamlIsDir, podFile)},
		{"huge pod.yaml", podDir(t, strings.Repeat("#", maxPodFile+1)), "is larger than 1048576 bytes"},
		{"rootfs is a file", rootIsFile, "rootfs is not a directory\nhint: "},
		{"address in use", podDir(t, fmt.Sprintf("ports: {80: {listen: '127.0.0.1:0'}, 81: {listen: '%s'}}", taken.Addr())),
			"address already in use\nhint: another session"},
		{"not this machine's address", podDir(t, "ports: {80: {listen: '192.0.2.1:8080'}}"), "hint: listen must be an address of this machine"},
	} {
		_, err := OpenDir(c.path)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %q", c.name, err, c.want)
		}
	}
}

func TestDial(t *testing.T) {
	outside := server(t, "outside ")
	d := openDir(t, "hosts: {a: 10.96.0.7, b: [10.96.0.8, '127.0.0.9']}\nroutes: {'10.96.0.7:80': '%s', '10.200.0.1:1': '%s'}", server(t, "a "), server(t, "unnamed "))
	for addr, want := range map[string]string{
		"10.96.0.7:80":          "a ",
		"[::ffff:10.96.0.7]:80": "a ",
		"10.200.0.1:1":          "unnamed ",
		outside:                 "outside ",
	} {
		conn, err := d.Dial(t.Context(), netip.MustParseAddrPort(addr))
		if err != nil {
			t.Errorf("%s: %v", addr, err)
			continue
		}
		conn.CloseWrite()
		if got, _ := io.ReadAll(conn); string(got) != want {
			t.Errorf("%s is %q, want %q", addr, got, want)
		}
		conn.Close()
	}
	_, port, _ := net.SplitHostPort(outside)
	for _, addr := range []string{"10.96.0.7:81", "10.96.0.8:80", "127.0.0.9:" + port} {
		if _, err := d.Dial(t.Context(), netip.MustParseAddrPort(addr)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s has a name and no route: %v", addr, err)
		}
	}
}

func TestOffline(t *testing.T) {
	there := server(t, "there")
	d := openDir(t, "offline: true\nhosts: {db: 10.96.0.9}\nroutes: {'10.96.0.7:80': %q}", there)
	for _, c := range []struct{ addr, reason string }{
		{"10.96.0.7:80", ""},
		{there, ""},
		{"10.96.0.9:80", "10.96.0.9:80 is in the pod's network and pod.yaml has no route to it"},
		{"10.96.0.7:81", "the pod is offline and its pod.yaml has no route to 10.96.0.7:81"},
		{"[::ffff:192.0.2.1]:80", "the pod is offline and its pod.yaml has no route to 192.0.2.1:80"},
		{"[2001:db8::1]:80", "the pod is offline and its pod.yaml has no route to [2001:db8::1]:80"},
	} {
		conn, err := d.Dial(t.Context(), netip.MustParseAddrPort(c.addr))
		if err == nil {
			conn.Close()
		}
		if (err == nil) != (c.reason == "") || err != nil && (!errors.Is(err, syscall.ECONNREFUSED) || !strings.HasPrefix(err.Error(), c.reason)) {
			t.Errorf("%s: %v, want %q", c.addr, err, c.reason)
		}
		if _, err := d.DialDatagrams(t.Context(), netip.MustParseAddrPort("192.0.2.1:8125")); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("datagrams: %v", err)
		}
	}
	var dns *net.DNSError
	if _, err := d.Resolver().LookupNetIP(t.Context(), "ip", "localhost"); !errors.As(err, &dns) || !dns.IsNotFound {
		t.Errorf("a name is asked for: %v", err)
	}
	if _, err := d.Resolver().LookupAddr(t.Context(), "127.0.0.1"); !errors.As(err, &dns) || !dns.IsNotFound {
		t.Errorf("an address is asked for: %v", err)
	}
	if _, err := OpenDir(podDir(t, "offline: maybe")); err == nil || !strings.Contains(err.Error(), "pod.yaml:1:10: offline must be true or false") {
		t.Error(err)
	}
}

func TestPorts(t *testing.T) {
	d := openDir(t, "ports: {80: {listen: '127.0.0.1:0', app: '%s'}, 81: {listen: '127.0.0.1:0'}}", server(t, "app "))
	listen := d.ListenAddr(80).String()
	if got, err := ask(t, listen, "hi"); got != "app hi" || err != nil {
		t.Errorf("nobody steals: %q, %v", got, err)
	}
	if got, err := ask(t, d.ListenAddr(81).String(), "hi"); got != "" || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("neither thief nor program: %q, %v", got, err)
	}

	var take atomic.Bool
	take.Store(true)
	seen := make(chan Incoming, 1)
	thief, err := d.Steal(80, "", func(in Incoming) bool {
		if !take.Load() {
			return false
		}
		seen <- in
		io.WriteString(in.Conn, "thief")
		in.Conn.Close()
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := ask(t, listen, ""); got != "thief" {
		t.Errorf("stolen: %q", got)
	}
	if seen := <-seen; seen.Local != netip.MustParseAddrPort("127.0.0.1:80") || seen.Remote.Addr() != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("the pod's view is %v from %v", seen.Local, seen.Remote)
	}
	take.Store(false)
	if got, _ := ask(t, listen, "hi"); got != "app hi" {
		t.Errorf("refused by the thief: %q", got)
	}
	if _, err := d.Steal(80, "", nil); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second thief: %v", err)
	}
	if _, err := d.Steal(82, "", nil); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("a port that is not listed: %v", err)
	}
	thief.Close()
	if got, _ := ask(t, listen, "hi"); got != "app hi" {
		t.Errorf("after the theft: %q", got)
	}
	again, err := d.Steal(80, "", func(Incoming) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	thief.Close() // not the new one's
	if _, err := d.Steal(80, "", nil); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("an old thief ended the new one: %v", err)
	}
	again.Close()
}

// Close ends what passes through, and the address is free at once.
func TestClose(t *testing.T) {
	d, err := OpenDir(podDir(t, fmt.Sprintf("ports: {80: {listen: '127.0.0.1:0', app: '%s'}}", server(t, "app "))))
	if err != nil {
		t.Fatal(err)
	}
	listen := d.ListenAddr(80).String()
	c, err := net.Dial("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.ReadFull(c, make([]byte, 4))
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on")
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestDialGivenUp(t *testing.T) {
	d := openDir(t, "name: x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Dial(ctx, netip.MustParseAddrPort("127.0.0.1:9")); err == nil {
		t.Error("dialled")
	}
	if d.Root() != nil || d.Resolver() == nil || d.Name() != "x" {
		t.Error("a pod with nothing but a name is not what it should be")
	}
}
