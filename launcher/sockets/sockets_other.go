//go:build !linux

package sockets

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

// Open reports whether a socket listens there.
func (l Listener) Open() bool { return l.occupied() }

// Inodes and Listening are of Linux.
func (l Listener) Inodes() []uint32 { return nil }

func Listening(uint16) (map[netip.AddrPort][]uint32, error) { return nil, errors.ErrUnsupported }

// Accepted is of Linux: elsewhere nobody tells whether a program has accepted a connection.
func Accepted(context.Context, *net.TCPConn, Listener, []uint32, time.Duration) bool { return true }

// UDP is a UDP socket of this machine.
type UDP struct{ Local netip.AddrPort }

// EachUDP visits the UDP sockets of this machine; false when the system does not tell them.
func EachUDP(func(UDP)) bool { return false }

// UDPPeers are the addresses to which UDP sockets of this machine are connected; false when the system does not tell.
func UDPPeers() (map[netip.AddrPort]struct{}, bool) { return nil, false }

// OwnsUDP says whether this process or one below it has a UDP socket at a port; that is not known here.
func OwnsUDP(uint16) bool { return false }

// Handshake could hold a non-blocking connect in progress; outside Linux it is not shown yet that a simultaneous open does. Without it the program's
// socket connects at once and is reset if the other side fails.
type Handshake struct{ Addr netip.AddrPort }

// NewHandshake has no error, and makes none.
func NewHandshake(netip.Addr) (*Handshake, error)           { return nil, nil }
func (h *Handshake) Establish(uint16) (*net.TCPConn, error) { panic("no handshake is ever made") }
func (h *Handshake) Close()                                 {}

// LoopbackNetwork is the one address of 127.0.0.0/8 that every system has.
func LoopbackNetwork() netip.Prefix { return netip.PrefixFrom(Loopback(false), 32) }
