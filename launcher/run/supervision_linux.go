//go:build linux && (amd64 || arm64)

package run

import "mirrord/launcher/seccomp"

// Supervision says why no program can be supervised here; nil if they can.
func Supervision() error { return seccomp.Supported() }

// supervised reports whether the calls of a process are answered.
func supervised(pid int) bool { return seccomp.Supervised(pid) }
