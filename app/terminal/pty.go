// Package terminal is the terminals of programs: one that the app holds the other end of, and the user's own, which a script opens.
package terminal

import (
	"os"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// Open makes a terminal: our end, and the program's; the caller closes both. A Read of ours ends when it is closed, though the program's may be open elsewhere; the library's own
// file would wait on.
func Open() (ours, theirs *os.File, err error) {
	blocking, theirs, err := pty.Open()
	if err != nil {
		return nil, nil, err
	}
	defer blocking.Close()
	fd, err := unix.FcntlInt(blocking.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		if err = unix.SetNonblock(fd, true); err == nil {
			return os.NewFile(uintptr(fd), blocking.Name()), theirs, nil // which looks at that
		}
		unix.Close(fd)
	}
	theirs.Close()
	return nil, nil, err
}

// Resize tells the program of a terminal, of which this is our end, how large it is, in characters. One that is closed is left alone.
func Resize(terminal *os.File, columns, rows int) {
	raw, err := terminal.SyscallConn()
	if err != nil {
		return
	}
	size := unix.Winsize{Row: uint16(min(max(rows, 1), 1000)), Col: uint16(min(max(columns, 1), 1000))}
	_ = raw.Control(func(fd uintptr) { _ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &size) })
}
