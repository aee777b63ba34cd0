package redirect

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// space is a network namespace of the test's own.
type space struct{ file *os.File }

func newSpace(t *testing.T) *space {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("left out: network namespaces take root")
	}
	s := new(space)
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			s.file, err = os.Open("/proc/thread-self/ns/net")
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Skip("left out: no network namespace can be made here:", err)
	}
	t.Cleanup(func() { s.file.Close() })
	s.ip(t, "link", "set", "lo", "up")
	return s
}

// Do runs f on a thread inside.
func (s *space) Do(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Setns(int(s.file.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

func (s *space) ip(t *testing.T, args ...string) {
	t.Helper()
	s.start(t, func() error {
		if out, err := exec.Command("ip", args...).CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
			t.Skip("left out: no ip (iproute2)")
		} else if err != nil {
			return fmt.Errorf("ip %q: %w: %s", args, err, out)
		}
		return nil
	})
}

// start is Do for what must work.
func (s *space) start(t *testing.T, f func() error) {
	t.Helper()
	if err := s.Do(f); err != nil {
		t.Fatal(err)
	}
}

// listen listens inside, and answers each line of a connection with name, a space and the line.
func (s *space) listen(t *testing.T, network, address, name string) *net.TCPListener {
	t.Helper()
	var listener *net.TCPListener
	s.start(t, func() error {
		var config net.ListenConfig
		config.SetMultipathTCP(false)
		l, err := config.Listen(t.Context(), network, address)
		if err == nil {
			listener = l.(*net.TCPListener)
		}
		return err
	})
	t.Cleanup(func() { listener.Close() })
	if name != "" {
		go func() {
			for {
				c, err := listener.Accept()
				if err != nil {
					return
				}
				go answer(c, name)
			}
		}()
	}
	return listener
}

func answer(c net.Conn, name string) {
	defer c.Close()
	for lines := bufio.NewScanner(c); lines.Scan(); {
		fmt.Fprintf(c, "%s %s\n", name, lines.Text())
	}
}

// dial connects from inside.
func (s *space) dial(t *testing.T, address string, control func(fd int) error) (conn net.Conn, err error) {
	t.Helper()
	dialer := net.Dialer{Timeout: 10 * time.Second, Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if control == nil {
			return nil
		}
		return errors.Join(raw.Control(func(fd uintptr) { err = control(int(fd)) }), err)
	}}
	dialer.SetMultipathTCP(false)
	err = s.Do(func() (err error) {
		conn, err = dialer.Dial("tcp", address)
		return err
	})
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

// who answers a line sent on the connection.
func who(c net.Conn) string {
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		return err.Error()
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(line, " hello\n")
}

// expect connects and says who must answer.
func (s *space) expect(t *testing.T, address, name string) net.Conn {
	t.Helper()
	c, err := s.dial(t, address, nil)
	if err != nil {
		t.Errorf("connecting to %s, which is %s's: %v", address, name, err)
		return nil
	}
	if got := who(c); got != name {
		t.Errorf("at %s answers %q, want %q", address, got, name)
	}
	return c
}

// The addresses of a pod, and of who comes from outside.
const (
	pod4, pod6         = "10.88.0.1", "fd88::1"
	outside4, outside6 = "10.88.0.2", "fd88::2"
	podLink            = "fe80::8801"
)

// newPod is a namespace with an interface to another.
func newPod(t *testing.T) (pod, outside *space) {
	t.Helper()
	pod, outside = newSpace(t), newSpace(t)
	pod.start(t, func() error {
		cmd := exec.Command("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", "/proc/self/fd/3")
		cmd.ExtraFiles = []*os.File{outside.file}
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip: %w: %s", err, out)
		}
		return nil
	})
	for s, addrs := range map[*space][]string{pod: {pod4 + "/24", pod6 + "/64"}, outside: {outside4 + "/24", outside6 + "/64"}} {
		s.ip(t, "addr", "add", addrs[0], "dev", "eth0")
		s.ip(t, "addr", "add", addrs[1], "dev", "eth0", "nodad")
		s.ip(t, "link", "set", "eth0", "up")
	}
	pod.ip(t, "addr", "add", podLink+"/64", "dev", "eth0", "nodad")
	outside.ip(t, "addr", "add", "fe80::8802/64", "dev", "eth0", "nodad")
	return pod, outside
}

// index is an interface's number, as the kernel has it in addresses.
func (s *space) index(t *testing.T, name string) (index string) {
	t.Helper()
	s.start(t, func() error {
		i, err := net.InterfaceByName(name)
		if err == nil {
			index = fmt.Sprint(i.Index)
		}
		return err
	})
	return index
}
