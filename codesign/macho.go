// Package codesign reads, verifies and makes the code signatures of Mach-O programs, thin and fat. It is pure Go, needs no Mac, and takes files
// that may be anything: what is read is bounded by this package, never by numbers in the file.
//
// Facts come from Apple's sources: xnu osfmk/kern/cs_blobs.h and bsd/kern/ubc_subr.c (signatures as the kernel takes them), xnu
// EXTERNAL_HEADERS/mach-o/{loader,fat}.h (files), Security OSX/libsecurity_codesigning (what codesign writes), dyld mach_o (what dyld demands).
package codesign

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// ErrNotMachO is for files that are neither a Mach-O file nor a fat one.
var ErrNotMachO = errors.New("not a Mach-O file")

// FormatError is for files that begin like a Mach-O file and are broken.
type FormatError struct {
	Offset  int64 // in the file, of what is wrong
	Problem string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("malformed at byte %d: %s", e.Offset, e.Problem)
}

// Bounds for what a file can make us read and keep.
const (
	maxSlices    = 42      // the class files of Java have the same magic, and 45 or more (their version) where the number of slices is
	maxAlign     = 15      // log2, of a slice (MAXSECTALIGN in mach-o/fat.h)
	maxCommands  = 4 << 20 // bytes of load commands; the largest programs have some 40 KiB
	maxSegments  = 1 << 10
	maxSections  = 1 << 16 // of all segments together
	maxSignature = 64 << 20
)

// Magic numbers, loader.h and fat.h. Those of fat files are big-endian.
const (
	magic32  = 0xfeedface
	magic64  = 0xfeedfacf
	magicFat = 0xcafebabe
	// magicFat64 is for slices beyond 4 GiB. The kernel runs no such file (xnu bsd/kern/mach_fat.c); libraries may be so.
	magicFat64 = 0xcafebabf
)

// Load commands, loader.h.
const (
	cmdSegment        = 0x1
	cmdSegment64      = 0x19
	cmdSignature      = 0x1d
	cmdEncryption     = 0x21
	cmdEncryption64   = 0x2c
	typeExecute       = 2
	typeDylib         = 6
	typeDylinker      = 7
	typeBundle        = 8
	cpuARM64          = 0x0100000c
	cpuX86            = 0x01000007
	cpuX86x32         = 7
	cpuARM            = 12
	cpuARM64x32       = 0x0200000c
	capabilities      = 0xff000000 // of a subtype: the pointer authentication ABI, and others
	sectionType       = 0xff
	sectionZeroFill   = 1
	sectionGBZeroFill = 0xc
	sectionTLZeroFill = 0x12
)

// file is the outermost header.
type file struct {
	magic  uint32 // magicFat, magicFat64, or 0 for a thin file
	slices []*slice
}

// slice is one Mach-O image. Offsets within it count from its own beginning.
type slice struct {
	r            io.ReaderAt // of the slice alone, ends at its end
	offset, size int64       // in the file
	align        uint32      // log2 of the alignment in a fat file
	entry        *[2]uint32  // cputype and cpusubtype by the fat header, nil in a thin file

	order        binary.ByteOrder
	wide         bool // 64 bits
	cpu, subtype uint32
	kind         uint32 // MH_EXECUTE and so on
	commands     []byte // the load commands; they follow the header of headerSize() bytes
	ncmds        uint32
	used         int // bytes of commands that ncmds of them fill; files that linkers write have no more
	segments     []segment
	signature    *linkedit // nil when there is no LC_CODE_SIGNATURE
	encrypted    bool
	fault        error // why the rest could not be read, nil if it could
}

// segment is LC_SEGMENT or LC_SEGMENT_64.
type segment struct {
	name             string
	address, vmsize  uint64
	offset, filesize uint64
	command          int // where the load command begins, in commands
	sections         []section
}

type section struct {
	name   string
	offset uint32
	size   uint64
	zero   bool // has no bytes in the file
}

// linkedit is LC_CODE_SIGNATURE: where in the slice the signature is.
type linkedit struct {
	offset, size uint32
	command      int // where the load command begins, in commands
}

// read reads all headers. Slices of a fat file that cannot be read have a fault; a thin file, or a fat one without any good slice, is an error.
func read(r io.ReaderAt, size int64) (*file, error) {
	var head [8]byte
	if err := readFull(r, head[:], 0); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, ErrNotMachO
		}
		return nil, err
	}
	magic, count := binary.BigEndian.Uint32(head[:]), binary.BigEndian.Uint32(head[4:])
	if magic != magicFat && magic != magicFat64 {
		s := &slice{r: io.NewSectionReader(r, 0, size), size: size}
		return &file{slices: []*slice{s}}, s.read()
	}
	if count > maxSlices {
		return nil, ErrNotMachO
	}
	if count == 0 {
		return nil, &FormatError{4, "a fat file without slices"}
	}
	f := &file{magic: magic}
	width := fatEntrySize(magic)
	entries := make([]byte, int(count)*width)
	if err := readFull(r, entries, 8); err != nil {
		return nil, short(err, 8, "the list of slices is cut off")
	}
	for i := range int(count) {
		f.slices = append(f.slices, f.slice(r, size, i, entries[i*width:][:width]))
	}
	f.refuseOverlaps()
	for _, s := range f.slices {
		if s.fault == nil {
			s.fault = s.read()
		}
	}
	for _, s := range f.slices {
		if s.fault == nil {
			return f, nil
		}
	}
	return nil, fmt.Errorf("none of %d slices can be read; the first: %w", len(f.slices), f.slices[0].fault)
}

func fatEntrySize(magic uint32) int {
	if magic == magicFat64 {
		return 32
	}
	return 20
}

// slice is entry i of a fat header, unread.
func (f *file) slice(r io.ReaderAt, size int64, i int, entry []byte) *slice {
	be := binary.BigEndian
	s := &slice{entry: &[2]uint32{be.Uint32(entry), be.Uint32(entry[4:])}}
	s.cpu, s.subtype = s.entry[0], s.entry[1]
	var offset, length uint64
	if f.magic == magicFat64 {
		offset, length, s.align = be.Uint64(entry[8:]), be.Uint64(entry[16:]), be.Uint32(entry[24:])
	} else {
		offset, length, s.align = uint64(be.Uint32(entry[8:])), uint64(be.Uint32(entry[12:])), be.Uint32(entry[16:])
	}
	at := int64(8 + i*len(entry))
	switch {
	case offset > uint64(size) || length > uint64(size)-offset:
		s.fault = &FormatError{at, fmt.Sprintf("slice %d (bytes %d to %d) is not within the file of %d bytes", i, offset, offset+length, size)}
		return s
	case s.align > maxAlign:
		s.fault = &FormatError{at, fmt.Sprintf("slice %d is to be aligned to 2^%d bytes", i, s.align)}
	}
	s.offset, s.size = int64(offset), int64(length)
	s.r = io.NewSectionReader(r, s.offset, s.size)
	return s
}

// refuseOverlaps keeps the work for a file in proportion to its size. The kernel refuses such files too (mach_fat.c).
func (f *file) refuseOverlaps() {
	for i, s := range f.slices {
		for j, other := range f.slices[:i] {
			if s.fault == nil && other.r != nil && s.offset < other.offset+other.size && other.offset < s.offset+s.size {
				s.fault = &FormatError{s.offset, fmt.Sprintf("slice %d overlaps slice %d", i, j)}
			}
		}
	}
}

func (s *slice) headerSize() int64 {
	if s.wide {
		return 32
	}
	return 28
}

// wrong is an error about an offset within the slice.
func (s *slice) wrong(at int64, format string, args ...any) error {
	return &FormatError{s.offset + at, fmt.Sprintf(format, args...)}
}

// read reads the header and the load commands.
func (s *slice) read() error {
	var head [28]byte
	if err := readFull(s.r, head[:4], 0); err != nil {
		return short(err, s.offset, "too short for a Mach-O file")
	}
	switch be, le := binary.BigEndian.Uint32(head[:]), binary.LittleEndian.Uint32(head[:]); {
	case le == magic32, le == magic64:
		s.order, s.wide = binary.LittleEndian, le == magic64
	case be == magic32, be == magic64:
		s.order, s.wide = binary.BigEndian, be == magic64
	default:
		return ErrNotMachO
	}
	if err := readFull(s.r, head[:], 0); err != nil {
		return short(err, s.offset, "the header is cut off")
	}
	s.cpu, s.subtype, s.kind, s.ncmds = s.order.Uint32(head[4:]), s.order.Uint32(head[8:]), s.order.Uint32(head[12:]), s.order.Uint32(head[16:])
	total := s.order.Uint32(head[20:])
	if int64(total) > s.size-s.headerSize() || total > maxCommands {
		return s.wrong(20, "%d bytes of load commands in a file of %d", total, s.size)
	}
	s.commands = make([]byte, total)
	if err := readFull(s.r, s.commands, s.headerSize()); err != nil {
		return short(err, s.offset+s.headerSize(), "the load commands are cut off")
	}
	return s.walk()
}

// walk goes through the load commands.
func (s *slice) walk() error {
	at, sections := 0, 0
	for i := range s.ncmds {
		if len(s.commands)-at < 8 {
			return s.wrong(s.headerSize()+int64(at), "load command %d of %d is beyond their end", i, s.ncmds)
		}
		kind, size := s.order.Uint32(s.commands[at:]), s.order.Uint32(s.commands[at+4:])
		if size < 8 || uint64(size) > uint64(len(s.commands)-at) {
			return s.wrong(s.headerSize()+int64(at), "load command %d has %d bytes", i, size)
		}
		c := s.commands[at : at+int(size)]
		where := s.headerSize() + int64(at)
		switch {
		case (kind == cmdSegment) && !s.wide, kind == cmdSegment64 && s.wide:
			seg, ok := s.segment(c, at)
			if sections += len(seg.sections); !ok || len(s.segments) == maxSegments || sections > maxSections {
				return s.wrong(where, "the segment of load command %d is cut off, or there are too many", i)
			}
			s.segments = append(s.segments, seg)
		case kind == cmdSignature:
			if size < 16 || s.signature != nil {
				return s.wrong(where, "load command %d: a second LC_CODE_SIGNATURE, or one of %d bytes", i, size)
			}
			s.signature = &linkedit{s.order.Uint32(c[8:]), s.order.Uint32(c[12:]), at}
		case kind == cmdEncryption || kind == cmdEncryption64:
			s.encrypted = s.encrypted || size >= 20 && s.order.Uint32(c[16:]) != 0
		}
		at += int(size)
	}
	s.used = at
	return nil
}

// segment reads a segment command with its sections.
func (s *slice) segment(c []byte, at int) (segment, bool) {
	head, each := 56, 68
	if s.wide {
		head, each = 72, 80
	}
	if len(c) < head {
		return segment{}, false
	}
	seg := segment{name: name16(c[8:24]), command: at}
	word, count := s.order.Uint32, uint32(0)
	if s.wide {
		long := s.order.Uint64
		seg.address, seg.vmsize, seg.offset, seg.filesize, count = long(c[24:]), long(c[32:]), long(c[40:]), long(c[48:]), word(c[64:])
	} else {
		seg.address, seg.vmsize, seg.offset, seg.filesize, count = uint64(word(c[24:])), uint64(word(c[28:])), uint64(word(c[32:])), uint64(word(c[36:])), word(c[48:])
	}
	if int64(count)*int64(each) > int64(len(c)-head) {
		return segment{}, false
	}
	for i := range int(count) {
		b := c[head+i*each:][:each]
		sec := section{name: name16(b[:16])}
		flags := uint32(0)
		if s.wide {
			sec.size, sec.offset, flags = s.order.Uint64(b[40:]), word(b[48:]), word(b[64:])
		} else {
			sec.size, sec.offset, flags = uint64(word(b[36:])), word(b[40:]), word(b[56:])
		}
		kind := flags & sectionType
		sec.zero = kind == sectionZeroFill || kind == sectionGBZeroFill || kind == sectionTLZeroFill
		seg.sections = append(seg.sections, sec)
	}
	return seg, true
}

// find gives the first segment of a name, nil if there is none.
func (s *slice) find(name string) *segment {
	for i := range s.segments {
		if s.segments[i].name == name {
			return &s.segments[i]
		}
	}
	return nil
}

// within says whether a range lies in the slice.
func (s *slice) within(offset, size uint64) bool {
	return offset <= uint64(s.size) && size <= uint64(s.size)-offset
}

// archName is the name that lipo and codesign use.
func archName(cpu, subtype uint32) string {
	low := subtype &^ uint32(capabilities)
	switch {
	case cpu == cpuX86 && low == 8:
		return "x86_64h"
	case cpu == cpuX86:
		return "x86_64"
	case cpu == cpuARM64 && low == 2:
		return "arm64e"
	case cpu == cpuARM64 && low == 12: // macOS 27, with checked pointer arithmetic
		return "arm64e.x1"
	case cpu == cpuARM64:
		return "arm64"
	case cpu == cpuARM64x32:
		return "arm64_32"
	case cpu == cpuX86x32:
		return "i386"
	case cpu == cpuARM:
		return "arm"
	}
	return fmt.Sprintf("cpu %#x/%#x", cpu, subtype)
}

// kindName is what people call a file type.
func kindName(kind uint32) string {
	names := []string{1: "object", typeExecute: "executable", 4: "core", typeDylib: "dylib", typeDylinker: "dylinker", typeBundle: "bundle", 9: "dylib stub", 10: "dSYM", 11: "kext", 12: "fileset"}
	if kind < uint32(len(names)) && names[kind] != "" {
		return names[kind]
	}
	return fmt.Sprintf("type %d", kind)
}

func name16(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// readFull reads all of b or gives an error. Offsets beyond what the interface takes are the file's fault.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	if off < 0 || off > math.MaxInt64-int64(len(b)) {
		return io.ErrUnexpectedEOF
	}
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// short makes a FormatError of an end that comes too early; other errors are the reader's own.
func short(err error, at int64, problem string) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return &FormatError{at, problem}
	}
	return err
}
