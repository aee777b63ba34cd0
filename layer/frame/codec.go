package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
)

// Message is the fields of one request or reply. Only the structs of this package are messages.
type Message interface {
	fields(c *codec)
}

// AppendRequest appends a whole request: header, token, fields. It fails when a field or the payload is too long.
func AppendRequest(b []byte, kind Kind, id uint64, token [TokenSize]byte, m Message) ([]byte, error) {
	return appendFrame(b, Header{Kind: kind, ID: id}, func(b []byte) []byte { return append(b, token[:]...) }, m)
}

// AppendReply appends a whole reply: header (h.Len is computed), status, fields. A nil m is a reply without fields, which is what every
// status but StatusOK has (and Connect's StatusLocal, which has them). It fails when a field or the payload is too long.
func AppendReply(b []byte, h Header, status int32, m Message) ([]byte, error) {
	return appendFrame(b, h, func(b []byte) []byte { return binary.LittleEndian.AppendUint32(b, uint32(status)) }, m)
}

func appendFrame(b []byte, h Header, prefix func([]byte) []byte, m Message) ([]byte, error) {
	start := len(b)
	c := codec{buf: prefix(AppendHeader(b, h)), writing: true}
	if m != nil {
		m.fields(&c)
	}
	n := len(c.buf) - start - HeaderSize
	if c.err == nil && n > MaxPayload {
		c.fail("a payload of %d bytes (at most %d)", n, MaxPayload)
	}
	if c.err != nil {
		return b, c.err
	}
	binary.LittleEndian.PutUint32(c.buf[start:], uint32(n))
	return c.buf, nil
}

// Token is the token at the start of a request's payload, and the fields behind it; ok is false when the payload is too short.
func Token(payload []byte) (token, fields []byte, ok bool) {
	if len(payload) < TokenSize {
		return nil, nil, false
	}
	return payload[:TokenSize], payload[TokenSize:], true
}

// Status is the status at the start of a reply's payload, and the fields behind it.
func Status(payload []byte) (status int32, fields []byte, err error) {
	if len(payload) < 4 {
		return 0, nil, fmt.Errorf("%w: a reply of %d bytes", ErrMalformed, len(payload))
	}
	return int32(binary.LittleEndian.Uint32(payload)), payload[4:], nil
}

// Decode reads m from fields, which must hold m and nothing more. m shares no memory with fields.
func Decode(fields []byte, m Message) error {
	c := codec{buf: fields}
	m.fields(&c)
	if c.err == nil && len(c.buf) > 0 {
		c.fail("%d bytes too many", len(c.buf))
	}
	return c.err
}

// codec walks a message's fields once, writing or reading: the order of the fields is stated in one place for both directions.
// buf is what was written so far, or what is left to read; after an error nothing more is read.
type codec struct {
	buf     []byte
	writing bool
	err     error
}

func (c *codec) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
	}
}

var errShort = errors.New("the fields end early")

// take returns the next n bytes, or nil when there are not as many.
func (c *codec) take(n int) []byte {
	if c.err != nil || len(c.buf) < n {
		c.fail("%w", errShort)
		return nil
	}
	b := c.buf[:n]
	c.buf = c.buf[n:]
	return b
}

func (c *codec) u8(v *uint8) {
	if c.writing {
		c.buf = append(c.buf, *v)
	} else if b := c.take(1); b != nil {
		*v = b[0]
	}
}

func (c *codec) u16(v *uint16) {
	if c.writing {
		c.buf = binary.LittleEndian.AppendUint16(c.buf, *v)
	} else if b := c.take(2); b != nil {
		*v = binary.LittleEndian.Uint16(b)
	}
}

func (c *codec) u32(v *uint32) {
	if c.writing {
		c.buf = binary.LittleEndian.AppendUint32(c.buf, *v)
	} else if b := c.take(4); b != nil {
		*v = binary.LittleEndian.Uint32(b)
	}
}

func (c *codec) u64(v *uint64) {
	if c.writing {
		c.buf = binary.LittleEndian.AppendUint64(c.buf, *v)
	} else if b := c.take(8); b != nil {
		*v = binary.LittleEndian.Uint64(b)
	}
}

func (c *codec) str(v *string) {
	if c.writing && len(*v) > math.MaxUint16 {
		c.fail("a string of %d bytes", len(*v))
		return
	}
	n := uint16(len(*v))
	c.u16(&n)
	if c.writing {
		c.buf = append(c.buf, *v...)
	} else if b := c.take(int(n)); b != nil {
		*v = string(b)
	}
}

func (c *codec) strs(v *[]string) {
	if c.writing && len(*v) > math.MaxUint16 {
		c.fail("%d strings", len(*v))
		return
	}
	n := uint16(len(*v))
	c.u16(&n)
	if !c.writing {
		if len(c.buf) < 2*int(n) { // before anything of that size is allocated
			c.fail("%w", errShort)
			return
		}
		*v = slices.Grow([]string(nil), int(n))[:n]
	}
	for i := range *v {
		c.str(&(*v)[i])
	}
}

// addrSize is the size in bytes of an address.
const addrSize = 1 + 2 + 16

func (c *codec) addr(v *netip.AddrPort) {
	if c.writing {
		c.buf = appendAddr(c.buf, *v)
		return
	}
	b := c.take(addrSize)
	if b == nil {
		return
	}
	a := [16]byte(b[3:])
	var ip netip.Addr
	switch family := b[0]; {
	case family == 4 && [12]byte(a[4:]) == [12]byte{}:
		ip = netip.AddrFrom4([4]byte(a[:4]))
	case family == 6:
		ip = netip.AddrFrom16(a)
	case family == 0 && [addrSize]byte(b) == [addrSize]byte{}:
		*v = netip.AddrPort{}
		return
	default:
		c.fail("an address of family %d", family)
		return
	}
	*v = netip.AddrPortFrom(ip, binary.LittleEndian.Uint16(b[1:]))
}

// appendAddr writes an IPv4 address into the first four of the sixteen bytes; bytes that an address does not use are zero.
func appendAddr(b []byte, v netip.AddrPort) []byte {
	var raw [addrSize]byte
	if ip := v.Addr(); ip.IsValid() {
		binary.LittleEndian.PutUint16(raw[1:], v.Port())
		if raw[0] = 6; ip.Is4() {
			raw[0] = 4
			a := ip.As4()
			copy(raw[3:], a[:])
		} else {
			a := ip.As16()
			copy(raw[3:], a[:])
		}
	}
	return append(b, raw[:]...)
}

func (c *codec) addrs(v *[]netip.AddrPort) {
	if c.writing && len(*v) > math.MaxUint16 {
		c.fail("%d addresses", len(*v))
		return
	}
	n := uint16(len(*v))
	c.u16(&n)
	if !c.writing {
		if len(c.buf) < int(n)*addrSize { // before anything of that size is allocated
			c.fail("%w", errShort)
			return
		}
		*v = make([]netip.AddrPort, n)
	}
	for i := range *v {
		c.addr(&(*v)[i])
	}
}
