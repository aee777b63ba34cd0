package redirect

import (
	"net"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"mirrord/agent/redirect/nettest"
)

// shared opens what is to be an agent with maps.
func shared(t *testing.T, n Network) (*Redirect, *skLookup) {
	t.Helper()
	r := open(t, n)
	e, ok := r.engine.(*skLookup)
	if !ok {
		t.Skip("left out: this kernel has no sk_lookup, or it is not allowed here")
	}
	return r, e
}

// Who cannot make maps of sockets gets none from an agent.
func TestPlaceTrust(t *testing.T) {
	n := nettest.New(t)
	_, e := shared(t, n)
	plain, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	for _, tt := range []struct {
		what  string
		shown []int
		want  int
	}{
		{"nothing", nil, 0}, {"no map", []int{1}, 0}, {"another map", []int{plain.FD()}, 0}, {"a map of sockets", []int{e.listeners.FD()}, 3},
	} {
		var conn *net.UnixConn
		if err := n.Do(func() (err error) { conn, err = net.DialUnix("unix", nil, placeAddr(0)); return }); err != nil {
			t.Fatal(err)
		}
		if _, _, err := conn.WriteMsgUnix([]byte{0}, unix.UnixRights(tt.shown...), nil); err != nil {
			t.Fatal(err)
		}
		got, err := receive(conn)
		if conn.Close(); len(got) != tt.want || (err == nil) != (tt.want > 0) {
			t.Errorf("%s is worth %d maps, %v; want %d", tt.what, len(got), err, tt.want)
		}
		closeAll(got)
	}
}

// What an agent has left in the maps is gone when its place has another one, and only that.
func TestPlaceForgets(t *testing.T) {
	n := nettest.New(t)
	_, first := shared(t, n)
	gone, second := shared(t, n)
	if first.place.slot != 0 || second.place.slot != 1 {
		t.Fatalf("the places are %d and %d", first.place.slot, second.place.slot)
	}
	for slot := range uint16(2) {
		if err := first.passed.Put(passedKey{Port: slot}, passedValue{Owner: slot}); err != nil {
			t.Fatal(err)
		}
	}
	gone.Close()
	shared(t, n)
	var key passedKey
	var value passedValue
	all := first.passed.Iterate()
	if !all.Next(&key, &value) || value.Owner != 0 || all.Next(&key, &value) {
		t.Errorf("left in the map: %v", value)
	}
}

// An agent that ends while another one asks for its port or its maps stands in nobody's way.
func TestGoneWhenAsked(t *testing.T) {
	n := nettest.New(t)
	for _, begun := range []bool{false, true} { // of the answer
		goes := func(name string) {
			var l *net.UnixListener
			if err := n.Do(func() (err error) { l, err = net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: name}); return }); err != nil {
				t.Fatal(err)
			}
			go func() {
				raw, _ := l.SyscallConn()
				raw.Control(func(fd uintptr) { unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1) })
				if begun {
					conn, _ := l.Accept()
					defer conn.Close()
				}
				l.Close()
			}()
		}
		goes(placeAddr(0).Name)
		r := open(t, n)
		goes("@mirrord/port/8080")
		hold, err := r.Hold(8080, "stolen by ann@laptop")
		if err != nil {
			t.Fatal(err)
		}
		hold.Close()
		r.Close()
	}
}
