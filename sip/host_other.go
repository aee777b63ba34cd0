//go:build !linux

package sip

import "syscall"

// host is not built for this system yet: nothing can be executed.
type host struct{}

func newHost() host { return host{} }

func (host) system() System { return System{Kernel: Darwin, Arch: arch} }

func (host) executable(string) (fileID, syscall.Errno) { return fileID{}, syscall.ENOSYS }

func (host) inspect(string) (*file, fileID, syscall.Errno) { return nil, fileID{}, syscall.ENOSYS }

func (host) privilege(string, *file, *Creds) string { return "" }
