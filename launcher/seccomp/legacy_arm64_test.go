//go:build linux

package seccomp

var legacyOpen []Rule
