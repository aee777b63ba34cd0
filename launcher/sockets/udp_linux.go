package sockets

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"mirrord/launcher/procs"
)

// UDP is a line of /proc/net/udp (Documentation/networking/proc_net_tcp.rst, which is of the same form).
type UDP struct {
	Local, Remote netip.AddrPort
	inode         string
}

// EachUDP visits the UDP sockets of this machine; false when the system does not tell them.
func EachUDP(visit func(UDP)) bool {
	for _, name := range []string{"/proc/net/udp", "/proc/net/udp6"} {
		f, err := os.Open(name)
		if err != nil {
			if strings.HasSuffix(name, "6") { // a kernel without IPv6
				continue
			}
			return false
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			// sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …
			fields := strings.Fields(lines.Text())
			if len(fields) < 10 {
				continue
			}
			local, ok := procAddr(fields[1])
			remote, rok := procAddr(fields[2])
			if ok && rok {
				visit(UDP{local, remote, fields[9]})
			}
		}
		f.Close()
	}
	return true
}

// procAddr reads "0100007F:0035": the address in 32-bit words of the machine's order, which is little-endian, and the port.
func procAddr(s string) (netip.AddrPort, bool) {
	ip, port, _ := strings.Cut(s, ":")
	raw, err := hex.DecodeString(ip)
	n, perr := strconv.ParseUint(port, 16, 16)
	if err != nil || perr != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.BigEndian.PutUint32(raw[i:], binary.LittleEndian.Uint32(raw[i:]))
	}
	addr, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), true
}

// UDPPeers are the addresses to which UDP sockets of this machine are connected; false when the system does not tell.
func UDPPeers() (map[netip.AddrPort]struct{}, bool) {
	peers := map[netip.AddrPort]struct{}{}
	ok := EachUDP(func(s UDP) { peers[s.Remote] = struct{}{} })
	return peers, ok
}

// OwnsUDP says whether this process or one below it has a UDP socket at a port.
func OwnsUDP(port uint16) bool {
	wanted := map[string]bool{}
	EachUDP(func(s UDP) {
		if s.Local.Port() == port {
			wanted["socket:["+s.inode+"]"] = true
		}
	})
	if len(wanted) == 0 {
		return false
	}
	self := procs.Process{PID: os.Getpid()}
	for _, p := range append(procs.Descendants(self.PID, nil), self) {
		dir := fmt.Sprintf("/proc/%d/fd", p.PID)
		names, _ := os.ReadDir(dir) // it may have ended
		for _, name := range names {
			if target, err := os.Readlink(filepath.Join(dir, name.Name())); err == nil && wanted[target] {
				return true
			}
		}
	}
	return false
}
