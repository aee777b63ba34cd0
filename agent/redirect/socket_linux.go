package redirect

import (
	"context"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/sockdiag"
)

var engines = []func(Network) (engine, error){openSkLookup, openNFT}

// listen opens a listener for both families, or for IPv4 where there is no IPv6. Its own address does not matter.
func listen() (*net.TCPListener, error) {
	dual := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0) }); cerr != nil {
			return cerr
		}
		return err
	}}
	var single net.ListenConfig
	// The kernel directs connections to no listener of MPTCP.
	dual.SetMultipathTCP(false)
	single.SetMultipathTCP(false)
	l, err := dual.Listen(context.Background(), "tcp6", "[::]:0")
	if err != nil {
		l, err = single.Listen(context.Background(), "tcp4", "0.0.0.0:0")
	}
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

// settleTime limits how long a handshake may take that had begun before the redirection ended: what got lost of it is sent again after 1 and 3 s.
const settleTime = 5 * time.Second

// settle waits until nothing is under way to a listener that gets no new connections.
func settle(n Network, l *net.TCPListener, port uint16) error {
	grace()
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	own := uint16(l.Addr().(*net.TCPAddr).Port)
	var begun map[sockdiag.Ends]bool
	for deadline := time.Now().Add(settleTime); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var now map[sockdiag.Ends]bool
		if n.Do(func() (err error) { now, err = connections(sockdiag.SynReceived); return }) != nil {
			continue // a kernel that does not tell: as long as one may take
		}
		if begun == nil {
			begun = now // later ones are not ours
		}
		for h := range begun {
			if !now[h] || h.Local.Port() != port && h.Local.Port() != own {
				delete(begun, h)
			}
		}
		if len(begun) == 0 {
			break
		}
	}
	grace() // a connection whose handshake has ended is on its way into the queue
	for {
		var info *unix.TCPInfo
		if cerr := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); cerr != nil {
			return cerr
		}
		if err != nil || info.Unacked == 0 { // of a listener: the length of its queue (tcp(7) does not say; tcp_get_info does)
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// grace waits until every packet that the kernel was working on is dealt with.
func grace() {
	const global = 1 // MEMBARRIER_CMD_GLOBAL of linux/membarrier.h, which is an RCU grace period
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, global, 0, 0); errno != 0 {
		time.Sleep(50 * time.Millisecond)
	}
}
