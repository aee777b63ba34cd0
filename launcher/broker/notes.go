package broker

import (
	"crypto/subtle"
	"errors"
	"net"
	"time"

	"mirrord/launcher/peer"
	"mirrord/layer/frame"
)

// notesSuffix is what the address of the socket for datagrams has behind the one for connections. layer/src/session.c knows it.
const notesSuffix = "+"

// readNotes takes what the layers say without waiting, one frame in one datagram, until the socket is closed: that programs start and are executed,
// which a build does by the thousand, so it must cost less than a connection each. What no queue had room for comes on a connection.
func (b *Broker) readNotes() {
	buf := make([]byte, frame.HeaderSize+frame.MaxPayload)
	control := make([]byte, 256)
	for {
		n, m, _, from, err := b.notes.ReadMsgUnix(buf, control)
		if err != nil {
			if errors.Is(err, net.ErrClosed) || !b.pause() {
				return
			}
			continue
		}
		h, err := frame.ParseHeader(buf[:max(n, frame.HeaderSize)])
		if err != nil || n != frame.HeaderSize+int(h.Len) || !isNote(h.Kind) {
			continue
		}
		token, fields, ok := frame.Token(buf[frame.HeaderSize:n])
		if !ok || subtle.ConstantTimeCompare(token, b.token[:]) != 1 {
			continue
		}
		a, err := b.dispatch(asker{peer: func() (peer.Peer, bool) { return peer.Sender(control[:m]) }}, h.Kind, fields)
		if err == nil && h.Kind == frame.Hello && from != nil {
			// The process may be gone, or too busy to take its answer: it asks again when it needs one.
			b.notes.SetWriteDeadline(time.Now().Add(frameTimeout))
			a.send(b.notes, from, h)
		}
	}
}

// isNote says whether a request may come as a datagram: it must not wait for the pod.
func isNote(k frame.Kind) bool { return k == frame.Hello || k == frame.Exec || k.OneWay() }
