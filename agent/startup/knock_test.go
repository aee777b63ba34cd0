package startup

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"mirrord/agent/wire"
)

func TestKnock(t *testing.T) {
	for _, bulk := range []bool{false, true} {
		ours, theirs := net.Pipe()
		sent := &Knock{Token: NewToken(), Link: NewLinkID(), Bulk: bulk}
		entered := make(chan error, 1)
		go func() {
			entered <- sent.Enter(t.Context(), ours)
			ours.Write([]byte("and on"))
			ours.Close()
		}()
		got, err := ReadKnock(theirs)
		if err != nil || *got != *sent {
			t.Errorf("%+v, %v", got, err)
		}
		if err := Admit(theirs); err != nil {
			t.Error(err)
		}
		if rest, _ := io.ReadAll(theirs); string(rest) != "and on" {
			t.Errorf("after the knock comes %q", rest)
		}
		if err := <-entered; err != nil {
			t.Error(err)
		}
	}
}

func TestKnockRefused(t *testing.T) {
	for name, answer := range map[string]func(net.Conn){
		"hung up":      func(c net.Conn) { ReadKnock(c); c.Close() },
		"another word": func(c net.Conn) { ReadKnock(c); c.Write([]byte("H")) },
	} {
		ours, theirs := net.Pipe()
		go answer(theirs)
		if err := new(Knock).Enter(t.Context(), ours); !errors.Is(err, ErrNotAdmitted) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := ours.Write([]byte("x")); err == nil {
			t.Errorf("%s: the connection is still open", name)
		}
		theirs.Close()
	}
}

func TestReadKnockFaults(t *testing.T) {
	whole := (&Knock{}).bytes()
	strange := bytes.Clone(whole)
	strange[len(strange)-1] = 2
	for text, want := range map[string]error{
		"":                          io.EOF,
		string(whole[:20]):          io.ErrUnexpectedEOF,
		string(strange):             wire.ErrMalformed,
		strings.Repeat("GET /", 20): wire.ErrMalformed,
	} {
		if _, err := ReadKnock(strings.NewReader(text)); !errors.Is(err, want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzReadKnock(f *testing.F) {
	f.Add((&Knock{Token: NewToken(), Bulk: true}).bytes())
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		k, err := ReadKnock(bytes.NewReader(raw))
		if err == nil && !bytes.HasPrefix(raw, k.bytes()) {
			t.Errorf("%q was read as %+v", raw, k)
		}
	})
}
