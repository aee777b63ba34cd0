package kubetest

import (
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"mirrord/launcher/kube"
)

// Server is an API server that knows port-forwards alone.
type Server struct {
	http  *httptest.Server
	mu    sync.Mutex
	asked map[string]int // nil: nobody counts
}

// StartServer starts one that forwards by SPDY only, to ports of this machine as those of the pod cart in the namespace shop. Its connections end with the test.
func StartServer(t *testing.T) *Server {
	s := &Server{asked: map[string]int{}}
	s.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked[r.Method+" "+r.Header.Get("Upgrade")]++
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
	t.Cleanup(s.http.CloseClientConnections)
	return s
}

// StartRefusing starts one that refuses port-forwards for a reason, and whatever else it is asked as forbidden. It ends with the test.
func StartRefusing(t *testing.T, reason metav1.StatusReason, code int) *Server {
	s := new(Server)
	s.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonForbidden, Code: http.StatusForbidden}
		if strings.HasSuffix(r.URL.Path, "/portforward") {
			status.Reason, status.Code = reason, int32(code)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(int(status.Code))
		_ = json.NewEncoder(w).Encode(status)
	}))
	t.Cleanup(s.http.Close)
	return s
}

// Cluster is access to the server.
func (s *Server) Cluster(t *testing.T) *kube.Cluster {
	t.Helper()
	config := &rest.Config{Host: s.http.URL}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &kube.Cluster{Config: config, Client: client, Namespace: "shop", Server: s.http.URL, Context: "old"}
}

// Asked is how often a server that forwards was asked, by method and protocol, such as "GET websocket".
func (s *Server) Asked() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.asked)
}
