package incoming

import (
	"io"
	"syscall"
	"time"

	"mirrord/agent/links"
	"mirrord/agent/wire"
)

// firstTime is how long a connection is waited for to say something: a client's request comes with the end of its handshake, or right after it.
const firstTime = time.Millisecond

// peek returns what a connection begins with, as far as it has come, and leaves it to be read: the launcher's program then has it when it accepts, and the
// target's own has it all the same if nobody does.
func peek(conn links.Conn) []byte {
	system, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := system.SyscallConn()
	if err != nil {
		return nil
	}
	conn.SetReadDeadline(time.Now().Add(firstTime))
	defer conn.SetReadDeadline(time.Time{})
	buf, n := make([]byte, wire.MaxEarly), 0
	raw.Read(func(fd uintptr) bool {
		n, _, err = syscall.Recvfrom(int(fd), buf, syscall.MSG_PEEK)
		return err != syscall.EAGAIN && err != syscall.EINTR
	})
	if n <= 0 {
		return nil
	}
	return append([]byte(nil), buf[:n]...)
}

// drop reads what peek has returned.
func drop(conn links.Conn, first []byte) bool {
	if len(first) == 0 {
		return true
	}
	if _, err := io.ReadFull(conn, first); err != nil {
		return false
	}
	if w, ok := conn.(links.Watched); ok {
		w.Saw(first, nil)
	}
	return true
}
