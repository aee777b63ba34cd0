package target

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"mirrord/agent/links"
	"mirrord/agent/sockdiag"
)

// dirPort is a port of a pod directory.
type dirPort struct {
	*Port
	*dirSource
}

// Close is the Port's.
func (p *dirPort) Close() error { return p.Port.Close() }

// dirSource is a listener on this machine for what is to reach the pod.
type dirSource struct {
	number   uint16
	app      netip.AddrPort // invalid: the pod has no program there
	listener net.Listener
}

func openDirPort(number uint16, spec portSpec) (*dirPort, error) {
	listener, err := net.Listen("tcp", spec.listen.String())
	if err != nil {
		return nil, fmt.Errorf("port %d: %w\nhint: %s", number, err, listenHint(err))
	}
	s := &dirSource{number, spec.app, listener}
	return &dirPort{OpenPort(s), s}, nil
}

func listenHint(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "another session (`mirrord session ls`) or program has this address; end it, or choose another listen address"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "listen must be an address of this machine, such as 127.0.0.1"
	case errors.Is(err, syscall.EACCES):
		return "ports below 1024 need a privileged user; choose a higher one"
	default:
		return "choose another listen address"
	}
}

// Accept is of Source. The listener's own port is not the pod's.
func (s *dirSource) Accept() (Arrival, error) {
	conn, err := s.listener.Accept()
	if err != nil {
		return Arrival{}, err
	}
	a := Arrival{Conn: conn.(*net.TCPConn), Remote: addrPort(conn.RemoteAddr())}
	a.Local = netip.AddrPortFrom(addrPort(conn.LocalAddr()).Addr(), s.number)
	if s.app.IsValid() {
		a.Dial = func(ctx context.Context) (links.Conn, error) { return dialTCP(ctx, s.app) }
	}
	return a, nil
}

// Unserved is of Observant. Who steals a port needs no program behind it.
func (d *Dir) Unserved(number uint16, steal bool) string {
	p := d.ports[number]
	if steal || p == nil || !p.app.Addr().IsLoopback() {
		return ""
	}
	served := false
	err := sockdiag.Each(sockdiag.Listen, p.app.Port(), func(s sockdiag.Socket) {
		served = served || s.Local.Addr() == p.app.Addr() || s.Local.Addr().IsUnspecified()
	})
	if err != nil || served {
		return ""
	}
	return fmt.Sprintf("nobody listens at %s, where pod.yaml has the program of the pod's port %d", p.app, number)
}

// Close is of Source.
func (s *dirSource) Close() error { return s.listener.Close() }

func addrPort(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
