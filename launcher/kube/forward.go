package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	constants "k8s.io/apimachinery/pkg/util/portforward"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/transport/websocket"
	"k8s.io/streaming/pkg/httpstream"
	spdystream "k8s.io/streaming/pkg/httpstream/spdy"
)

// Forward connects to a port of a pod's loopback through the API server, over a connection that Dial has made to the same pod, which is the forward's from then on, or a
// new one for nil. What it returns knows no deadlines. That nobody listens at the port is told by its first Read.
func (c *Cluster) Forward(ctx context.Context, conn httpstream.Connection, pod string, port uint16) (net.Conn, error) {
	if conn != nil {
		if stream, err := newForwarded(conn, port); err == nil {
			return stream, nil
		}
		conn.Close() // it was lost meanwhile
	}
	conn, err := c.Dial(ctx, pod)
	if err != nil {
		return nil, err
	}
	stream, err := newForwarded(conn, port)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("cannot forward port %d of the pod %s: %w", port, pod, err)
	}
	return stream, nil
}

// Dial connects to the API server for a forward to a pod; which port that will be is said to Forward. Where there is no such pod, apierrors.IsNotFound knows the error.
func (c *Cluster) Dial(ctx context.Context, pod string) (httpstream.Connection, error) {
	type result struct {
		conn httpstream.Connection
		err  error
	}
	dialled := make(chan result, 1)
	go func() {
		conn, err := c.dialEither(ctx, pod)
		dialled <- result{conn, err}
	}()
	select {
	case r := <-dialled:
		if r.err != nil {
			return nil, c.Explain(r.err, "forward a port of the pod "+pod, "create", "pods/portforward")
		}
		return r.conn, nil
	case <-ctx.Done():
		go func() { // the old way of dialling knows no context
			if r := <-dialled; r.err == nil {
				r.conn.Close()
			}
		}()
		return nil, c.Explain(ctx.Err(), "forward a port of the pod "+pod, "create", "pods/portforward")
	}
}

// dialEither dials by WebSocket, which passes more proxies, and by SPDY where the API server (before 1.31), or a proxy, knows only that.
func (c *Cluster) dialEither(ctx context.Context, pod string) (httpstream.Connection, error) {
	target := requestURL(c.Client, c.Namespace, pod)
	conn, _, err := webSocket{ctx, c.Config, target}.Dial(portforward.PortForwardProtocolV1Name)
	if !httpstream.IsUpgradeFailure(err) && !httpstream.IsHTTPSProxyError(err) {
		return conn, err
	}
	transport, upgrader, failed := spdy.RoundTripperFor(c.Config)
	if failed != nil {
		return nil, failed
	}
	conn, _, failed = spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, target).Dial(portforward.PortForwardProtocolV1Name)
	if failed == nil {
		return conn, nil
	}
	var refused *httpstream.UpgradeFailureError
	if errors.As(err, &refused) && (apierrors.IsForbidden(refused.Cause) || apierrors.IsNotFound(refused.Cause) || apierrors.IsUnauthorized(refused.Cause)) {
		return nil, refused.Cause // of which SPDY's dialer has a text alone
	}
	return nil, failed
}

// webSocket dials a WebSocket that carries SPDY, as portforward's own dialer does, and keeps the network connection below for closing.
type webSocket struct {
	ctx    context.Context // of the handshake
	config *rest.Config
	target *url.URL
}

func (d webSocket) Dial(protocols ...string) (httpstream.Connection, string, error) {
	transport, holder, err := websocket.RoundTripperFor(d.config)
	if err != nil {
		return nil, "", err
	}
	request, err := http.NewRequestWithContext(d.ctx, http.MethodGet, d.target.String(), nil)
	if err != nil {
		return nil, "", err
	}
	var tunnelled []string
	for _, p := range protocols {
		tunnelled = append(tunnelled, constants.WebsocketsSPDYTunnelingPrefix+p)
	}
	socket, err := websocket.Negotiate(transport, holder, request, tunnelled...)
	if err != nil {
		return nil, "", err
	}
	tunnel, err := spdystream.NewClientConnectionWithPings(portforward.NewTunnelingConnection("client", socket), portforward.PingPeriod)
	if err != nil {
		socket.Close()
		return nil, "", err
	}
	return tunnelling{tunnel, socket.NetConn()}, strings.TrimPrefix(socket.Subprotocol(), constants.WebsocketsSPDYTunnelingPrefix), nil
}

// tunnelling is closed from below: a farewell would wait for as long as a stalled network takes nothing.
type tunnelling struct {
	httpstream.Connection
	below io.Closer
}

func (t tunnelling) Close() error {
	return errors.Join(t.below.Close(), t.Connection.Close())
}

func requestURL(client kubernetes.Interface, namespace, pod string) *url.URL {
	return client.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
}

// forwarded is a connection to a port as a net.Conn. Closing it closes the whole port-forward, which carries nothing else.
type forwarded struct {
	httpstream.Stream
	conn httpstream.Connection
	port uint16

	mu     sync.Mutex
	reason string // what the far end said about the port
}

func newForwarded(conn httpstream.Connection, port uint16) (*forwarded, error) {
	headers := http.Header{}
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	headers.Set(corev1.PortHeader, strconv.Itoa(int(port)))
	headers.Set(corev1.PortForwardRequestIDHeader, "0")
	faults, err := conn.CreateStream(headers)
	if err != nil {
		return nil, err
	}
	faults.Close() // it is only read from
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := conn.CreateStream(headers)
	if err != nil {
		return nil, err
	}
	f := &forwarded{Stream: data, conn: conn, port: port}
	go func() { // ends with the connection
		text, _ := io.ReadAll(io.LimitReader(faults, 4096))
		if len(text) > 0 {
			f.mu.Lock()
			f.reason = strings.TrimSpace(string(text))
			f.mu.Unlock()
			conn.Close()
		}
	}()
	return f, nil
}

// Read tells why the port could not be reached, where the far end has said so.
func (f *forwarded) Read(p []byte) (int, error) {
	n, err := f.Stream.Read(p)
	if err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.reason != "" {
			err = errors.New(f.reason)
		}
	}
	return n, err
}

func (f *forwarded) Close() error {
	return f.conn.Close() // and with it the stream
}

func (f *forwarded) LocalAddr() net.Addr  { return forwardedAddr(0) }
func (f *forwarded) RemoteAddr() net.Addr { return forwardedAddr(f.port) }

func (*forwarded) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (*forwarded) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (*forwarded) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// forwardedAddr is a port of a pod.
type forwardedAddr uint16

func (forwardedAddr) Network() string  { return "portforward" }
func (a forwardedAddr) String() string { return strconv.Itoa(int(a)) }
