package startup

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"mirrord/agent/wire"
)

// A launcher that reaches its agent over a network knocks before a connection becomes a session: magic, token, the id of the link to be, and which of
// its two connections this is. The agent answers with one byte. What is not a knock is answered with nothing.
const (
	knockMagic   = "mirrord1"
	knockSize    = len(knockMagic) + tokenSize + linkIDSize + 1
	tokenSize    = 32
	linkIDSize   = 16
	knockedRight = 'k'
	// KnockTime limits the exchange on either end: it is one round trip.
	KnockTime = 15 * time.Second
)

// Token is the secret that a launcher shares with its agent.
type Token [tokenSize]byte

// LinkID tells which two connections belong together.
type LinkID [linkIDSize]byte

// Knock is what a launcher says on a new connection.
type Knock struct {
	Token Token
	Link  LinkID
	Bulk  bool // this connection is to carry the bulk session
}

// ErrNotAdmitted is what Enter returns when the agent hangs up instead of answering.
var ErrNotAdmitted = errors.New("the agent does not admit this launcher")

// NewToken and NewLinkID make random ones.
func NewToken() (t Token) {
	rand.Read(t[:])
	return t
}

// NewLinkID is for one attempt to link.
func NewLinkID() (id LinkID) {
	rand.Read(id[:])
	return id
}

// Enter knocks and waits to be let in, for KnockTime at most; after an error the connection is closed.
func (k *Knock) Enter(ctx context.Context, conn net.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, KnockTime)
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	answer := make([]byte, 1)
	_, err := conn.Write(k.bytes())
	if err == nil {
		_, err = io.ReadFull(conn, answer)
	}
	if err == nil && answer[0] != knockedRight {
		err = wire.ErrMalformed
	}
	if err != nil {
		conn.Close()
		return fmt.Errorf("%w: %w", ErrNotAdmitted, err)
	}
	return nil
}

func (k *Knock) bytes() []byte {
	b := append(make([]byte, 0, knockSize), knockMagic...)
	b = append(b, k.Token[:]...)
	b = append(b, k.Link[:]...)
	if k.Bulk {
		return append(b, 1)
	}
	return append(b, 0)
}

// ReadKnock reads what Enter sent, and nothing beyond it. The error is io.EOF when the far end hung up without a word, and wraps ErrMalformed for what is no
// knock. The caller limits the time.
func ReadKnock(r io.Reader) (*Knock, error) {
	b := make([]byte, knockSize)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	rest, ok := bytes.CutPrefix(b, []byte(knockMagic))
	kind := b[knockSize-1]
	if !ok || kind > 1 {
		return nil, fmt.Errorf("%w: not a launcher's first words", wire.ErrMalformed)
	}
	k := &Knock{Bulk: kind == 1}
	copy(k.Link[:], rest[copy(k.Token[:], rest):])
	return k, nil
}

// Admit answers a knock.
func Admit(w io.Writer) error {
	_, err := w.Write([]byte{knockedRight})
	return err
}
