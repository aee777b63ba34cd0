//go:build linux && (amd64 || arm64)

package supervise

import (
	"encoding/binary"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"mirrord/launcher/rules"
	"mirrord/launcher/seccomp"
	"mirrord/layer/frame"
)

// namePort: name servers are the pod's where names are, whatever is said of other traffic; where names are not, they are this machine's.
const namePort = 53

// rawCall makes a system call about a socket with bytes of ours.
func rawCall(number uintptr, fd int, raw []byte) unix.Errno {
	_, _, errno := unix.Syscall(number, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(raw))), uintptr(len(raw)))
	return errno
}

// answer gives a call a result without a value.
func answer(c *seccomp.Call, errno unix.Errno) {
	if errno != 0 {
		c.Fail(errno)
		return
	}
	c.Return(0)
}

// connect: the program's own socket is connected to the broker.
func connect(t *Tree, c *seccomp.Call) {
	raw, to, err := readAddress(c, c.Args[1], c.Args[2])
	switch {
	case err == nil && binary.LittleEndian.Uint16(raw) == unix.AF_UNIX:
		t.connectUnix(c, raw[2:])
	case err == unix.EPERM || err == unix.EACCES:
		t.unreadable(c, err)
	case err != nil || !to.IsValid() || to.Port() == 0 || !t.leads(to) && !t.relayed.Load():
		c.Continue()
	default:
		go t.connectElsewhere(c, to)
	}
}

// leads says whether a connection there may be the pod's, whatever the socket is.
func (t *Tree) leads(to netip.AddrPort) bool {
	needed := rules.Outgoing | rules.UDP
	if to.Port() == namePort {
		needed = rules.Names
	}
	return t.rules.Has(needed) && !staysLocal(to) && !(t.rules.Has(rules.IgnoreLocalhost) && to.Port() != namePort && isLoopback(to))
}

func (t *Tree) connectElsewhere(c *seccomp.Call, to netip.AddrPort) {
	s, ok := socketOf(c, c.Arg(0))
	if !ok {
		c.Continue()
		return
	}
	defer s.close()
	if errno, done := t.connect(c, s, to); done {
		answer(c, errno)
	} else {
		c.Continue()
	}
}

// connect connects the program's socket to the broker; done is false when the kernel is to connect it as the program asked.
func (t *Tree) connect(c *seccomp.Call, s socket, to netip.AddrPort) (_ unix.Errno, done bool) {
	if s.udp {
		t.leaveRelay(s)
	}
	needed := rules.Outgoing
	switch {
	case to.Port() == namePort:
		needed = rules.Names
	case s.udp:
		needed = rules.UDP
	}
	if !t.rules.Has(needed) || !t.leads(to) || s.stream && isConnecting(s.fd) {
		return 0, false
	}
	r := t.ask(c, frame.Connect, &frame.ConnectRequest{Addr: to, Flags: s.connectFlags()})
	reply, _ := r.Fields.(*frame.ConnectReply)
	switch {
	case r.Status > 0:
		return errno(r), true
	case reply == nil:
		return unix.ENETUNREACH, true
	}
	relay := rawAddress(reply.Relay, s.family)
	switch {
	case r.Status == frame.StatusLocal && relay == nil:
		return 0, false
	case relay == nil || !c.Valid():
		return unix.ENETUNREACH, true
	}
	errno := rawCall(unix.SYS_CONNECT, s.fd, relay)
	if r.Status == frame.StatusOK && (errno == 0 || errno == unix.EINPROGRESS) {
		t.ask(c, frame.Connected, &frame.ConnectedRequest{Attempt: reply.Attempt, Local: s.local()})
		if s.udp {
			t.relayed.Store(true)
			t.noteSender(reply.Relay, to)
		}
	}
	return errno, true
}

func (s socket) connectFlags() (flags uint8) {
	if s.nonblocking() {
		flags |= frame.ConnectNonblock
	}
	if s.v6only() {
		flags |= frame.ConnectV6Only
	}
	if s.udp {
		flags |= frame.ConnectDatagram
	}
	return flags
}

// leaveRelay undoes a UDP socket's connection to the broker before the next: its local address would stay loopback's, from which this machine's network
// cannot be reached.
func (t *Tree) leaveRelay(s socket) {
	if peer := s.peer(); mayBeRelayed(t.rules, peer) {
		_ = rawCall(unix.SYS_CONNECT, s.fd, make([]byte, size4)) // AF_UNSPEC
	}
}

// isConnecting says whether connect was called on a TCP socket before: calling it again then only asks how that went.
func isConnecting(fd int) bool {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	const closed = 7 // TCP_CLOSE
	return err == nil && info.State != closed
}

// socketError is SO_ERROR. A non-blocking connect that failed in the pod fails here as refused; the pod's own errno is asked for.
func socketError(t *Tree, c *seccomp.Call) {
	s, ok := streamOf(c)
	if !ok {
		return
	}
	defer s.close()
	var room [4]byte
	if n, err := c.Read(c.Args[4], room[:]); err != nil || n < 4 || binary.LittleEndian.Uint32(room[:]) < 4 {
		c.Continue()
		return
	}
	value := option(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if value == int(unix.ECONNREFUSED) {
		if r := t.ask(c, frame.SockError, &frame.SockErrorRequest{Local: s.local()}); r.Status > 0 {
			value = int(r.Status)
		}
	}
	var out [4]byte
	binary.LittleEndian.PutUint32(out[:], uint32(value))
	err := c.Write(c.Args[3], out[:])
	if err == nil {
		binary.LittleEndian.PutUint32(out[:], 4)
		err = c.Write(c.Args[4], out[:])
	}
	finish(c, 0, err)
}

// ---- bind, listen

// firstOfKernel begins the ports that the kernel also gives out by itself (ip(7), ip_local_port_range).
const firstOfKernel = 32768

func (t *Tree) requestedFor(actual uint16) (netip.AddrPort, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a, ok := t.given[actual]
	return a, ok
}

// maxGiven bounds what is remembered of ports, of which a machine has no more.
const maxGiven = 65536

func (t *Tree) remember(actual uint16, requested netip.AddrPort) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.given) < maxGiven {
		t.given[actual] = requested
	}
}

func bind(t *Tree, c *seccomp.Call) {
	raw, requested, err := readAddress(c, c.Args[1], c.Args[2])
	if err != nil || !requested.IsValid() || requested.Port() == 0 {
		c.Continue()
		return
	}
	go t.bind(c, raw, requested)
}

func (t *Tree) bind(c *seccomp.Call, raw []byte, requested netip.AddrPort) {
	s, ok := streamOf(c)
	if !ok {
		return
	}
	defer s.close()
	if t.rules.Has(rules.AskBind) {
		if port, ok := t.askPort(c, requested, 0); ok && port > 0 {
			// The user has said which port it is to be, so no other will do.
			answer(c, t.bindOther(s, netip.AddrPortFrom(requested.Addr(), port), requested))
			return
		}
	}
	errno := rawCall(unix.SYS_BIND, s.fd, raw)
	switch {
	case errno == 0 && requested.Port() >= firstOfKernel:
		t.remember(requested.Port(), requested)
	case (errno == unix.EADDRINUSE || errno == unix.EACCES || errno == unix.EADDRNOTAVAIL) && t.rules.Has(rules.Incoming):
		if t.bindElsewhere(c, s, requested, errno) {
			errno = 0
		}
	}
	answer(c, errno)
}

// askPort asks which port to bind in place of the requested one; false when the call is to stay as it is.
func (t *Tree) askPort(c *seccomp.Call, requested netip.AddrPort, errno unix.Errno) (uint16, bool) {
	r := t.ask(c, frame.Bind, &frame.BindRequest{Errno: uint32(errno), Requested: requested})
	reply, ok := r.Fields.(*frame.BindReply)
	if r.Status != frame.StatusOK || !ok {
		return 0, false
	}
	return reply.Port, true
}

func (t *Tree) bindOther(s socket, other, requested netip.AddrPort) unix.Errno {
	raw := rawAddress(other, s.family)
	if raw == nil {
		return unix.EAFNOSUPPORT
	}
	errno := rawCall(unix.SYS_BIND, s.fd, raw)
	if errno == 0 {
		t.remember(s.local().Port(), requested)
	}
	return errno
}

// bindElsewhere finds another address for a port that cannot be had here: the broker delivers the pod's connections to whichever it is.
func (t *Tree) bindElsewhere(c *seccomp.Call, s socket, requested netip.AddrPort, errno unix.Errno) bool {
	port, ok := t.askPort(c, requested, errno)
	if !ok {
		return false
	}
	other := requested
	if errno == unix.EADDRNOTAVAIL { // an address of the pod, not of this machine
		ip := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if !requested.Addr().Is4() {
			ip = netip.IPv6Loopback()
		}
		other = netip.AddrPortFrom(ip, requested.Port())
		if t.bindOther(s, other, requested) == 0 {
			return true
		}
	}
	return t.bindOther(s, netip.AddrPortFrom(other.Addr(), port), requested) == 0
}

func listen(t *Tree, c *seccomp.Call) {
	go func() {
		s, ok := streamOf(c)
		if !ok {
			return
		}
		defer s.close()
		if err := unix.Listen(s.fd, c.Arg(1)); err != nil {
			c.Fail(errnoOf(err))
			return
		}
		m := frame.ListenRequest{Actual: s.local()}
		m.Requested = m.Actual
		if known, ok := t.requestedFor(m.Actual.Port()); ok {
			m.Requested = known
		} else if m.Actual.Port() >= firstOfKernel && t.rules.Requested(m.Actual.Port()) == 0 {
			m.Requested = netip.AddrPortFrom(m.Actual.Addr(), 0)
		}
		if s.v6only() {
			m.V6Only = 1
		}
		t.ask(c, frame.Listen, &m) // a listener that the pod does not know of is still one
		c.Return(0)
	}()
}

// ---- the two ends

// podEnd is one end of a socket as the pod has it; invalid when the kernel's is right.
func (t *Tree) podEnd(c *seccomp.Call, s socket, wantPeer bool) netip.AddrPort {
	local, peer := s.local(), s.peer()
	switch {
	case !local.IsValid() || !s.stream && !peer.IsValid():
	case peer.IsValid():
		if !mayBeRelayed(t.rules, peer) {
			return netip.AddrPort{}
		}
		r := t.ask(c, frame.Endpoint, &frame.EndpointRequest{Local: local, Peer: peer})
		ends, ok := r.Fields.(*frame.EndpointReply)
		switch {
		case r.Status != frame.StatusOK || !ok:
		case wantPeer:
			return ends.Peer
		default:
			return ends.Local
		}
	case !wantPeer:
		if requested, ok := t.requestedFor(local.Port()); ok {
			return requested
		}
		if port := t.rules.Requested(local.Port()); port != 0 {
			return netip.AddrPortFrom(local.Addr(), port)
		}
	}
	return netip.AddrPort{}
}

// socketEnd is getsockname and getpeername.
func socketEnd(t *Tree, c *seccomp.Call, wantPeer bool) {
	go func() {
		s, ok := socketOf(c, c.Arg(0))
		if !ok {
			if !wantPeer || !t.streamPeer(c) {
				c.Continue()
			}
			return
		}
		defer s.close()
		raw := rawAddress(t.podEnd(c, s, wantPeer), s.family)
		if raw == nil {
			c.Continue()
			return
		}
		finish(c, 0, writeAddress(c, raw, c.Args[1], c.Args[2]))
	}()
}

// lookEvery is how often who waits for the program's sake looks whether the program still does, or has a signal to take.
const lookEvery = 50 * time.Millisecond

// awaited waits until the socket can be read, for as long as SO_RCVTIMEO says; false when the call was answered, because that is over or nobody waits any more.
func (s socket) awaited(c *seccomp.Call) bool {
	var until time.Time
	if limit, err := unix.GetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO); err == nil && limit.Nano() > 0 {
		until = time.Now().Add(time.Duration(limit.Nano()))
	}
	for {
		wait := lookEvery
		if !until.IsZero() {
			wait = max(0, min(wait, time.Until(until)))
		}
		p := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, int((wait+time.Millisecond-1)/time.Millisecond))
		switch {
		case n > 0:
			return true
		case err != nil && err != unix.EINTR:
			c.Fail(errnoOf(err))
			return false
		case !c.Valid():
			return false
		case !until.IsZero() && !time.Now().Before(until):
			c.Fail(unix.EAGAIN)
			return false
		case c.Interrupted():
			c.Restart()
			return false
		}
	}
}

// accept takes the connection for the program, since the kernel would tell it the broker's address.
func accept(t *Tree, c *seccomp.Call, flags int) {
	go func() {
		if flags&^(unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK) != 0 {
			c.Continue()
			return
		}
		s, ok := streamOf(c)
		if !ok {
			return
		}
		defer s.close()
		if c.Full() { // else it would be taken off the queue for nobody
			c.Fail(unix.EMFILE)
			return
		}
		fd, err := t.take(c, s, flags)
		switch {
		case fd < 0 && err == nil: // answered
			return
		case err != nil:
			c.Fail(errnoOf(err))
			return
		}
		defer unix.Close(fd)
		connection := socket{fd: fd, family: s.family, stream: true}
		raw := rawAddress(t.podEnd(c, connection, true), s.family)
		if raw == nil {
			raw = rawAddress(connection.peer(), s.family)
		}
		if err := writeAddress(c, raw, c.Args[1], c.Args[2]); err != nil {
			finish(c, 0, err)
			return
		}
		var newFlags uint32
		if flags&unix.SOCK_CLOEXEC != 0 {
			newFlags = unix.O_CLOEXEC
		}
		c.ReturnDescriptor(fd, newFlags)
	}()
}

// take accepts. A listener that blocks is waited for; that somebody else of the tree takes the connection meanwhile must not leave this call in the kernel, where
// it could not notice that the program is gone.
func (t *Tree) take(c *seccomp.Call, s socket, flags int) (int, error) {
	waits := !s.nonblocking()
	for {
		if waits && !s.awaited(c) {
			return -1, nil
		}
		t.accepting.Lock()
		if waits && !readable(s.fd) {
			t.accepting.Unlock()
			continue
		}
		fd, _, err := unix.Accept4(s.fd, flags&unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		t.accepting.Unlock()
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func readable(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, _ := unix.Poll(p, 0)
	return n > 0
}
