package redirect

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// network is a network namespace of a test.
type network struct {
	own, outer *os.File
	pid        string // of nobody: the namespace's file, as ip wants it
}

// newNetwork makes a namespace, with its loopback.
func newNetwork(t testing.TB) *network {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("left out: a network namespace needs root")
	}
	n := new(network)
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
	n.ip(t, "link set lo up")
	return n
}

// Do is Network's.
func (n *network) Do(f func() error) error {
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

// ip runs the command of that name in the namespace.
func (n *network) ip(t testing.TB, args string) {
	t.Helper()
	if err := n.Do(func() error {
		out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
		if err != nil {
			return errors.New(args + ": " + string(out))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// join connects two namespaces, the pod's with 10.9.0.1 and fd09::1 and the client's with 10.9.0.2 and fd09::2.
func join(t testing.TB, pod, client *network) {
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
		*network
		last string
	}{{pod, "1"}, {client, "2"}} {
		end.ip(t, "addr add 10.9.0."+end.last+"/24 dev eth0")
		end.ip(t, "addr add fd09::"+end.last+"/64 dev eth0 nodad")
		end.ip(t, "link set eth0 up")
	}
}

// listen opens a listener in the namespace.
func (n *network) listen(t testing.TB, kind, addr string) net.Listener {
	t.Helper()
	var l net.Listener
	if err := n.Do(func() (err error) { l, err = net.Listen(kind, addr); return }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// dial connects from the namespace.
func (n *network) dial(addr string) (net.Conn, error) {
	var c net.Conn
	err := n.Do(func() (err error) { c, err = new(net.Dialer).DialContext(context.Background(), "tcp", addr); return })
	return c, err
}
