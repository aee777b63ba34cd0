package kube_test

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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
