package sockets

import (
	"net/netip"

	"mirrord/agent/sockdiag"
)

// Listening are the addresses at which sockets listen on a port, 0 is any, and the inodes of those.
func Listening(port uint16) (map[netip.AddrPort][]uint32, error) {
	found := map[netip.AddrPort][]uint32{}
	return found, sockdiag.Each(sockdiag.Listen, port, func(s sockdiag.Socket) { found[s.Local] = append(found[s.Local], s.Inode) })
}

// Open reports whether a socket listens there.
func (l Listener) Open() bool {
	found, err := Listening(l.Addr.Port())
	if err != nil {
		return l.occupied()
	}
	return len(found[l.Addr]) > 0
}

// Inodes are those of the sockets that listen there; none when the kernel does not tell.
func (l Listener) Inodes() []uint32 {
	found, _ := Listening(l.Addr.Port())
	return found[l.Addr]
}
