package pod

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
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"
)

var compareAddrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestParseResolvConf(t *testing.T) {
	for text, want := range map[string]config{
		"": {servers: servers("127.0.0.1"), ndots: 1, timeout: 5 * time.Second, attempts: 2},
		"search shop.svc.cluster.local svc.cluster.local. cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n": {
			servers: servers("10.96.0.10"), search: []string{"shop.svc.cluster.local", "svc.cluster.local", "cluster.local"}, ndots: 5, timeout: 5 * time.Second, attempts: 2},
		"nameserver 1.1.1.1\nnameserver ::1\nnameserver x\nnameserver 2.2.2.2\nnameserver 3.3.3.3\ndomain a b\noptions timeout:0 attempts:99 rotate ndots:99 ndots:x\n": {
			servers: servers("1.1.1.1", "::1", "2.2.2.2"), search: []string{"a"}, ndots: 15, timeout: time.Second, attempts: 5},
		"; a\n# b\nsearch a\nsearch .\nnameserver\n#nameserver 1.1.1.1\n\x00": {servers: servers("127.0.0.1"), ndots: 1, timeout: 5 * time.Second, attempts: 2},
	} {
		got := parseResolvConf(strings.NewReader(text))
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(config{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

func servers(addrs ...string) (all []netip.AddrPort) {
	for _, a := range addrs {
		all = append(all, netip.AddrPortFrom(netip.MustParseAddr(a), 53))
	}
	return all
}

func TestCandidates(t *testing.T) {
	c := config{search: []string{"svc.local", "local"}, ndots: 2}
	for name, want := range map[string]string{
		"cart":     "cart.svc.local. cart.local. cart.",
		"cart.x":   "cart.x.svc.local. cart.x.local. cart.x.",
		"cart.x.y": "cart.x.y. cart.x.y.svc.local. cart.x.y.local.",
		"cart.":    "cart.",
	} {
		if got := strings.Join(c.candidates(name), " "); got != want {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
	}
}

func TestParseHosts(t *testing.T) {
	got := parseHosts(strings.NewReader("127.0.0.1\tlocalhost\n10.0.0.7 Cart-1 cart.shop. # ours\n10.0.0.7 cart-1\n::1 localhost\nx y\n#1.1.1.1 a\n2.2.2.2\n"))
	want := map[string][]netip.Addr{
		"localhost": {netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")},
		"cart-1":    {netip.MustParseAddr("10.0.0.7")},
		"cart.shop": {netip.MustParseAddr("10.0.0.7")},
	}
	if diff := cmp.Diff(want, got, compareAddrs); diff != "" {
		t.Error(diff)
	}
}

func FuzzResolverFiles(f *testing.F) {
	f.Add("nameserver 10.96.0.10\nsearch a b\noptions ndots:5 timeout:1\n", "cart")
	f.Add("10.0.0.7 a b\n::1 localhost # x", "a.b.")
	f.Add("options ndots:\nsearch ...\n", ".")
	f.Fuzz(func(t *testing.T, text, name string) {
		c := parseResolvConf(strings.NewReader(text))
		if len(c.servers) < 1 || len(c.servers) > maxServers || c.ndots > maxNdots || c.timeout < time.Second || c.attempts < 1 || len(c.candidates(name)) < 1 {
			t.Errorf("%+v", c)
		}
		parseHosts(strings.NewReader(text))
	})
}

// nameServer is one that answers from a zone: "NAME TYPE" → what; "refuse", "truncate" and "silent" are answers too. It notes what it was asked.
type nameServer struct {
	addr netip.AddrPort
	zone map[string]string

	mu    sync.Mutex
	asked []string
}

func serveNames(t *testing.T, zone map[string]string) *nameServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	packets, err := net.ListenPacket("udp", listener.Addr().String())
	if err != nil {
		t.Skip(err) // the port is somebody's
	}
	s := &nameServer{addr: listener.Addr().(*net.TCPAddr).AddrPort(), zone: zone}
	var running sync.WaitGroup
	running.Go(func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := s.answer(buf[:n], "udp"); answer != nil {
				packets.WriteTo([]byte("noise"), from)
				packets.WriteTo(answer, from)
			}
		}
	})
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			size := make([]byte, 2)
			io.ReadFull(conn, size)
			query := make([]byte, int(size[0])<<8|int(size[1]))
			io.ReadFull(conn, query)
			answer := s.answer(query, "tcp")
			conn.Write(append([]byte{byte(len(answer) >> 8), byte(len(answer))}, answer...))
			conn.Close()
		}
	})
	t.Cleanup(func() { packets.Close(); listener.Close(); running.Wait() })
	return s
}

func (s *nameServer) answer(raw []byte, network string) []byte {
	var m dnsmessage.Message
	if m.Unpack(raw) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	key := q.Name.String() + " " + strings.TrimPrefix(q.Type.String(), "Type")
	s.mu.Lock()
	s.asked = append(s.asked, network+" "+key)
	s.mu.Unlock()
	m.Response = true
	what, ok := s.zone[key]
	if rest, cut := strings.CutPrefix(what, "truncate "); cut {
		what, m.Truncated = rest, network == "udp"
	}
	h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}
	switch {
	case !ok:
		m.RCode = dnsmessage.RCodeNameError
	case what == "silent":
		return nil
	case what == "refuse":
		m.RCode = dnsmessage.RCodeRefused
	case what == "" || m.Truncated:
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AResource{A: netip.MustParseAddr(what).As4()}}}
	case q.Type == dnsmessage.TypeAAAA:
		m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(what).As16()}}}
	case q.Type == dnsmessage.TypePTR:
		m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName(what)}}}
	}
	answer, _ := m.Pack()
	return answer
}

func TestLookup(t *testing.T) {
	s := serveNames(t, map[string]string{
		"cart.shop.local. A": "10.0.0.1", "cart.shop.local. AAAA": "",
		"both.local. A": "10.0.0.2", "both.local. AAAA": "fd00::2",
		"six.local. A": "", "six.local. AAAA": "fd00::6",
		"empty.local. A": "", "empty.local. AAAA": "",
		"big.local. A": "truncate 10.0.0.3", "big.local. AAAA": "",
		"broken.shop.local. A": "refuse", "broken.shop.local. AAAA": "refuse", "broken.local. A": "10.0.0.4", "broken.local. AAAA": "",
		"failing. A": "refuse", "failing. AAAA": "refuse",
		"7.0.0.10.in-addr.arpa. PTR": "cart.local.",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa. PTR": "six.local.",
	})
	r := &resolver{config{servers: []netip.AddrPort{s.addr}, search: []string{"shop.local", "local"}, ndots: 1, timeout: 5 * time.Second, attempts: 1}, new(net.Dialer).DialContext}
	for host, want := range map[string]string{
		"cart": "[10.0.0.1]", "both": "[10.0.0.2 fd00::2]", "both.local.": "[10.0.0.2 fd00::2]", "six": "[fd00::6]", "big": "[10.0.0.3]", "broken": "[10.0.0.4]",
		"empty": "[]", "nowhere": "not found", "failing": "again", "failing.": "again", "a..b": "not found", strings.Repeat("x", 300): "not found",
	} {
		addrs, err := r.LookupNetIP(t.Context(), "ip", host)
		got := fmt.Sprint(addrs)
		var dns *net.DNSError
		switch {
		case errors.As(err, &dns) && dns.IsNotFound:
			got = "not found"
		case errors.As(err, &dns) && dns.IsTemporary:
			got = "again"
		case err != nil:
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
	for addr, want := range map[string]string{"10.0.0.7": "[cart.local.]", "fd00::1": "[six.local.]", "10.0.0.8": "[]", "x": "[]"} {
		if names, err := r.LookupAddr(t.Context(), addr); fmt.Sprint(names) != want || (err == nil) != (want != "[]") {
			t.Errorf("%s: %s, %v", addr, names, err)
		}
	}
}

// One server that says nothing costs its time only, and the next one answers.
func TestLookupNextServer(t *testing.T) {
	silent := serveNames(t, map[string]string{"cart. A": "silent", "cart. AAAA": "silent"})
	s := serveNames(t, map[string]string{"cart. A": "10.0.0.1", "cart. AAAA": ""})
	r := &resolver{config{servers: []netip.AddrPort{silent.addr, s.addr}, timeout: 50 * time.Millisecond, attempts: 2}, new(net.Dialer).DialContext}
	if addrs, err := r.LookupNetIP(t.Context(), "ip", "cart"); fmt.Sprint(addrs) != "[10.0.0.1]" {
		t.Errorf("%v, %v", addrs, err)
	}
	r.config.servers = r.config.servers[:1]
	_, err := r.LookupNetIP(t.Context(), "ip", "cart")
	var dns *net.DNSError
	if !errors.As(err, &dns) || !dns.IsTimeout || dns.IsNotFound {
		t.Error(err)
	}
	if silent.mu.Lock(); len(silent.asked) != 6 { // A and AAAA, once and then two rounds
		t.Errorf("the silent server was asked %q", silent.asked)
	}
	silent.mu.Unlock()
	r.config.timeout = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := r.LookupNetIP(ctx, "ip", "cart"); err == nil {
		t.Error("given up, and found")
	}
}

// Who asks for the pod's name server, whichever that is, gets the first that the pod has.
func TestFirstNameServer(t *testing.T) {
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "etc"), 0o755)
	if err := os.WriteFile(filepath.Join(dir, "etc/resolv.conf"), []byte("nameserver 127.77.0.1\nnameserver 127.77.0.2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	p := &Pod{root: root}
	for addr, want := range map[string]string{"0.0.0.0:53": "127.77.0.1:53", "127.0.0.1:53": "127.0.0.1:53", "0.0.0.0:54": "127.0.0.1:54"} {
		conn, err := p.DialDatagrams(t.Context(), netip.MustParseAddrPort(addr))
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.RemoteAddr().String(); got != want {
			t.Errorf("%s is %s", addr, got)
		}
		conn.Close()
	}
}
