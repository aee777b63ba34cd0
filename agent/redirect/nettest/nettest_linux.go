// Package nettest makes network namespaces for tests, which leave the machine's alone.
package nettest

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Network is a network namespace of a test.
type Network struct {
	own, outer *os.File
}

// New makes a namespace, with its loopback.
func New(t testing.TB) *Network {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("left out: a network namespace needs root")
	}
	n := new(Network)
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread is not as others are
		var err error
		if n.outer, err = os.Open("/proc/thread-self/ns/net"); err == nil {
			if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
				n.own, err = os.Open("/proc/thread-self/ns/net")
			}
		}
		made <- err
	}()
	if err := <-made; err != nil {
		t.Skipf("left out: no network namespaces here: %v", err)
	}
	t.Cleanup(func() { n.own.Close(); n.outer.Close() })
	n.IP(t, "link set lo up")
	return n
}

// Do runs f on a thread that is in the namespace.
func (n *Network) Do(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(int(n.own.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		err := f()
		if unix.Setns(int(n.outer.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// IP runs the command of that name in the namespace.
func (n *Network) IP(t testing.TB, args string) string {
	t.Helper()
	var out []byte
	if err := n.Do(func() (err error) {
		out, err = exec.Command("ip", strings.Fields(args)...).CombinedOutput()
		return
	}); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
	return string(out)
}

// Join connects two namespaces, the pod's with 10.9.0.1 and fd09::1 and the client's with 10.9.0.2 and fd09::2.
func Join(t testing.TB, pod, client *Network) {
	t.Helper()
	if err := pod.Do(func() error {
		cmd := exec.Command("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", "/proc/self/fd/3")
		cmd.ExtraFiles = []*os.File{client.own}
		out, err := cmd.CombinedOutput()
		if err != nil {
			return errors.New(string(out))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, end := range []struct {
		*Network
		last string
	}{{pod, "1"}, {client, "2"}} {
		end.IP(t, "addr add 10.9.0."+end.last+"/24 dev eth0")
		end.IP(t, "addr add fd09::"+end.last+"/64 dev eth0 nodad")
		end.IP(t, "link set eth0 up")
	}
	for _, end := range []*Network{pod, client} {
		// What is sent before gets lost, and is sent again a second later.
		for !strings.Contains(end.IP(t, "link show eth0"), "state UP") {
			time.Sleep(time.Millisecond)
		}
	}
}

// Listen opens a listener in the namespace.
func (n *Network) Listen(t testing.TB, kind, addr string) net.Listener {
	t.Helper()
	var l net.Listener
	if err := n.Do(func() (err error) { l, err = net.Listen(kind, addr); return }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// Dial makes a TCP connection from the namespace.
func (n *Network) Dial(addr string) (net.Conn, error) {
	var c net.Conn
	err := n.Do(func() (err error) { c, err = new(net.Dialer).DialContext(context.Background(), "tcp", addr); return })
	return c, err
}
