// Package sockdiag asks the kernel for TCP sockets, which disturbs nobody. Unlike /proc/net/tcp it tells only of those that were asked for: a busy port has tens of thousands
// in TIME_WAIT. Not every kernel answers.
package sockdiag

import "net/netip"

// Ends are the addresses of a socket's end of a connection. One that listens has no Remote: its port is 0.
type Ends struct{ Local, Remote netip.AddrPort }

// Socket is one socket.
type Socket struct {
	Ends
	State States // one bit
	Inode uint32 // 0: no process has it, as it was not accepted yet, or not any more
}

// States is a set of TCP's states, bits by their numbers in linux/tcp_states.h.
type States uint32

// The states that are asked for.
const (
	Established States = 1 << 1
	SynReceived States = 1 << 3
	Closed      States = 1 << 7
	CloseWait   States = 1 << 8
	Listen      States = 1 << 10
	// WithBytes are those in which an end may have something to send: all but FIN_WAIT2, TIME_WAIT, CLOSE and LISTEN.
	WithBytes = Established | 1<<2 | SynReceived | 1<<4 | CloseWait | 1<<9 | 1<<11
)
