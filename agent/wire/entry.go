package wire

import (
	"encoding/binary"
	"fmt"
)

// Entry is one entry of a directory's body. In packed form: ino u64, kind u8, flags u8, length of the name u16, name; little-endian. With
// entryStat in the flags the metadata follow as 13 unsigned varints in the order of Stat's fields, and the link's target as a varint length
// and that many bytes.
type Entry struct {
	Ino    uint64
	Kind   uint8  // Linux's DT_ numbers; 0 is unknown
	Name   []byte // not empty, at most MaxName bytes
	Stat   *Stat  // of the entry itself, as lstat; nil unless the request asked for it
	Target []byte // of a symbolic link, when Stat is there
}

// MaxName bounds an entry's name in bytes, and MaxTarget a link's target.
const (
	MaxName   = 1024
	MaxTarget = 4096
)

const entryStat = 1

const entryFixed = 12 // bytes before the name

// AppendEntry appends an entry in packed form.
func AppendEntry(b []byte, e Entry) []byte {
	flags := byte(0)
	if e.Stat != nil {
		flags = entryStat
	}
	b = binary.LittleEndian.AppendUint64(b, e.Ino)
	b = append(b, e.Kind, flags)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(e.Name)))
	b = append(b, e.Name...)
	if e.Stat == nil {
		return b
	}
	for _, v := range e.Stat.numbers() {
		b = binary.AppendUvarint(b, v)
	}
	b = binary.AppendUvarint(b, uint64(len(e.Target)))
	return append(b, e.Target...)
}

// ReadEntry reads the entry at the start of b and returns the bytes behind it. The entry's slices are b's. The error wraps ErrMalformed.
func ReadEntry(b []byte) (Entry, []byte, error) {
	broken := func() (Entry, []byte, error) {
		return Entry{}, nil, fmt.Errorf("%w: a directory's entry", ErrMalformed)
	}
	if len(b) < entryFixed {
		return broken()
	}
	e := Entry{Ino: binary.LittleEndian.Uint64(b), Kind: b[8]}
	flags, n := b[9], int(binary.LittleEndian.Uint16(b[10:]))
	b = b[entryFixed:]
	if n == 0 || n > MaxName || n > len(b) {
		return broken()
	}
	e.Name, b = b[:n], b[n:]
	if flags&entryStat == 0 {
		return e, b, nil
	}
	var v [statNumbers + 1]uint64
	for i := range v {
		value, size := binary.Uvarint(b)
		if size <= 0 {
			return broken()
		}
		v[i], b = value, b[size:]
	}
	target := v[statNumbers]
	if target > MaxTarget || target > uint64(len(b)) {
		return broken()
	}
	e.Stat = statOf([statNumbers]uint64(v[:statNumbers]))
	e.Target = b[:target]
	return e, b[target:], nil
}

const statNumbers = 13

// numbers are the fields of a Stat in their order.
func (st *Stat) numbers() [statNumbers]uint64 {
	return [...]uint64{
		st.Dev, st.Ino, uint64(st.Mode), st.Nlink, uint64(st.UID), uint64(st.GID), st.Rdev, uint64(st.Size), uint64(st.Blksize),
		uint64(st.Blocks), uint64(st.Atime), uint64(st.Mtime), uint64(st.Ctime),
	}
}

func statOf(v [statNumbers]uint64) *Stat {
	return &Stat{
		Dev: v[0], Ino: v[1], Mode: uint32(v[2]), Nlink: v[3], UID: uint32(v[4]), GID: uint32(v[5]), Rdev: v[6], Size: int64(v[7]),
		Blksize: int64(v[8]), Blocks: int64(v[9]), Atime: int64(v[10]), Mtime: int64(v[11]), Ctime: int64(v[12]),
	}
}
