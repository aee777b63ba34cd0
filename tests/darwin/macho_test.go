package darwin

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"testing"
)

// Files that no linker here can write are made from those it can.

var little, big = binary.LittleEndian, binary.BigEndian

const (
	codeSignature = 0x1d
	chainedFixups = 0x80000034
	segment64     = 0x19
)

// commands calls visit with each load command of a thin file.
func commands(file []byte, visit func(cmd uint32, command []byte)) {
	at := 32
	for range little.Uint32(file[16:]) {
		size := int(little.Uint32(file[at+4:]))
		visit(little.Uint32(file[at:]), file[at:at+size])
		at += size
	}
}

// signing is what a signature says. The zero value is an ad hoc signature without entitlements.
type signing struct {
	flags        uint32 // of the CodeDirectory, added to ad hoc; notAdhoc takes that away
	notAdhoc     bool
	platform     byte
	identifier   string
	team         string
	entitlements string // keys with <true/> or <false/>
	cms          bool
	pageShift    byte // 12 when 0
}

func blob(magic uint32, content []byte) []byte {
	b := big.AppendUint32(nil, magic)
	return append(big.AppendUint32(b, uint32(8+len(content))), content...)
}

// sign puts a new signature in the place of the one that the file has.
func sign(t *testing.T, file []byte, s signing) []byte {
	t.Helper()
	var command, linkedit []byte
	file = bytes.Clone(file)
	commands(file, func(cmd uint32, c []byte) {
		if cmd == codeSignature {
			command = c
		}
		if cmd == segment64 && bytes.HasPrefix(c[8:], []byte("__LINKEDIT\x00")) {
			linkedit = c
		}
	})
	if command == nil {
		t.Fatal("the file has no signature to be replaced")
	}
	at := int(little.Uint32(command[8:]))
	const room = 8192
	little.PutUint32(command[12:], room)
	from := little.Uint64(linkedit[40:])
	little.PutUint64(linkedit[48:], uint64(at)+room-from)
	little.PutUint64(linkedit[32:], (uint64(at)+room-from+0x3fff)&^0x3fff)
	file = append(file[:at], make([]byte, room)...)
	copy(file[at:], superblob(file[:at], s))
	return file
}

func superblob(code []byte, s signing) []byte {
	if s.pageShift == 0 {
		s.pageShift = 12
	}
	if s.identifier == "" {
		s.identifier = "test"
	}
	slots := map[int][]byte{2: blob(0xfade0c01, big.AppendUint32(nil, 0))}
	if s.entitlements != "" {
		slots[5] = blob(0xfade7171, []byte(`<plist version="1.0"><dict>`+s.entitlements+`</dict></plist>`))
	}
	const specials = 5
	var hashes []byte
	for i := specials; i > 0; i-- {
		hash := [32]byte{}
		if content, ok := slots[i]; ok {
			hash = sha256.Sum256(content)
		}
		hashes = append(hashes, hash[:]...)
	}
	pages := 0
	for page := code; len(page) > 0; pages++ {
		n := min(len(page), 1<<s.pageShift)
		hash := sha256.Sum256(page[:n])
		hashes = append(hashes, hash[:]...)
		page = page[n:]
	}
	const head = 88 // version 0x20400
	texts := append([]byte(s.identifier+"\x00"+s.team), 0)
	directory := make([]byte, head-8)
	put := func(offset int, value uint32) { big.PutUint32(directory[offset-8:], value) }
	flags := s.flags
	if !s.notAdhoc {
		flags |= 2
	}
	put(8, 0x20400)
	put(12, flags)
	put(16, uint32(head+len(texts)+specials*32))
	put(20, head)
	put(24, specials)
	put(28, uint32(pages))
	put(32, uint32(len(code)))
	directory[36-8], directory[37-8], directory[38-8], directory[39-8] = 32, 2, s.platform, s.pageShift
	if s.team != "" {
		put(48, uint32(head+len(s.identifier)+1))
	}
	directory = append(append(directory, texts...), hashes...)
	type entry struct {
		slot    uint32
		content []byte
	}
	entries := []entry{{0, blob(0xfade0c02, directory)}, {2, slots[2]}}
	if slots[5] != nil {
		entries = append(entries, entry{5, slots[5]})
	}
	if s.cms {
		entries = append(entries, entry{0x10000, blob(0xfade0b01, []byte("certificates"))})
	}
	offset := 12 + 8*len(entries)
	index, content := big.AppendUint32(nil, uint32(len(entries))), []byte{}
	for _, e := range entries {
		index = big.AppendUint32(big.AppendUint32(index, e.slot), uint32(offset+len(content)))
		content = append(content, e.content...)
	}
	return blob(0xfade0cc0, append(index, content...))
}

// as gives a thin file another subtype, and signs it anew.
func as(t *testing.T, file []byte, subtype uint32, s signing) []byte {
	t.Helper()
	file = bytes.Clone(file)
	little.PutUint32(file[8:], subtype)
	return sign(t, file, s)
}

// fat joins thin files.
func fat(slices ...[]byte) []byte {
	out := big.AppendUint32(big.AppendUint32(nil, 0xcafebabe), uint32(len(slices)))
	offset := 0x4000
	for _, s := range slices {
		for _, v := range []uint32{little.Uint32(s[4:]), little.Uint32(s[8:]), uint32(offset), uint32(len(s)), 14} {
			out = big.AppendUint32(out, v)
		}
		offset = (offset + len(s) + 0x3fff) &^ 0x3fff
	}
	for _, s := range slices {
		out = append(out, make([]byte, -len(out)&0x3fff)...)
		out = append(out, s...)
	}
	return out
}

// rechain writes the chains of a file, which the linker made in format 6 or 2, in another format; in those of arm64e every other pointer is one that is to be
// signed. The files are not signed anew: x86_64 needs no signature.
func rechain(t *testing.T, file []byte, format uint16) []byte {
	t.Helper()
	file = bytes.Clone(file)
	type segment struct{ address, offset uint64 }
	var segments []segment
	var fixups []byte
	var base uint64
	commands(file, func(cmd uint32, c []byte) {
		if cmd == segment64 {
			segments = append(segments, segment{little.Uint64(c[24:]), little.Uint64(c[40:])})
			if bytes.HasPrefix(c[8:], []byte("__TEXT\x00")) {
				base = little.Uint64(c[24:])
			}
		}
		if cmd == chainedFixups {
			fixups = file[little.Uint32(c[8:]):][:little.Uint32(c[12:])]
		}
	})
	starts := fixups[little.Uint32(fixups[4:]):]
	seen := 0
	for i := range little.Uint32(starts) {
		offset := little.Uint32(starts[4+4*i:])
		if offset == 0 {
			continue
		}
		s := starts[offset:]
		was := little.Uint16(s[6:])
		little.PutUint16(s[6:], format)
		for page := range little.Uint16(s[20:]) {
			start := little.Uint16(s[22+2*page:])
			if start == 0xffff {
				continue
			}
			at := segments[i].offset + uint64(page)*uint64(little.Uint16(s[4:])) + uint64(start)
			for next := uint64(1); next != 0; seen++ {
				raw := little.Uint64(file[at:])
				next = raw >> 51 & 0xfff * 4
				if next%8 != 0 {
					t.Fatalf("a pointer %d after another one", next)
				}
				little.PutUint64(file[at:], repoint(raw, next, was, format, base, seen%2 == 1))
				at += next
			}
		}
	}
	if seen < 8 {
		t.Fatalf("only %d pointers in chains", seen)
	}
	return file
}

// repoint is one pointer of a chain in another format: next is the distance to the one after it in bytes.
func repoint(raw, next uint64, was, format uint16, base uint64, signed bool) uint64 {
	bind := raw>>63 != 0
	if format == 2 || format == 6 { // like the one that it is in, but for what a rebase counts from
		if !bind && was == 6 && format == 2 {
			raw += base
		}
		if !bind && was == 2 && format == 6 {
			raw -= base
		}
		return raw
	}
	out := next / 8 << 51
	if bind { // ordinal and addend
		addend := raw >> 24 & 0xff
		out |= 1<<62 | raw&0xffffff
		if signed && addend == 0 {
			return out | 1<<63 | 0xabcd<<32 // with a diversity
		}
		return out | addend<<32
	}
	target := raw & 0xfffffffff
	if was == 2 {
		target -= base
	}
	if signed {
		return out | 1<<63 | 0x1234<<32 | target
	}
	if format == 1 {
		target += base
	}
	return out | target
}

// unsigned takes the load command of the signature away, which lld writes last.
func unsigned(file []byte) []byte {
	file = bytes.Clone(file)
	at := 0
	commands(file, func(cmd uint32, c []byte) {
		if cmd == codeSignature {
			little.PutUint32(file[16:], little.Uint32(file[16:])-1)
			little.PutUint32(file[20:], little.Uint32(file[20:])-uint32(len(c)))
		}
		at += len(c)
	})
	return file
}

// changed changes a byte that nobody looks at, in the padding after the load commands.
func changed(file []byte) []byte {
	file = bytes.Clone(file)
	file[32+little.Uint32(file[20:])+8]++
	return file
}

func edited(t *testing.T, file []byte, from, to string) []byte {
	t.Helper()
	out := bytes.Replace(file, []byte(from), []byte(to), 1)
	if bytes.Equal(out, file) || len(out) != len(file) {
		t.Fatalf("%q cannot be replaced", from)
	}
	return out
}
