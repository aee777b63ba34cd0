//go:build !linux && !darwin

package sip

import "syscall"

// host knows nothing of this system: nothing can be executed.
type host struct{}

func newHost() host { return host{} }

func (host) system() System { return System{Arch: arch} }

func (host) executable(string) (fileID, syscall.Errno) { return fileID{}, syscall.ENOSYS }

func (host) inspect(string) (*file, fileID, syscall.Errno) { return nil, fileID{}, syscall.ENOSYS }

func (host) privilege(string, *file, *Creds) string { return "" }
