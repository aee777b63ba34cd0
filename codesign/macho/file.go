// Package macho reads the headers of Mach-O files, thin and fat: slices, load commands, segments, and what they say. It reads headers only, takes
// files that may be anything, and is bounded by its own limits, never by numbers in the file.
//
// Sources: xnu EXTERNAL_HEADERS/mach-o/{loader,fat}.h (layout), osfmk/mach/machine.h (architectures), bsd/kern/mach_fat.c (what the kernel refuses).
package macho

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
	Offset  int64 // bytes, in the file, of what is wrong
	Problem string
}

// Error says what is wrong and where.
func (e *FormatError) Error() string {
	return fmt.Sprintf("malformed at byte %d: %s", e.Offset, e.Problem)
}

// Bounds for what a file can make us read and keep.
const (
	maxSlices   = 42      // the class files of Java have the same magic, and 45 or more (their version) where the number of slices is
	maxAlign    = 15      // log2, of a slice (MAXSECTALIGN in mach-o/fat.h)
	maxCommands = 4 << 20 // bytes of load commands; the largest programs have some 40 KiB
	maxCount    = 1 << 14 // load commands
	maxSegments = 1 << 10
	maxSections = 1 << 16 // of all segments together
	maxRoom     = 1 << 16 // bytes after the load commands that are looked at
)

// Magic numbers. Those of fat files are big-endian, the others in the order of the file.
const (
	Magic32  = 0xfeedface
	Magic64  = 0xfeedfacf
	MagicFat = 0xcafebabe
	// MagicFat64 is for slices beyond 4 GiB. The kernel runs no such file (mach_fat.c); libraries may be so.
	MagicFat64 = 0xcafebabf
)

// File is a whole file.
type File struct {
	Magic  uint32   // MagicFat, MagicFat64, or 0 for a thin file
	Slices []*Slice // in the file's order; at least one
}

// Read reads the headers of a file of size bytes. Slices of a fat file that cannot be read have their Err set; for a thin file, or a fat one
// without any good slice, Read gives the error: ErrNotMachO, a *FormatError, one that wraps either, or what r says.
func Read(r io.ReaderAt, size int64) (*File, error) {
	var head [8]byte
	if err := readFull(r, head[:], 0); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, ErrNotMachO
		}
		return nil, err
	}
	magic, count := binary.BigEndian.Uint32(head[:]), binary.BigEndian.Uint32(head[4:])
	if magic != MagicFat && magic != MagicFat64 {
		s := &Slice{r: io.NewSectionReader(r, 0, size), Size: size}
		if err := s.read(); err != nil {
			return nil, err
		}
		return &File{Slices: []*Slice{s}}, nil
	}
	if count > maxSlices {
		return nil, ErrNotMachO
	}
	if count == 0 {
		return nil, &FormatError{4, "a fat file without slices"}
	}
	f := &File{Magic: magic}
	width := FatEntrySize(magic)
	entries := make([]byte, int(count)*width)
	if err := readFull(r, entries, 8); err != nil {
		return nil, short(err, 8, "the list of slices is cut off")
	}
	for i := range int(count) {
		f.Slices = append(f.Slices, f.slice(r, size, i, entries[i*width:][:width]))
	}
	f.refuseOverlaps()
	for _, s := range f.Slices {
		if s.Misplaced = s.Err != nil; !s.Misplaced {
			s.Err = s.read()
		}
	}
	for _, s := range f.Slices {
		if s.Err == nil {
			return f, nil
		}
	}
	return nil, fmt.Errorf("none of %d slices can be read; the first: %w", len(f.Slices), f.Slices[0].Err)
}

// FatEntrySize is how many bytes a fat header of a magic has for each slice. The entries follow magic and count, 8 bytes.
func FatEntrySize(magic uint32) int {
	if magic == MagicFat64 {
		return 32
	}
	return 20
}

// slice is entry i of a fat header, unread.
func (f *File) slice(r io.ReaderAt, size int64, i int, entry []byte) *Slice {
	be := binary.BigEndian
	s := &Slice{Entry: &Arch{be.Uint32(entry), be.Uint32(entry[4:])}, r: io.NewSectionReader(r, 0, 0)}
	s.Arch = *s.Entry
	var offset, length uint64
	if f.Magic == MagicFat64 {
		offset, length, s.Align = be.Uint64(entry[8:]), be.Uint64(entry[16:]), be.Uint32(entry[24:])
	} else {
		offset, length, s.Align = uint64(be.Uint32(entry[8:])), uint64(be.Uint32(entry[12:])), be.Uint32(entry[16:])
	}
	at := int64(8 + i*len(entry))
	switch {
	case offset > uint64(size) || length > uint64(size)-offset:
		s.Err = &FormatError{at, fmt.Sprintf("slice %d (bytes %d to %d) is not within the file of %d bytes", i, offset, offset+length, size)}
		return s
	case s.Align > maxAlign:
		s.Err = &FormatError{at, fmt.Sprintf("slice %d is to be aligned to 2^%d bytes", i, s.Align)}
	}
	s.Offset, s.Size = int64(offset), int64(length)
	s.r = io.NewSectionReader(r, s.Offset, s.Size)
	return s
}

// refuseOverlaps keeps the work for a file in proportion to its size. The kernel refuses such files too (mach_fat.c).
func (f *File) refuseOverlaps() {
	for i, s := range f.Slices {
		for j, other := range f.Slices[:i] {
			if s.Err == nil && s.Offset < other.Offset+other.Size && other.Offset < s.Offset+s.Size {
				s.Err = &FormatError{s.Offset, fmt.Sprintf("slice %d overlaps slice %d", i, j)}
			}
		}
	}
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
