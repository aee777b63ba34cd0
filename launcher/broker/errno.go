package broker

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"mirrord/agent/links"
	"mirrord/agent/wire"
)

// errnoOf is the errno for the program of a request that failed: the pod's own if the agent answered (EIO when this host has no such errno), that
// of a system call of the broker's own, else lost, which stands for a link that is gone.
func errnoOf(err error, lost unix.Errno) unix.Errno {
	var refused *wire.Error
	var e unix.Errno
	switch {
	case errors.As(err, &refused):
		if !errors.As(refused, &e) {
			return unix.EIO
		}
		return e
	case errors.Is(err, links.ErrLost) || !errors.As(err, &e):
		return lost
	}
	return e
}

// maxReason bounds what an event repeats of the agent's words, in bytes.
const maxReason = 500

// reason is what the agent says of a request that it refused; empty where that is nothing, or the agent was not reached.
func reason(err error) string {
	var refused *wire.Error
	if !errors.As(err, &refused) {
		return ""
	}
	return strings.ToValidUTF8(refused.Text[:min(len(refused.Text), maxReason)], "")
}
