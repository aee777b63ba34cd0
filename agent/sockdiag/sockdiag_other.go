//go:build !linux

package sockdiag

import "golang.org/x/sys/unix"

// TCP needs Linux.
func TCP(States, func(Socket)) error { return unix.ENOTSUP }
