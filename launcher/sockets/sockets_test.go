package sockets

import (
	"net"
	"net/netip"
	"testing"
)

func listen(t *testing.T, at string) (*net.TCPListener, Listener) {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener), Listener{Addr: AddrOf(l.Addr())}
}

// TestOpen: both ways of finding out agree.
func TestOpen(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"} {
		l, s := listen(t, at)
		if !s.Open() || !s.occupied() {
			t.Errorf("%v: open %v, occupied %v", s.Addr, s.Open(), s.occupied())
		}
		l.Close()
		if s.Open() || s.occupied() {
			t.Errorf("%v is closed: open %v, occupied %v", s.Addr, s.Open(), s.occupied())
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, at := range []string{"127.0.0.1:80", "[::1]:80"} {
		a := netip.MustParseAddrPort(at)
		if got := AddrPort(Sockaddr(a)); got != a {
			t.Errorf("%v became %v", a, got)
		}
	}
	if got := Unmap(netip.MustParseAddrPort("[::ffff:10.1.2.3]:80")); got != netip.MustParseAddrPort("10.1.2.3:80") {
		t.Error(got)
	}
	if got := Unmap(netip.MustParseAddrPort("[fe80::1%eth0]:80")); got != netip.MustParseAddrPort("[fe80::1]:80") {
		t.Error(got)
	}
}
