package broker

import "golang.org/x/sys/unix"

// frameErrno is an errno of this system in a frame, and hostErrno one of a frame on this system: frames have Linux's numbers.
func frameErrno(e unix.Errno) int32 { return int32(e) }
func hostErrno(n int32) unix.Errno  { return unix.Errno(n) }
