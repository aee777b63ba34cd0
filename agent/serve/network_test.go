package serve_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"mirrord/agent/links"
	"mirrord/agent/serve"
	"mirrord/agent/target"
	"mirrord/agent/wire"
)

// server hands each connection to handle, until the test ends.
func server(t *testing.T, handle func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var handlers sync.WaitGroup
	handlers.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			handlers.Go(func() { handle(c.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() { listener.Close(); handlers.Wait() })
	return listener.Addr().(*net.TCPAddr).AddrPort()
}

// greet is a server that tells its name and echoes.
func greet(name string) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		defer c.Close()
		io.WriteString(c, name+" ")
		io.Copy(c, c)
	}
}

var inThePod = netip.MustParseAddrPort("10.96.0.7:80")

func routed(to netip.AddrPort) string {
	return fmt.Sprintf("hosts: {inventory: 10.96.0.7}\nroutes: {'%s': '%s'}", inThePod, to)
}

func TestConnect(t *testing.T) {
	link, _ := newLink(t, routed(server(t, greet("inventory"))), nil)
	addrs := do(t, link, &wire.Request{Op: wire.OpLookup, Name: "INVENTORY."}).Addrs
	if len(addrs) != 1 || addrs[0] != inThePod.Addr() {
		t.Errorf("inventory is at %v", addrs)
	}
	if name := do(t, link, &wire.Request{Op: wire.OpReverse, Addr: inThePod}).Name; name != "inventory" {
		t.Errorf("there is %s", name)
	}
	reply, conn, err := link.Connect(t.Context(), inThePod)
	if err != nil {
		t.Fatal(err)
	}
	if reply.Remote != inThePod || !reply.Local.IsValid() || reply.Local.Port() == 0 {
		t.Errorf("the ends are %v and %v", reply.Local, reply.Remote)
	}
	io.WriteString(conn, "hi")
	conn.CloseWrite()
	if got, err := io.ReadAll(conn); string(got) != "inventory hi" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	conn.Close()
}

func TestConnectErrors(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refuses := nobody.Addr().(*net.TCPAddr).AddrPort()
	nobody.Close()
	link, _ := newLink(t, routed(refuses), nil)
	for addr, want := range map[string]syscall.Errno{
		"10.96.0.7:80":       syscall.ECONNREFUSED, // the route leads to nobody
		"10.96.0.7:81":       syscall.ECONNREFUSED, // no route
		refuses.String():     syscall.ECONNREFUSED, // not in the pod's network
		"255.255.255.255:80": syscall.ENETUNREACH,
		"127.0.0.1:0":        syscall.EADDRNOTAVAIL,
	} {
		if _, _, err := link.Connect(t.Context(), netip.MustParseAddrPort(addr)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", addr, err, want)
		}
	}
	if _, _, err := link.Connect(t.Context(), netip.AddrPort{}); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("no address: %v", err)
	}
}

// slow is a target whose connections are never made, until somebody gives up.
type slow struct {
	*target.Dir
	dialling, gaveUp chan struct{}
}

func (s slow) Dial(ctx context.Context, _ netip.AddrPort) (links.Conn, error) {
	s.dialling <- struct{}{}
	<-ctx.Done()
	s.gaveUp <- struct{}{}
	return nil, ctx.Err()
}

// The launcher gives up a connect, or the link goes: the agent stops trying.
func TestConnectGivenUp(t *testing.T) {
	s := slow{openDir(t, "name: x", nil), make(chan struct{}, 1), make(chan struct{}, 1)}
	link := linkTo(t, func(requests, bulk net.Conn) error { return serve.Serve(t.Context(), requests, bulk, s) })
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() { _, _, err := link.Connect(ctx, inThePod); failed <- err }()
	<-s.dialling
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	<-s.gaveUp
	go func() { _, _, err := link.Connect(t.Context(), inThePod); failed <- err }()
	<-s.dialling
	link.Close()
	if err := <-failed; !errors.Is(err, links.ErrLost) {
		t.Errorf("link lost: %v", err)
	}
	<-s.gaveUp
}

// A reset passes through in both directions, and the end of the link is one for the server.
func TestConnectResets(t *testing.T) {
	ended := make(chan error, 1)
	reset := make(chan struct{})
	link, _ := newLink(t, routed(server(t, func(c *net.TCPConn) {
		defer c.Close()
		io.ReadFull(c, make([]byte, 1))
		select {
		case <-reset:
			links.Refuse(c)
		default:
			io.WriteString(c, "x")
			_, err := io.Copy(io.Discard, c)
			ended <- err
		}
	})), nil)
	connect := func() links.Conn {
		_, conn, err := link.Connect(t.Context(), inThePod)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "x")
		return conn
	}
	conn := connect()
	io.ReadFull(conn, make([]byte, 1))
	links.Refuse(conn)
	if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reset by the launcher: the server's connection ended with %v", err)
	}
	conn = connect()
	io.ReadFull(conn, make([]byte, 1))
	conn.Close()
	if err := <-ended; err != nil {
		t.Errorf("closed by the launcher: the server's connection ended with %v", err)
	}
	conn = connect()
	io.ReadFull(conn, make([]byte, 1))
	close(reset)
	other := connect()
	if _, err := io.Copy(io.Discard, other); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reset by the server: the connection ended with %v", err)
	}
	other.Close()
	link.Close()
	if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("link lost: the server's connection ended with %v", err)
	}
	conn.Close()
}

func dialPort(t *testing.T, d *target.Dir, port uint16) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", d.ListenAddr(port).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// answer is what a connection to the pod's port says to "hi".
func answer(c *net.TCPConn) string {
	io.WriteString(c, "hi")
	c.CloseWrite()
	raw, err := io.ReadAll(c)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

func TestSteal(t *testing.T) {
	link, d := newLink(t, fmt.Sprintf("ports: {8080: {listen: '127.0.0.1:0', app: '%s'}}", server(t, greet("app"))), nil)
	if got := answer(dialPort(t, d, 8080)); got != "app hi" {
		t.Errorf("before: %q", got)
	}
	subscription, err := link.Subscribe(t.Context(), 8080, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := link.Subscribe(t.Context(), 8080, true, nil); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second subscriber: %v", err)
	}
	if _, err := link.Subscribe(t.Context(), 8081, true, nil); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("a port that is not listed: %v", err)
	}

	client := dialPort(t, d, 8080)
	req, conn, err := link.AcceptIncoming()
	if err != nil {
		t.Fatal(err)
	}
	if req.Port != 8080 || req.Local.Port() != 8080 || req.Remote.String() != client.LocalAddr().String() {
		t.Errorf("%+v", req)
	}
	conn.Accept()
	go func() {
		io.WriteString(conn, "stolen ")
		io.Copy(conn, conn)
		conn.CloseWrite()
	}()
	if got := answer(client); got != "stolen hi" {
		t.Errorf("stolen: %q", got)
	}
	conn.Close()

	client = dialPort(t, d, 8080)
	io.WriteString(client, "early ") // before anybody has decided: must not be lost
	if _, conn, err = link.AcceptIncoming(); err != nil {
		t.Fatal(err)
	}
	conn.Refuse("ECONNREFUSED")
	if got := answer(client); got != "app early hi" {
		t.Errorf("refused: %q", got)
	}

	client = dialPort(t, d, 8080)
	if _, conn, err = link.AcceptIncoming(); err != nil {
		t.Fatal(err)
	}
	conn.Accept()
	subscription.Close()
	for { // new connections are the app's as soon as the agent knows
		c := dialPort(t, d, 8080)
		done := make(chan string, 1)
		go func() { done <- answer(c) }()
		accepted := make(chan *links.IncomingConn, 1)
		go func() {
			if _, conn, err := link.AcceptIncoming(); err == nil {
				accepted <- conn
			}
		}()
		select {
		case got := <-done:
			if got != "app hi" {
				t.Errorf("after the subscription: %q", got)
			}
		case conn := <-accepted:
			conn.Refuse("ECONNREFUSED")
			<-done
			continue
		}
		break
	}
	go func() { // closed only when all is read: else it would be reset, as any connection is
		io.WriteString(conn, "still here")
		conn.CloseWrite()
		io.Copy(io.Discard, conn)
		conn.Close()
	}()
	if got := answer(client); got != "still here" {
		t.Errorf("a connection that was stolen before the subscription ended: %q", got)
	}
}

// The link breaks while somebody thinks about a connection: it is the app's, with every byte.
func TestStealLinkLost(t *testing.T) {
	link, d := newLink(t, fmt.Sprintf("ports: {8080: {listen: '127.0.0.1:0', app: '%s'}}", server(t, greet("app"))), nil)
	if _, err := link.Subscribe(t.Context(), 8080, true, nil); err != nil {
		t.Fatal(err)
	}
	undecided := dialPort(t, d, 8080)
	io.WriteString(undecided, "early ")
	if _, _, err := link.AcceptIncoming(); err != nil {
		t.Fatal(err)
	}
	taken := dialPort(t, d, 8080)
	_, conn, err := link.AcceptIncoming()
	if err != nil {
		t.Fatal(err)
	}
	conn.Accept()
	io.WriteString(conn, "x")
	io.ReadFull(taken, make([]byte, 1))
	link.Close()
	if got := answer(undecided); got != "app early hi" {
		t.Errorf("undecided: %q", got)
	}
	if _, err := io.Copy(io.Discard, taken); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("taken: ended with %v", err)
	}
	if got := answer(dialPort(t, d, 8080)); got != "app hi" {
		t.Errorf("afterwards: %q", got)
	}
}

// A server that never reads does not keep the agent when the link ends.
func TestEndsWithStuckServer(t *testing.T) {
	release := make(chan struct{})
	d := openDir(t, routed(server(t, func(c *net.TCPConn) { <-release; c.Close() })), nil)
	defer close(release)
	requests, bulk, done, err := serve.Dir(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	link := dial(t, requests, bulk)
	_, conn, err := link.Connect(t.Context(), inThePod)
	if err != nil {
		t.Fatal(err)
	}
	go conn.Write(make([]byte, 64<<20))
	conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // until everything in between is full
	conn.Read(make([]byte, 1))
	start := time.Now()
	link.Close()
	<-done
	t.Logf("ended after %v", time.Since(start))
}
