//go:build linux && (amd64 || arm64)

package supervise

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"mirrord/launcher/rules"
	"mirrord/launcher/seccomp"
	"mirrord/layer/frame"
)

// maxSunPath is what sun_path holds.
const maxSunPath = 108

// connectUnix is a connect to the Unix socket that sunPath names. Those that the user gives to the pod are connected to the broker; of those at whose path the
// pod's files are it is told that they stay here.
func (t *Tree) connectUnix(c *seccomp.Call, sunPath []byte) {
	name := t.streamName(c, sunPath)
	switch {
	case name == "" || len(sunPath) > maxSunPath:
		c.Continue()
	case name[0] == '/' && t.rules.Stream(path.Clean(name)) || name[0] == '@' && t.rules.Stream(strings.ReplaceAll(name, "\x00", "@")):
		go t.connectStream(c, name)
	case name[0] == '/' && t.files && t.rules.Classify(path.Clean(name), false) == rules.Remote:
		go func() {
			t.ask(c, frame.Unix, &frame.UnixRequest{Flags: frame.ConnectNever, Name: name})
			c.Continue()
		}()
	default:
		c.Continue()
	}
}

// streamName is a socket's absolute path, or "@" and its abstract name; empty for one that can only be this machine's.
func (t *Tree) streamName(c *seccomp.Call, sunPath []byte) string {
	switch {
	case len(sunPath) == 0 || t.chrooted.Load() && t.ownRoot(c):
		return ""
	case sunPath[0] == 0:
		if len(sunPath) == 1 || !t.rules.Has(rules.Unix) {
			return ""
		}
		return "@" + string(sunPath[1:])
	}
	text, _, _ := bytes.Cut(sunPath, []byte{0})
	if text[0] == '/' {
		return string(text)
	}
	base := t.folders.of(c.TID)
	if base == "" && t.rules.Has(rules.Unix) {
		base = readlink(fmt.Sprintf("/proc/%d/cwd", c.TID))
	}
	if base == "" {
		return ""
	}
	return strings.TrimSuffix(base, "/") + "/" + string(text)
}

func (t *Tree) connectStream(c *seccomp.Call, name string) {
	fd, err := c.Descriptor(c.Arg(0))
	if err != nil || option(fd, unix.SOL_SOCKET, unix.SO_DOMAIN) != unix.AF_UNIX {
		if err == nil {
			unix.Close(fd)
		}
		c.Continue()
		return
	}
	defer unix.Close(fd)
	if _, err := unix.Getpeername(fd); err == nil {
		c.Fail(unix.EISCONN)
		return
	}
	var flags uint8
	if (socket{fd: fd}).nonblocking() {
		flags |= frame.ConnectNonblock
	}
	if option(fd, unix.SOL_SOCKET, unix.SO_TYPE) != unix.SOCK_STREAM {
		flags |= frame.ConnectDatagram
	}
	r := t.ask(c, frame.Unix, &frame.UnixRequest{Flags: flags, Name: name})
	relay, ok := r.Fields.(*frame.PathReply)
	switch {
	case r.Status == frame.StatusLocal:
		c.Continue()
	case r.Status > 0:
		c.Fail(errno(r))
	case !ok || !c.Valid():
		c.Fail(unix.ENETUNREACH)
	default:
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: "@" + relay.Path}); err != nil {
			c.Fail(errnoOf(err))
			return
		}
		c.Return(0)
	}
}

// streamPeer answers getpeername with the name that the program asked for, if the socket is connected to one of the broker's; false when it is not.
func (t *Tree) streamPeer(c *seccomp.Call) bool {
	if !t.rules.Has(rules.Unix) {
		return false
	}
	fd, err := c.Descriptor(c.Arg(0))
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	peer, err := unix.Getpeername(fd)
	at, ok := peer.(*unix.SockaddrUnix)
	if err != nil || !ok || !strings.HasPrefix(at.Name, "@") {
		return false
	}
	r := t.ask(c, frame.UnixPeer, &frame.PathRequest{Path: at.Name[1:]})
	name, ok := r.Fields.(*frame.PathReply)
	if r.Status != frame.StatusOK || !ok || name.Path == "" {
		return false
	}
	raw := append(binary.LittleEndian.AppendUint16(nil, unix.AF_UNIX), name.Path...)
	if name.Path[0] == '@' {
		raw[2] = 0
	} else {
		raw = append(raw, 0)
	}
	finish(c, 0, writeAddress(c, raw, c.Args[1], c.Args[2]))
	return true
}
