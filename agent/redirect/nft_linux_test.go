package redirect

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// engineNFT is an engine in the namespace.
func engineNFT(t *testing.T, s *space) engine {
	t.Helper()
	e, err := openNFT(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.close() })
	return e
}

// tables are the names of the tables in the namespace, as netlink's answer to a question has them: it is looked at for them only.
func tables(t *testing.T, s *space) string {
	t.Helper()
	var all []byte
	s.start(t, func() error {
		socket, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		if err != nil {
			return err
		}
		defer unix.Close(socket)
		const getTable = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETTABLE
		ask := packet(getTable, unix.NLM_F_DUMP, 1, unix.NFPROTO_UNSPEC, 0, nil)
		if err := unix.Sendto(socket, ask, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return err
		}
		buf := make([]byte, 64<<10)
		n, _, err := unix.Recvfrom(socket, buf, 0)
		all = buf[:n]
		return err
	})
	return string(all)
}

// flush is what `nft flush ruleset` does, by another process.
func flush(t *testing.T, s *space) {
	t.Helper()
	s.start(t, func() error {
		socket, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		if err != nil {
			return err
		}
		defer unix.Close(socket)
		return commit(socket, message{kind: unix.NFT_MSG_DELTABLE})
	})
}

func port(l *net.TCPListener) string {
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

// Every address of the pod, from outside and from the pod itself: to the listener while the port is redirected, else to the program. Other ports, and the same port of
// other hosts, are never redirected.
func TestNFTDirects(t *testing.T) {
	pod, outside := newPod(t)
	pod.listen(t, "tcp", ":8080", "program")
	pod.listen(t, "tcp", ":8081", "neighbour")
	outside.listen(t, "tcp", ":8080", "elsewhere")
	all := []struct {
		from *space
		host string
	}{
		{outside, pod4}, {outside, pod6}, {pod, pod4}, {pod, pod6}, {pod, "127.0.0.1"}, {pod, "127.1.2.3"}, {pod, "::1"},
	}
	e := engineNFT(t, pod)
	for round := range 2 {
		for _, c := range all {
			c.from.expect(t, net.JoinHostPort(c.host, "8080"), "program")
		}
		for _, l := range [][]*net.TCPListener{
			{pod.listen(t, "tcp", ":0", "dual")},
			{pod.listen(t, "tcp4", ":0", "dual"), pod.listen(t, "tcp6", ":0", "dual")},
		} {
			if err := e.add(8080, l); err != nil {
				t.Fatal(err)
			}
			for _, c := range all {
				c.from.expect(t, net.JoinHostPort(c.host, "8080"), "dual")
				c.from.expect(t, net.JoinHostPort(c.host, "8081"), "neighbour")
			}
			pod.expect(t, net.JoinHostPort(outside4, "8080"), "elsewhere")
			pod.expect(t, net.JoinHostPort(outside6, "8080"), "elsewhere")
			if err := e.remove(8080); err != nil {
				t.Fatal(round, err)
			}
		}
	}
	if err := e.remove(8080); !errors.Is(err, syscall.ENOENT) {
		t.Error("a port that is not redirected is given back:", err)
	}
}

// A listener for one family leaves the other to the program.
func TestNFTOneFamily(t *testing.T) {
	pod, outside := newPod(t)
	pod.listen(t, "tcp", ":8080", "program")
	for network, names := range map[string][2]string{"tcp4": {"thief", "program"}, "tcp6": {"program", "thief"}} {
		e := engineNFT(t, pod)
		if err := e.add(8080, []*net.TCPListener{pod.listen(t, network, ":0", "thief")}); err != nil {
			t.Fatal(err)
		}
		outside.expect(t, net.JoinHostPort(pod4, "8080"), names[0])
		outside.expect(t, net.JoinHostPort(pod6, "8080"), names[1])
		e.close()
	}
	e := engineNFT(t, pod)
	if err := e.add(8080, []*net.TCPListener{pod.listen(t, "tcp", "127.0.0.1:0", "")}); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Error("a listener that redirected connections do not reach:", err)
	}
}

// No program needs to listen, and one that listens at one address only is directed at all.
func TestNFTNoProgram(t *testing.T) {
	pod, outside := newPod(t)
	pod.listen(t, "tcp", pod4+":8081", "program")
	e := engineNFT(t, pod)
	for _, p := range []uint16{8080, 8081} {
		if err := e.add(p, []*net.TCPListener{pod.listen(t, "tcp", ":0", "thief")}); err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{pod4, pod6} {
			outside.expect(t, net.JoinHostPort(host, fmt.Sprint(p)), "thief")
		}
		pod.expect(t, fmt.Sprint("127.0.0.1:", p), "thief")
	}
}

// Connections stay whose they are: the program's through a redirection's beginning, its end and the engine's; the listener's through the redirection's end.
func TestNFTEstablished(t *testing.T) {
	pod, outside := newPod(t)
	pod.listen(t, "tcp", ":8080", "program")
	hosts := []struct {
		from *space
		host string
	}{{outside, pod4}, {outside, pod6}, {pod, pod4}, {pod, "127.0.0.1"}, {pod, "::1"}}
	var before, silent []net.Conn // silent: the kernel first sees a packet of theirs when the port is redirected
	for _, h := range hosts {
		before = append(before, h.from.expect(t, net.JoinHostPort(h.host, "8080"), "program"))
		silent = append(silent, h.from.expect(t, net.JoinHostPort(h.host, "8080"), "program"))
	}
	still := func(when string, conns []net.Conn, name string) {
		t.Helper()
		for _, c := range conns {
			if got := who(c); got != name {
				t.Errorf("%s, on a connection of %s's to %s answers %q", when, name, c.RemoteAddr(), got)
			}
		}
	}
	e := engineNFT(t, pod)
	still("with the engine", before, "program")
	if err := e.add(8080, []*net.TCPListener{pod.listen(t, "tcp", ":0", "thief")}); err != nil {
		t.Fatal(err)
	}
	before = append(before, silent...)
	still("redirected", before, "program")
	var during []net.Conn
	for _, h := range hosts {
		during = append(during, h.from.expect(t, net.JoinHostPort(h.host, "8080"), "thief"))
	}
	if err := e.remove(8080); err != nil {
		t.Fatal(err)
	}
	still("after the redirection", before, "program")
	still("after the redirection", during, "thief")
	engineNFT(t, pod).close() // the kernel takes apart later what was deleted, but before it goes on with the next owner's end
	still("after the redirection's rules", during, "thief")
	for _, h := range hosts {
		before = append(before, h.from.expect(t, net.JoinHostPort(h.host, "8080"), "program"))
	}
	e.close()
	still("after the engine", before, "program")
}

// What the agent has written before the engine ends still arrives, and the end after it.
func TestNFTCloseDelivers(t *testing.T) {
	const size = 4 << 20 // more than the kernel takes at once for a client that does not read
	pod, outside := newPod(t)
	e := engineNFT(t, pod)
	for _, host := range []string{pod4, pod6} {
		l := pod.listen(t, "tcp", ":0", "")
		if err := e.add(8080, []*net.TCPListener{l}); err != nil {
			t.Fatal(err)
		}
		c, err := outside.dial(t, net.JoinHostPort(host, "8080"), nil)
		if err != nil {
			t.Fatal(err)
		}
		agent, err := l.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		if err := agent.SetWriteBuffer(size); err != nil {
			t.Fatal(err)
		}
		if _, err := agent.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		agent.Close()
		closed := make(chan error)
		go func() { closed <- e.close() }()
		if n, err := io.Copy(io.Discard, c); n != size || err != nil {
			t.Errorf("%d of %d bytes, %v", n, size, err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
		e = engineNFT(t, pod)
	}
}

// An accepted connection tells where it was made to; one to the listener itself is an error.
func TestNFTOriginal(t *testing.T) {
	pod, outside := newPod(t)
	e := engineNFT(t, pod)
	index := pod.index(t, "eth0")
	for _, network := range []string{"tcp", "tcp4"} {
		l := pod.listen(t, network, ":0", "")
		if err := e.add(8080, []*net.TCPListener{l}); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			from *space
			host string
		}{{outside, pod4}, {pod, pod4}, {pod, "127.0.0.1"}, {pod, "127.1.2.3"}, {outside, pod6}, {pod, pod6}, {pod, "::1"}, {outside, podLink + "%eth0"}} {
			want := netip.AddrPortFrom(netip.MustParseAddr(c.host), 8080)
			if want.Addr().Is6() && network == "tcp4" {
				continue
			}
			client, err := c.from.dial(t, want.String(), nil)
			if err != nil {
				t.Fatal(err)
			}
			accepted, err := l.AcceptTCP()
			if err != nil {
				t.Fatal(err)
			}
			from := client.LocalAddr().(*net.TCPAddr).AddrPort()
			if want.Addr().Zone() != "" { // the interface has its own number in each namespace
				from = accepted.RemoteAddr().(*net.TCPAddr).AddrPort()
				want = netip.AddrPortFrom(want.Addr().WithZone(index), 8080)
			}
			if got, err := e.original(accepted); err != nil || got != (Origin{Local: want, Remote: from}) {
				t.Errorf("a connection to %s from %s says %v, %v", want, from, got, err)
			}
			accepted.Close()
		}
		if _, err := outside.dial(t, net.JoinHostPort(pod4, port(l)), nil); err != nil {
			t.Fatal(err)
		}
		accepted, err := l.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := e.original(accepted); err == nil {
			t.Errorf("a connection to the listener itself says %v", got)
		}
		accepted.Close()
		if err := e.remove(8080); err != nil {
			t.Fatal(err)
		}
	}
}

// What is exempt reaches the program, at every address and from the same; what is not comes to the listener.
func TestNFTExempt(t *testing.T) {
	pod, _ := newPod(t)
	pod.listen(t, "tcp", ":8080", "program")
	e := engineNFT(t, pod)
	if err := e.add(8080, []*net.TCPListener{pod.listen(t, "tcp", ":0", "thief")}); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{pod4, pod6, podLink + "%" + pod.index(t, "eth0"), "127.0.0.1", "127.1.2.3", "::1"} {
		to := netip.AddrPortFrom(netip.MustParseAddr(host), 8080)
		c, err := pod.dial(t, to.String(), func(fd int) error {
			release, err := e.exempt(fd, Origin{Local: to})
			if err == nil {
				release()
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := who(c); got != "program" {
			t.Errorf("an exempt connection to %s reaches %q", to, got)
		}
		if from := c.LocalAddr().(*net.TCPAddr).AddrPort().Addr(); from.WithZone("") != to.Addr().WithZone("") {
			t.Errorf("an exempt connection to %s comes from %s", to, from)
		}
		pod.expect(t, to.String(), "thief")
	}
}

// A port is one agent's until that gives it back.
func TestNFTTwoAgents(t *testing.T) {
	pod, outside := newPod(t)
	first, second := engineNFT(t, pod), engineNFT(t, pod)
	l1, l2 := pod.listen(t, "tcp", ":0", "first"), pod.listen(t, "tcp", ":0", "second")
	if err := first.add(8080, []*net.TCPListener{l1}); err != nil {
		t.Fatal(err)
	}
	for _, e := range []engine{first, second} {
		if err := e.add(8080, []*net.TCPListener{l2}); !errors.Is(err, syscall.EADDRINUSE) {
			t.Error("a port that is taken:", err)
		}
	}
	if err := second.add(8081, []*net.TCPListener{l2}); err != nil {
		t.Error("a port that is free:", err)
	}
	if err := second.remove(8080); err == nil {
		t.Error("an agent gives back another's port")
	}
	outside.expect(t, net.JoinHostPort(pod4, "8080"), "first")
	outside.expect(t, net.JoinHostPort(pod4, "8081"), "second")
	if err := first.remove(8080); err != nil {
		t.Fatal(err)
	}
	if err := second.add(8080, []*net.TCPListener{l2}); err != nil {
		t.Error("a port that was given back:", err)
	}
	outside.expect(t, net.JoinHostPort(pod4, "8080"), "second")
	second.close()
	if err := first.add(8080, []*net.TCPListener{l1}); err != nil {
		t.Error("a port whose agent has ended:", err)
	}
}

// Who takes all rules of the pod away leaves ours.
func TestNFTFlushed(t *testing.T) {
	pod, outside := newPod(t)
	e := engineNFT(t, pod)
	if err := e.add(8080, []*net.TCPListener{pod.listen(t, "tcp", ":0", "thief")}); err != nil {
		t.Fatal(err)
	}
	c := outside.expect(t, net.JoinHostPort(pod4, "8080"), "thief")
	flush(t, pod)
	outside.expect(t, net.JoinHostPort(pod4, "8080"), "thief")
	if got := who(c); got != "thief" {
		t.Error("an established connection:", got)
	}
}

// However the process ends, nothing is left and the program answers.
func TestNFTKilled(t *testing.T) {
	pod, outside := newPod(t)
	pod.listen(t, "tcp", ":8080", "program")
	before := outside.expect(t, net.JoinHostPort(pod4, "8080"), "program")
	for range 3 {
		var agent *exec.Cmd
		var out io.Reader
		pod.start(t, func() (err error) { // a child is born into its parent's thread's namespace
			agent = exec.Command("/proc/self/exe", "-test.run=^TestNFTAgent$")
			agent.Env = append(os.Environ(), "MIRRORD_TEST_AGENT=1")
			agent.Stderr = os.Stderr
			if out, err = agent.StdoutPipe(); err != nil {
				return err
			}
			return agent.Start()
		})
		ready, err := bufio.NewReader(out).ReadString('\n')
		if err == nil {
			outside.expect(t, net.JoinHostPort(pod4, "8080"), "agent")
			outside.expect(t, net.JoinHostPort(pod6, "8080"), "agent")
			pod.expect(t, "127.0.0.1:8080", "agent")
			if have := tables(t, pod); !strings.Contains(have, nftName) {
				t.Errorf("the agent has no table: %q", have)
			}
		}
		agent.Process.Kill()
		agent.Wait()
		if err != nil || ready != "ready\n" {
			t.Fatalf("the agent: %q, %v", ready, err)
		}
		if left := tables(t, pod); strings.Contains(left, nftName) {
			t.Errorf("left behind: %q", left)
		}
		outside.expect(t, net.JoinHostPort(pod4, "8080"), "program")
		outside.expect(t, net.JoinHostPort(pod6, "8080"), "program")
		pod.expect(t, "127.0.0.1:8080", "program")
		if got := who(before); got != "program" {
			t.Error("a connection from before:", got)
		}
	}
}

// TestNFTAgent is the process that TestNFTKilled kills.
func TestNFTAgent(t *testing.T) {
	if os.Getenv("MIRRORD_TEST_AGENT") == "" {
		t.Skip("not a test: a process for TestNFTKilled")
	}
	here := &space{}
	var err error
	if here.file, err = os.Open("/proc/self/ns/net"); err != nil {
		t.Fatal(err)
	}
	if err := engineNFT(t, here).add(8080, []*net.TCPListener{here.listen(t, "tcp", ":0", "agent")}); err != nil {
		t.Fatal(err)
	}
	fmt.Println("ready")
	select {}
}

// What the kernel refuses is told in words.
func TestNFTRefused(t *testing.T) {
	s := newSpace(t)
	var socket int
	s.start(t, func() (err error) {
		socket, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		return err
	})
	defer unix.Close(socket)
	table := text(unix.NFTA_TABLE_NAME, "t")
	for name, c := range map[string]struct {
		message
		want string
	}{
		"a flag that the kernel does not know": {message{unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, append(table, number(unix.NFTA_TABLE_FLAGS, 1<<30)...)}, errNoOwner},
		"an expression that it does not know": {message{unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE, slices.Concat(text(unix.NFTA_RULE_TABLE, "t"), text(unix.NFTA_RULE_CHAIN, "c"),
			nest(unix.NFTA_RULE_EXPRESSIONS, expression("none")))}, errNoNFT},
	} {
		chain := slices.Concat(text(unix.NFTA_CHAIN_TABLE, "t"), text(unix.NFTA_CHAIN_NAME, "c"))
		err := commit(socket, message{unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, table}, message{unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, chain}, c.message)
		if err == nil || !strings.HasPrefix(explainNFT(err).Error(), c.want) {
			t.Errorf("%s: %v", name, explainNFT(err))
		}
	}
	if have := tables(t, s); strings.Contains(have, "t\x00") {
		t.Errorf("what was refused has left a table: %q", have)
	}

	err := s.Do(func() error { // this thread alone, which ends
		header, none := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{}
		if err := unix.Capset(&header, &none[0]); err != nil {
			return err
		}
		_, err := openNFT(identity{})
		return err
	})
	if err == nil || !strings.Contains(err.Error(), errNoRights) {
		t.Error("without rights:", err)
	}
}

type identity struct{}

func (identity) Do(f func() error) error { return f() }
