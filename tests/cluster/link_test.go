package cluster

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// way is one to the API server that can be cut.
type way struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]struct{}
	held  chan struct{} // nil, or closed when what is held goes on
}

func (w *way) serve() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer near.Close()
			far, err := net.Dial("tcp", w.server)
			if err != nil || !w.keep(near, far) {
				return
			}
			defer far.Close()
			go func() {
				io.Copy(far, held{near, w})
				far.Close()
			}()
			io.Copy(near, held{far, w})
		}()
	}
}

// keep has both closed when the way is cut; false: it is cut already.
func (w *way) keep(near, far net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		far.Close()
		return false
	}
	w.conns[near], w.conns[far] = struct{}{}, struct{}{}
	return true
}

func (w *way) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut = cut; cut {
		for conn := range w.conns {
			conn.Close()
		}
		clear(w.conns)
	}
}

// hold stops what comes, on all connections, and lets it go on.
func (w *way) hold(stop bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if stop {
		w.held = make(chan struct{})
	} else {
		close(w.held)
		w.held = nil
	}
}

// held is what comes from one end of a way.
type held struct {
	io.Reader
	way *way
}

func (h held) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	h.way.mu.Lock()
	wait := h.way.held
	h.way.mu.Unlock()
	if wait != nil {
		<-wait
	}
	return n, err
}

// server is where the API server is, and the name in its certificate.
type server struct{ cluster, address, name string }

func apiServer(t *testing.T) server {
	t.Helper()
	at, err := url.Parse(view(t, ".clusters[0].cluster.server"))
	if err != nil || at.Scheme != "https" {
		t.Skipf("%s: %v", at, err)
	}
	port := at.Port()
	if port == "" {
		port = "443"
	}
	s := server{view(t, ".clusters[0].name"), net.JoinHostPort(at.Hostname(), port), view(t, ".clusters[0].cluster.tls-server-name")}
	if s.name == "" {
		s.name = at.Hostname()
	}
	return s
}

// throughWay is a configuration whose kubeconfig leads to the same cluster by a way that can be cut.
func throughWay(t *testing.T) (*way, string) {
	t.Helper()
	server := apiServer(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &way{listener: listener, server: server.address, conns: map[net.Conn]struct{}{}}
	go w.serve()
	t.Cleanup(func() { listener.Close(); w.set(true) })
	return w, kubeconfig(t, []string{"set-cluster", server.cluster, "--server", "https://" + listener.Addr().String(), "--tls-server-name", server.name})
}

const asking = `
import sys, urllib.request
for line in sys.stdin:
    print(open("/srv/config/colour.txt").read().strip(), urllib.request.urlopen("http://db:8080/").read().decode().split()[0], flush=True)
`

// cuttable is a session whose link can be cut, and its program, which asks the pod for things when it is told to.
type cuttable struct {
	t       *testing.T
	way     *way
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *bufio.Scanner
	log     string // of events: they tell what people are told only once
}

func startCuttable(t *testing.T) *cuttable {
	t.Helper()
	need(t, "python3")
	w, config := throughWay(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	c := &cuttable{t: t, way: w, log: filepath.Join(t.TempDir(), "events")}
	c.cmd = command(ctx, t, "exec", "-n", namespace, "-t", "deployment/web", "-f", config, "--events", c.log, "--", "python3", "-c", asking)
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.answers = bufio.NewScanner(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cuttable) ask() { fmt.Fprintln(c.in, "ask") }

func (c *cuttable) answered() {
	c.t.Helper()
	if !c.answers.Scan() || c.answers.Text() != "blue db-0" {
		c.t.Fatalf("answered %q", c.answers.Text())
	}
}

// told waits until something was told so many times.
func (c *cuttable) told(what string, times int) {
	c.t.Helper()
	eventually(c.t, what, func() bool {
		text, _ := os.ReadFile(c.log)
		return strings.Count(string(text), what) == times
	})
}

func (c *cuttable) end() {
	c.t.Helper()
	c.in.Close()
	if err := c.cmd.Wait(); err != nil {
		c.t.Error(err)
	}
}

// A program lives through a cut: what it asks meanwhile is answered when the link is there again.
func TestCutLink(t *testing.T) {
	needCluster(t)
	c := startCuttable(t)
	c.ask()
	c.answered()
	for i := range 3 {
		c.way.set(true)
		c.told("the connection to the pod is lost", i+1)
		c.ask()
		c.way.set(false)
		c.answered()
		c.told("the connection to the pod is there again", i+1)
	}
	c.end()
	c.told("the connection to the pod is lost", 3)
}

// Cuts that last, with connections that are closed, and with ones on which nothing comes any more.
func TestLongCuts(t *testing.T) {
	needCluster(t)
	for _, long := range []time.Duration{5 * time.Second, 20 * time.Second} {
		for how, cut := range map[string]func(*way, bool){"closed": (*way).set, "silent": (*way).hold} {
			t.Run(fmt.Sprint(long, " ", how), func(t *testing.T) {
				t.Parallel()
				c := startCuttable(t)
				c.ask()
				c.answered()
				cut(c.way, true)
				c.ask()
				time.Sleep(long) // the length of the cut is what is tested
				cut(c.way, false)
				opened := time.Now()
				c.answered()
				t.Logf("answered %v after the end of the cut", time.Since(opened).Round(10*time.Millisecond))
				c.ask()
				c.answered()
				c.end()
			})
		}
	}
}
