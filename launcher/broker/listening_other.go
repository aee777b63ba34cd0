//go:build !linux

package broker

import (
	"errors"
	"net/netip"
)

// listening reports whether a socket listens there.
func (s boundSock) listening() bool { return s.occupied() }

// sockets and listeningAddrs are of Linux.
func (s boundSock) sockets() []uint32 { return nil }

func listeningAddrs(uint16) (map[netip.AddrPort][]uint32, error) { return nil, errors.ErrUnsupported }
