package pod

import (
	"strings"
	"testing"

	"mirrord/agent/startup"
)

var someProbes = []startup.Probe{{Port: 80, URI: "/healthz?x=1"}, {Port: 80, URI: "/ready", UserAgent: "our probe"}}

func TestProbed(t *testing.T) {
	for request, want := range map[string]bool{
		"GET /healthz?x=1 HTTP/1.1\r\nHost: 10.9.0.1:80\r\nUser-Agent: kube-probe/1.34\r\nAccept: */*\r\nConnection: close\r\n\r\n": true,
		"GET /ready HTTP/1.1\r\nHost: x\r\nuser-agent:our probe\r\n\r\n":                                                            true,
		"GET /ready HTTP/1.1\r\nHost: x\r\nUser-Agent: kube-probe/1.34\r\n\r\n":                                                     false,
		"GET /healthz?x=1 HTTP/1.1\r\nHost: x\r\nUser-Agent: curl/8\r\n\r\n":                                                        false,
		"GET /healthz HTTP/1.1\r\nUser-Agent: kube-probe/1.34\r\n\r\n":                                                              false,
		"GET /healthz?x=12 HTTP/1.1\r\nUser-Agent: kube-probe/1.34\r\n\r\n":                                                         false,
		"POST /healthz?x=1 HTTP/1.1\r\nUser-Agent: kube-probe/1.34\r\n\r\n":                                                         false,
		"GET /healthz?x=1 HTTP/1.1\r\nHost: x\r\n\r\nUser-Agent: kube-probe/1.3\r\n":                                                false,
		"\x16\x03\x01": false,
	} {
		if found, sure := probed([]byte(request), someProbes); found != want || !sure {
			t.Errorf("%q: %v, %v", request, found, sure)
		}
		// As it comes in, piece by piece, the answer does not change once it is sure.
		for i := range request {
			if found, sure := probed([]byte(request[:i]), someProbes); sure && found != want || !sure && found {
				t.Errorf("%q: %v, %v", request[:i], found, sure)
			}
		}
	}
}

func FuzzProbed(f *testing.F) {
	f.Add("GET /healthz?x=1 HTTP/1.1\r\nUser-Agent: kube-probe/1.34\r\n\r\n", 30)
	f.Add("GET /ready HTTP/1.1\r\nHost: x\r\nuser-agent:our probe\r\n\r\n", 5)
	f.Fuzz(func(t *testing.T, request string, cut int) {
		found, sure := probed([]byte(request), someProbes)
		if found && (!sure || !strings.HasPrefix(request, "GET ")) {
			t.Errorf("%q: %v, %v", request, found, sure)
		}
		early, surely := probed([]byte(request[:min(max(cut, 0), len(request))]), someProbes)
		if early != found && surely || surely && !sure {
			t.Errorf("%q: %v, %v, and before %v", request, found, sure, early)
		}
	})
}
