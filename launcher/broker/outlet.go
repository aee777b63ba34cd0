package broker

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"mirrord/agent/wire"
)

// outlet is a UDP socket of the broker's to which one of the program's is connected. While it is shut, what the program sends is refused by the kernel,
// and the program sees ECONNREFUSED.
type outlet struct {
	at netip.AddrPort

	mu       sync.Mutex
	conn     *net.UDPConn  // nil while shut and when closed
	reopen   *time.Timer   // while shut
	opened   chan struct{} // closed when a shut outlet is opened or closed
	finished bool
	closed   bool
}

// newOutlet opens an outlet on a free port of ip.
func newOutlet(ip netip.Addr) (*outlet, error) {
	o := &outlet{at: netip.AddrPortFrom(ip, 0), opened: make(chan struct{})}
	if err := o.open(); err != nil {
		return nil, err
	}
	o.at = o.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return o, nil
}

// open opens the socket at o.at. o.mu is held, or nobody else has o yet.
func (o *outlet) open() (err error) {
	network := "udp4"
	if o.at.Addr().Is6() {
		network = "udp6"
	}
	o.conn, err = net.ListenUDP(network, net.UDPAddrFromAddrPort(o.at))
	return err
}

// receive waits for a datagram, also while the outlet is shut. The error tells that it is closed, or was finished and has no more.
func (o *outlet) receive() (*wire.Datagram, netip.AddrPort, error) {
	for {
		o.mu.Lock()
		conn, opened, finished, closed := o.conn, o.opened, o.finished, o.closed
		o.mu.Unlock()
		switch {
		case closed || finished && conn == nil:
			return nil, netip.AddrPort{}, net.ErrClosed
		case conn == nil:
			<-opened
			continue
		}
		raw, err := conn.SyscallConn()
		if err != nil {
			return nil, netip.AddrPort{}, err
		}
		if finished {
			return wire.PendingDatagram(raw)
		}
		if d, from, err := wire.ReceiveDatagram(raw); err == nil {
			return d, from, nil
		}
		o.mu.Lock()
		again := o.finished || o.closed || o.conn != conn
		o.mu.Unlock()
		if !again {
			return nil, netip.AddrPort{}, os.ErrInvalid // no error is known that an unconnected socket could have
		}
	}
}

// send sends a datagram to the program. A shut outlet is opened: the pod answers again.
func (o *outlet) send(p []byte, program netip.AddrPort) {
	o.mu.Lock()
	if o.conn == nil {
		o.unshut()
	}
	conn := o.conn
	o.mu.Unlock()
	if conn != nil {
		conn.WriteToUDPAddrPort(p, program) // as with any datagram, nobody promises that it arrives
	}
}

// shut closes the socket for a time.
func (o *outlet) shut(limit time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.conn == nil || o.finished {
		return
	}
	o.conn.Close()
	o.conn = nil
	o.reopen = time.AfterFunc(limit, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.unshut()
	})
}

// unshut opens a shut outlet, unless somebody else has its address now. o.mu is held.
func (o *outlet) unshut() {
	if o.conn != nil || o.closed || o.reopen == nil {
		return
	}
	o.reopen.Stop()
	o.reopen = nil
	if o.open() != nil {
		o.conn, o.closed = nil, true
	}
	close(o.opened)
	o.opened = make(chan struct{})
}

// finish has receive return what is there, and then an error.
func (o *outlet) finish() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.finished = true
	if o.conn != nil {
		o.conn.SetReadDeadline(time.Unix(1, 0))
	}
	close(o.opened)
	o.opened = make(chan struct{})
}

// close may be called more than once.
func (o *outlet) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.closed = true
	if o.reopen != nil {
		o.reopen.Stop()
	}
	if o.conn != nil {
		o.conn.Close()
		o.conn = nil
	}
	close(o.opened)
	o.opened = make(chan struct{})
}
