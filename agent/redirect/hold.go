package redirect

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
)

// holder is who has a port for itself: an abstract socket of the namespace, which the kernel takes away with the process.
type holder struct {
	socket  *net.UnixListener
	serving sync.WaitGroup
}

const (
	holderTime = time.Second // for asking a holder
	maxDeed    = 256         // bytes
	goneTries  = 10          // how often somebody may be there first and gone when asked
)

// Hold takes a port of the namespace for this process alone, until it is closed. deed tells others what the process does with it: "stolen by ann@laptop". When
// somebody has the port the error says so with that one's deed, and carries EADDRINUSE.
func (r *Redirect) Hold(port uint16, deed string) (io.Closer, error) {
	addr := &net.UnixAddr{Net: "unix", Name: fmt.Sprintf("@mirrord/port/%d", port)}
	h := new(holder)
	for try := 0; ; try++ {
		err := r.network.Do(func() (err error) { h.socket, err = net.ListenUnix("unix", addr); return })
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("port %d: %w", port, err)
		}
		other, asked := r.ask(addr)
		if ended(asked) && try < goneTries {
			continue
		}
		return nil, fmt.Errorf("port %d of the pod is %s: %w", port, other, syscall.EADDRINUSE)
	}
	h.serving.Go(func() { h.serve(deed) })
	return h, nil
}

// ask returns a holder's deed; an error that ended knows says that there is no holder any more.
func (r *Redirect) ask(addr *net.UnixAddr) (string, error) {
	const unknown = "taken by another session"
	var conn *net.UnixConn
	if err := r.network.Do(func() (err error) { conn, err = net.DialUnix("unix", nil, addr); return }); err != nil {
		return unknown, err
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(holderTime))
	raw, err := io.ReadAll(io.LimitReader(conn, maxDeed))
	deed := printable(string(raw))
	switch {
	case err != nil:
		return unknown, err
	case deed == "":
		return unknown, io.EOF
	}
	return deed, nil
}

// ended says whether another process has closed its socket, before it was asked or with the question in its queue, instead of answering.
func ended(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF)
}

// printable is a text of somebody else's in one line.
func printable(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			return r
		}
		return -1
	}, text))
}

func (h *holder) serve(deed string) {
	for {
		conn, err := h.socket.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		io.WriteString(conn, deed[:min(len(deed), maxDeed)]) // the socket has room for it
		conn.Close()
	}
}

// Close gives the port up.
func (h *holder) Close() error {
	err := h.socket.Close()
	h.serving.Wait()
	return err
}
