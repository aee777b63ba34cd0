package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// asked counts what a proxy was asked for.
type asked struct {
	mu    sync.Mutex
	times map[string]int
}

func (a *asked) add(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.times == nil {
		a.times = map[string]int{}
	}
	a.times[what]++
}

func (a *asked) of(what string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.times[what]
}

// worksThrough runs a session that uses files and connections.
func worksThrough(t *testing.T, config string) {
	t.Helper()
	need(t, "curl")
	r := mirrord(t, "exec", "-n", namespace, "-t", "deployment/web", "-f", config, "--", "sh", "-c", "cat /srv/config/colour.txt; curl -sS http://db:8080; cat /srv/data/file")
	lines := strings.Split(r.out, "\n")
	if r.status != 0 {
		t.Fatalf("status %d\n%s", r.status, r.err)
	}
	compare(t, lines, []string{"blue", "db-0 ", "written by the pod", ""})
}

// A proxy that lets no WebSocket through leaves SPDY.
func TestSPDY(t *testing.T) {
	needCluster(t)
	for name, refuse := range map[string]func(http.ResponseWriter){
		"refused": func(w http.ResponseWriter) { http.Error(w, "no WebSockets here", http.StatusForbidden) },
		"not passed": func(w http.ResponseWriter) {
			http.Error(w, "unable to upgrade: unable to negotiate protocol", http.StatusBadRequest)
		},
		"a gateway": func(w http.ResponseWriter) { http.Error(w, "bad gateway", http.StatusBadGateway) },
	} {
		t.Run(name, func(t *testing.T) {
			server := apiServer(t)
			authority, err := base64.StdEncoding.DecodeString(view(t, ".clusters[0].cluster.certificate-authority-data"))
			if err != nil {
				t.Fatal(err)
			}
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(authority)
			pass := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "https", Host: server.address})
			pass.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: server.name}}
			pass.FlushInterval = -1
			var upgrades asked
			proxy := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				upgrade := strings.ToLower(r.Header.Get("Upgrade"))
				upgrades.add(upgrade)
				if upgrade == "websocket" {
					refuse(w)
					return
				}
				pass.ServeHTTP(w, r)
			}))
			defer proxy.Close()
			worksThrough(t, kubeconfig(t, append(login("--token", tokenOf(t, "developer")),
				[]string{"set-cluster", server.cluster, "--server", proxy.URL, "--tls-server-name", "example.com", "--certificate-authority", write(t, "ca.crt", certificateOf(proxy)), "--embed-certs"})...))
			if upgrades.of("websocket") == 0 || upgrades.of("spdy/3.1") < 2 {
				t.Errorf("asked for %v", upgrades.times)
			}
		})
	}
}

// proxy-url: the kubeconfig's proxy is asked for everything, port-forwards too; nothing else knows the API server's name.
func TestProxy(t *testing.T) {
	needCluster(t)
	server := apiServer(t)
	var names asked
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		names.add(r.Method + " " + r.Host)
		if r.Method != http.MethodConnect || r.Host != "kubernetes.invalid:443" {
			http.Error(w, "nothing but the API server", http.StatusForbidden)
			return
		}
		far, err := net.Dial("tcp", server.address)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer far.Close()
		w.WriteHeader(http.StatusOK)
		near, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer near.Close()
		go func() {
			io.Copy(far, buffered)
			far.Close()
		}()
		io.Copy(near, far)
	}))
	defer proxy.Close()
	worksThrough(t, kubeconfig(t, []string{"set-cluster", server.cluster, "--server", "https://kubernetes.invalid", "--tls-server-name", server.name, "--proxy-url", proxy.URL}))
	if n := names.of("CONNECT kubernetes.invalid:443"); n < 3 || len(names.times) != 1 {
		t.Errorf("asked for %v", names.times)
	}
}
