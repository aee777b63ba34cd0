package kube

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"mirrord/agent/door"
	"mirrord/agent/serve"
	"mirrord/agent/target"
	"mirrord/agent/wire"
)

// oldServer is an API server that knows port-forwards by SPDY only, to ports of this machine. It counts how it was asked.
type oldServer struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
}

func startServer(t *testing.T) *oldServer {
	s := new(oldServer)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.Method+" "+r.Header.Get("Upgrade"))
		s.mu.Unlock()
		if !httpstream.IsUpgradeRequest(r) || r.Header.Get("Upgrade") == "websocket" || !strings.HasSuffix(r.URL.Path, "/namespaces/shop/pods/cart/portforward") {
			http.Error(w, "unable to upgrade", http.StatusBadRequest)
			return
		}
		if _, err := httpstream.Handshake(r, w, []string{"portforward.k8s.io"}); err != nil {
			return
		}
		streams := make(chan httpstream.Stream, 8)
		conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(stream httpstream.Stream, _ <-chan struct{}) error {
			streams <- stream
			return nil
		})
		if conn == nil {
			return
		}
		defer conn.Close()
		var faults httpstream.Stream
		for {
			select {
			case stream := <-streams:
				if stream.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
					faults = stream
					continue
				}
				go func() {
					far, err := net.Dial("tcp", "127.0.0.1:"+stream.Headers().Get(corev1.PortHeader))
					if err != nil {
						io.WriteString(faults, err.Error())
						faults.Close()
						return
					}
					defer far.Close()
					go func() {
						io.Copy(far, stream)
						far.Close()
					}()
					io.Copy(stream, far)
					stream.Close()
				}()
			case <-conn.CloseChan():
				return
			}
		}
	}))
	t.Cleanup(s.CloseClientConnections)
	return s
}

func (s *oldServer) agent(t *testing.T, port uint16, token wire.Token) *Agent {
	t.Helper()
	config := &rest.Config{Host: s.URL}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{config: config, client: client, namespace: "shop", server: s.URL, context: "old"}
	return &Agent{cluster: c, pod: "cart", port: port, token: token}
}

// startAgent runs an agent that serves a pod directory behind a door, as it would in a pod.
func startAgent(t *testing.T, token wire.Token) (port uint16, ended <-chan error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pod.yaml"), []byte("name: cart\nenv: {A: b}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := target.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		done <- (&door.Door{Hash: token.Hash(), Lease: time.Minute, Serve: func(ctx context.Context, requests, bulk net.Conn) error {
			return serve.Serve(ctx, requests, bulk, d)
		}}).Run(ctx, listener)
		close(done)
	}()
	t.Cleanup(func() { cancel(); <-done; d.Close() })
	return uint16(listener.Addr().(*net.TCPAddr).Port), done
}

// An API server that does not know WebSockets is asked by SPDY.
func TestForwardFallsBack(t *testing.T) {
	s, token := startServer(t), wire.NewToken()
	port, ended := startAgent(t, token)
	requests, bulk, err := s.agent(t, port, token).Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	link, err := wire.NewLink(t.Context(), requests, bulk, "session-1")
	if err != nil {
		t.Fatal(err)
	}
	reply, err := link.Do(t.Context(), &wire.Request{Op: wire.OpEnv})
	if err != nil || reply.Env["A"] != "b" || link.Agent().Name != "cart" {
		t.Errorf("%+v, %v", reply, err)
	}
	if err := link.Goodbye(); err != nil {
		t.Error(err)
	}
	link.Close()
	if err := <-ended; err != nil {
		t.Errorf("the agent after the goodbye: %v", err)
	}
	got := map[string]int{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.asked {
		got[a]++
	}
	if got["GET websocket"] != 2 || got["POST SPDY/3.1"] != 2 || len(got) != 2 {
		t.Errorf("asked %v", got)
	}
}

func TestForwardFaults(t *testing.T) {
	s, token := startServer(t), wire.NewToken()
	port, _ := startAgent(t, token)
	if _, _, err := s.agent(t, port, wire.NewToken()).Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "does not admit") {
		t.Errorf("a wrong token: %v", err)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody, _ := strconv.ParseUint(closed.Addr().String()[len("127.0.0.1:"):], 10, 16)
	closed.Close()
	if _, _, err := s.agent(t, uint16(nobody), token).Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a port where nobody listens: %v", err)
	}
	a := s.agent(t, port, token)
	a.pod = "gone"
	if _, _, err := a.Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot forward a port of the pod gone") {
		t.Errorf("a pod that is not there: %v", err)
	}
	a = s.agent(t, port, token)
	requests, bulk, err := a.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	link, err := wire.NewLink(t.Context(), requests, bulk, "session-1")
	if err != nil {
		t.Fatal(err)
	}
	requests.Close()
	<-link.Done()
	link.Close()
}
