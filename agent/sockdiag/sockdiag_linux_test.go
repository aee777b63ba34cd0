package sockdiag

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func addrOf(a net.Addr) netip.AddrPort {
	p := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

func TestEachAndFind(t *testing.T) {
	d, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		here := addrOf(l.Addr())
		var found []Socket
		if err := d.Each(Listen, here.Port(), func(s Socket) { found = append(found, s) }); err != nil {
			t.Fatal(err)
		}
		if len(found) != 1 || found[0].Local != here || found[0].State != Listen || found[0].Inode == 0 {
			t.Errorf("%s listens: %+v", here, found)
		}
		c, err := net.Dial("tcp", here.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		near, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer near.Close()
		ends := Ends{Local: here, Remote: addrOf(c.LocalAddr())}
		if s, err := d.Find(ends); err != nil || s.Ends != ends || s.State != Established || s.Inode == 0 {
			t.Errorf("%+v: %+v, %v", ends, s, err)
		}
		ends.Remote = netip.AddrPortFrom(ends.Remote.Addr(), here.Port()) // where only the listener would take a packet
		if s, err := d.Find(ends); err != unix.ENOENT {
			t.Errorf("%+v: %+v, %v", ends, s, err)
		}
	}
}
