package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"mirrord/agent/links"
)

// Dir is a pod directory: pod.yaml and rootfs/, served on this machine.
type Dir struct {
	path  string // absolute
	pod   *pod
	root  *os.File
	ports map[uint16]*dirPort
}

// OpenDir reads path/pod.yaml, opens path/rootfs if there is one, and opens every listen address of the ports. The error tells all faults of the
// file, each with its line and column.
func OpenDir(path string) (*Dir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	p, err := readPod(path)
	if err != nil {
		return nil, err
	}
	d := &Dir{path: path, pod: p, ports: make(map[uint16]*dirPort)}
	if d.root, err = openRoot(filepath.Join(path, "rootfs")); err != nil {
		return nil, err
	}
	for number, spec := range p.ports {
		opened, err := openDirPort(number, spec)
		if err != nil {
			d.Close()
			return nil, fmt.Errorf("%s: %w", filepath.Join(path, podFile), err)
		}
		d.ports[number] = opened
	}
	return d, nil
}

// openRoot opens a directory; a missing one is nil without an error.
func openRoot(path string) (*os.File, error) {
	switch info, err := os.Stat(path); {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("the pod's files: %w", err)
	case !info.IsDir():
		return nil, fmt.Errorf("%s is not a directory\nhint: rootfs holds the pod's files, as seen from its /", path)
	}
	root, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the pod's files: %w", err)
	}
	return root, nil
}

// Close ends the listeners and the connections that were passed to the pod's own programs, and returns when nothing is left. Connections that
// somebody took go on.
func (d *Dir) Close() error {
	var errs []error
	for _, p := range d.ports {
		errs = append(errs, p.Close())
	}
	if d.root != nil {
		errs = append(errs, d.root.Close())
	}
	return errors.Join(errs...)
}

// Name is pod.yaml's name, or the directory's where it has none.
func (d *Dir) Name() string { return d.pod.name }

// Hostname is pod.yaml's hostname, or the name.
func (d *Dir) Hostname() string { return d.pod.hostname }

// Capabilities is everything, and certificates if rootfs has any.
func (d *Dir) Capabilities() []string {
	all := []string{"env", "files", "names", "outgoing", "steal", "mirror"}
	if _, err := os.Lstat(filepath.Join(d.path, "rootfs/etc/ssl/certs")); err == nil {
		all = append(all, "certs")
	}
	return all
}

// Env is pod.yaml's env.
func (d *Dir) Env() (map[string]string, error) { return d.pod.env, nil }

// Root is rootfs, or nil.
func (d *Dir) Root() *os.File { return d.root }

// Hosts is pod.yaml's hosts.
func (d *Dir) Hosts() map[string][]netip.Addr { return d.pod.hosts }

// Resolver is this machine's, unless the pod is offline: then it finds nothing.
func (d *Dir) Resolver() Resolver {
	if d.pod.offline {
		return offline{}
	}
	return net.DefaultResolver
}

// Latency is the round trip that the link to the pod is to have: how far away the pod seems.
func (d *Dir) Latency() time.Duration { return d.pod.latency }

// ListenAddr is the address whose connections reach the pod's port, with the real port where pod.yaml asks for 0. It is the zero AddrPort for a port
// that pod.yaml does not list.
func (d *Dir) ListenAddr(number uint16) netip.AddrPort {
	if p := d.ports[number]; p != nil {
		return addrPort(p.listener.Addr())
	}
	return netip.AddrPort{}
}

// Dial follows the routes. An address that hosts names and no route leads to exists only in the pod's network: ECONNREFUSED. Any other is dialled
// from this machine, or refused too where the pod is offline and the address is not on this machine's loopback.
func (d *Dir) Dial(ctx context.Context, addr netip.AddrPort) (links.Conn, error) {
	to, err := d.follow("tcp", addr)
	if err != nil {
		return nil, err
	}
	return dialTCP(ctx, to)
}

// DialDatagrams is Dial for UDP, with routes of their own.
func (d *Dir) DialDatagrams(ctx context.Context, addr netip.AddrPort) (*net.UDPConn, error) {
	to, err := d.follow("udp", addr)
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "udp", to.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// DialUnix follows the routes, which lead to sockets of this machine. A path without one is rootfs's; an abstract name without one nobody has.
func (d *Dir) DialUnix(ctx context.Context, name string, wait bool) (links.Conn, error) {
	dial := new(net.Dialer).DialContext
	if to, ok := d.pod.unixRoutes[name]; ok {
		if !strings.HasPrefix(to, "@") && !filepath.IsAbs(to) {
			to = filepath.Join(d.path, to)
		}
		return dialUnix(ctx, dial, to, wait)
	}
	if strings.HasPrefix(name, "@") {
		return nil, fmt.Errorf("pod.yaml has no route to %q: %w", name, syscall.ECONNREFUSED)
	}
	return DialUnix(ctx, dial, d.root, name, wait)
}

// follow returns where an address of the pod's network really is.
func (d *Dir) follow(network string, addr netip.AddrPort) (netip.AddrPort, error) {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	if to, ok := d.pod.routes[route{network, addr}]; ok {
		return to, nil
	}
	if d.pod.named[addr.Addr()] {
		return addr, fmt.Errorf("%s is in the pod's network and pod.yaml has no route to it: %w", addr, syscall.ECONNREFUSED)
	}
	if d.pod.offline && !addr.Addr().IsLoopback() {
		return addr, fmt.Errorf("the pod is offline and its pod.yaml has no route to %s: %w", addr, syscall.ECONNREFUSED)
	}
	return addr, nil
}

// offline is the resolver of a pod without a network.
type offline struct{}

func (offline) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	return nil, notThere(host)
}

func (offline) LookupAddr(_ context.Context, addr string) ([]string, error) {
	return nil, notThere(addr)
}

func notThere(name string) error {
	return &net.DNSError{Err: "the pod is offline and hosts of its pod.yaml does not have it", Name: name, IsNotFound: true}
}

// namePort is where name servers listen.
const namePort = 53

// IsNameServer: every port 53 without a route is the pod's name server.
func (d *Dir) IsNameServer(network string, addr netip.AddrPort) bool {
	_, routed := d.pod.routes[route{network, netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())}]
	return addr.Port() == namePort && !routed
}

// dialTCP returns a connection without Nagle's delay, net's default.
func dialTCP(ctx context.Context, addr netip.AddrPort) (links.Conn, error) {
	// The program asked for no keepalive, and it costs four system calls.
	dialer := net.Dialer{KeepAlive: -1}
	// Not dialer.DialTCP: it binds to an address it was not given, and bound ports in TIME_WAIT run out after 28,000 connections.
	conn, err := dialer.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// Steal takes a port of pod.yaml.
func (d *Dir) Steal(number uint16, _ string, take func(Incoming) bool) (io.Closer, error) {
	p := d.ports[number]
	if p == nil {
		return nil, fmt.Errorf("pod.yaml lists no port %d: %w", number, syscall.EADDRNOTAVAIL)
	}
	return p.Steal(take)
}

// CheckMirror says whether those ports of pod.yaml that are wanted can be mirrored. An error tells all that have no app, with line and column.
func (d *Dir) CheckMirror(wanted func(port uint16) bool) error {
	wrong := &FileError{Path: filepath.Join(d.path, podFile)}
	for number, f := range d.pod.unserved {
		if wanted(number) {
			wrong.Faults = append(wrong.Faults, f)
		}
	}
	if len(wrong.Faults) == 0 {
		return nil
	}
	sortFaults(wrong.Faults)
	return wrong
}

// Mirror watches a port of pod.yaml that has an app.
func (d *Dir) Mirror(number uint16, _ string, see func(*Copy)) (io.Closer, error) {
	p := d.ports[number]
	if p == nil {
		return nil, fmt.Errorf("pod.yaml lists no port %d: %w", number, syscall.EADDRNOTAVAIL)
	}
	if !p.app.IsValid() {
		return nil, fmt.Errorf("pod.yaml names no app of port %d, so there is nothing to mirror: %w", number, syscall.ESRCH)
	}
	return p.Mirror(see)
}
