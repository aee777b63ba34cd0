package redirect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"mirrord/agent/redirect/nettest"
)

// cycles is how often a test that repeats things does so: n, or what MIRRORD_TEST_CYCLES says.
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

func open(t testing.TB, n Network) *Redirect {
	t.Helper()
	r, err := Open(n)
	if errors.Is(err, syscall.EPERM) {
		t.Skipf("left out: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// answerAll has a listener write its name, and the address it sees, to everybody.
func answerAll(l net.Listener, name string) {
	go func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
				fmt.Fprintf(c, "%s %s", name, host)
				c.Close()
			}
		}
	}()
}

// serve has a Listener write its name and the Origin to everybody, or pass the connection on when pass is true.
func serve(t testing.TB, r *Redirect, l *Listener, name string, pass bool) {
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, o, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				fmt.Fprintf(c, "%s %s>%s ", name, o.Remote.Addr(), o.Local)
				if !pass {
					return
				}
				app, err := r.Dial(context.Background(), o)
				if err != nil {
					fmt.Fprint(c, err)
					return
				}
				defer app.Close()
				io.Copy(c, app)
			})
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
}

func read(t testing.TB, c net.Conn, err error) string {
	t.Helper()
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	raw, err := io.ReadAll(c)
	if err != nil {
		return string(raw) + err.Error()
	}
	return string(raw)
}

func TestEveryAddress(t *testing.T) {
	for _, app := range []struct{ kind, listen string }{
		{"tcp", "[::]:8080"}, {"tcp4", "0.0.0.0:8080"}, {"tcp4", "10.9.0.1:8080"}, {"tcp4", "127.0.0.1:8080"}, {"tcp6", "[::1]:8080"}, {"tcp6", "[fd09::1]:8080"}, {},
	} {
		t.Run(app.listen, func(t *testing.T) {
			pod, client := nettest.New(t), nettest.New(t)
			nettest.Join(t, pod, client)
			if app.kind != "" {
				answerAll(pod.Listen(t, app.kind, app.listen), "app")
			}
			r := open(t, pod)
			l, err := r.Listen(8080)
			if err != nil {
				t.Fatal(err)
			}
			serve(t, r, l, "agent", false)
			for _, tt := range []struct {
				from     *nettest.Network
				to, want string
			}{
				{client, "10.9.0.1:8080", "agent 10.9.0.2>10.9.0.1:8080 "},
				{client, "[fd09::1]:8080", "agent fd09::2>[fd09::1]:8080 "},
				{pod, "10.9.0.1:8080", "agent 10.9.0.1>10.9.0.1:8080 "},
				{pod, "127.0.0.1:8080", "agent 127.0.0.1>127.0.0.1:8080 "},
				{pod, "[::1]:8080", "agent ::1>[::1]:8080 "},
				{pod, "[fd09::1]:8080", "agent fd09::1>[fd09::1]:8080 "},
			} {
				c, err := tt.from.Dial(tt.to)
				if got := read(t, c, err); got != tt.want {
					t.Errorf("%s: %q, want %q", tt.to, got, tt.want)
				}
			}
			_, own, _ := net.SplitHostPort(l.listener.Addr().String())
			c, err := client.Dial("10.9.0.1:" + own)
			if got := read(t, c, err); got == "" || got[:5] == "agent" {
				t.Errorf("the listener's own address answers %q", got)
			}
		})
	}
}

func TestPass(t *testing.T) {
	pod, client := nettest.New(t), nettest.New(t)
	nettest.Join(t, pod, client)
	answerAll(pod.Listen(t, "tcp", "[::]:8080"), "app")
	r := open(t, pod)
	l, err := r.Listen(8080)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, r, l, "agent", true)
	for _, tt := range []struct {
		from     *nettest.Network
		to, want string
	}{
		{client, "10.9.0.1:8080", "agent 10.9.0.2>10.9.0.1:8080 app 10.9.0.1"},
		{client, "[fd09::1]:8080", "agent fd09::2>[fd09::1]:8080 app fd09::1"},
		{pod, "10.9.0.1:8080", "agent 10.9.0.1>10.9.0.1:8080 app 10.9.0.1"},
		{pod, "127.0.0.1:8080", "agent 127.0.0.1>127.0.0.1:8080 app 127.0.0.1"},
		{pod, "[::1]:8080", "agent ::1>[::1]:8080 app ::1"},
	} {
		c, err := tt.from.Dial(tt.to)
		if got := read(t, c, err); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.to, got, tt.want)
		}
	}
	var key passedKey
	var value passedValue
	if r.engine.(*skLookup).passed.Iterate().Next(&key, &value) {
		t.Errorf("left in the map: %v %v", key, value)
	}
}

// More connections than there are ports: one after the other.
func TestPassInARow(t *testing.T) {
	pod := nettest.New(t)
	pod.IP(t, "addr add 10.9.0.1/24 dev lo")
	app := pod.Listen(t, "tcp", "[::]:8080")
	go func() {
		for {
			c, err := app.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(io.Discard, c); c.Close() }()
		}
	}()
	r := open(t, pod)
	o := Origin{Local: netip.MustParseAddrPort("10.9.0.1:8080"), Remote: netip.MustParseAddrPort("10.9.0.2:999")}
	if err := pod.Do(func() error {
		inside := *r
		inside.network = here{}
		for range 100 * cycles(t, 2) {
			c, err := inside.Dial(context.Background(), o)
			if err != nil {
				return err
			}
			c.CloseWrite() // first, so that TIME_WAIT is ours
			io.Copy(io.Discard, c)
			c.Close()
		}
		waiting := make(map[string]int)
		raw, err := os.ReadFile("/proc/thread-self/net/tcp")
		for line := range strings.Lines(string(raw)) {
			waiting[strings.Fields(line)[3]]++
		}
		if n := waiting["06"]; n > 0 {
			t.Errorf("%d connections are in TIME_WAIT", n)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// here is the network of the thread.
type here struct{}

func (here) Do(f func() error) error { return f() }
