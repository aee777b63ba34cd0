package target

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// all reads a copy to its end.
func all(c *Copy) (string, error) {
	var got strings.Builder
	for {
		p, err := c.Next()
		if err != nil {
			return got.String(), err
		}
		got.Write(p)
	}
}

func mirrorPort(t *testing.T, d *Dir, number uint16) (<-chan *Copy, io.Closer) {
	t.Helper()
	copies := make(chan *Copy, 100)
	m, err := d.Mirror(number, "", func(c *Copy) { copies <- c })
	if err != nil {
		t.Fatal(err)
	}
	return copies, m
}

func TestMirror(t *testing.T) {
	d := openDir(t, "ports: {80: {listen: '127.0.0.1:0', app: '%s'}, 81: {listen: '127.0.0.1:0'}}", server(t, "app "))
	listen := d.ListenAddr(80).String()
	first, m := mirrorPort(t, d, 80)
	second, _ := mirrorPort(t, d, 80)
	if got, err := ask(t, listen, "hi"); got != "app hi" || err != nil {
		t.Errorf("mirrored: %q, %v", got, err)
	}
	for _, copies := range []<-chan *Copy{first, second} {
		c := <-copies
		if got, err := all(c); got != "hi" || err != io.EOF {
			t.Errorf("the copy is %q, %v", got, err)
		}
		if c.Local != netip.MustParseAddrPort("127.0.0.1:80") || c.Remote.Addr() != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("the pod's view is %v from %v", c.Local, c.Remote)
		}
		c.Close()
	}

	// Beside a thief, they see what it gets.
	thief, err := d.Steal(80, "", func(in Incoming) bool {
		go func() {
			defer in.Conn.Close()
			io.Copy(io.Discard, struct{ io.Reader }{in.Conn})
		}()
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	ask(t, listen, "loot")
	if c := <-first; c == nil {
		t.Error("no copy of a stolen connection")
	}
	<-second
	thief.Close()

	m.Close()
	if got, err := ask(t, listen, "hi"); got != "app hi" || err != nil {
		t.Errorf("after one mirror: %q, %v", got, err)
	}
	if got, err := all(<-second); got != "hi" || err != io.EOF {
		t.Errorf("the other mirror sees %q, %v", got, err)
	}
	select {
	case <-first:
		t.Error("a closed mirror sees a connection")
	default:
	}

	if _, err := d.Mirror(81, "", nil); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("a port without an app: %v", err)
	}
	if _, err := d.Mirror(82, "", nil); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("a port that is not listed: %v", err)
	}
}

// Nobody takes the copy: the connection is served as if there was no mirror.
func TestMirrorSlow(t *testing.T) {
	d := openDir(t, "ports: {80: {listen: '127.0.0.1:0', app: '%s'}}", server(t, ""))
	copies, _ := mirrorPort(t, d, 80)
	text := strings.Repeat("x", 3*copyLimit)
	if got, err := ask(t, d.ListenAddr(80).String(), text); len(got) != len(text) || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	c := <-copies
	if _, err := c.Next(); !errors.Is(err, syscall.ENOBUFS) {
		t.Errorf("the copy ends with %v", err)
	}
	if held := c.held.Load(); held != 0 {
		t.Errorf("%d bytes held", held)
	}
}

// A reset of the connection is one of the copy.
func TestMirrorReset(t *testing.T) {
	d := openDir(t, "ports: {80: {listen: '127.0.0.1:0', app: '%s'}}", server(t, "app "))
	copies, _ := mirrorPort(t, d, 80)
	c, err := net.Dial("tcp", d.ListenAddr(80).String())
	if err != nil {
		t.Fatal(err)
	}
	io.ReadFull(c, make([]byte, 4))
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	if got, err := all(<-copies); got != "" || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the copy is %q, %v", got, err)
	}
}

// What Next has handed out counts until the next call, Close ends a waiting Next, and the mirror's limit holds over all its copies.
func TestCopyLimits(t *testing.T) {
	var held atomic.Int64
	local := netip.MustParseAddrPort("10.0.0.1:80")
	c := newCopy(local, local, &held)
	half := bytes.Repeat([]byte("x"), copyLimit/2)
	c.saw(half, nil)
	if p, err := c.Next(); len(p) != len(half) || err != nil {
		t.Fatalf("%d bytes, %v", len(p), err)
	}
	c.saw(half, nil)
	if p, err := c.Next(); len(p) != len(half) || err != nil {
		t.Fatalf("%d bytes, %v", len(p), err)
	}
	if n := held.Load(); n != int64(len(half)) {
		t.Errorf("%d bytes held", n)
	}
	c.saw(half, nil)
	c.saw([]byte("x"), nil)
	if _, err := c.Next(); !errors.Is(err, syscall.ENOBUFS) {
		t.Errorf("beyond the limit: %v", err)
	}
	if n := held.Load(); n != 0 {
		t.Errorf("%d bytes held after the cut", n)
	}

	c = newCopy(local, local, &held)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if _, err := c.Next(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
	c.Close() // before or after Next waits
	c.Close()
	waiting.Wait()

	for i := range mirrorLimit / copyLimit {
		c := newCopy(local, local, &held)
		defer c.Close()
		if c.saw(bytes.Repeat(half, 2), nil); c.end != nil {
			t.Fatalf("copy %d: %v", i, c.end)
		}
	}
	c = newCopy(local, local, &held)
	if c.saw([]byte("x"), nil); !errors.Is(c.end, syscall.ENOBUFS) {
		t.Errorf("more copies than the mirror may hold: %v", c.end)
	}
}

func TestCheckMirror(t *testing.T) {
	d := openDir(t, "ports:\n  80: {listen: '127.0.0.1:0', app: '127.0.0.1:1'}\n  83: {listen: '127.0.0.1:0'}\n  81: {listen: '127.0.0.1:0'}\n")
	if err := d.CheckMirror(func(port uint16) bool { return port == 80 || port == 82 }); err != nil {
		t.Error(err)
	}
	err := d.CheckMirror(func(uint16) bool { return true })
	if err == nil || !strings.Contains(err.Error(), "pod.yaml:3:3: port 83 has no app, so there is nothing to mirror\nhint: ") || !strings.Contains(err.Error(), "pod.yaml:4:3: port 81 ") {
		t.Error(err)
	}
}
