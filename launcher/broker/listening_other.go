//go:build !linux

package broker

// listening reports whether a socket listens there.
func (s boundSock) listening() bool { return s.occupied() }
