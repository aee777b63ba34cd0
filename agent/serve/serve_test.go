package serve_test

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mirrord/agent/links"
	"mirrord/agent/serve"
	"mirrord/agent/target"
	"mirrord/agent/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newLink serves a pod directory with this pod.yaml and these files in its rootfs until the test ends.
func newLink(t *testing.T, pod string, files map[string]string) (*links.Link, *target.Dir) {
	t.Helper()
	d := openDir(t, pod, files)
	requests, bulk, done, err := serve.Dir(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { <-done })
	return dial(t, requests, bulk), d
}

// linkTo links to an agent that serves its two connections by hand, until the test ends.
func linkTo(t *testing.T, agent func(requests, bulk net.Conn) error) *links.Link {
	t.Helper()
	requests, theirs := net.Pipe()
	bulk, theirBulk := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- agent(theirs, theirBulk) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return dial(t, requests, bulk)
}

func dial(t *testing.T, requests, bulk net.Conn) *links.Link {
	t.Helper()
	link, err := links.New(t.Context(), requests, bulk, "session-1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { link.Close() })
	return link
}

func openDir(t *testing.T, pod string, files map[string]string) *target.Dir {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "pod.yaml"), pod)
	for name, content := range files {
		write(t, filepath.Join(dir, "rootfs", name), content)
	}
	d, err := target.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func do(t *testing.T, link *links.Link, req *wire.Request) *wire.Reply {
	t.Helper()
	reply, err := link.Do(t.Context(), req)
	if err != nil {
		t.Fatalf("%+v: %v", req, err)
	}
	return reply
}

func TestHelloAndEnv(t *testing.T) {
	link, _ := newLink(t, "name: cart\nhostname: cart-0\nenv: {DB: db.internal, ON: on}", nil)
	want := wire.Hello{Version: wire.Version, Session: "session-1", Bulk: true, Name: "cart", Hostname: "cart-0",
		Capabilities: []string{"env", "files", "names", "outgoing", "steal", "mirror"}}
	if diff := cmp.Diff(want, link.Agent()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"DB": "db.internal", "ON": "on"}, do(t, link, &wire.Request{Op: wire.OpEnv}).Env); diff != "" {
		t.Error(diff)
	}
}

// Whether the pod has certificates is told at once: it decides whose the program reads.
func TestCertificates(t *testing.T) {
	link, _ := newLink(t, "name: cart", map[string]string{"etc/ssl/certs/ca.pem": "x"})
	if !slices.Contains(link.Agent().Capabilities, "certs") {
		t.Errorf("capabilities %q", link.Agent().Capabilities)
	}
}

// An answer that is too large is an error, not a lost link.
func TestEnvTooLarge(t *testing.T) {
	link, _ := newLink(t, "env: {A: "+strings.Repeat("x", 900_000)+"}", nil)
	do(t, link, &wire.Request{Op: wire.OpEnv})
	huge := map[string]string{"A": strings.Repeat("x", wire.MaxHeader)}
	link = linkTo(t, func(requests, bulk net.Conn) error {
		return serve.Serve(t.Context(), requests, bulk, rich{openDir(t, "name: x", nil), huge})
	})
	if _, err := link.Do(t.Context(), &wire.Request{Op: wire.OpEnv}); !errors.Is(err, errno("E2BIG")) {
		t.Errorf("got %v", err)
	}
	do(t, link, &wire.Request{Op: wire.OpLookup, Name: "localhost"})
}

// errno is an errno of this system by name.
func errno(name string) error { return (&wire.Error{Errno: name}).Unwrap() }

type rich struct {
	*target.Dir
	env map[string]string
}

func (r rich) Env() (map[string]string, error) { return r.env, nil }

func TestUnknownOperations(t *testing.T) {
	link, _ := newLink(t, "name: x", nil)
	for _, op := range []wire.Op{0, wire.OpConnect, wire.OpIncoming, 99, 255} {
		if _, err := link.Do(t.Context(), &wire.Request{Op: op}); !errors.Is(err, errno("ENOSYS")) {
			t.Errorf("operation %d: %v", op, err)
		}
	}
}

// asks sends one request on a session of its own kind and returns the answer.
func asks(t *testing.T, s *links.Session, req *wire.Request) (reply wire.Reply) {
	t.Helper()
	stream, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if err := wire.WriteHeader(stream, req); err != nil {
		t.Fatal(err)
	}
	if err := wire.ReadHeader(stream, &reply); err != nil {
		t.Fatal(err)
	}
	return reply
}

func TestHelloFirst(t *testing.T) {
	requests, bulk, done, err := serve.Dir(t.Context(), openDir(t, "name: x", nil))
	if err != nil {
		t.Fatal(err)
	}
	r, _ := links.NewSession(requests, true, false)
	b, _ := links.NewSession(bulk, true, true)
	defer func() { r.Close(); b.Close(); <-done }()
	hello := func(version uint, session string, bulk bool) *wire.Request {
		return &wire.Request{Op: wire.OpHello, Hello: &wire.Hello{Version: version, Session: session, Bulk: bulk}}
	}
	for _, c := range []struct {
		name    string
		session *links.Session
		req     *wire.Request
		want    string
	}{
		{"a request before the hello", r, &wire.Request{Op: wire.OpEnv}, "EPROTO"},
		{"a connect before the hello", b, &wire.Request{Op: wire.OpConnect}, "EPROTO"},
		{"no hello in the hello", r, &wire.Request{Op: wire.OpHello}, "EPROTO"},
		{"a newer launcher", r, hello(wire.Version+1, "s", false), "EPROTONOSUPPORT"},
		{"the bulk session's hello", r, hello(wire.Version, "s", true), "EPROTO"},
		{"still before the hello", r, &wire.Request{Op: wire.OpEnv}, "EPROTO"},
		{"hello", r, hello(wire.Version, "s", false), ""},
		{"now", r, &wire.Request{Op: wire.OpEnv}, ""},
		{"another launcher's bulk session", b, hello(wire.Version, "other", true), "EPROTO"},
		{"a connect before its hello", b, &wire.Request{Op: wire.OpConnect}, "EPROTO"},
		{"ours", b, hello(wire.Version, "s", true), ""},
	} {
		reply := asks(t, c.session, c.req)
		if reply.Errno != c.want {
			t.Errorf("%s: %+v, want %q", c.name, reply, c.want)
		}
		if c.want == "EPROTONOSUPPORT" && (reply.Hello == nil || reply.Hello.Version != wire.Version) {
			t.Errorf("%s: does not tell the agent's version: %+v", c.name, reply)
		}
	}
}

// Whoever hangs up, and however: everything ends.
func TestEnds(t *testing.T) {
	for name, end := range map[string]func(link *links.Link, requests, bulk net.Conn){
		"launcher closes": func(link *links.Link, _, _ net.Conn) { link.Close() },
		"requests break":  func(_ *links.Link, requests, _ net.Conn) { requests.Close() },
		"bulk breaks":     func(_ *links.Link, _, bulk net.Conn) { bulk.Close() },
		"garbage": func(_ *links.Link, requests, _ net.Conn) {
			requests.Write(bytes.Repeat([]byte{0xff}, 1<<20))
		},
	} {
		requests, bulk, done, err := serve.Dir(t.Context(), openDir(t, "name: x", nil))
		if err != nil {
			t.Fatal(err)
		}
		link := dial(t, requests, bulk)
		end(link, requests, bulk)
		<-link.Done()
		<-done
		if _, err := link.Do(t.Context(), &wire.Request{Op: wire.OpEnv}); !errors.Is(err, links.ErrLost) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGoodbye(t *testing.T) {
	for _, polite := range []bool{true, false} {
		requests, theirs := net.Pipe()
		bulk, theirBulk := net.Pipe()
		served := make(chan error, 1)
		d := openDir(t, "name: x", nil)
		go func() { served <- serve.Serve(t.Context(), theirs, theirBulk, d) }()
		link, err := links.New(t.Context(), requests, bulk, "session-1")
		if err != nil {
			t.Fatal(err)
		}
		var want error
		if polite {
			want = serve.ErrGoodbye
			if err := link.Goodbye(); err != nil {
				t.Error(err)
			}
		}
		link.Close()
		if err := <-served; err != want {
			t.Errorf("polite %t: %v", polite, err)
		}
	}
}
