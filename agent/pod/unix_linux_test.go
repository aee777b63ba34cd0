package pod

import (
	"errors"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"mirrord/agent/netns"
)

// An agent of the same node looks for abstract names in the target's network, not in its own. Paths are of no network.
func TestDialUnixOfOtherNetwork(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may make a network namespace")
	}
	var other *netns.Namespace
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			other, err = netns.Open("/proc/thread-self/ns/net")
		}
		made <- err
	}()
	if err := <-made; errors.Is(err, unix.EPERM) {
		t.Skip("this root may not make a network namespace")
	} else if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var l net.Listener
	name := "@mirrord-test-of-other-network"
	if err := other.Do(func() (err error) { l, err = net.Listen("unix", name); return err }); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := (&Pod{network: other}).DialUnix(t.Context(), name, true)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := new(Pod).DialUnix(t.Context(), name, true); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("in the agent's own network: %v", err)
	}
}
