package wire

import (
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// MaxDatagram bounds the payload of a datagram in bytes: what IPv4 can carry, 65,535 without its header and UDP's.
const MaxDatagram = 65507

// refusal in place of a length says that an earlier datagram was refused.
const refusal = 0xFFFF

// ErrRefused is what ReadDatagram returns where the far end wrote a refusal.
var ErrRefused = errors.New("a datagram was refused")

// Datagram is a buffer from a pool: room for a length and a payload, so that both are written in one piece.
type Datagram struct {
	n     int
	space [2 + MaxDatagram + 1]byte // a byte more than a payload may have shows that one is too long
}

var datagrams = sync.Pool{New: func() any { return new(Datagram) }}

// Payload is the datagram's content, which may be empty. It is valid until Release.
func (d *Datagram) Payload() []byte { return d.space[2 : 2+d.n] }

// Release gives the buffer back.
func (d *Datagram) Release() { datagrams.Put(d) }

// Write sends the datagram on a stream whose reply to OpConnect said Datagram: u16 little-endian length, and as many bytes.
func (d *Datagram) Write(w io.Writer) error {
	binary.LittleEndian.PutUint16(d.space[:], uint16(d.n))
	_, err := w.Write(d.space[:2+d.n])
	return err
}

// NewDatagram returns a datagram with a copy of the payload, which has at most MaxDatagram bytes.
func NewDatagram(payload []byte) *Datagram {
	d := datagrams.Get().(*Datagram)
	d.n = copy(d.space[2:2+MaxDatagram], payload)
	return d
}

// WriteRefusal says that what was sent before was refused, as ICMP does: nobody has the port, or the address is not reached.
func WriteRefusal(w io.Writer) error {
	_, err := w.Write([]byte{refusal & 0xFF, refusal >> 8})
	return err
}

// ReadDatagram reads what Write or WriteRefusal wrote. It holds no buffer while it waits. The errors are ErrRefused, after which reading goes on,
// io.EOF between two datagrams, one that wraps ErrMalformed for a length that none can have, and the stream's.
func ReadDatagram(r io.Reader) (*Datagram, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := int(binary.LittleEndian.Uint16(size[:]))
	switch {
	case n == refusal:
		return nil, ErrRefused
	case n > MaxDatagram:
		return nil, ErrMalformed
	}
	d := datagrams.Get().(*Datagram)
	d.n = n
	if _, err := io.ReadFull(r, d.Payload()); err != nil {
		d.Release()
		return nil, cut(err)
	}
	return d, nil
}

// ReceiveDatagram waits for a datagram on a UDP socket and returns it with its sender, which is invalid on a socket of another kind. It holds no buffer
// while it waits. One that is longer than MaxDatagram, which only IPv6 can carry, is left out.
func ReceiveDatagram(c syscall.RawConn) (*Datagram, netip.AddrPort, error) {
	return receive(c.Read)
}

// PendingDatagram is ReceiveDatagram without waiting: EAGAIN when there is none.
func PendingDatagram(c syscall.RawConn) (*Datagram, netip.AddrPort, error) {
	return receive(func(f func(uintptr) bool) error {
		return c.Control(func(fd uintptr) { f(fd) })
	})
}

func receive(read func(func(fd uintptr) bool) error) (d *Datagram, from netip.AddrPort, err error) {
	for {
		var sender unix.Sockaddr
		rerr := read(func(fd uintptr) bool {
			d = datagrams.Get().(*Datagram)
			for {
				d.n, sender, err = unix.Recvfrom(int(fd), d.space[2:], unix.MSG_DONTWAIT)
				if err != unix.EINTR {
					break
				}
			}
			if err != nil {
				d.Release()
				d = nil
			}
			return err != unix.EAGAIN
		})
		switch {
		case rerr != nil:
			if d != nil {
				d.Release()
			}
			return nil, netip.AddrPort{}, rerr
		case err != nil:
			return nil, netip.AddrPort{}, err
		case d.n > MaxDatagram:
			d.Release()
			continue
		}
		switch a := sender.(type) {
		case *unix.SockaddrInet4:
			from = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
		case *unix.SockaddrInet6:
			from = netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
		}
		return d, from, nil
	}
}
