// Package netns makes sockets in another network namespace than the process's own: a socket stays for ever in the one that its thread was in when it was made.
package netns

import "os"

// Namespace is a network namespace; nil is the process's own. It is safe for concurrent use.
type Namespace struct {
	file *os.File
}

// Own says whether it is the process's own.
func (n *Namespace) Own() bool { return n == nil || n.file == nil }

// Do runs f on a thread inside the namespace and returns its error, or why the namespace cannot be entered, which takes CAP_SYS_ADMIN. Sockets that f makes may
// be used anywhere afterwards; goroutines that it starts are not in the namespace.
func (n *Namespace) Do(f func() error) error {
	if n.Own() {
		return f()
	}
	return inside(n.file, f)
}

// Close gives the namespace up. Nothing may use it any more.
func (n *Namespace) Close() error {
	if n.Own() {
		return nil
	}
	return n.file.Close()
}
