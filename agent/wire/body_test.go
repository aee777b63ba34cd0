package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// wholeBody is a body of these pieces with a clean end.
func wholeBody(t testing.TB, pieces ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewBodyWriter(&b)
	for _, p := range pieces {
		if n, err := io.WriteString(w, p); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func failedBody(t testing.TB, piece, errno string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewBodyWriter(&b)
	io.WriteString(w, piece)
	if err := w.Fail(errno); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestBodyGolden(t *testing.T) {
	golden(t, "testdata/bodies.hex", fmt.Sprintf("empty %x\nhello %x\ntwo %x\nfailed %x\n",
		wholeBody(t), wholeBody(t, "hello"), wholeBody(t, "a", "bc"), failedBody(t, "hel", "EIO")))
}

func TestBodyRoundTrip(t *testing.T) {
	large := strings.Repeat("0123456789", 100<<10)
	for _, want := range []string{"", "x", large} {
		raw := wholeBody(t, want)
		r := strings.NewReader(string(raw) + "rest")
		for name, source := range map[string]io.Reader{"whole": r, "one byte at a time": iotest.OneByteReader(bytes.NewReader(raw))} {
			got, err := io.ReadAll(NewBodyReader(source))
			if string(got) != want || err != nil {
				t.Errorf("%s: %d bytes became %d, %v", name, len(want), len(got), err)
			}
		}
		if r.Len() != len("rest") {
			t.Errorf("%d bytes read past the body", len("rest")-r.Len())
		}
	}
	if err := iotest.TestReader(NewBodyReader(bytes.NewReader(wholeBody(t, "hello", "world"))), []byte("helloworld")); err != nil {
		t.Error(err)
	}
}

// A body that was cut anywhere never looks whole.
func TestBodyCut(t *testing.T) {
	for _, raw := range [][]byte{wholeBody(t, "hello", "world"), failedBody(t, "hello", "ESTALE")} {
		for n := range raw {
			if _, err := io.ReadAll(NewBodyReader(bytes.NewReader(raw[:n]))); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("cut after %d of %d bytes: %v", n, len(raw), err)
			}
		}
	}
}

func TestBodyFail(t *testing.T) {
	for given, want := range map[string]string{"ESTALE": "ESTALE", "": "EIO", strings.Repeat("E", 100): "EIO"} {
		r := NewBodyReader(bytes.NewReader(failedBody(t, "hello", given)))
		got, err := io.ReadAll(r)
		var failure *Error
		if string(got) != "hello" || !errors.As(err, &failure) || failure.Errno != want {
			t.Errorf("Fail(%q) gave %q, %v", given, got, err)
		}
		if _, again := r.Read(make([]byte, 1)); again != err {
			t.Errorf("a second read gave %v", again)
		}
	}
}

func TestBodyHostile(t *testing.T) {
	for name, raw := range map[string][]byte{
		"chunk over MaxChunk": append(binary.LittleEndian.AppendUint32(nil, MaxChunk+1), make([]byte, MaxChunk+1)...),
		"errno too long":      {255, 255, 255, 255, 65, 0},
		"errno empty":         {255, 255, 255, 255, 0, 0},
	} {
		if got, err := io.ReadAll(NewBodyReader(bytes.NewReader(raw))); !errors.Is(err, ErrMalformed) || len(got) > 0 {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func TestBodyWriterError(t *testing.T) {
	broken := errors.New("broken")
	w := NewBodyWriter(writerFunc(func([]byte) (int, error) { return 0, broken }))
	if n, err := w.Write([]byte("x")); n != 0 || err != broken {
		t.Error(n, err)
	}
	if err := w.Close(); err != broken {
		t.Error(err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func FuzzBody(f *testing.F) {
	f.Add(wholeBody(f, "hello", "world"))
	f.Add(failedBody(f, "hello", "EIO"))
	f.Add([]byte{255, 255, 255, 255, 2, 0, 'E'})
	f.Add([]byte{0, 0, 32, 0, 1})
	f.Fuzz(func(t *testing.T, raw []byte) {
		source := bytes.NewReader(raw)
		got, err := io.ReadAll(NewBodyReader(source))
		if len(got) > len(raw) {
			t.Fatalf("%d bytes out of %d", len(got), len(raw))
		}
		if err != nil {
			return
		}
		// A clean body written again reads the same.
		again, err := io.ReadAll(NewBodyReader(bytes.NewReader(wholeBody(t, string(got)))))
		if err != nil || !bytes.Equal(again, got) {
			t.Fatalf("%q became %q, %v", got, again, err)
		}
	})
}
