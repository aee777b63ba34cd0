//go:build linux

package seccomp

import "golang.org/x/sys/unix"

// legacyOpen is what some programs still call.
var legacyOpen = []Rule{{Number: unix.SYS_OPEN}}
