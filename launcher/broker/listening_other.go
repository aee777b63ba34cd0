//go:build !linux

package broker

import (
	"errors"
	"net/netip"
)

// listening reports whether a socket listens there.
func (s boundSock) listening() bool { return s.occupied() }

// listeningAddrs is of Linux.
func listeningAddrs(uint16) (map[netip.AddrPort]bool, error) { return nil, errors.ErrUnsupported }
