package pod

import (
	"bytes"
	"context"
	"net"
	"strings"
	"syscall"
	"time"

	"mirrord/agent/startup"
)

// The kubelet's HTTP probes are for the pod's own program: the local one may be stopped at a breakpoint, and the pod would be restarted for that. Only
// connections to ports that have one are looked at.

const (
	lookTime = 2 * time.Second // how long a client may take to send its request; then it is anybody's
	lookSize = 8 << 10         // how much of the request is looked at, in bytes
)

// probes are a pod's, by port.
type probes map[uint16][]startup.Probe

func groupProbes(all []startup.Probe) probes {
	grouped := make(probes)
	for _, p := range all {
		grouped[p.Port] = append(grouped[p.Port], p)
	}
	return grouped
}

// isProbe looks at the first bytes of a connection, and leaves them to be read.
func isProbe(ctx context.Context, conn *net.TCPConn, of []startup.Probe) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	conn.SetReadDeadline(time.Now().Add(lookTime))
	defer conn.SetReadDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var found bool
	head := make([]byte, lookSize)
	raw.Read(func(fd uintptr) bool {
		n, _, err := syscall.Recvfrom(int(fd), head, syscall.MSG_PEEK)
		switch {
		case err == syscall.EAGAIN || err == syscall.EINTR:
			return false
		case err != nil || n == 0 || n == len(head):
			return true
		}
		var sure bool
		found, sure = probed(head[:n], of)
		return sure // else this is called again when there is more
	})
	return found
}

// probed says whether a request that begins with head is one of the probes, and whether what follows would change that.
func probed(head []byte, of []startup.Probe) (found, sure bool) {
	sure = true
	for _, p := range of {
		f, s := probedBy(head, p)
		found, sure = found || f, sure && s
	}
	return found, found || sure
}

func probedBy(head []byte, p startup.Probe) (found, sure bool) {
	line := []byte("GET " + p.URI + " HTTP/1.1\r\n")
	if len(head) < len(line) {
		return false, !bytes.HasPrefix(line, head)
	}
	rest, ok := bytes.CutPrefix(head, line)
	if !ok {
		return false, true
	}
	for {
		field, after, whole := bytes.Cut(rest, []byte("\r\n"))
		if !whole {
			return false, false
		}
		if len(field) == 0 {
			return false, true // the end of the header
		}
		name, value, _ := strings.Cut(string(field), ":")
		if strings.EqualFold(name, "User-Agent") {
			value = strings.TrimSpace(value)
			if p.UserAgent != "" {
				return value == p.UserAgent, true
			}
			return strings.HasPrefix(value, "kube-probe/"), true
		}
		rest = after
	}
}
