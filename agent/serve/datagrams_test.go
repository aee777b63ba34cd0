package serve_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"mirrord/agent/links"
	"mirrord/agent/wire"
)

// echoDatagrams sends every datagram back until the test ends.
func echoDatagrams(t *testing.T) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			c.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func send(t *testing.T, c links.Conn, payload string) {
	t.Helper()
	d := wire.NewDatagram([]byte(payload))
	defer d.Release()
	if err := d.Write(c); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c links.Conn) string {
	t.Helper()
	d, err := wire.ReadDatagram(c)
	if err != nil {
		return err.Error()
	}
	defer d.Release()
	return string(d.Payload())
}

func TestConnectDatagrams(t *testing.T) {
	nobody, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	refuses := nobody.LocalAddr().(*net.UDPAddr).AddrPort()
	nobody.Close()
	link, _ := newLink(t, fmt.Sprintf("hosts: {a: 10.96.0.7}\nroutes: {'udp://10.96.0.7:9': '%s', 'udp://10.96.0.7:10': '%s', '10.96.0.7:11': '%[1]s'}",
		echoDatagrams(t), refuses), nil)
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(inThePod.Addr(), port) }

	reply, c, err := link.ConnectDatagrams(t.Context(), at(9))
	if err != nil {
		t.Fatal(err)
	}
	if reply.Remote != at(9) || reply.Local.Port() == 0 {
		t.Errorf("the ends are %v and %v", reply.Local, reply.Remote)
	}
	for _, payload := range []string{"hi", "", strings.Repeat("x", wire.MaxDatagram)} {
		send(t, c, payload)
		if got := receive(t, c); got != payload {
			t.Errorf("%d bytes came back as %d: %.20q", len(payload), len(got), got)
		}
	}
	// What was sent before the end has gone out when the agent has closed its side.
	send(t, c, "last")
	c.CloseWrite()
	for receive(t, c) == "last" {
	}
	c.Close()

	// A refusal, and the flow goes on.
	_, c, err = link.ConnectDatagrams(t.Context(), at(10))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		send(t, c, "hi")
		if got := receive(t, c); got != wire.ErrRefused.Error() {
			t.Errorf("refused: %q", got)
		}
	}
	c.Close()

	// A route for TCP is none for UDP.
	if _, _, err := link.ConnectDatagrams(t.Context(), at(11)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("no route: %v", err)
	}
	if _, _, err := link.ConnectDatagrams(t.Context(), netip.AddrPort{}); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("no address: %v", err)
	}

	// The link breaks.
	_, c, err = link.ConnectDatagrams(t.Context(), at(9))
	if err != nil {
		t.Fatal(err)
	}
	link.Close()
	if _, err := wire.ReadDatagram(c); !errors.Is(err, links.ErrLost) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("link lost: %v", err)
	}
	c.Close()
}

func TestNameServer(t *testing.T) {
	link, _ := newLink(t, fmt.Sprintf("hosts: {inventory: 10.96.0.7}\nroutes: {'udp://10.96.0.53:53': '%s'}", echoDatagrams(t)), nil)
	query, err := (&dnsmessage.Message{Header: dnsmessage.Header{ID: 1}, Questions: []dnsmessage.Question{
		{Name: dnsmessage.MustNewName("inventory."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}).Pack()
	if err != nil {
		t.Fatal(err)
	}
	check := func(raw string) {
		t.Helper()
		var m dnsmessage.Message
		if err := m.Unpack([]byte(raw)); err != nil || len(m.Answers) != 1 || m.Answers[0].Body.(*dnsmessage.AResource).A != inThePod.Addr().As4() {
			t.Errorf("%q: %+v, %v", raw, m, err)
		}
	}
	for _, server := range []string{"127.0.0.1:53", "10.96.0.10:53", "[fd00::53]:53"} {
		_, c, err := link.ConnectDatagrams(t.Context(), netip.MustParseAddrPort(server))
		if err != nil {
			t.Fatal(err)
		}
		send(t, c, "garbage")
		send(t, c, string(query))
		check(receive(t, c))
		c.Close()

		_, c, err = link.Connect(t.Context(), netip.MustParseAddrPort(server))
		if err != nil {
			t.Fatal(err)
		}
		c.Write(append([]byte{0, byte(len(query))}, query...))
		c.CloseWrite()
		raw, err := io.ReadAll(c)
		if err != nil || len(raw) < 2 {
			t.Fatalf("%q, %v", raw, err)
		}
		check(string(raw[2:]))
		c.Close()
	}
	// A route leads to a name server of its own.
	_, c, err := link.ConnectDatagrams(t.Context(), netip.MustParseAddrPort("10.96.0.53:53"))
	if err != nil {
		t.Fatal(err)
	}
	send(t, c, "hi")
	if got := receive(t, c); got != "hi" {
		t.Errorf("routed: %q", got)
	}
	c.Close()
}

// A pod directory without resolv.conf and hosts has them all the same; its own come first.
func TestMadeFiles(t *testing.T) {
	read := func(link *links.Link, path string) string {
		t.Helper()
		reply, body, err := link.Open(t.Context(), &wire.Request{Op: wire.OpOpen, Path: path})
		if err != nil {
			return err.Error()
		}
		defer body.Close()
		text, err := io.ReadAll(body)
		if err != nil || reply.Stat.Size != int64(len(text)) {
			t.Errorf("%s: %d bytes, not %d: %v", path, len(text), reply.Stat.Size, err)
		}
		return string(text)
	}
	bare, _ := newLink(t, "name: cart-7d9f\nhosts: {a: 10.96.0.7}", nil)
	if got := read(bare, "/etc/resolv.conf"); got != "nameserver 127.0.0.1\n" {
		t.Errorf("%q", got)
	}
	if got := read(bare, "/etc/hosts"); got != "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\tcart-7d9f\n" {
		t.Errorf("%q", got)
	}
	if st := do(t, bare, &wire.Request{Op: wire.OpStat, Path: "/etc/hosts"}).Stat; st.Mode != 0o100444 {
		t.Errorf("%+v", st)
	}
	do(t, bare, &wire.Request{Op: wire.OpAccess, Path: "/etc/hosts", Mode: 4})
	for _, req := range []*wire.Request{
		{Op: wire.OpAccess, Path: "/etc/hosts", Mode: 2}, {Op: wire.OpReadlink, Path: "/etc/hosts"}, {Op: wire.OpStat, Path: "/etc/host"},
	} {
		if _, err := bare.Do(t.Context(), req); err == nil {
			t.Errorf("%+v: done", req)
		}
	}
	own, _ := newLink(t, "hosts: {a: 10.96.0.7}", map[string]string{"etc/resolv.conf": "own\n"})
	if got := read(own, "/etc/resolv.conf"); got != "own\n" {
		t.Errorf("%q", got)
	}
	served, _ := newLink(t, "routes: {'udp://127.0.0.1:53': '127.0.0.1:9'}", nil)
	if got := read(served, "/etc/resolv.conf"); !strings.Contains(got, "no such file") {
		t.Errorf("%q", got)
	}
}
