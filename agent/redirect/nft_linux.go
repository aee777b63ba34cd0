package redirect

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/agent/sockdiag"
)

const (
	// nftName begins the names of our tables.
	nftName = "mirrord-"
	// nftMark is the mark (SO_MARK) of connections that are let through: "mird".
	nftMark = 0x6d697264
	// nftPriority is behind the rules of others that redirect (-100): a service mesh takes connections first, as it does before sk_lookup, and what it then passes
	// to the port is directed.
	nftPriority = -99
)

// nft is the engine for pods where there is no sk_lookup: rules that redirect what begins a connection.
//
// Each port has a table of its own. It belongs to our socket (the owner flag, since Linux 5.12): the kernel takes it away when the socket is closed, by whatever end of the
// process, and keeps others from changing it or from making one of that name, so it says to other agents, too, that the port is taken. One more table, without a port that
// anybody could use, lives as long as the engine. With the last such table the kernel would end its translation of addresses, which resets the connections that were
// redirected; with the engine they end anyway.
//
// Only a connection's first packet is redirected: the kernel begins to follow connections with the first table, and takes the next packet of each for its first.
type nft struct {
	network Network

	mu     sync.Mutex
	socket int      // netlink, in the namespace; -1: closed
	ports  []uint16 // of listeners
}

// openNFT tries whether the kernel has all that rules need and lets us make them.
func openNFT(ns Network) (engine, error) {
	e := &nft{network: ns, socket: -1}
	err := ns.Do(func() (err error) {
		e.socket, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("nftables: %s: %w", errNoNFT, err)
	}
	if err := e.openTable(); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

// openTable makes the table that lives as long as the engine.
func (e *nft) openTable() error {
	if err := unix.Bind(e.socket, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	own, err := unix.Getsockname(e.socket)
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	id := own.(*unix.SockaddrNetlink).Pid // unique in the namespace
	name := nftName + "agent-" + strconv.FormatUint(uint64(id), 10)
	// The kernel follows the connections of a family for as long as a rule is about it.
	if err = commit(e.socket, nftTable(name, 0, map[byte]uint16{unix.NFPROTO_IPV4: 0, unix.NFPROTO_IPV6: 0})...); err != nil { // it may be without IPv6
		err = commit(e.socket, nftTable(name, 0, map[byte]uint16{unix.NFPROTO_IPV4: 0})...)
	}
	if err != nil {
		return fmt.Errorf("nftables: %w", explainNFT(err))
	}
	return nil
}

// What a kernel may lack, or refuse.
const (
	errNoNFT    = "the node's kernel has no nf_tables, or not all of it (nat, fib)"
	errNoOwner  = "the node's kernel cannot take rules away with the process that made them (it is older than 5.12)"
	errNoRights = "the agent may not change the rules of the pod's network (it lacks CAP_NET_ADMIN)"
)

// explainNFT says what the kernel's refusal of a first table means.
func explainNFT(err error) error {
	var refused *refusedError
	if !errors.As(err, &refused) {
		return err
	}
	switch {
	case refused.errno == unix.EPERM:
		return fmt.Errorf("%s: %w", errNoRights, err)
	case refused.kind == unix.NFT_MSG_NEWTABLE && (refused.errno == unix.EINVAL || refused.errno == unix.EOPNOTSUPP):
		return fmt.Errorf("%s: %w", errNoOwner, err)
	case refused.errno == unix.ENOENT || refused.errno == unix.EOPNOTSUPP:
		return fmt.Errorf("%s: %w", errNoNFT, err)
	}
	return err
}

// portTable is the name of a port's table.
func portTable(port uint16) string { return nftName + "port-" + strconv.Itoa(int(port)) }

// add fails with EADDRINUSE when this or another agent has the port. A listener must be bound to all addresses, for a connection's stays; it must not be one
// of MPTCP, whose connections do not tell which port they were made to.
func (e *nft) add(port uint16, listeners []*net.TCPListener) error {
	to := make(map[byte]uint16)
	for _, l := range listeners {
		at := l.Addr().(*net.TCPAddr)
		if !at.IP.IsUnspecified() {
			return fmt.Errorf("nftables: a listener at %s: %w", at, syscall.EADDRNOTAVAIL)
		}
		families, err := families(l)
		if err != nil {
			return err
		}
		for _, family := range families {
			to[family] = uint16(at.Port)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, listener := range to {
		if !slices.Contains(e.ports, listener) {
			e.ports = append(e.ports, listener)
		}
	}
	err := commit(e.socket, nftTable(portTable(port), port, to)...)
	var refused *refusedError
	if errors.As(err, &refused) && refused.kind == unix.NFT_MSG_NEWTABLE && (refused.errno == unix.EPERM || refused.errno == unix.EEXIST) {
		return fmt.Errorf("nftables: port %d is redirected already, by this or another agent in the pod: %w", port, syscall.EADDRINUSE)
	}
	if err != nil {
		return fmt.Errorf("nftables: port %d: %w", port, err)
	}
	return nil
}

// families are those whose connections a listener takes.
func families(l *net.TCPListener) (families []byte, err error) {
	if l.Addr().(*net.TCPAddr).IP.To4() != nil {
		return []byte{unix.NFPROTO_IPV4}, nil
	}
	raw, err := l.SyscallConn()
	if err != nil {
		return nil, err
	}
	var only int
	failed := raw.Control(func(fd uintptr) { only, err = unix.GetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_V6ONLY) })
	if err := errors.Join(failed, err); err != nil {
		return nil, err
	}
	if only == 1 {
		return []byte{unix.NFPROTO_IPV6}, nil
	}
	return []byte{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6}, nil
}

// remove leaves the connections that were redirected as they are.
func (e *nft) remove(port uint16) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := commit(e.socket, nftDelete(portTable(port))); err != nil {
		return fmt.Errorf("nftables: port %d: %w", port, err)
	}
	return nil
}

// original asks the kernel's table of connections. It is an error that a connection was made to the listener itself.
func (e *nft) original(c *net.TCPConn) (Origin, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Origin{}, err
	}
	listener, remote := c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort()
	var local netip.AddrPort
	failed := raw.Control(func(fd uintptr) {
		if listener.Addr().Unmap().Is4() {
			local, err = original4(int(fd))
		} else {
			local, err = original6(int(fd))
		}
	})
	if err := errors.Join(failed, err); err != nil {
		return Origin{}, fmt.Errorf("the address that a connection was made to: %w", err)
	}
	if local.Port() == listener.Port() {
		return Origin{}, fmt.Errorf("a connection from %s was made to the agent itself, not redirected to it", remote)
	}
	return Origin{Local: local, Remote: netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())}, nil
}

// original4 reads a sockaddr_in through a structure that is long enough.
func original4(fd int) (netip.AddrPort, error) {
	raw, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, unix.SO_ORIGINAL_DST)
	if err != nil {
		return netip.AddrPort{}, err
	}
	b := raw.Multiaddr // family, port, address
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), uint16(b[2])<<8|uint16(b[3])), nil
}

// original6 reads a sockaddr_in6, with which the structure begins. IP6T_SO_ORIGINAL_DST has the number of SO_ORIGINAL_DST.
func original6(fd int) (netip.AddrPort, error) {
	raw, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, unix.SO_ORIGINAL_DST)
	if err != nil {
		return netip.AddrPort{}, err
	}
	addr := netip.AddrFrom16(raw.Addr.Addr)
	if zone := raw.Addr.Scope_id; zone != 0 {
		addr = addr.WithZone(strconv.FormatUint(uint64(zone), 10))
	}
	return netip.AddrPortFrom(addr, networkOrder(raw.Addr.Port)), nil
}

// exempt marks the socket; there is nothing to release.
func (e *nft) exempt(fd int, o Origin) (release func(), err error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, nftMark); err != nil {
		return nil, fmt.Errorf("the mark of a connection that is let through: %w", err)
	}
	// The port is chosen when the socket is connected: any that no other connection to the same program has.
	if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return nil, fmt.Errorf("binding to %s: %w", o.Local.Addr(), err)
	}
	if err := unix.Bind(fd, sockaddr(o.Local.Addr())); err != nil {
		return nil, fmt.Errorf("binding to %s: %w", o.Local.Addr(), err)
	}
	return func() {}, nil
}

// sockaddr is an address with any port.
func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	zone, _ := strconv.ParseUint(a.Zone(), 10, 32) // a number: original made it
	return &unix.SockaddrInet6{Addr: a.As16(), ZoneId: uint32(zone)}
}

// flushTime limits how long close waits for connections to end, and flushStep is between two looks.
const (
	flushTime = 2 * time.Second
	flushStep = 5 * time.Millisecond
)

// close ends all redirections. Connections that were redirected get flushTime to end, for the kernel sends nothing more on them afterwards; those that have not are reset.
func (e *nft) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.socket < 0 {
		return nil
	}
	e.network.Do(func() error {
		for deadline := time.Now().Add(flushTime); len(e.ports) > 0 && time.Now().Before(deadline) && e.busy(); time.Sleep(flushStep) {
		}
		return nil
	})
	err := unix.Close(e.socket)
	e.socket = -1
	return err
}

// busy says whether a connection that was redirected may have something to send, in this thread's namespace; it may where the kernel does not tell.
func (e *nft) busy() bool {
	found, err := connections(sockdiag.WithBytes)
	for c := range found {
		if slices.Contains(e.ports, c.Local.Port()) {
			return true
		}
	}
	return err != nil
}
