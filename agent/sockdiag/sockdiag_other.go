//go:build !linux

package sockdiag

import "golang.org/x/sys/unix"

// Each needs Linux.
func Each(States, uint16, func(Socket)) error { return unix.ENOTSUP }
