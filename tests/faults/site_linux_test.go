// Package faults runs real programs against a pod that goes wrong: it disappears, it is slow, its peers send rubbish. Nothing may hang, nothing may
// look whole that is not, and this machine's own work goes on.
package faults

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"mirrord/agent/links"
	"mirrord/agent/serve"
	"mirrord/agent/target"
	"mirrord/launcher/broker"
	"mirrord/launcher/config"
	"mirrord/launcher/events"
	"mirrord/launcher/rules"
	"mirrord/layer"
	"mirrord/sip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a session without a launcher: a broker, and an agent whose link the test can cut.
type site struct {
	t   *testing.T
	dir string
	env []string

	helper string // the program in front of supervised ones

	cut func() // the agent ends, with both connections of the link; may be called more than once
}

// change is what a test does to its site: nil members change nothing.
type change struct {
	target         func(target.Target) target.Target
	requests, bulk func(net.Conn) net.Conn // the launcher's ends of the link
}

// newSite serves a pod directory with this pod.yaml and these files in its rootfs until the test ends.
func newSite(t *testing.T, pod string, files map[string]string, c change) *site {
	t.Helper()
	if _, err := layer.Library(); err != nil {
		t.Fatalf("%v: run `make build` first", err)
	}
	s := &site{t: t, dir: t.TempDir()}
	write(t, filepath.Join(s.dir, "pod", "pod.yaml"), pod)
	for name, content := range files {
		write(t, filepath.Join(s.dir, "pod", "rootfs", name), content)
	}
	write(t, filepath.Join(s.dir, "home", "local"), "of this machine\n")
	d, err := target.OpenDir(filepath.Join(s.dir, "pod"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	ctx, stop := context.WithCancel(context.Background())
	var requests, bulk net.Conn
	var done <-chan struct{}
	if c.target == nil {
		requests, bulk, done, err = serve.Dir(ctx, d)
	} else {
		requests, bulk, done, err = serveOther(ctx, c.target(d))
	}
	if err != nil {
		t.Fatal(err)
	}
	s.cut = stop
	t.Cleanup(func() {
		stop()
		<-done
	})
	if c.requests != nil {
		requests = c.requests(requests)
	}
	if c.bulk != nil {
		bulk = c.bulk(bulk)
	}
	link, err := links.New(t.Context(), requests, bulk, "faults")
	if err != nil {
		t.Fatal(err)
	}
	s.startBroker(link)
	return s
}

func (s *site) startBroker(link *links.Link) {
	t := s.t
	t.Helper()
	library, err := layer.Extract(filepath.Join(s.dir, "cache"))
	if err != nil {
		t.Fatal(err)
	}
	s.helper = layer.Variant(library, layer.Supervise)
	home := filepath.Join(s.dir, "home")
	temp := t.TempDir()
	table, err := rules.Compile(rules.Input{Mode: string(config.FSRead), Home: home, Cwd: home, ProjectRoot: home, TempDir: temp, Names: true, Outgoing: true, UDP: true,
		LocalDirs: filepath.SplitList(os.Getenv("PATH"))})
	if err != nil {
		t.Fatal(err)
	}
	b, err := broker.Start(broker.Options{Link: link, Rules: table, Emit: func(events.Event) {}, Config: config.Default(), TempDir: temp,
		Decide: func(r sip.Request) sip.Verdict { return sip.Verdict{Kind: sip.Inject, Path: r.Path} }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Close()
		if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
			t.Errorf("left in the temporary folder: %v, %v", left, err)
		}
	})
	s.env = append(os.Environ(), "LD_PRELOAD="+library, "MIRRORD_BROKER="+b.Env(), "HOME="+home, "LC_ALL=C.UTF-8")
}

// result is how a program ended.
type result struct {
	stdout, stderr string
	status         int
}

// hangs is when a program counts as hanging: far above any time limit of ours.
const hangs = 2 * time.Minute

// start runs a program in the session; the channel gets its result.
func (s *site) start(name string, args ...string) <-chan result {
	s.t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		s.t.Skipf("left out: %s is not installed", name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), hangs)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = filepath.Join(s.dir, "home"), s.env
	ended := make(chan result, 1)
	go func() {
		defer cancel()
		out, err := cmd.Output()
		r := result{stdout: string(out), status: cmd.ProcessState.ExitCode()}
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			r.stderr = string(failed.Stderr)
		}
		if ctx.Err() != nil {
			r.stderr += "(hung)"
		}
		ended <- r
	}()
	return ended
}

func (s *site) run(name string, args ...string) result {
	s.t.Helper()
	return <-s.start(name, args...)
}

// runSupervised is run for busybox, which is static.
func (s *site) runSupervised(args ...string) result {
	s.t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		s.t.Skip("left out: busybox is not installed")
	}
	return s.run(s.helper, append([]string{busybox, "busybox"}, args...)...)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// serveOther serves a target that is no pod directory.
func serveOther(ctx context.Context, p target.Target) (requests, bulk net.Conn, done <-chan struct{}, err error) {
	requests, theirs := net.Pipe()
	bulk, theirBulk := net.Pipe()
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		serve.Serve(ctx, theirs, theirBulk, p)
	}()
	return requests, bulk, finished, nil
}

// breaking is a connection that ends for good when so many bytes have been read from it.
type breaking struct {
	net.Conn
	mu   sync.Mutex
	left int
}

func breakAfter(bytes int) func(net.Conn) net.Conn {
	return func(c net.Conn) net.Conn { return &breaking{Conn: c, left: bytes} }
}

func (b *breaking) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left <= 0 {
		b.Close()
		return 0, net.ErrClosed
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
