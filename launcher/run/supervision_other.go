//go:build !linux || !(amd64 || arm64)

package run

import "errors"

// Supervision says why no program can be supervised here; nil if they can.
func Supervision() error { return errors.New("this system has no supervision of system calls") }

// supervised reports whether the calls of a process are answered.
func supervised(int) bool { return false }
