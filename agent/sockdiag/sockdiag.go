// Package sockdiag asks the kernel for TCP sockets, which disturbs nobody. Unlike /proc/net/tcp it tells only of those that were asked for: a busy port has tens of thousands
// in TIME_WAIT.
package sockdiag

import "net/netip"

// Socket is one socket as its end of a connection sees it. One that listens has no Remote: its port is 0.
type Socket struct{ Local, Remote netip.AddrPort }

// States is a set of TCP's states, bits by their numbers in linux/tcp_states.h.
type States uint32

// The states that are asked for.
const (
	Listen      States = 1 << 10
	SynReceived States = 1 << 3
	// WithBytes are those in which an end may have something to send: all but FIN_WAIT2, TIME_WAIT, CLOSE and LISTEN.
	WithBytes = 1<<1 | 1<<2 | SynReceived | 1<<4 | 1<<8 | 1<<9 | 1<<11
)
