//go:build !linux

package redirect

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
)

var engines = []func(Network) (engine, error){func(Network) (engine, error) { return nil, errLinux }}

var errLinux = errors.New("connections are redirected on Linux only")

func listen() (*net.TCPListener, error) { return nil, errLinux }

func settle(Network, *net.TCPListener, uint16) error { return errLinux }

type diag struct{}

func openDiag(Network) (*diag, error) { return nil, errLinux }

func (*diag) close() error { return nil }

func (*diag) forget(_, _ netip.AddrPort, _ uint64) {}

func cookie(syscall.Conn) uint64 { return 0 }
