package sip

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"path/filepath"
	"strings"
)

// Bounds for what a file can make us read. The kernel refuses more than 64 KiB of program headers (fs/binfmt_elf.c).
const (
	maxHeaders    = 64 << 10 // bytes of program or section headers
	maxNotes      = 64 << 10 // bytes of one note segment
	maxNames      = 64 << 10 // bytes of section names
	maxSearchPath = 4 << 10  // bytes of DT_RPATH or DT_RUNPATH
	maxData       = 64 << 10 // bytes of the data segment searched for Go's mark; Go puts it at the beginning
)

// Reasons for a program to be outside that lie in the file alone.
const (
	reasonStatic  = "statically linked: no library can be loaded into it"
	reasonGo      = "a Go program makes its own system calls"
	reasonMachine = "built for another kind of machine"
)

// inspectELF looks at an executable. ok is false when the kernel would refuse the file. Only what is asked for is read, by offset and with bounds:
// the file may be anything.
func inspectELF(r io.ReaderAt, name string) (e elfTraits, ok bool) {
	var head [64]byte
	n, _ := r.ReadAt(head[:], 0)
	if n < elf.EI_NIDENT || string(head[:4]) != elf.ELFMAG {
		return e, false
	}
	order := binary.LittleEndian
	switch class, data := elf.Class(head[elf.EI_CLASS]), elf.Data(head[elf.EI_DATA]); {
	case class != elf.ELFCLASS32 && class != elf.ELFCLASS64, data != elf.ELFDATA2LSB && data != elf.ELFDATA2MSB:
		return e, false
	case class == elf.ELFCLASS32, data == elf.ELFDATA2MSB:
		return elfTraits{reason: reasonMachine}, true
	}
	kind := elf.Type(order.Uint16(head[16:]))
	if n < len(head) || (kind != elf.ET_EXEC && kind != elf.ET_DYN) {
		return e, false
	}
	if elf.Machine(order.Uint16(head[18:])) != machine {
		return elfTraits{reason: reasonMachine}, true
	}
	f := elfFile{r: r}
	f.programs(order.Uint64(head[32:]), order.Uint16(head[54:]), order.Uint16(head[56:]))
	switch {
	case !f.valid:
		return e, false
	case f.goNote() || f.goSection(order.Uint64(head[40:]), order.Uint16(head[58:]), order.Uint16(head[60:]), order.Uint16(head[62:])) || f.goData():
		e.reason = reasonGo
	case !f.interp && kind == elf.ET_DYN && isLoader(name):
	case !f.interp:
		e.reason = reasonStatic
	}
	e.origin = f.fromOrigin()
	return e, true
}

// elfTraits are what of an executable bears on how it is started.
type elfTraits struct {
	reason string // why the layer cannot work in it, or ""
	origin bool   // libraries are looked for in folders relative to the file's own
}

// isLoader: "ld.so PROGRAM" preloads as usual although the loader itself names no interpreter.
func isLoader(name string) bool {
	base := filepath.Base(name)
	return strings.HasPrefix(base, "ld-linux") || strings.HasPrefix(base, "ld-musl") || base == "ld.so"
}

// span is a piece of a file.
type span struct{ off, size uint64 }

// elfFile is what the program headers say.
type elfFile struct {
	r      io.ReaderAt
	valid  bool
	interp bool
	notes  []span
	data   []span // writable segments

	loads   []load
	dynamic span
}

// load is a segment of the file at its address in memory.
type load struct {
	span
	address uint64
}

func (f *elfFile) programs(off uint64, entry, count uint16) {
	const size = 56 // Elf64_Phdr
	if entry != size || count == 0 {
		return
	}
	table, ok := f.read(span{off, uint64(count) * size}, maxHeaders)
	if !ok {
		return
	}
	f.valid = true
	for ; len(table) >= size; table = table[size:] {
		at := span{binary.LittleEndian.Uint64(table[8:]), binary.LittleEndian.Uint64(table[32:])}
		flags := elf.ProgFlag(binary.LittleEndian.Uint32(table[4:]))
		switch elf.ProgType(binary.LittleEndian.Uint32(table)) {
		case elf.PT_INTERP:
			f.interp = true
		case elf.PT_NOTE:
			f.notes = append(f.notes, at)
		case elf.PT_DYNAMIC:
			f.dynamic = at
		case elf.PT_LOAD:
			f.loads = append(f.loads, load{at, binary.LittleEndian.Uint64(table[16:])})
			if flags&(elf.PF_W|elf.PF_X) == elf.PF_W {
				f.data = append(f.data, at)
			}
		}
	}
}

// read gives a span whole, or not at all: it does not fit the bound or the file.
func (f *elfFile) read(s span, bound uint64) ([]byte, bool) {
	if s.size > bound || s.off > 1<<62 {
		return nil, false
	}
	b := make([]byte, s.size)
	n, _ := f.r.ReadAt(b, int64(s.off))
	return b, n == len(b)
}

// fromOrigin looks for "$ORIGIN" in the search paths of the dynamic section (ld.so(8)).
func (f *elfFile) fromOrigin() bool {
	const size = 16 // Elf64_Dyn
	table, ok := f.read(f.dynamic, maxHeaders)
	if !ok {
		return false
	}
	var names, paths []uint64
	for ; len(table) >= size; table = table[size:] {
		value := binary.LittleEndian.Uint64(table[8:])
		switch elf.DynTag(binary.LittleEndian.Uint64(table)) {
		case elf.DT_STRTAB:
			names = append(names, value)
		case elf.DT_RPATH, elf.DT_RUNPATH:
			paths = append(paths, value)
		}
	}
	if len(names) == 0 {
		return false
	}
	for _, at := range paths[:min(len(paths), 2)] {
		text := f.at(names[0], at, maxSearchPath)
		text, _, _ = bytes.Cut(text, []byte{0})
		if bytes.Contains(text, []byte("$ORIGIN")) || bytes.Contains(text, []byte("${ORIGIN}")) {
			return true
		}
	}
	return false
}

// at reads up to size bytes that lie distance behind an address, in the same segment; nothing when the file does not hold them.
func (f *elfFile) at(address, distance, size uint64) []byte {
	for _, l := range f.loads {
		if address < l.address || address-l.address >= l.size || distance >= l.size-(address-l.address) {
			continue
		}
		skip := address - l.address + distance
		b, _ := f.read(span{l.off + skip, min(l.size-skip, size)}, size)
		return b
	}
	return nil
}

// goNote looks for the note "Go", type 4 (NT_GO_BUILD_ID): it survives strip.
func (f *elfFile) goNote() bool {
	for _, s := range f.notes[:min(len(f.notes), 8)] {
		b, ok := f.read(s, maxNotes)
		for ok && len(b) >= 12 {
			nameSize, descSize := uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[4:]))
			if binary.LittleEndian.Uint32(b[8:]) == 4 && nameSize == 4 && bytes.HasPrefix(b[12:], []byte("Go\x00\x00")) {
				return true
			}
			skip := 12 + (nameSize+3)&^3 + (descSize+3)&^3
			if skip > uint64(len(b)) {
				break
			}
			b = b[skip:]
		}
	}
	return false
}

// goSection looks for .go.buildinfo among the sections: there is no note in a binary linked with -buildid= (empty).
func (f *elfFile) goSection(off uint64, entry, count, names uint16) bool {
	const size = 64 // Elf64_Shdr
	if entry != size || names >= count {
		return false
	}
	table, ok := f.read(span{off, uint64(count) * size}, maxHeaders)
	if !ok {
		return false
	}
	at := table[int(names)*size:]
	text, ok := f.read(span{binary.LittleEndian.Uint64(at[24:]), binary.LittleEndian.Uint64(at[32:])}, maxNames)
	return ok && bytes.Contains(text, []byte("\x00.go.buildinfo\x00"))
}

// goData looks for the build information itself, which is 16-aligned at the beginning of the data (debug/buildinfo reads it there): the
// sections may have been stripped.
func (f *elfFile) goData() bool {
	for _, s := range f.data[:min(len(f.data), 4)] {
		b, _ := f.read(span{s.off, min(s.size, maxData)}, maxData)
		for i := 0; i+16 <= len(b); i += 16 {
			if bytes.HasPrefix(b[i:], []byte(goMark)) {
				return true
			}
		}
	}
	return false
}

// goMark begins Go's build information.
const goMark = "\xff Go buildinf:"
