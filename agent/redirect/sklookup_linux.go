package redirect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// skLookup directs connections with a BPF program that the kernel asks for the listener of a new connection (bpf(2), BPF_PROG_TYPE_SK_LOOKUP; Linux 5.9).
//
// All processes that redirect in one namespace have programs of their own, which answer the same: they share the maps, and each has a slot. A new
// connection goes to the first slot that listens to the port and has not seen the connection yet; the one that may keep it is asked last. So it does not
// matter who came first, nor who dies: the kernel takes the listeners of a dead process out of the map.
type skLookup struct {
	maps
	link  link.Link
	place *place
}

// slots is how many processes may redirect in one namespace.
const slots = 16

// maps are what the programs of a namespace look at.
type maps struct {
	listeners *ebpf.Map // listenerKey → listening socket
	passed    *ebpf.Map // passedKey → passedValue: connections that processes have passed on to the namespace's own program
	keepers   *ebpf.Map // port → slot of the process that may keep its connections
}

// The keys and values have the byte order of the machine, where nothing else is said.
type (
	listenerKey struct {
		Port   uint16
		Slot   uint8
		Family uint8
	}
	passedKey struct {
		Source     [16]byte
		SourcePort [2]byte // big-endian
		Port       uint16
	}
	passedValue struct {
		Seen       uint64 // slots
		Remote     [16]byte
		RemotePort uint16 // the true remote address
		Owner      uint16 // a slot
		_          uint32
	}
)

// maxPassed bounds the connections that all processes of a namespace pass on at the same time: more than there are ports for them at one address.
const maxPassed = 1 << 17

func newMaps() (m maps, err error) {
	for _, spec := range []struct {
		to *(*ebpf.Map)
		ebpf.MapSpec
	}{
		{&m.listeners, ebpf.MapSpec{Name: "listeners", Type: ebpf.SockHash, KeySize: 4, ValueSize: 8, MaxEntries: slots * 1024}},
		// Without preallocation an empty map costs little memory.
		{&m.passed, ebpf.MapSpec{Name: "passed", Type: ebpf.Hash, KeySize: 20, ValueSize: 32, MaxEntries: maxPassed, Flags: unix.BPF_F_NO_PREALLOC}},
		{&m.keepers, ebpf.MapSpec{Name: "keepers", Type: ebpf.Hash, KeySize: 2, ValueSize: 1, MaxEntries: 1024, Flags: unix.BPF_F_NO_PREALLOC}},
	} {
		if *spec.to, err = ebpf.NewMap(&spec.MapSpec); err != nil {
			m.close()
			return maps{}, err
		}
	}
	return m, nil
}

func (m maps) close() {
	closeAll([]*ebpf.Map{m.listeners, m.passed, m.keepers}) // nil may be closed
}

func openSkLookup(n Network) (engine, error) {
	e := new(skLookup)
	if err := e.open(n); err != nil {
		e.close()
		return nil, fmt.Errorf("sk_lookup: %w", skHint(err))
	}
	return e, nil
}

func (e *skLookup) open(n Network) (err error) {
	if e.place, e.maps, err = takePlace(n); err != nil {
		return err
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "mirrord", Type: ebpf.SkLookup, AttachType: ebpf.AttachSkLookup, License: "MIT",
		Instructions: e.maps.program()})
	if err != nil {
		return err
	}
	defer program.Close()
	return n.Do(func() error {
		ns, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		defer ns.Close()
		attached, err := link.AttachNetNs(int(ns.Fd()), program)
		if err == nil {
			e.link = attached
		}
		return err
	})
}

// skHint says what the kernel's answer means.
func skHint(err error) error {
	switch {
	case errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES):
		return fmt.Errorf("needs the capabilities CAP_BPF and CAP_NET_ADMIN (%w)", err)
	case errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Errorf("needs Linux 5.9 or newer, with BPF (%w)", err)
	default:
		return err
	}
}

// Offsets in the program's context, struct bpf_sk_lookup of linux/bpf.h.
const (
	ctxFamily     = 8
	ctxProtocol   = 12
	ctxRemoteIP4  = 16
	ctxRemoteIP6  = 20
	ctxRemotePort = 36 // big-endian
	ctxLocalPort  = 60
)

// program decides about one new connection.
func (m maps) program() asm.Instructions {
	const (
		ctx, port, seen, keeper, sock = asm.R6, asm.R7, asm.R8, asm.R9, asm.R9
		passedAt                      = -24 // a passedKey on the stack
		listenerAt                    = -32 // a listenerKey
	)
	program := asm.Instructions{
		asm.Mov.Reg(ctx, asm.R1),
		asm.LoadMem(asm.R0, ctx, ctxProtocol, asm.Word),
		asm.JNE.Imm(asm.R0, unix.IPPROTO_TCP, "pass"),
		asm.LoadMem(port, ctx, ctxLocalPort, asm.Word),

		// The families have addresses of one form in the map: IPv4's are mapped ones.
		asm.LoadMem(asm.R1, ctx, ctxFamily, asm.Word),
		asm.JEq.Imm(asm.R1, unix.AF_INET, "v4"),
		asm.StoreImm(asm.RFP, listenerAt+3, 6, asm.Byte),
	}
	for i := int16(0); i < 16; i += 4 {
		program = append(program, asm.LoadMem(asm.R0, ctx, ctxRemoteIP6+i, asm.Word), asm.StoreMem(asm.RFP, passedAt+i, asm.R0, asm.Word))
	}
	program = append(program,
		asm.Ja.Label("addressed"),
		asm.StoreImm(asm.RFP, listenerAt+3, 4, asm.Byte).WithSymbol("v4"),
		asm.StoreImm(asm.RFP, passedAt, 0, asm.Word),
		asm.StoreImm(asm.RFP, passedAt+4, 0, asm.Word),
		asm.StoreImm(asm.RFP, passedAt+8, 0, asm.Half),
		asm.StoreImm(asm.RFP, passedAt+10, 0xffff, asm.Half),
		asm.LoadMem(asm.R0, ctx, ctxRemoteIP4, asm.Word),
		asm.StoreMem(asm.RFP, passedAt+12, asm.R0, asm.Word),

		asm.LoadMem(asm.R0, ctx, ctxRemotePort, asm.Half).WithSymbol("addressed"),
		asm.StoreMem(asm.RFP, passedAt+16, asm.R0, asm.Half),
		asm.StoreMem(asm.RFP, passedAt+18, port, asm.Half),
		asm.StoreMem(asm.RFP, listenerAt, port, asm.Half),

		// Who has seen the connection?
		asm.LoadMapPtr(asm.R1, m.passed.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, passedAt),
		asm.FnMapLookupElem.Call(),
		asm.Mov.Imm(seen, 0),
		asm.JEq.Imm(asm.R0, 0, "keeper"),
		asm.LoadMem(seen, asm.R0, 0, asm.DWord),

		// Who may keep it?
		asm.LoadMapPtr(asm.R1, m.keepers.FD()).WithSymbol("keeper"),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, listenerAt),
		asm.FnMapLookupElem.Call(),
		asm.Mov.Imm(keeper, slots),
		asm.JEq.Imm(asm.R0, 0, "slot0"),
		asm.LoadMem(keeper, asm.R0, 0, asm.Byte),
	)
	// ask gives the connection to a slot's listener, if it has one.
	ask := func(begin asm.Instruction, next string) asm.Instructions {
		return asm.Instructions{
			begin,
			asm.LoadMapPtr(asm.R1, m.listeners.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, listenerAt),
			asm.FnMapLookupElem.Call(),
			asm.JNE.Imm(asm.R0, 0, "found"),
			asm.Ja.Label(next),
		}
	}
	for slot := range slots {
		next := fmt.Sprintf("slot%d", slot+1)
		program = append(program,
			asm.Mov.Reg(asm.R0, seen).WithSymbol(fmt.Sprintf("slot%d", slot)),
			asm.And.Imm(asm.R0, 1<<slot),
			asm.JNE.Imm(asm.R0, 0, next),
			asm.JEq.Imm(keeper, int32(slot), next),
		)
		program = append(program, ask(asm.StoreImm(asm.RFP, listenerAt+2, int64(slot), asm.Byte), next)...)
	}
	program = append(program,
		asm.JGE.Imm(keeper, slots, "pass").WithSymbol(fmt.Sprintf("slot%d", slots)),
		asm.Mov.Reg(asm.R0, seen),
		asm.RSh.Reg(asm.R0, keeper),
		asm.And.Imm(asm.R0, 1),
		asm.JNE.Imm(asm.R0, 0, "pass"),
	)
	program = append(program, ask(asm.StoreMem(asm.RFP, listenerAt+2, keeper, asm.Byte), "pass")...)
	return append(program,
		asm.Mov.Reg(sock, asm.R0).WithSymbol("found"),
		asm.Mov.Reg(asm.R1, ctx),
		asm.Mov.Reg(asm.R2, sock),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnSkAssign.Call(), // it fails for a family that the listener does not have
		asm.Mov.Reg(asm.R1, sock),
		asm.FnSkRelease.Call(),
		asm.Mov.Imm(asm.R0, 1).WithSymbol("pass"), // SK_PASS
		asm.Return(),
	)
}

func (e *skLookup) add(port uint16, ls []*net.TCPListener) error {
	for _, l := range ls {
		raw, err := l.SyscallConn()
		if err != nil {
			return err
		}
		families := []uint8{4, 6}
		if l.Addr().(*net.TCPAddr).IP.To4() != nil {
			families = families[:1]
		}
		for _, family := range families {
			key := listenerKey{port, e.place.slot, family}
			if cerr := raw.Control(func(fd uintptr) { err = e.listeners.Put(key, uint64(fd)) }); cerr != nil {
				return cerr
			}
			if err != nil {
				e.remove(port)
				return err
			}
		}
	}
	return nil
}

func (e *skLookup) remove(port uint16) error {
	var errs []error
	for _, family := range []uint8{4, 6} {
		if err := e.listeners.Delete(listenerKey{port, e.place.slot, family}); !errors.Is(err, ebpf.ErrKeyNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (e *skLookup) steals(port uint16, on bool) error {
	if on {
		return e.keepers.Put(port, e.place.slot)
	}
	var slot uint8
	if e.keepers.Lookup(port, &slot) == nil && slot == e.place.slot {
		return e.keepers.Delete(port)
	}
	return nil
}

// original is the connection's own addresses, unless another process has passed it on.
func (e *skLookup) original(c *net.TCPConn) (Origin, error) {
	o := Origin{seen: 1 << e.place.slot}
	raw, err := c.SyscallConn()
	if err != nil {
		return o, err
	}
	if cerr := raw.Control(func(fd uintptr) {
		// Not the connection's own: net names the interfaces of link-local addresses as this process's namespace does.
		var local, remote unix.Sockaddr
		if local, err = unix.Getsockname(int(fd)); err == nil {
			remote, err = unix.Getpeername(int(fd))
		}
		o.Local, o.Remote = fromSockaddr(local), fromSockaddr(remote)
	}); cerr != nil || err != nil {
		return o, errors.Join(cerr, err)
	}
	var v passedValue
	switch err := e.passed.Lookup(newPassedKey(o.Remote, o.Local.Port()), &v); {
	case errors.Is(err, ebpf.ErrKeyNotExist):
	case err != nil:
		return Origin{}, err
	default:
		o.Remote = netip.AddrPortFrom(netip.AddrFrom16(v.Remote).Unmap(), v.RemotePort)
		o.seen |= v.Seen
	}
	return o, nil
}

func newPassedKey(source netip.AddrPort, port uint16) passedKey {
	k := passedKey{Source: source.Addr().As16(), Port: port}
	binary.BigEndian.PutUint16(k.SourcePort[:], source.Port())
	return k
}

func (e *skLookup) exempt(fd int, o Origin) (release func(), err error) {
	// The kernel picks a port only when no other socket has it, not even in TIME_WAIT. A named one it may let us have.
	err = bind(fd, netip.AddrPortFrom(o.Local.Addr(), 0))
	if errors.Is(err, syscall.EADDRINUSE) {
		low, high := localPorts()
		err = bind(fd, netip.AddrPortFrom(o.Local.Addr(), uint16(low+rand.IntN(high-low+1))))
	}
	if err != nil {
		return nil, err
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	key := newPassedKey(fromSockaddr(bound), o.Local.Port())
	value := passedValue{Seen: o.seen, Remote: o.Remote.Addr().As16(), RemotePort: o.Remote.Port(), Owner: uint16(e.place.slot)}
	switch err := e.passed.Update(key, value, ebpf.UpdateNoExist); {
	case errors.Is(err, ebpf.ErrKeyExist):
		return nil, syscall.EADDRINUSE
	case err != nil:
		return nil, err
	}
	return func() { e.passed.Delete(key) }, nil
}

func bind(fd int, addr netip.AddrPort) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	to := sockaddr(addr.Addr())
	switch sa := to.(type) {
	case *unix.SockaddrInet4:
		sa.Port = int(addr.Port())
	case *unix.SockaddrInet6:
		sa.Port = int(addr.Port())
	}
	return os.NewSyscallError("bind", unix.Bind(fd, to))
}

// localPorts is the range of ports that the kernel gives to sockets of this thread's namespace.
func localPorts() (low, high int) {
	raw, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if n, _ := fmt.Sscan(string(raw), &low, &high); err != nil || n < 2 || low < 1 || high < low || high > 65535 {
		return 32768, 60999 // the kernel's default
	}
	return low, high
}

// forget takes out what a process that had this place has left.
func (m maps) forget(slot uint8) error {
	var key passedKey
	var value passedValue
	var left []passedKey
	for all := m.passed.Iterate(); all.Next(&key, &value); {
		if value.Owner == uint16(slot) {
			left = append(left, key)
		}
	}
	for _, key := range left {
		if err := m.passed.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	return nil
}

func (e *skLookup) close() error {
	var err error
	if e.link != nil {
		err = e.link.Close()
	}
	if e.place != nil {
		err = errors.Join(err, e.place.close())
	}
	e.maps.close()
	return err
}

// fromSockaddr leaves the interface of a link-local address a number.
func fromSockaddr(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		addr := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.ZoneId != 0 {
			addr = addr.WithZone(strconv.FormatUint(uint64(sa.ZoneId), 10))
		}
		return netip.AddrPortFrom(addr, uint16(sa.Port))
	}
	return netip.AddrPort{}
}
