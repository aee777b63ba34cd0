package cluster

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// way is one to the API server that can be cut.
type way struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]struct{}
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
				io.Copy(far, near)
				far.Close()
			}()
			io.Copy(near, far)
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

// A program lives through a cut: what it asks meanwhile is answered when the link is there again.
func TestCutLink(t *testing.T) {
	needCluster(t)
	need(t, "python3")
	w, config := throughWay(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	log := filepath.Join(t.TempDir(), "events")
	cmd := command(ctx, t, "exec", "-n", namespace, "-t", "deployment/web", "-f", config, "--events", log, "--", "python3", "-c", asking)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewScanner(out)
	answered := func() {
		t.Helper()
		if !answers.Scan() || answers.Text() != "blue db-0" {
			t.Fatalf("answered %q", answers.Text())
		}
	}
	told := func(what string, times int) { // events tell what people are told only once
		t.Helper()
		eventually(t, what, func() bool {
			text, _ := os.ReadFile(log)
			return strings.Count(string(text), what) == times
		})
	}
	fmt.Fprintln(in, "ask")
	answered()
	for i := range 3 {
		w.set(true)
		told("the connection to the pod is lost", i+1)
		fmt.Fprintln(in, "ask")
		w.set(false)
		answered()
		told("the connection to the pod is there again", i+1)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	told("the connection to the pod is lost", 3)
}
