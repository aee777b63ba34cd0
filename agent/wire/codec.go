package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/fxamacker/cbor/v2"
	"golang.org/x/sys/unix"
)

// ErrMalformed is wrapped by every error about bytes that the protocol does not allow.
var ErrMalformed = errors.New("malformed message")

// Headers are decoded with every size bounded: the far end may be hostile. Unknown keys are ignored, so that an older end understands a newer
// one. Texts may hold any bytes, as paths and environments do.
var (
	encoding = must(cbor.EncOptions{Sort: cbor.SortCoreDeterministic}.EncMode())
	decoding = must(cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		MaxArrayElements: 4096,
		MaxMapPairs:      1 << 16,
		MaxNestedLevels:  4,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		UTF8:             cbor.UTF8DecodeInvalid,
	}.DecMode())
)

func must[T any](mode T, err error) T {
	if err != nil {
		panic(err) // the options above are constants
	}
	return mode
}

// limitOf is the most bytes that a header for v may have.
func limitOf(v any) int {
	if _, ok := v.(*Request); ok {
		return MaxRequest
	}
	return MaxHeader
}

// WriteHeader writes v, a *Request or *Reply, as one header with a single Write. One over MaxRequest or MaxHeader is an *Error with
// E2BIG, and nothing is written.
func WriteHeader(w io.Writer, v any) error {
	b := bytes.NewBuffer(make([]byte, 4, 256))
	if err := encoding.NewEncoder(b).Encode(v); err != nil {
		return fmt.Errorf("encode a header: %w", err)
	}
	n := b.Len() - 4
	if limit := limitOf(v); n > limit {
		return &Error{Errno: "E2BIG", Text: fmt.Sprintf("a message of %d bytes is too large (at most %d)", n, limit)}
	}
	binary.LittleEndian.PutUint32(b.Bytes(), uint32(n))
	_, err := w.Write(b.Bytes())
	return err
}

// ReadHeader reads one header into v, a *Request or *Reply. It returns io.EOF when the stream ends before the first byte, an error wrapping
// ErrMalformed for what cannot be a header, and never holds more memory than a small multiple of what has arrived.
func ReadHeader(r io.Reader, v any) error {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	n := binary.LittleEndian.Uint32(size[:])
	if limit := limitOf(v); n > uint32(limit) {
		return fmt.Errorf("%w: a header of %d bytes (at most %d)", ErrMalformed, n, limit)
	}
	var b bytes.Buffer // grows as bytes come in: a length alone allocates nothing
	if _, err := io.CopyN(&b, r, int64(n)); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if err := decoding.Unmarshal(b.Bytes(), v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// Error is a request that the agent answered with a failure.
type Error struct {
	Errno string // the name of an errno, or one of the Errno constants; never empty
	Text  string // for people; may be empty
}

// Error returns the text, or the errno's name where there is none.
func (e *Error) Error() string {
	if e.Text != "" {
		return e.Text
	}
	return e.Errno
}

// Unwrap returns this system's errno of that name, so that errors.Is(err, fs.ErrNotExist) and errors.As to a syscall.Errno work. It is nil for a
// lookup failure and for an errno that this system does not have.
func (e *Error) Unwrap() error {
	if number, ok := errnos()[e.Errno]; ok {
		return number
	}
	return nil
}

// Err returns the reply's failure as an *Error, or nil.
func (r *Reply) Err() error {
	if r.Errno == "" {
		return nil
	}
	return &Error{Errno: r.Errno, Text: r.Text}
}

// ErrnoName names what went wrong for a Reply: the errno in err's chain, ETIMEDOUT for a time limit, else EIO. err is not nil.
func ErrnoName(err error) string {
	var remote *Error
	var number syscall.Errno
	switch {
	case errors.As(err, &remote):
		return remote.Errno
	case errors.As(err, &number):
		if name := unix.ErrnoName(number); name != "" {
			return name
		}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "ETIMEDOUT"
	}
	return "EIO"
}

// errnos maps names to this system's numbers, of which no system has more than 255.
var errnos = sync.OnceValue(func() map[string]syscall.Errno {
	names := make(map[string]syscall.Errno)
	for number := syscall.Errno(1); number < 256; number++ {
		if name := unix.ErrnoName(number); name != "" {
			names[name] = number
		}
	}
	return names
})
