package serve

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/agent/wire"
)

// nameServer is where a client finds the name server in a target that has no resolv.conf: on the target's loopback.
var nameServer = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53)

// made is the text of a file that every running pod has, and a target that is only described may not: programs that resolve names by themselves read
// resolv.conf and hosts. It is empty for every other file, and where the target has its own. err is what the target's files said.
func (s *server) made(req *wire.Request, err error) string {
	if !errors.Is(err, syscall.ENOENT) || !s.target.IsNameServer("udp", nameServer) {
		return ""
	}
	switch req.Path {
	case "/etc/resolv.conf":
		return fmt.Sprintf("nameserver %s\n", nameServer.Addr())
	case "/etc/hosts":
		// As in a pod, the names of others are the name server's: c-ares would take a name from here for no answer to a reverse lookup.
		return fmt.Sprintf("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\t%s\n", s.target.Hostname())
	}
	return ""
}

func madeStat(text string) *wire.Stat {
	return &wire.Stat{Ino: 1, Mode: unix.S_IFREG | 0o444, Nlink: 1, Size: int64(len(text)), Blksize: 4096, Blocks: 1}
}

// answerMade is files.Do for such a file.
func answerMade(req *wire.Request, text string) (*wire.Reply, error) {
	switch {
	case req.Op == wire.OpStat:
		return &wire.Reply{Stat: madeStat(text)}, nil
	case req.Op == wire.OpReadlink:
		return nil, syscall.EINVAL
	case req.Op == wire.OpAccess && req.Mode&^unix.R_OK != 0:
		return nil, syscall.EACCES
	}
	return &wire.Reply{Path: req.Path}, nil
}

// sendMade is files.Open for such a file.
func sendMade(stream *links.Stream, text string) error {
	if wire.WriteHeader(stream, &wire.Reply{Stat: madeStat(text)}) == nil {
		body := wire.NewBodyWriter(stream)
		if _, err := body.Write([]byte(text)); err == nil {
			body.Close()
		}
	}
	return nil
}
