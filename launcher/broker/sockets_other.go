//go:build !linux

package broker

import "net/netip"

// udpSocket is a UDP socket of this machine.
type udpSocket struct{ local netip.AddrPort }

// eachDatagramSocket visits the UDP sockets of this machine; false when the system does not tell them.
func eachDatagramSocket(func(udpSocket)) bool { return false }

// datagramPeers are the addresses to which UDP sockets of this machine are connected; false when the system does not tell.
func datagramPeers() (map[netip.AddrPort]struct{}, bool) { return nil, false }

// ownsDatagrams says whether a process of the session has a UDP socket at a port; that is not known here.
func ownsDatagrams(uint16) bool { return false }
