package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// A body follows the reply of OpOpen: chunks of `u32 n, n bytes`, then n = 0 for a clean end, or n = failMark, a u16 length and the name of the
// errno that stopped the source midway. A reader can so tell a whole body from a cut one.
const (
	// FrameSize is the most that one frame of a stream carries, in bytes: yamux would send a frame as large as the free window, and every other stream of
	// the session would wait behind it.
	FrameSize = 32 << 10
	// MaxChunk bounds a chunk that a reader accepts, in bytes.
	MaxChunk = 1 << 20
	// chunkSize is what a writer sends at once, in bytes: with its length it fills one frame of a stream.
	chunkSize = FrameSize - 4
	failMark  = 0xFFFFFFFF
	// maxErrno bounds the name of an errno, in bytes.
	maxErrno = 64
)

// BodyWriter writes a body. Exactly one of Close and Fail ends it; neither closes the writer below.
type BodyWriter struct {
	w    io.Writer
	size [4]byte
}

// NewBodyWriter returns a BodyWriter on w, which should be buffered: a chunk is written in two pieces.
func NewBodyWriter(w io.Writer) *BodyWriter { return &BodyWriter{w: w} }

// Write sends p in chunks.
func (b *BodyWriter) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		chunk := p[done:min(done+chunkSize, len(p))]
		if err := b.mark(uint32(len(chunk))); err != nil {
			return done, err
		}
		n, err := b.w.Write(chunk)
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// Close ends the body cleanly.
func (b *BodyWriter) Close() error { return b.mark(0) }

// Fail ends the body with the errno that stopped its source.
func (b *BodyWriter) Fail(errno string) error {
	if errno == "" || len(errno) > maxErrno {
		errno = "EIO"
	}
	p := binary.LittleEndian.AppendUint32(nil, failMark)
	p = binary.LittleEndian.AppendUint16(p, uint16(len(errno)))
	_, err := b.w.Write(append(p, errno...))
	return err
}

func (b *BodyWriter) mark(n uint32) error {
	binary.LittleEndian.PutUint32(b.size[:], n)
	_, err := b.w.Write(b.size[:])
	return err
}

// NewBodyReader returns the bytes of a body. Read gives io.EOF only after a clean end, io.ErrUnexpectedEOF when the stream below ended early, an
// *Error when the source failed, and an error wrapping ErrMalformed for a chunk over MaxChunk. It reads nothing past the body.
func NewBodyReader(r io.Reader) io.Reader { return &bodyReader{r: r} }

type bodyReader struct {
	r    io.Reader
	left uint32 // bytes of the current chunk still to come
	err  error  // how the body ended; sticky
}

func (b *bodyReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if b.err == nil && b.left == 0 {
		b.left, b.err = b.next()
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p[:min(uint64(len(p)), uint64(b.left))])
	b.left -= uint32(n)
	if err != nil {
		b.err = cut(err)
		if n > 0 {
			return n, nil
		}
		return 0, b.err
	}
	return n, nil
}

// next reads the mark before a chunk: its size, or how the body ended.
func (b *bodyReader) next() (uint32, error) {
	var mark [4]byte
	if _, err := io.ReadFull(b.r, mark[:]); err != nil {
		return 0, cut(err)
	}
	switch n := binary.LittleEndian.Uint32(mark[:]); {
	case n == 0:
		return 0, io.EOF
	case n == failMark:
		return 0, b.failure()
	case n > MaxChunk:
		return 0, fmt.Errorf("%w: a chunk of %d bytes (at most %d)", ErrMalformed, n, MaxChunk)
	default:
		return n, nil
	}
}

func (b *bodyReader) failure() error {
	var size [2]byte
	if _, err := io.ReadFull(b.r, size[:]); err != nil {
		return cut(err)
	}
	n := binary.LittleEndian.Uint16(size[:])
	if n == 0 || n > maxErrno {
		return fmt.Errorf("%w: an errno of %d bytes (at most %d)", ErrMalformed, n, maxErrno)
	}
	name := make([]byte, n)
	if _, err := io.ReadFull(b.r, name); err != nil {
		return cut(err)
	}
	return &Error{Errno: string(name)}
}

// cut makes the end of the stream inside a body an error.
func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
