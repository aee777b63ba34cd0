package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The bytes are part of the protocol.
func TestDatagramsGolden(t *testing.T) {
	var b bytes.Buffer
	for _, payload := range []string{"hi", ""} {
		d := NewDatagram([]byte(payload))
		d.Write(&b)
		d.Release()
	}
	WriteRefusal(&b)
	if got := hex.EncodeToString(b.Bytes()); got != "020068690000ffff" {
		t.Errorf("%s", got)
	}
}

func TestReadDatagram(t *testing.T) {
	longest := "\xe3\xff" + strings.Repeat("x", MaxDatagram)
	for name, c := range map[string]struct {
		in   string
		want int // bytes; -1 for an error
		err  error
	}{
		"one":       {"\x02\x00hi", 2, nil},
		"empty":     {"\x00\x00", 0, nil},
		"longest":   {longest, MaxDatagram, nil},
		"too long":  {"\xe4\xff" + longest, -1, ErrMalformed},
		"refusal":   {"\xff\xff", -1, ErrRefused},
		"end":       {"", -1, io.EOF},
		"cut size":  {"\x02", -1, io.ErrUnexpectedEOF},
		"cut":       {"\x02\x00h", -1, io.ErrUnexpectedEOF},
		"cut early": {"\x02\x00", -1, io.ErrUnexpectedEOF},
	} {
		d, err := ReadDatagram(strings.NewReader(c.in))
		if !errors.Is(err, c.err) || (d == nil) != (c.want < 0) || d != nil && len(d.Payload()) != c.want {
			t.Errorf("%s: %v", name, err)
		}
		if d != nil {
			d.Release()
		}
	}
}

func TestReceiveDatagram(t *testing.T) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := PendingDatagram(raw); err != unix.EAGAIN {
		t.Errorf("nothing there: %v", err)
	}
	sender, err := net.DialUDP("udp4", nil, c.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	for i, receive := range []func() (*Datagram, error){
		func() (*Datagram, error) { d, _, err := ReceiveDatagram(raw); return d, err },
		func() (*Datagram, error) { d, _, err := PendingDatagram(raw); return d, err },
	} {
		sender.Write([]byte("hi"))
		d, err := receive()
		if err != nil || string(d.Payload()) != "hi" {
			t.Fatalf("%d: %v", i, err)
		}
		d.Release()
	}
	failed := make(chan error)
	go func() { _, _, err := ReceiveDatagram(raw); failed <- err }()
	c.Close()
	if err := <-failed; err == nil {
		t.Error("received from a closed socket")
	}
}

// FuzzReadDatagram: whatever comes, what was read is written back as it was.
func FuzzReadDatagram(f *testing.F) {
	for _, in := range []string{"", "\x02\x00hi", "\x00\x00", "\xff\xff", "\xe4\xff", "\x05\x00hi", "\x01\x00a\xff\xff\x01\x00b"} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var back bytes.Buffer
		for r := bytes.NewReader(in); ; {
			d, err := ReadDatagram(r)
			if errors.Is(err, ErrRefused) {
				WriteRefusal(&back)
				continue
			}
			if err != nil {
				break
			}
			d.Write(&back)
			d.Release()
		}
		if !bytes.HasPrefix(in, back.Bytes()) {
			t.Errorf("%x came back as %x", in, back.Bytes())
		}
	})
}
