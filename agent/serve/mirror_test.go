package serve_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/agent/links"
	"mirrord/agent/wire"
)

// The pod's program answers; the launcher sees what came for it, and what it answers goes nowhere.
func TestMirror(t *testing.T) {
	link, d := newLink(t, fmt.Sprintf("ports: {8080: {listen: '127.0.0.1:0', app: '%s'}, 8081: {listen: '127.0.0.1:0'}}", server(t, greet("app"))), nil)
	subscription, err := link.Subscribe(t.Context(), 8080, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := link.Subscribe(t.Context(), 8081, false, nil); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("a port without a program: %v", err)
	}
	if _, err := link.Subscribe(t.Context(), 8082, false, nil); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("a port that is not listed: %v", err)
	}

	client := dialPort(t, d, 8080)
	if got := answer(client); got != "app hi" { // whatever the launcher thinks
		t.Errorf("the program: %q", got)
	}
	req, conn, err := link.AcceptIncoming()
	if err != nil {
		t.Fatal(err)
	}
	if req.Port != 8080 || req.Local.Port() != 8080 || req.Remote.String() != client.LocalAddr().String() {
		t.Errorf("%+v", req)
	}
	conn.Accept()
	io.WriteString(conn, "not for the client")
	if got, err := io.ReadAll(conn); string(got) != "hi" || err != nil {
		t.Errorf("the copy is %q, %v", got, err)
	}
	conn.Close()

	client = dialPort(t, d, 8080)
	if _, conn, err = link.AcceptIncoming(); err != nil {
		t.Fatal(err)
	}
	conn.Refuse("ECONNREFUSED")
	if got := answer(client); got != "app hi" {
		t.Errorf("refused: %q", got)
	}

	// A program that resets its copy harms nobody.
	client = dialPort(t, d, 8080)
	if _, conn, err = link.AcceptIncoming(); err != nil {
		t.Fatal(err)
	}
	conn.Accept()
	links.Refuse(conn)
	if got := answer(client); got != "app hi" {
		t.Errorf("reset: %q", got)
	}
	subscription.Close()
}

// That the pod's own program is not there is said to whoever mirrors it.
func TestMirrorUnserved(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("left out: only Linux tells who listens")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	app := l.Addr().String()
	link, _ := newLink(t, fmt.Sprintf("ports: {8080: {listen: '127.0.0.1:0', app: '%s'}}", app), nil)
	told := make(chan *wire.Error, 10)
	subscribe := func(steal bool) {
		t.Helper()
		s, err := link.Subscribe(t.Context(), 8080, steal, func(e *wire.Error) { told <- e })
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	subscribe(false)
	l.Close()
	subscribe(true)
	subscribe(false)
	want := &wire.Error{Text: "nobody listens at " + app + ", where pod.yaml has the program of the pod's port 8080"}
	if diff := cmp.Diff(want, <-told); diff != "" {
		t.Error(diff)
	}
	if len(told) > 0 {
		t.Errorf("told again: %v", <-told)
	}
}

// A program that does not read loses its copy, is told so, and the pod's program never notices.
func TestMirrorSlow(t *testing.T) {
	const size = 32 << 20 // more than all buffers on the way
	count := func(c *net.TCPConn) {
		n, _ := io.Copy(io.Discard, c)
		fmt.Fprint(c, n)
		c.Close()
	}
	link, d := newLink(t, fmt.Sprintf("ports: {8080: {listen: '127.0.0.1:0', app: '%s'}}", server(t, count)), nil)
	notices := make(chan *wire.Error, 10)
	if _, err := link.Subscribe(t.Context(), 8080, false, func(e *wire.Error) { notices <- e }); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		client := dialPort(t, d, 8080)
		_, conn, err := link.AcceptIncoming()
		if err != nil {
			t.Fatal(err)
		}
		conn.Accept()
		client.Write(make([]byte, size))
		client.CloseWrite()
		if got, err := io.ReadAll(client); string(got) != fmt.Sprint(size) || err != nil {
			t.Errorf("the program got %s, %v", got, err)
		}
		client.Close()
		if i == 0 { // although nobody reads
			if e := <-notices; e.Errno != "ENOBUFS" {
				t.Errorf("told %+v", e)
			}
		}
		if n, err := io.Copy(io.Discard, conn); n == size || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the copy has %d bytes and ends with %v", n, err)
		}
		conn.Close()
	}
	select {
	case e := <-notices:
		t.Errorf("told again: %+v", e)
	default:
	}
}

// The link breaks: the pod's program goes on.
func TestMirrorLinkLost(t *testing.T) {
	link, d := newLink(t, fmt.Sprintf("ports: {8080: {listen: '127.0.0.1:0', app: '%s'}}", server(t, greet("app"))), nil)
	if _, err := link.Subscribe(t.Context(), 8080, false, nil); err != nil {
		t.Fatal(err)
	}
	client := dialPort(t, d, 8080)
	_, conn, err := link.AcceptIncoming()
	if err != nil {
		t.Fatal(err)
	}
	conn.Accept()
	link.Close()
	if got := answer(client); got != "app hi" {
		t.Errorf("mirrored when the link broke: %q", got)
	}
	if got := answer(dialPort(t, d, 8080)); got != "app hi" {
		t.Errorf("afterwards: %q", got)
	}
}
