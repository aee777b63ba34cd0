//go:build !linux

package broker

import (
	"errors"

	"golang.org/x/sys/unix"

	"mirrord/agent/wire"
	"mirrord/layer/frame"
)

// frameErrno is an errno of this system in a frame, and hostErrno one of a frame on this system: frames have Linux's numbers.
func frameErrno(e unix.Errno) int32 { return frame.Errno(unix.ErrnoName(e)) }
func hostErrno(n int32) unix.Errno {
	if e := unix.Errno(0); n != 0 && errors.As(&wire.Error{Errno: frame.ErrnoName(n)}, &e) {
		return e
	}
	return unix.EIO
}
