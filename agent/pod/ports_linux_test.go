package pod

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/netns"
	"mirrord/agent/redirect/nettest"
	"mirrord/agent/startup"
	"mirrord/agent/target"
)

// cycles is how often a test repeats things: n times, or what MIRRORD_TEST_CYCLES says.
func cycles(t testing.TB, n int) int {
	t.Helper()
	text := os.Getenv("MIRRORD_TEST_CYCLES")
	if text == "" {
		return n
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("MIRRORD_TEST_CYCLES=%q is not a number of times", text)
	}
	return n
}

// agent is what an agent has of a namespace, for a test's length.
func agent(t testing.TB, n *nettest.Network, probes ...startup.Probe) *Pod {
	t.Helper()
	p, err := openPorts(n, Options{Probes: probes})
	if errors.Is(err, syscall.EPERM) {
		t.Skipf("left out: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.close() })
	return &Pod{ports: p}
}

// echo answers each line of every connection with name and the line, for the test's length.
func echo(t testing.TB, l net.Listener, name string) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				running.Go(func() {
					defer context.AfterFunc(ctx, func() { c.Close() })()
					echoTo(c, name)
				})
			}
		}
	})
	t.Cleanup(func() {
		cancel() // what a client sends last may be lost with its namespace
		l.Close()
		running.Wait()
	})
}

func echoTo(c io.ReadWriteCloser, name string) {
	defer c.Close()
	for lines := bufio.NewScanner(c); lines.Scan(); {
		fmt.Fprintf(c, "%s %s\n", name, lines.Text())
	}
}

// steal answers connections to 8080 as echo does.
func (p *Pod) steal(t testing.TB, name string) io.Closer {
	t.Helper()
	c, err := p.Steal(8080, name, func(in target.Incoming) bool { go echoTo(in.Conn, name); return true })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// mirror sends the first line of each connection to 8080, and where it came from.
func (p *Pod) mirror(t testing.TB) (<-chan string, io.Closer) {
	t.Helper()
	seen := make(chan string, 100)
	c, err := p.Mirror(8080, "", func(c *target.Copy) {
		go func() {
			defer c.Close()
			if raw, err := c.Next(); err == nil {
				seen <- fmt.Sprintf("%s %s", c.Remote.Addr(), strings.TrimSpace(string(raw)))
			}
		}()
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen, c
}

// client is a connection that is used more than once.
type client struct {
	net.Conn
	lines *bufio.Scanner
}

func connect(t testing.TB, n *nettest.Network, addr string) *client {
	t.Helper()
	c, err := n.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{c, bufio.NewScanner(c)}
}

func (c *client) say(t testing.TB, line, want string) {
	t.Helper()
	fmt.Fprintln(c, line)
	if c.lines.Scan(); c.lines.Text() != want {
		t.Errorf("%q, %v, want %q", c.lines.Text(), c.lines.Err(), want)
	}
}

func TestSteal(t *testing.T) {
	n, outside := nettest.New(t), nettest.New(t)
	nettest.Join(t, n, outside)
	echo(t, n.Listen(t, "tcp", "[::]:8080"), "app")
	p := agent(t, n)
	before := connect(t, outside, "10.9.0.1:8080")
	before.say(t, "1", "app 1")
	thief := p.steal(t, "ann@laptop")
	before.say(t, "2", "app 2")
	during := connect(t, outside, "10.9.0.1:8080")
	during.say(t, "3", "ann@laptop 3")
	other := agent(t, n)
	if _, err := other.Steal(8080, "bob@desk", nil); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "port 8080 of the pod is stolen by ann@laptop") {
		t.Errorf("a second thief: %v", err)
	}
	if err := thief.Close(); err != nil {
		t.Error(err)
	}
	before.say(t, "4", "app 4")
	during.say(t, "5", "ann@laptop 5")
	connect(t, outside, "10.9.0.1:8080").say(t, "6", "app 6")
	defer other.steal(t, "bob@desk").Close()
	connect(t, n, "[::1]:8080").say(t, "7", "bob@desk 7")
}

// reset makes a connection that is to be reset, soon or at once.
func reset(t testing.TB, n *nettest.Network, addr string) {
	t.Helper()
	c, err := n.Dial(addr)
	if err == nil {
		c.SetDeadline(time.Now().Add(20 * time.Second))
		_, err = c.Read(make([]byte, 1))
		c.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%s: %v, want a reset", addr, err)
	}
}

// A connection that nobody takes goes to the program, or is reset where there is none.
func TestNotTaken(t *testing.T) {
	n, outside := nettest.New(t), nettest.New(t)
	nettest.Join(t, n, outside)
	p := agent(t, n)
	thief, err := p.Steal(8080, "", func(target.Incoming) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	defer thief.Close()
	reset(t, outside, "10.9.0.1:8080")
	for _, listen := range []string{"10.9.0.1:8080", "[fd09::1]:8080", "127.0.0.1:8080", "[::1]:8080"} {
		l := n.Listen(t, "tcp", listen)
		echo(t, l, "app")
		from := outside
		if strings.Contains(listen, "127.") || strings.Contains(listen, "::1]:") && !strings.Contains(listen, "fd09") {
			from = n
		}
		connect(t, from, listen).say(t, "1", "app 1")
		l.Close()
	}
	// What listens to the loopback only is not to be had from outside.
	l := n.Listen(t, "tcp", "127.0.0.1:8080")
	echo(t, l, "app")
	reset(t, outside, "10.9.0.1:8080")
}

// The kubelet's requests go to the program, in whatever pieces they come; others are stolen, also those that take their time, or say nothing.
func TestProbes(t *testing.T) {
	n, outside := nettest.New(t), nettest.New(t)
	nettest.Join(t, n, outside)
	echo(t, n.Listen(t, "tcp", "[::]:8080"), "app")
	p := agent(t, n, startup.Probe{Port: 8080, URI: "/ready"})
	defer p.steal(t, "thief").Close()
	const first = "GET /ready HTTP/1.1\r"
	connect(t, outside, "10.9.0.1:8080").say(t, first+"\nUser-Agent: kube-probe/1.34\r\n\r", "app GET /ready HTTP/1.1")
	connect(t, outside, "10.9.0.1:8080").say(t, first+"\nUser-Agent: curl/8\r\n\r", "thief GET /ready HTTP/1.1")
	connect(t, outside, "10.9.0.1:8080").say(t, "SSH-2.0", "thief SSH-2.0")
	slow := connect(t, outside, "10.9.0.1:8080")
	for _, piece := range []string{"GET", " /ready HTTP/1.1\r", "\nUser-Agent: kube-", "probe/1.34\r"} {
		io.WriteString(slow, piece)
	}
	slow.say(t, "", "app GET /ready HTTP/1.1")
	connect(t, outside, "10.9.0.1:8080").say(t, first, "thief GET /ready HTTP/1.1") // no more comes
}

func TestWithoutIPv6(t *testing.T) {
	n, outside := nettest.New(t), nettest.New(t)
	nettest.Join(t, n, outside)
	if err := n.Do(func() error {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0); err != nil {
			return err
		}
		return os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
	}); err != nil {
		t.Fatal(err)
	}
	echo(t, n.Listen(t, "tcp4", "0.0.0.0:8080"), "app")
	thief := agent(t, n).steal(t, "thief")
	connect(t, outside, "10.9.0.1:8080").say(t, "1", "thief 1")
	connect(t, n, "127.0.0.1:8080").say(t, "1", "thief 1")
	thief.Close()
	connect(t, outside, "10.9.0.1:8080").say(t, "2", "app 2")
}

func TestMirror(t *testing.T) {
	n, outside := nettest.New(t), nettest.New(t)
	nettest.Join(t, n, outside)
	echo(t, n.Listen(t, "tcp", "[::]:8080"), "app")
	p := agent(t, n)
	seen, mirror := p.mirror(t)
	for _, addr := range []string{"10.9.0.1:8080", "[fd09::1]:8080"} {
		connect(t, outside, addr).say(t, addr, "app "+addr)
		from := map[bool]string{true: "10.9.0.2 ", false: "fd09::2 "}[addr[0] == '1']
		if got := <-seen; got != from+addr {
			t.Errorf("the mirror saw %q", got)
		}
	}
	during := connect(t, outside, "10.9.0.1:8080")
	during.say(t, "1", "app 1")
	mirror.Close()
	during.say(t, "2", "app 2")
}

// Agents of one pod, in each order of coming.
func TestAgents(t *testing.T) {
	for _, order := range []string{"mirror mirror", "mirror steal", "steal mirror", "mirror steal mirror", "mirror mirror steal"} {
		t.Run(order, func(t *testing.T) {
			n, outside := nettest.New(t), nettest.New(t)
			nettest.Join(t, n, outside)
			echo(t, n.Listen(t, "tcp", "[::]:8080"), "app")
			var mirrors []<-chan string
			var thief io.Closer
			for _, role := range strings.Fields(order) {
				p := agent(t, n)
				if role == "steal" {
					thief = p.steal(t, "thief")
					continue
				}
				seen, _ := p.mirror(t)
				mirrors = append(mirrors, seen)
			}
			check := func(who, line string) {
				t.Helper()
				connect(t, outside, "10.9.0.1:8080").say(t, line, who+" "+line)
				for _, seen := range mirrors {
					if got := <-seen; got != "10.9.0.2 "+line {
						t.Errorf("a mirror saw %q", got)
					}
				}
			}
			if thief != nil {
				check("thief", "1")
				thief.Close()
			}
			check("app", "2")
			for _, seen := range mirrors {
				if len(seen) > 0 {
					t.Errorf("a mirror saw %q again", <-seen)
				}
			}
		})
	}
}

// Not one connection is lost while a thief comes and goes.
func TestCycles(t *testing.T) {
	n, outside := nettest.New(t), nettest.New(t)
	nettest.Join(t, n, outside)
	echo(t, n.Listen(t, "tcp", "[::]:8080"), "app")
	p := agent(t, n)
	var load sync.WaitGroup
	var stop atomic.Bool
	var done, stolen atomic.Int64
	for _, from := range []struct {
		*nettest.Network
		addr string
	}{{outside, "10.9.0.1:8080"}, {outside, "[fd09::1]:8080"}, {n, "127.0.0.1:8080"}} {
		load.Go(func() {
			for !stop.Load() {
				c, err := from.Dial(from.addr)
				if err != nil {
					t.Errorf("%d: %v", done.Load(), err)
					return
				}
				c.SetDeadline(time.Now().Add(20 * time.Second))
				fmt.Fprintln(c, "x")
				line, err := bufio.NewReader(c).ReadString('\n')
				if err != nil {
					t.Errorf("%d: %q, %v", done.Load(), line, err)
					return
				}
				if line == "thief x\n" {
					stolen.Add(1)
				}
				done.Add(1)
				c.Close()
			}
		})
	}
	for i := range cycles(t, 20) {
		if t.Failed() {
			break
		}
		thief := p.steal(t, "thief")
		for was := stolen.Load(); stolen.Load() < was+10 && !t.Failed(); {
			time.Sleep(time.Millisecond)
		}
		thief.Close()
		if i%5 == 4 { // the whole agent
			if err := p.ports.close(); err != nil {
				t.Error(err)
			}
			p = agent(t, n)
		}
	}
	stop.Store(true)
	load.Wait()
	t.Logf("%d connections, %d of them stolen", done.Load(), stolen.Load())
}

// A handshake that is under way when the redirection ends is brought to its end: the client thinks that it is connected.
func TestHandshake(t *testing.T) {
	n, outside := nettest.New(t), nettest.New(t)
	nettest.Join(t, n, outside)
	echo(t, n.Listen(t, "tcp", "[::]:8080"), "app")
	thief := agent(t, n).steal(t, "thief")
	// The client delays the last packet of the handshake, for 200 ms or until it has something to send (tcp(7), TCP_QUICKACK).
	lazy := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0) }); cerr != nil {
			return cerr
		}
		return err
	}}
	var half net.Conn
	if err := outside.Do(func() (err error) { half, err = lazy.DialContext(t.Context(), "tcp", "10.9.0.1:8080"); return }); err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	half.SetDeadline(time.Now().Add(20 * time.Second))
	thief.Close()
	connect(t, outside, "10.9.0.1:8080").say(t, "1", "app 1")
	for begun := true; begun; {
		if err := n.Do(func() error {
			raw, err := os.ReadFile("/proc/thread-self/net/tcp")
			begun = strings.Contains(string(raw), ":1F90 0200090A:") && strings.Contains(string(raw), " 03 ") // to 8080, SYN_RECV
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprintln(half, "2")
	if line, err := bufio.NewReader(half).ReadString('\n'); err != nil || !strings.HasSuffix(line, " 2\n") { // the thief's, if all this took too long
		t.Errorf("%q, %v", line, err)
	}
}

const stealNow = "MIRRORD_TEST_STEAL"

// TestStealer is another process, that steals in its own network until it is killed.
func TestStealer(t *testing.T) {
	if os.Getenv(stealNow) == "" {
		t.Skip("left out: TestKill runs it")
	}
	if os.Getenv(stealNow) == "nftables" { // what is begun anew has no right to BPF
		runtime.LockOSThread()
		for _, right := range []uintptr{unix.CAP_BPF, unix.CAP_SYS_ADMIN} {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, right, 0, 0, 0); err != nil {
				t.Fatal(err)
			}
		}
		os.Setenv(stealNow, "now")
		t.Fatal(syscall.Exec(os.Args[0], os.Args, os.Environ()))
	}
	p, err := openPorts((*netns.Namespace)(nil), Options{})
	if err == nil {
		pod := &Pod{ports: p}
		_, err = pod.Steal(8080, "gone@away", func(in target.Incoming) bool { go echoTo(in.Conn, "killed"); return true })
	}
	fmt.Println("stealing", err)
	time.Sleep(time.Hour)
}

func TestKill(t *testing.T) {
	for engine, deed := range map[string]string{"sk_lookup": "stolen by gone@away", "nftables": "taken by gone@away"} {
		t.Run(engine, func(t *testing.T) { testKill(t, engine, deed) })
	}
}

func testKill(t *testing.T, engine, deed string) {
	n, outside := nettest.New(t), nettest.New(t)
	nettest.Join(t, n, outside)
	echo(t, n.Listen(t, "tcp", "[::]:8080"), "app")
	other := agent(t, n) // or this is left out
	var cmd *exec.Cmd
	if err := n.Do(func() error {
		cmd = exec.Command(os.Args[0], "-test.run=^TestStealer$")
		cmd.Env = append(os.Environ(), stealNow+"="+engine)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err == nil {
			var line string
			if line, err = bufio.NewReader(out).ReadString('\n'); line != "stealing <nil>\n" {
				err = errors.Join(errors.New(line), err)
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	stolen := connect(t, outside, "10.9.0.1:8080")
	stolen.say(t, "1", "killed 1")
	if _, err := other.Steal(8080, "bob@desk", nil); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), deed) {
		t.Errorf("a second thief: %v", err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	connect(t, outside, "10.9.0.1:8080").say(t, "2", "app 2")
	if _, err := stolen.Read(make([]byte, 1)); err == nil {
		t.Error("a stolen connection outlives its thief")
	}
	defer agent(t, n).steal(t, "next").Close()
	connect(t, outside, "10.9.0.1:8080").say(t, "3", "next 3")
	n.Do(func() error {
		raw, err := os.ReadFile("/proc/thread-self/net/unix")
		if got := strings.Count(string(raw), "@mirrord/port/"); err != nil || got != 1 {
			t.Errorf("%d holders, %v", got, err)
		}
		return nil
	})
}

// Many at once: relayed to the program, each with its own bytes.
func TestMany(t *testing.T) {
	n, outside := nettest.New(t), nettest.New(t)
	nettest.Join(t, n, outside)
	echo(t, n.Listen(t, "tcp", "[::]:8080"), "app")
	p := agent(t, n)
	if _, err := p.Mirror(8080, "", func(c *target.Copy) { c.Close() }); err != nil {
		t.Fatal(err)
	}
	var all []*client
	for range 1000 {
		all = append(all, connect(t, outside, "10.9.0.1:8080"))
	}
	for i, c := range all {
		c.say(t, strconv.Itoa(i), fmt.Sprintf("app %d", i))
	}
}

// Of a port on which nobody listens the agent tells those on which somebody does, but none of its own.
func TestUnserved(t *testing.T) {
	n := nettest.New(t)
	const idle = "nothing in the pod listens on port 3000"
	p := agent(t, n)
	defer p.steal(t, "ann").Close()
	for _, tt := range []struct{ listen, want string }{
		{"", idle},
		{"127.0.0.1:8080", idle + "; its programs listen on 8080"},
		{"[::]:80", idle + "; its programs listen on 80, 8080"},
		{"0.0.0.0:81", idle + "; its programs listen on 80, 81, 8080"},
		{"[::1]:82", idle + "; its programs listen on 80, 81, 82, 8080"},
		{"127.0.0.1:83", idle + "; its programs listen on 80, 81, 82, 83, 8080"},
		{"127.0.0.1:84", idle + "; its programs listen on 80, 81, 82, 83, 84 and 1 more"},
		{"127.0.0.1:3000", ""},
	} {
		if tt.listen != "" {
			n.Listen(t, "tcp", tt.listen)
		}
		if got := p.Unserved(3000, true); got != tt.want {
			t.Errorf("with %s: %q", tt.listen, got)
		}
	}
	for _, port := range []uint16{80, 81, 82, 8080} {
		if got := p.Unserved(port, false); got != "" {
			t.Errorf("port %d: %q", port, got)
		}
	}
}
