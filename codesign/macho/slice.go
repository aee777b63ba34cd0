package macho

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// FileType is what a slice is for.
type FileType uint32

// File types that the system runs or loads.
const (
	Execute  FileType = 2
	Dylib    FileType = 6
	Dylinker FileType = 7
	Bundle   FileType = 8
)

// String is what people call a file type.
func (t FileType) String() string {
	names := []string{1: "object", Execute: "executable", 4: "core", Dylib: "dylib", Dylinker: "dylinker", Bundle: "bundle", 9: "dylib stub", 10: "dSYM", 11: "kext", 12: "fileset"}
	if t < FileType(len(names)) && names[t] != "" {
		return names[t]
	}
	return fmt.Sprintf("type %d", t)
}

// Slice is one Mach-O image. Offsets count from its own beginning, and are not checked to lie within it: see Within. It reads as the bytes of the
// slice alone.
type Slice struct {
	Offset, Size int64  // bytes, in the file
	Align        uint32 // log2 of the alignment in a fat file
	Entry        *Arch  // by the fat header, nil in a thin file
	Err          error  // why the rest could not be read, nil if it could
	Misplaced    bool   // Err is about where the fat header says that it is: the kernel then refuses the whole file

	Arch     Arch             // by the slice's own header; when that cannot be read, by the fat one
	Order    binary.ByteOrder // of all numbers in the slice
	Wide     bool             // 64 bits
	Type     FileType
	Flags    uint32 // MH_…
	Head     []byte // the header and the load commands; not to be changed
	Used     int64  // where the last load command ends; files that linkers write have nothing after it in Head
	Commands []Command

	// What the load commands say.
	Segments  []Segment
	Names     []Name
	Builds    []Build    // zippered libraries have two
	Signature *Signature // nil when there is no LC_CODE_SIGNATURE
	Encrypted bool

	r io.ReaderAt
}

// ReadAt reads from byte off of the slice.
func (s *Slice) ReadAt(b []byte, off int64) (int, error) { return s.r.ReadAt(b, off) }

// ReadFull fills b from byte off of the slice; its error is io.ErrUnexpectedEOF beyond the end.
func (s *Slice) ReadFull(b []byte, off int64) error { return readFull(s.r, b, off) }

// Within says whether a range lies in the slice.
func (s *Slice) Within(offset, size uint64) bool {
	return offset <= uint64(s.Size) && size <= uint64(s.Size)-offset
}

// HeaderSize is where the load commands begin.
func (s *Slice) HeaderSize() int64 {
	if s.Wide {
		return 32
	}
	return 28
}

// Segment gives the first segment of a name, nil if there is none.
func (s *Slice) Segment(name string) *Segment {
	for i := range s.Segments {
		if s.Segments[i].Name == name {
			return &s.Segments[i]
		}
	}
	return nil
}

// Command gives the first load command of a kind, nil if there is none.
func (s *Slice) Command(kind uint32) *Command {
	for i := range s.Commands {
		if s.Commands[i].Kind == kind {
			return &s.Commands[i]
		}
	}
	return nil
}

// UUID is that of LC_UUID, by which crash reports name the build; ok is false when there is none.
func (s *Slice) UUID() (id [16]byte, ok bool) {
	c := s.Command(LCUUID)
	if c == nil || len(c.Data) < 8+len(id) {
		return id, false
	}
	return [16]byte(c.Data[8:]), true
}

// Libraries are the paths of the libraries that are loaded with the slice, as written.
func (s *Slice) Libraries() []string {
	var paths []string
	for _, n := range s.Names {
		if slices.Contains(loads, n.Kind) {
			paths = append(paths, n.Text)
		}
	}
	return paths
}

// Room is how many bytes after the load commands are zero and no part of what sections hold, at most 64 KiB: load commands can be added there.
func (s *Slice) Room() (int64, error) {
	at := int64(len(s.Head))
	end := min(s.Size, at+maxRoom)
	before := func(offset uint64) {
		if offset > 0 && offset < uint64(end) {
			end = int64(offset)
		}
	}
	for _, seg := range s.Segments {
		if seg.FileSize > 0 {
			before(seg.Offset)
		}
		for _, sec := range seg.Sections {
			if !sec.Zero && sec.Size > 0 {
				before(uint64(sec.Offset))
			}
		}
	}
	if s.Signature != nil {
		before(uint64(s.Signature.Offset))
	}
	gap := make([]byte, max(0, end-at))
	if err := s.ReadFull(gap, at); err != nil {
		return 0, err
	}
	for i, c := range gap {
		if c != 0 {
			return int64(i), nil
		}
	}
	return int64(len(gap)), nil
}

// wrong is an error about an offset within the slice.
func (s *Slice) wrong(at int64, format string, args ...any) error {
	return &FormatError{s.Offset + at, fmt.Sprintf(format, args...)}
}

// read reads the header and the load commands.
func (s *Slice) read() error {
	var head [28]byte
	if err := s.ReadFull(head[:4], 0); err != nil {
		return short(err, s.Offset, "too short for a Mach-O file")
	}
	switch be, le := binary.BigEndian.Uint32(head[:]), binary.LittleEndian.Uint32(head[:]); {
	case le == Magic32, le == Magic64:
		s.Order, s.Wide = binary.LittleEndian, le == Magic64
	case be == Magic32, be == Magic64:
		s.Order, s.Wide = binary.BigEndian, be == Magic64
	default:
		return ErrNotMachO
	}
	if err := s.ReadFull(head[:], 0); err != nil {
		return short(err, s.Offset, "the header is cut off")
	}
	word := s.Order.Uint32
	s.Arch = Arch{word(head[4:]), word(head[8:])}
	s.Type, s.Flags = FileType(word(head[12:])), word(head[24:])
	count, total := word(head[16:]), word(head[20:])
	if int64(total) > s.Size-s.HeaderSize() || total > maxCommands {
		return s.wrong(20, "%d bytes of load commands in a file of %d", total, s.Size)
	}
	if count > maxCount {
		return s.wrong(16, "%d load commands", count)
	}
	s.Head = make([]byte, s.HeaderSize()+int64(total))
	if err := s.ReadFull(s.Head, 0); err != nil {
		return short(err, s.Offset+s.HeaderSize(), "the load commands are cut off")
	}
	return s.walk(count)
}

// walk goes through the load commands.
func (s *Slice) walk(count uint32) error {
	s.Used = s.HeaderSize()
	sections := 0
	for i := range count {
		left := s.Head[s.Used:]
		if len(left) < 8 {
			return s.wrong(s.Used, "load command %d of %d is beyond their end", i, count)
		}
		kind, size := s.Order.Uint32(left), s.Order.Uint32(left[4:])
		if size < 8 || uint64(size) > uint64(len(left)) {
			return s.wrong(s.Used, "load command %d has %d bytes", i, size)
		}
		c := Command{Kind: kind, Offset: s.Used, Data: left[:size:size]}
		s.Commands = append(s.Commands, c)
		s.Used += int64(size)
		switch {
		case kind == LCSegment && !s.Wide, kind == LCSegment64 && s.Wide:
			seg, ok := s.segment(c.Data)
			if sections += len(seg.Sections); !ok || len(s.Segments) == maxSegments || sections > maxSections {
				return s.wrong(c.Offset, "the segment of load command %d is cut off, or there are too many", i)
			}
			seg.Command = int(i)
			s.Segments = append(s.Segments, seg)
		case kind == LCCodeSignature:
			if size < 16 || s.Signature != nil {
				return s.wrong(c.Offset, "load command %d: a second LC_CODE_SIGNATURE, or one of %d bytes", i, size)
			}
			s.Signature = &Signature{s.Order.Uint32(c.Data[8:]), s.Order.Uint32(c.Data[12:]), int(i)}
		case kind == LCEncryptionInfo || kind == LCEncryptionInfo64:
			s.Encrypted = s.Encrypted || size >= 20 && s.Order.Uint32(c.Data[16:]) != 0
		case slices.Contains(named, kind):
			n, err := s.name(c)
			if err != nil {
				return s.wrong(c.Offset, "load command %d: %v", i, err)
			}
			n.Command = int(i)
			s.Names = append(s.Names, n)
		default:
			if b, ok := s.build(c); ok {
				s.Builds = append(s.Builds, b)
			}
		}
	}
	return nil
}

// segment reads a segment command with its sections.
func (s *Slice) segment(c []byte) (Segment, bool) {
	head, each := 56, 68
	if s.Wide {
		head, each = 72, 80
	}
	if len(c) < head {
		return Segment{}, false
	}
	seg := Segment{Name: text(c[8:24])}
	word, count := s.Order.Uint32, uint32(0)
	if s.Wide {
		long := s.Order.Uint64
		seg.Address, seg.VMSize, seg.Offset, seg.FileSize, count = long(c[24:]), long(c[32:]), long(c[40:]), long(c[48:]), word(c[64:])
	} else {
		seg.Address, seg.VMSize, seg.Offset, seg.FileSize, count = uint64(word(c[24:])), uint64(word(c[28:])), uint64(word(c[32:])), uint64(word(c[36:])), word(c[48:])
	}
	if int64(count)*int64(each) > int64(len(c)-head) {
		return Segment{}, false
	}
	for i := range int(count) {
		b := c[head+i*each:][:each]
		sec := Section{Name: text(b[:16]), Segment: text(b[16:32])}
		flags := uint32(0)
		if s.Wide {
			sec.Size, sec.Offset, flags = s.Order.Uint64(b[40:]), word(b[48:]), word(b[64:])
		} else {
			sec.Size, sec.Offset, flags = uint64(word(b[36:])), word(b[40:]), word(b[56:])
		}
		kind := flags & sectionType
		sec.Zero = kind == sectionZeroFill || kind == sectionGBZeroFill || kind == sectionTLZeroFill
		seg.Sections = append(seg.Sections, sec)
	}
	return seg, true
}

// name reads the string of a load command that has one.
func (s *Slice) name(c Command) (Name, error) {
	if len(c.Data) < 12 {
		return Name{}, errors.New("it is cut off")
	}
	at := s.Order.Uint32(c.Data[8:])
	if at < 12 || uint64(at) > uint64(len(c.Data)) {
		return Name{}, fmt.Errorf("its name at byte %d is not within its %d bytes", at, len(c.Data))
	}
	return Name{Kind: c.Kind, Text: text(c.Data[at:]), Offset: c.Offset + int64(at), Room: len(c.Data) - int(at)}, nil
}

// build reads LC_BUILD_VERSION and its predecessors.
func (s *Slice) build(c Command) (Build, bool) {
	platform, old := versionMin[c.Kind]
	word := s.Order.Uint32
	switch {
	case c.Kind == LCBuildVersion && len(c.Data) >= 20:
		return Build{word(c.Data[8:]), Version(word(c.Data[12:])), Version(word(c.Data[16:]))}, true
	case old && len(c.Data) >= 16:
		return Build{platform, Version(word(c.Data[8:])), Version(word(c.Data[12:]))}, true
	}
	return Build{}, false
}

// text is what comes before a zero byte, or all.
func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
