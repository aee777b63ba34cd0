//go:build !linux

package peer

// CommandOf tells nothing where there is no /proc.
func CommandOf(int) Command { return Command{} }

// Umask is nothing that the system tells about another process.
func Umask(int) (uint32, bool) { return 0, false }
