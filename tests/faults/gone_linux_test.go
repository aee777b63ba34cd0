package faults

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"mirrord/agent/links"
	"mirrord/agent/target"
	"mirrord/launcher/seccomp"
)

// checkSevered: after the pod has gone, all that is the pod's fails with the errno of its kind and this machine's work goes on.
func (s *site) checkSevered() {
	s.t.Helper()
	for _, tt := range []struct {
		command string
		want    result
	}{
		{"cat local", result{stdout: "of this machine\n"}},
		{"cat /srv/small", result{stderr: "cat: /srv/small: Input/output error\n", status: 1}},
		{"echo x > new && cat new && rm new", result{stdout: "x\n"}},
		{"(exec 3<>/dev/tcp/10.96.0.7/80) 2> said || tail -n 1 said | sed s/.*:.//", result{stdout: "Network is unreachable\n"}},
		{"getent passwd root > said && wc -l < said", result{stdout: "1\n"}},
	} {
		if got := s.run("bash", "-c", tt.command); got != tt.want {
			s.t.Errorf("%s: %+v, want %+v", tt.command, got, tt.want)
		}
	}
}

// TestGoneDuringRead: a file that did not come whole is an error, never a short file.
func TestGoneDuringRead(t *testing.T) {
	t.Parallel()
	s := newSite(t, "name: x", map[string]string{"srv/big": strings.Repeat("x", 8<<20), "srv/small": "small\n"}, change{requests: breakAfter(1 << 20)})
	if got, want := s.run("cat", "/srv/big"), (result{stderr: "cat: /srv/big: Input/output error\n", status: 1}); got != want {
		t.Errorf("%.200q, want %+v", fmt.Sprint(got), want)
	}
	s.checkSevered()
}

// TestGoneSupervised: a program whose calls are answered is told the same, in the middle of a file, of a download, and afterwards.
func TestGoneSupervised(t *testing.T) {
	t.Parallel()
	if err := seccomp.Supported(); err != nil {
		t.Skip("left out:", err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	pod := fmt.Sprintf("routes: {'10.96.0.7:80': '%s'}", server.Listener.Addr())
	files := map[string]string{"srv/big": strings.Repeat("x", 8<<20), "srv/small": "small\n"}
	for name, tt := range map[string]struct {
		change  change
		command string
		want    string
	}{
		"read":     {change{requests: breakAfter(1 << 20)}, "cat /srv/big | wc -c", "0\n"},
		"download": {change{bulk: breakAfter(1 << 20)}, "wget -q -O - http://10.96.0.7/ > /dev/null || echo ended", "ended\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, pod, files, tt.change)
			if got := s.runSupervised("sh", "-c", tt.command); got.stdout != tt.want {
				t.Errorf("%+v, want %q", got, tt.want)
			}
			got := s.runSupervised("sh", "-c", "exec 2>&1; cat local; cat /srv/small; wget -q -O - http://10.96.0.7/; echo x > new && cat new && rm new").stdout
			want := "of this machine\ncat: can't open '/srv/small': Input/output error\nwget: can't connect to remote host (10.96.0.7): Network is unreachable\nx\n"
			if got != want {
				t.Errorf("afterwards: %q, want %q", got, want)
			}
		})
	}
}

// TestGoneDuringDownload: the connection is reset. A clean end would make half a download a whole one.
func TestGoneDuringDownload(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close") // the end of the body is the end of the connection
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	s := newSite(t, fmt.Sprintf("routes: {'10.96.0.7:80': '%s'}", server.Listener.Addr()), map[string]string{"srv/small": ""}, change{bulk: breakAfter(1 << 20)})
	const receiveFailed = 56 // curl(1), exit codes
	if got := s.run("curl", "-sS", "--http1.0", "-o", "/dev/null", "http://10.96.0.7/"); got.status != receiveFailed || !strings.Contains(got.stderr, "reset") {
		t.Errorf("%+v", got)
	}
	s.checkSevered()
}

// stuck is a pod in which connecting, and asking for a name, takes for ever.
type stuck struct {
	target.Target
	asked chan struct{}
}

func (p stuck) Dial(ctx context.Context, _ netip.AddrPort) (links.Conn, error) {
	p.asked <- struct{}{}
	<-ctx.Done()
	return nil, ctx.Err()
}

func (p stuck) Resolver() target.Resolver { return stuckResolver{p} }

type stuckResolver struct{ stuck }

func (p stuckResolver) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	p.asked <- struct{}{}
	<-ctx.Done()
	return nil, &net.DNSError{Name: host, Err: ctx.Err().Error(), IsTemporary: true}
}

func (p stuckResolver) LookupAddr(context.Context, string) ([]string, error) { return nil, nil }

// TestGoneDuringConnect: who waits for the pod, blocking or not, is told when it has gone.
func TestGoneDuringConnect(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		program []string
		status  int
		said    string
	}{
		"blocking":     {[]string{"bash", "-c", "exec 3<>/dev/tcp/10.96.0.7/80"}, 1, "Network is unreachable"},
		"non-blocking": {[]string{"curl", "-sS", "http://10.96.0.7/"}, 7, "Couldn't connect"}, // curl(1): 7 is "failed to connect"
		"a name":       {[]string{"curl", "-sS", "http://inventory/"}, 6, "Could not resolve"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan struct{}, 8)
			s := newSite(t, "name: x", map[string]string{"srv/small": ""}, change{target: func(d target.Target) target.Target { return stuck{d, asked} }})
			ended := s.start(tt.program[0], tt.program[1:]...)
			<-asked
			s.cut()
			if got := <-ended; got.status != tt.status || !strings.Contains(got.stderr, tt.said) {
				t.Errorf("%+v", got)
			}
			s.checkSevered()
		})
	}
}

// TestSlow: a pod that needs five seconds is waited for by whom it is asked by, and by nobody else. A program's own time limit counts.
func TestSlow(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("left out: takes long")
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "answer\n") }))
	defer server.Close()
	s := newSite(t, fmt.Sprintf("latency: 5s\nroutes: {'10.96.0.7:80': '%s'}", server.Listener.Addr()), map[string]string{"srv/small": "small\n"}, change{})
	got := s.run("bash", "-c", "cat /srv/small & for i in {1..20}; do cat local; done | sort -u; wait")
	if want := (result{stdout: "of this machine\nsmall\n"}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	const timedOut = 28 // curl(1)
	if got := s.run("curl", "-sS", "--connect-timeout", "0.2", "http://10.96.0.7/"); got.status != timedOut {
		t.Errorf("%+v", got)
	}
	if got, want := s.run("curl", "-sS", "http://10.96.0.7/"), (result{stdout: "answer\n"}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
