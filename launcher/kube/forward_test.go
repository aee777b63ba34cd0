package kube_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/streaming/pkg/httpstream"

	"mirrord/launcher/kube/kubetest"
)

// echo says what it is told, at a port of this machine.
func echo(t *testing.T) uint16 {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn)
			}()
		}
	}()
	return uint16(listener.Addr().(*net.TCPAddr).Port)
}

// An API server that does not know WebSockets is asked by SPDY, whether the port is known when it is dialled or later.
func TestForwardFallsBack(t *testing.T) {
	s, port := kubetest.StartServer(t), echo(t)
	c := s.Cluster(t)
	ahead, err := c.Dial(t.Context(), "cart")
	if err != nil {
		t.Fatal(err)
	}
	for _, dialled := range []httpstream.Connection{nil, ahead} {
		conn, err := c.Forward(t.Context(), dialled, "cart", port)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len("hello"))
		if _, err := io.WriteString(conn, "hello"); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
			t.Errorf("%q, %v", got, err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff(map[string]int{"GET websocket": 2, "POST SPDY/3.1": 2}, s.Asked()); diff != "" {
		t.Error(diff)
	}
}

func TestForwardFaults(t *testing.T) {
	c := kubetest.StartServer(t).Cluster(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := uint16(closed.Addr().(*net.TCPAddr).Port)
	closed.Close()
	conn, err := c.Forward(t.Context(), nil, "cart", nobody)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a port where nobody listens: %v", err)
	}
	conn.Close()
	if _, err := c.Forward(t.Context(), nil, "gone", nobody); err == nil || !strings.Contains(err.Error(), "cannot forward a port of the pod gone") {
		t.Errorf("a pod that is not there: %v", err)
	}
}

// What the API server refuses is told in its own words, with what to do about it.
func TestForwardRefused(t *testing.T) {
	for _, tt := range []struct {
		reason metav1.StatusReason
		code   int
		want   string
	}{
		{metav1.StatusReasonForbidden, http.StatusForbidden, "your user may not create pods/portforward in the namespace shop of context old\nhint: ask for a Role"},
		{metav1.StatusReasonUnauthorized, http.StatusUnauthorized, "hint: your login has expired"},
		{metav1.StatusReasonNotFound, http.StatusNotFound, "cannot forward a port of the pod cart: "},
		{metav1.StatusReasonInternalError, http.StatusInternalServerError, "cannot forward a port of the pod cart: unable to upgrade connection: "},
	} {
		_, err := kubetest.StartRefusing(t, tt.reason, tt.code).Cluster(t).Dial(t.Context(), "cart")
		if err == nil || !strings.Contains(err.Error(), tt.want) || apierrors.IsNotFound(err) != (tt.code == http.StatusNotFound) {
			t.Errorf("%s: %v", tt.reason, err)
		}
	}
}
