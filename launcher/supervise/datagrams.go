//go:build linux && (amd64 || arm64)

package supervise

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"mirrord/launcher/rules"
	"mirrord/launcher/seccomp"
	"mirrord/layer/frame"
)

// Bounds of what is remembered, and of one datagram in bytes.
const (
	maxSenders  = 4096
	maxReported = 4096
	maxDatagram = 64 << 10
)

// noteSender remembers whom what comes from an address of the broker's really comes from.
func (t *Tree) noteSender(relay, actual netip.AddrPort) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.senders) >= maxSenders {
		clear(t.senders)
	}
	t.senders[relay] = actual
}

// destination says where a datagram of s to an address is to be sent: an invalid one is the address itself.
func (t *Tree) destination(c *seccomp.Call, s socket, to netip.AddrPort) (netip.AddrPort, unix.Errno) {
	named := to.Port() == namePort
	switch {
	case !s.udp || to.Port() == 0 || staysLocal(to):
		return netip.AddrPort{}, 0
	case !named:
		if t.rules.Has(rules.UDP) && !isLoopback(to) {
			t.report(c, s, to)
		}
		return netip.AddrPort{}, 0
	case !t.rules.Has(rules.Names):
		return netip.AddrPort{}, 0
	}
	r := t.ask(c, frame.Connect, &frame.ConnectRequest{Flags: s.connectFlags() | frame.ConnectNever, Addr: to})
	reply, _ := r.Fields.(*frame.ConnectReply)
	switch {
	case r.Status > 0:
		return netip.AddrPort{}, errno(r)
	case r.Status == frame.StatusLocal:
		return netip.AddrPort{}, 0
	case reply == nil || !reply.Relay.IsValid():
		return netip.AddrPort{}, unix.ENETUNREACH
	}
	t.noteSender(reply.Relay, to)
	t.asked.Store(true)
	return reply.Relay, 0
}

// report tells once of a destination that datagrams leave for from this machine.
func (t *Tree) report(c *seccomp.Call, s socket, to netip.AddrPort) {
	t.mu.Lock()
	_, told := t.reported[to]
	if len(t.reported) < maxReported {
		t.reported[to] = struct{}{}
	}
	t.mu.Unlock()
	if !told && option(s.fd, unix.SOL_SOCKET, unix.SO_BROADCAST) != 1 {
		t.ask(c, frame.Datagram, &frame.DatagramRequest{Addr: to})
	}
}

// sendTo is sendto with an address.
func sendTo(t *Tree, c *seccomp.Call) {
	_, to, err := readAddress(c, c.Args[4], c.Args[5])
	if err != nil || !to.IsValid() {
		c.Continue()
		return
	}
	if c.Arg(3)&unix.MSG_FASTOPEN == 0 && t.dull(to) {
		c.Continue()
		return
	}
	go func() {
		s, ok := socketOf(c, c.Arg(0))
		if !ok {
			c.Continue()
			return
		}
		defer s.close()
		if s.stream {
			t.sendFirst(c, s, to)
			return
		}
		relay, errno := t.destination(c, s, to)
		switch {
		case errno != 0:
			c.Fail(errno)
		case !relay.IsValid():
			c.Continue()
		case rawAddress(relay, s.family) == nil:
			c.Fail(unix.ENETUNREACH)
		default:
			n, err := t.send(c, s, []part{{c.Args[1], c.Args[2]}}, rawAddress(relay, s.family), c.Arg(3))
			finish(c, n, err)
		}
	}()
}

// sendFirst is fast open, a connect in disguise: what it sends with the first packet is sent with the next.
func (t *Tree) sendFirst(c *seccomp.Call, s socket, to netip.AddrPort) {
	if c.Arg(3)&unix.MSG_FASTOPEN == 0 {
		c.Continue()
		return
	}
	errno, done := t.connect(c, s, to)
	switch {
	case !done:
		c.Continue()
	case errno != 0:
		c.Fail(errno)
	default:
		n, err := t.send(c, s, []part{{c.Args[1], min(c.Args[2], maxDatagram)}}, nil, c.Arg(3)&^unix.MSG_FASTOPEN)
		finish(c, n, err)
	}
}

// dull says that nothing is to be done or told of what goes there.
func (t *Tree) dull(to netip.AddrPort) bool {
	if to.Port() == namePort {
		return !t.rules.Has(rules.Names)
	}
	if !t.rules.Has(rules.UDP) || isLoopback(to) || staysLocal(to) {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, told := t.reported[to]
	return told || len(t.reported) >= maxReported
}

// part is one of the pieces of memory that a message is made of.
type part struct{ at, size uint64 }

// send sends what the program has in its memory, to an address that fits the socket or, with none, where it is connected to.
func (t *Tree) send(c *seccomp.Call, s socket, parts []part, to []byte, flags int) (int, error) {
	var data []byte
	for _, p := range parts {
		if p.size > maxDatagram || len(data)+int(p.size) > maxDatagram {
			return 0, unix.EMSGSIZE
		}
		piece := make([]byte, p.size)
		if n, err := c.Read(p.at, piece); err != nil || n < len(piece) {
			return 0, unix.EFAULT
		}
		data = append(data, piece...)
	}
	n, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(data))), uintptr(len(data)),
		uintptr(flags|unix.MSG_NOSIGNAL), uintptr(unsafe.Pointer(unsafe.SliceData(to))), uintptr(len(to)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// message is struct msghdr, as far as it matters.
type message struct {
	name       uint64
	nameLength uint32
	parts      uint64
	count      uint64
	control    uint64
}

const (
	messageSize = 56 // struct msghdr
	listedSize  = 64 // struct mmsghdr
	maxParts    = 64
	maxListed   = 1024 // UIO_MAXIOV
)

func readMessage(c *seccomp.Call, at uint64) (m message, ok bool) {
	var b [messageSize]byte
	if n, err := c.Read(at, b[:]); err != nil || n < len(b) {
		return m, false
	}
	m.name, m.nameLength = binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint32(b[8:])
	m.parts, m.count = binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:])
	m.control = binary.LittleEndian.Uint64(b[32:])
	return m, true
}

func (m message) pieces(c *seccomp.Call) ([]part, bool) {
	if m.count > maxParts {
		return nil, false
	}
	raw := make([]byte, 16*m.count)
	if n, err := c.Read(m.parts, raw); err != nil || n < len(raw) {
		return nil, false
	}
	parts := make([]part, m.count)
	for i := range parts {
		parts[i] = part{binary.LittleEndian.Uint64(raw[16*i:]), binary.LittleEndian.Uint64(raw[16*i+8:])}
	}
	return parts, true
}

// named reads where a message goes, if it names an IP address about which something is to be done.
func (t *Tree) named(c *seccomp.Call, m message) (netip.AddrPort, bool) {
	if m.name == 0 {
		return netip.AddrPort{}, false
	}
	_, to, err := readAddress(c, m.name, uint64(m.nameLength))
	return to, err == nil && to.IsValid() && !t.dull(to)
}

func sendMessage(t *Tree, c *seccomp.Call) {
	m, ok := readMessage(c, c.Args[1])
	to, named := netip.AddrPort{}, false
	if ok {
		to, named = t.named(c, m)
	}
	if !named {
		c.Continue()
		return
	}
	go func() {
		n, err, done := t.sendNamed(c, m, to)
		if !done {
			c.Continue()
			return
		}
		finish(c, n, err)
	}()
}

// sendNamed sends a message whose address is not to be believed; done is false when it is.
func (t *Tree) sendNamed(c *seccomp.Call, m message, to netip.AddrPort) (n int, err error, done bool) {
	s, ok := socketOf(c, c.Arg(0))
	if !ok {
		return 0, nil, false
	}
	defer s.close()
	if s.stream {
		return 0, unix.EOPNOTSUPP, c.Arg(2)&unix.MSG_FASTOPEN != 0 && t.leads(to)
	}
	relay, errno := t.destination(c, s, to)
	if errno != 0 {
		return 0, errno, true
	}
	if !relay.IsValid() {
		return 0, nil, false
	}
	parts, ok := m.pieces(c)
	if !ok {
		return 0, unix.EFAULT, true
	}
	raw := rawAddress(relay, s.family)
	if raw == nil {
		return 0, unix.ENETUNREACH, true
	}
	n, err = t.send(c, s, parts, raw, c.Arg(2))
	return n, err, true
}

// sendMessages is sendmmsg: as many messages from the first as something is to be done about. Programs go on with the rest.
func sendMessages(t *Tree, c *seccomp.Call) {
	m, ok := readMessage(c, c.Args[1])
	to, named := netip.AddrPort{}, false
	if ok && c.Args[2] > 0 {
		to, named = t.named(c, m)
	}
	if !named {
		c.Continue()
		return
	}
	go func() {
		as := *c
		as.Args[2] = c.Args[3] // the flags, where sendmsg has them
		for sent := uint64(0); ; {
			n, err, done := t.sendNamed(&as, m, to)
			switch {
			case sent == 0 && !done:
				c.Continue()
				return
			case sent == 0 && err != nil:
				finish(c, 0, err)
				return
			case !done || err != nil:
				c.Return(int(sent))
				return
			}
			var size [4]byte
			binary.LittleEndian.PutUint32(size[:], uint32(n))
			if err := c.Write(c.Args[1]+sent*listedSize+messageSize, size[:]); err != nil {
				finish(c, 0, err)
				return
			}
			sent++
			if ok = sent < min(c.Args[2], maxListed); ok {
				m, ok = readMessage(c, c.Args[1]+sent*listedSize)
			}
			if ok {
				to, ok = t.named(c, m)
			}
			if !ok {
				c.Return(int(sent))
				return
			}
		}
	}()
}

// ---- receiving

// receiveFrom is recvfrom of who wants to know the sender.
func receiveFrom(t *Tree, c *seccomp.Call) {
	if !t.asked.Load() && !t.relayed.Load() {
		c.Continue()
		return
	}
	go t.receive(c, c.Arg(3), []part{{c.Args[1], c.Args[2]}}, func(from []byte, n int) (int, error) {
		return n, writeAddress(c, from, c.Args[4], c.Args[5])
	})
}

func receiveMessage(t *Tree, c *seccomp.Call) {
	t.receiveInto(c, c.Arg(2), func(n int) (int, error) { return n, nil })
}

// receiveMessages is recvmmsg: it gets one message at a time.
func receiveMessages(t *Tree, c *seccomp.Call) {
	t.receiveInto(c, c.Arg(3)&^unix.MSG_WAITFORONE, func(n int) (int, error) {
		var size [4]byte
		binary.LittleEndian.PutUint32(size[:], uint32(n))
		return 1, c.Write(c.Args[1]+messageSize, size[:])
	})
}

// receiveInto receives into the message that the second argument points to; done makes the call's result of the datagram's size.
func (t *Tree) receiveInto(c *seccomp.Call, callFlags int, done func(n int) (int, error)) {
	if !t.asked.Load() && !t.relayed.Load() {
		c.Continue()
		return
	}
	m, ok := readMessage(c, c.Args[1])
	if !ok || m.name == 0 || m.control != 0 { // who wants more than the sender does not ask name servers
		c.Continue()
		return
	}
	parts, ok := m.pieces(c)
	if !ok {
		c.Continue()
		return
	}
	go t.receive(c, callFlags, parts, func(from []byte, n int) (int, error) {
		err := writeAddress(c, from, m.name, c.Args[1]+8)
		if err == nil {
			err = c.Write(c.Args[1]+40, make([]byte, 8)) // msg_controllen
		}
		var flags [4]byte
		if err == nil {
			err = c.Write(c.Args[1]+48, flags[:])
		}
		if err != nil {
			return 0, err
		}
		return done(n)
	})
}

// receive takes a datagram for the program, and says who sent it. done gets the sender and how many bytes there were.
func (t *Tree) receive(c *seccomp.Call, flags int, parts []part, done func(from []byte, n int) (int, error)) {
	s, ok := socketOf(c, c.Arg(0))
	if !ok {
		c.Continue()
		return
	}
	defer s.close()
	if peer := s.peer(); !s.udp || peer.IsValid() && !mayBeRelayed(t.rules, peer) || flags&^(unix.MSG_DONTWAIT|unix.MSG_PEEK|unix.MSG_TRUNC|unix.MSG_WAITALL) != 0 {
		c.Continue()
		return
	}
	room := 0
	for _, p := range parts {
		room += int(min(p.size, maxDatagram))
	}
	data := make([]byte, min(room, maxDatagram))
	for {
		if !s.nonblocking() && flags&unix.MSG_DONTWAIT == 0 && !s.awaited(c) {
			return
		}
		n, from, err := unix.Recvfrom(s.fd, data, flags|unix.MSG_DONTWAIT)
		if err == unix.EINTR || err == unix.EAGAIN && !s.nonblocking() && flags&unix.MSG_DONTWAIT == 0 {
			continue
		}
		if err != nil {
			c.Fail(errnoOf(err))
			return
		}
		sender := addressOf(from)
		t.mu.Lock()
		if actual, ok := t.senders[sender]; ok {
			sender = actual
		}
		t.mu.Unlock()
		rest := data[:min(n, len(data))]
		for _, p := range parts {
			k := min(len(rest), int(min(p.size, maxDatagram)))
			if err := c.Write(p.at, rest[:k]); err != nil && k > 0 {
				finish(c, 0, err)
				return
			}
			rest = rest[k:]
		}
		result, err := done(rawAddress(sender, s.family), n)
		finish(c, result, err)
		return
	}
}
