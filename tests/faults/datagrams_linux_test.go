package faults

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"mirrord/agent/target"
)

// TestGoneDuringDatagrams: a socket of a pod that has gone is refused, and one that is connected now is told; nobody waits for ever.
func TestGoneDuringDatagrams(t *testing.T) {
	t.Parallel()
	server, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	heard := make(chan struct{}, 1)
	echoed := make(chan struct{})
	go func() {
		defer close(echoed)
		buf := make([]byte, 100)
		for {
			n, from, err := server.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			server.WriteToUDPAddrPort(buf[:n], from)
			select {
			case heard <- struct{}{}:
			default:
			}
		}
	}()
	defer func() { <-echoed }()
	defer server.Close()
	s := newSite(t, fmt.Sprintf("routes: {'udp://10.96.0.7:9': '%s'}", server.LocalAddr()), map[string]string{"srv/small": "small\n"}, change{})
	ended := s.start("/usr/bin/python3", "-c", `
import socket, errno
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.1)
s.connect(("10.96.0.7", 9))
while True:
    try:
        s.send(b"x")
        s.recv(10)
    except TimeoutError:
        continue
    except ConnectionRefusedError:
        break
assert s.getpeername() == ("10.96.0.7", 9), s.getpeername()
for timeout in None, 30:
    n = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    n.settimeout(timeout)
    try:
        n.connect(("10.96.0.7", 9))
        while True: # what does not wait is told later
            n.send(b"x")
    except OSError as e:
        print(errno.errorcode[e.errno])
try: # a name server, on a socket that is never connected: silence, and the program's own time limit
    n = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    n.settimeout(0.2)
    n.sendto(b"x", ("10.96.0.10", 53))
    n.recv(10)
except TimeoutError:
    print("silence")
`)
	select {
	case <-heard:
	case got := <-ended:
		t.Fatalf("%+v", got)
	}
	s.cut()
	if got, want := <-ended, (result{stdout: "ENETUNREACH\nECONNREFUSED\nsilence\n"}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	s.checkSevered()
}

// slowNames is a pod whose resolver needs five seconds.
type slowNames struct{ target.Target }

func (p slowNames) Resolver() target.Resolver { return slowResolver{} }

type slowResolver struct{}

func (slowResolver) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	select {
	case <-time.After(5 * time.Second):
		return []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, 5})}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (slowResolver) LookupAddr(context.Context, string) ([]string, error) { return nil, nil }

// TestSlowNames: a slow answer comes, and holds up no other, whether packets ask or functions.
func TestSlowNames(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("left out: takes long")
	}
	s := newSite(t, "hosts: {inventory: 10.96.0.7}", nil, change{target: func(d target.Target) target.Target { return slowNames{d} }})
	got := s.run("/usr/bin/python3", "-c", `
import socket, threading
order = []
def function(name):
    order.append(socket.gethostbyname(name))
functions = [threading.Thread(target=function, args=[name]) for name in ("slow.example", "inventory")]
for f in functions: f.start()
def query(name):
    labels = b"".join(bytes([len(l)]) + l for l in name.split(b"."))
    return b"\0\1\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1"
for connected in False, True:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(60)
    to = "10.96.0.10", 53
    if connected:
        s.connect(to)
    for name in b"slow.example", b"inventory":
        s.send(query(name)) if connected else s.sendto(query(name), to)
    for _ in range(2):
        order.append(socket.inet_ntoa(s.recv(512)[-4:]))
for f in functions: f.join()
print(sorted(order), order[-1])
`)
	if want := (result{stdout: "['10.96.0.7', '10.96.0.7', '10.96.0.7', '192.0.2.5', '192.0.2.5', '192.0.2.5'] 192.0.2.5\n"}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
