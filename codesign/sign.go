package codesign

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// Options say what a signature is to hold.
type Options struct {
	// Identifier is the program's name for the system; it should be different for different programs (man codesign). Not empty, at most
	// 1024 bytes, without a zero byte.
	Identifier string
}

// ErrNoRoom is for unsigned files whose header has no 16 bytes left for LC_CODE_SIGNATURE.
var ErrNoRoom = errors.New("there is no room for LC_CODE_SIGNATURE between the load commands and the first section")

// RefusedError is for files that cannot be signed, or whose signed copy would not be the same program.
type RefusedError struct {
	Arch string // of the slice
	Err  error  // ErrNoRoom, or one with the reason
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the %s slice cannot be signed: %v", e.Arch, e.Err)
}
func (e *RefusedError) Unwrap() error { return e.Err }

// What is written: SHA-256 over pages of 4 KiB, which every kernel takes (codesign of macOS 26 makes 16 KiB ones for arm64, and Intel's refuse those).
const (
	signPage  = 1 << signShift
	signShift = 12
	signFixed = 88 // bytes of a CodeDirectory of version 0x20400 before the identifier
	// signSpecials are the special slots: requirements (2), and Info.plist (1) because it comes before; that is not bound.
	signSpecials = slotRequirements
)

// emptyRequirements is a list of none; codesign gives it to ad hoc signatures too.
var emptyRequirements = []byte{0xfa, 0xde, 0x0c, 0x01, 0, 0, 0, 12, 0, 0, 0, 0}

// emptyCMS says that there are no certificates.
var emptyCMS = []byte{0xfa, 0xde, 0x0b, 0x01, 0, 0, 0, 8}

// Sign writes a copy of the file in r, size bytes, to w, in which every slice is signed ad hoc: no certificate, no entitlements, no team, no
// launch constraints, no flags but adhoc. A signature that is there is replaced. The same input gives the same bytes. The error is ErrNotMachO,
// a *FormatError, a *RefusedError (before anything is written), or what r or w say; then w has a part of a file.
//
// The copy is as acceptable to dyld's checks as the original (Policy.cpp: they depend on the SDK stamped in the file): load commands keep
// their order, none is added but LC_CODE_SIGNATURE, and the signature is aligned to 16 bytes at the end of __LINKEDIT.
func Sign(w io.Writer, r io.ReaderAt, size int64, o Options) error {
	if o.Identifier == "" || len(o.Identifier) > 1024 || strings.ContainsRune(o.Identifier, 0) {
		return fmt.Errorf("identifier %.80q of %d bytes: it has to have 1 to 1024, and no zero byte", o.Identifier, len(o.Identifier))
	}
	f, err := read(r, size)
	if err != nil {
		return err
	}
	plans := make([]*plan, len(f.slices))
	for i, s := range f.slices {
		if plans[i], err = s.plan(o); err != nil {
			return err
		}
	}
	if f.magic == 0 {
		return plans[0].write(w)
	}
	head, err := f.layout(plans)
	if err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	at := int64(len(head))
	for _, p := range plans {
		if err := zeros(w, p.offset-at); err != nil {
			return err
		}
		if err := p.write(w); err != nil {
			return err
		}
		at = p.offset + p.length()
	}
	return nil
}

// layout says where the slices go, and makes the fat header.
func (f *file) layout(plans []*plan) ([]byte, error) {
	be, width := binary.BigEndian, fatEntrySize(f.magic)
	head := be.AppendUint32(nil, f.magic)
	head = be.AppendUint32(head, uint32(len(plans)))
	at := int64(8 + len(plans)*width)
	for _, p := range plans {
		p.offset = roundUp(at, 1<<p.align)
		at = p.offset + p.length()
		head = be.AppendUint32(head, p.cpu)
		head = be.AppendUint32(head, p.subtype)
		if f.magic == magicFat64 {
			head = be.AppendUint64(head, uint64(p.offset))
			head = be.AppendUint64(head, uint64(p.length()))
			head = be.AppendUint64(head, uint64(p.align)<<32)
			continue
		}
		if at > math.MaxUint32 {
			return nil, p.refuse("it would be beyond the 4 GiB of a fat file")
		}
		head = be.AppendUint32(head, uint32(p.offset))
		head = be.AppendUint32(head, uint32(p.length()))
		head = be.AppendUint32(head, p.align)
	}
	return head, nil
}

// plan is how the signed copy of a slice will be.
type plan struct {
	*slice
	offset     int64  // of the copy, in the file that is written
	head       []byte // header and load commands
	keep       int64  // bytes taken over from the slice, those of head included
	at         int64  // where the signature begins
	size       int64  // of the signature, with its padding
	identifier string
}

func (p *plan) length() int64 { return p.at + p.size }

func (s *slice) refuse(format string, args ...any) error {
	return &RefusedError{archName(s.cpu, s.subtype), fmt.Errorf(format, args...)}
}

func (s *slice) plan(o Options) (*plan, error) {
	if s.fault != nil {
		return nil, s.fault
	}
	switch {
	case s.entry != nil && *s.entry != [2]uint32{s.cpu, s.subtype}:
		return nil, s.refuse("the fat header calls it %s", archName(s.entry[0], s.entry[1]))
	case !s.wide || s.order != binary.LittleEndian:
		return nil, s.refuse("no Mac of today runs 32-bit or big-endian programs")
	case s.kind != typeExecute && s.kind != typeDylib && s.kind != typeBundle && s.kind != typeDylinker:
		return nil, s.refuse("it is no program or library but a file of kind %s", kindName(s.kind))
	case s.encrypted:
		return nil, s.refuse("it is encrypted")
	case s.size > math.MaxUint32:
		return nil, s.refuse("it has more than 4 GiB")
	}
	p := &plan{slice: s, identifier: o.Identifier}
	linkedit, err := s.linkedit()
	if err != nil {
		return nil, err
	}
	p.keep = s.size
	if s.signature != nil {
		p.keep = int64(s.signature.offset)
	}
	p.at = roundUp(p.keep, 16)
	p.size = roundUp(int64(p.superSize()), 16)
	if p.length() > math.MaxUint32 {
		return nil, s.refuse("with its signature it would have more than 4 GiB")
	}
	filesize := uint64(p.length()) - linkedit.offset
	vmsize := uint64(roundUp(int64(filesize), s.pageSize()))
	for _, other := range s.segments {
		if other.address > linkedit.address && other.address-linkedit.address < vmsize {
			return nil, s.refuse("segment __LINKEDIT cannot grow: %q follows it in memory", other.name)
		}
	}
	if err := p.header(linkedit, filesize, vmsize); err != nil {
		return nil, err
	}
	return p, nil
}

// linkedit gives the segment that a signature belongs in, when it is the last in the file and the signature, if any, its end.
func (s *slice) linkedit() (*segment, error) {
	seg := s.find("__LINKEDIT")
	if seg == nil {
		return nil, s.refuse("it has no segment __LINKEDIT")
	}
	if !s.within(seg.offset, seg.filesize) {
		return nil, s.refuse("segment __LINKEDIT is not within the file")
	}
	for _, other := range s.segments {
		if other.command != seg.command && other.filesize > 0 && (!s.within(other.offset, other.filesize) || other.offset+other.filesize > seg.offset) {
			return nil, s.refuse("segment %q is not within the file before __LINKEDIT", other.name)
		}
	}
	if end := seg.offset + seg.filesize; end != uint64(s.size) {
		return nil, s.refuse("%d bytes follow segment __LINKEDIT", uint64(s.size)-end)
	}
	if sig := s.signature; sig != nil && (uint64(sig.offset) < seg.offset || uint64(sig.offset)+uint64(sig.size) != uint64(s.size)) {
		return nil, s.refuse("its signature is not at the end of segment __LINKEDIT")
	}
	if int64(seg.offset) < s.headerSize()+int64(len(s.commands)) {
		return nil, s.refuse("segment __LINKEDIT is over the load commands")
	}
	return seg, nil
}

// header makes the new header and load commands.
func (p *plan) header(linkedit *segment, filesize, vmsize uint64) error {
	const commandSize = 16
	s, le := p.slice, binary.LittleEndian
	p.head = make([]byte, s.headerSize(), s.headerSize()+int64(len(s.commands))+commandSize)
	if err := readFull(s.r, p.head, 0); err != nil {
		return err
	}
	p.head = append(p.head, s.commands...)
	at := int(s.headerSize()) + linkedit.command
	le.PutUint64(p.head[at+32:], vmsize)
	le.PutUint64(p.head[at+48:], filesize)
	if s.signature == nil {
		if s.used < len(s.commands) {
			return s.refuse("something follows its %d load commands", s.ncmds)
		}
		if err := p.room(commandSize); err != nil {
			return err
		}
		le.PutUint32(p.head[16:], s.ncmds+1)
		le.PutUint32(p.head[20:], uint32(len(s.commands)+commandSize))
		at = len(p.head)
		p.head = append(p.head, make([]byte, commandSize)...)
		le.PutUint32(p.head[at:], cmdSignature)
		le.PutUint32(p.head[at+4:], commandSize)
	} else {
		at = int(s.headerSize()) + s.signature.command
	}
	le.PutUint32(p.head[at+8:], uint32(p.at))
	le.PutUint32(p.head[at+12:], uint32(p.size))
	return nil
}

// room makes sure that the bytes after the load commands are nobody's.
func (p *plan) room(need int) error {
	end := uint64(len(p.head) + need)
	if end > uint64(p.keep) {
		return &RefusedError{archName(p.cpu, p.subtype), ErrNoRoom}
	}
	for _, seg := range p.segments {
		if seg.filesize > 0 && seg.offset > 0 && seg.offset < end {
			return &RefusedError{archName(p.cpu, p.subtype), ErrNoRoom}
		}
		for _, sec := range seg.sections {
			if !sec.zero && sec.size > 0 && sec.offset > 0 && uint64(sec.offset) < end {
				return &RefusedError{archName(p.cpu, p.subtype), ErrNoRoom}
			}
		}
	}
	gap := make([]byte, need)
	if err := readFull(p.r, gap, int64(len(p.head))); err != nil {
		return err
	}
	for _, c := range gap {
		if c != 0 {
			return &RefusedError{archName(p.cpu, p.subtype), ErrNoRoom}
		}
	}
	return nil
}

// pageSize is that of memory, in which segments are counted.
func (s *slice) pageSize() int64 {
	if s.cpu == cpuX86 {
		return 4 << 10
	}
	return 16 << 10
}

func (p *plan) pages() int { return int((p.at + signPage - 1) / signPage) }

func (p *plan) directorySize() int {
	return signFixed + len(p.identifier) + 1 + (signSpecials+p.pages())*sha256.Size
}

const superHeader = 12 + 3*8

func (p *plan) superSize() int {
	return superHeader + p.directorySize() + len(emptyRequirements) + len(emptyCMS)
}

// write writes the copy, hashing what it writes.
func (p *plan) write(w io.Writer) error {
	hashes := make([]byte, 0, p.pages()*sha256.Size)
	buf := make([]byte, min(p.at, chunk))
	for off := int64(0); off < p.at; off += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), p.at-off)]
		if err := p.fill(buf, off); err != nil {
			return err
		}
		for i := 0; i < len(buf); i += signPage {
			sum := sha256.Sum256(buf[i:min(i+signPage, len(buf))])
			hashes = append(hashes, sum[:]...)
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	if _, err := w.Write(p.super(hashes)); err != nil {
		return err
	}
	return zeros(w, p.size-int64(p.superSize()))
}

// fill gives what the copy has at an offset before its signature.
func (p *plan) fill(buf []byte, off int64) error {
	old := buf[:max(0, min(int64(len(buf)), p.keep-off))]
	if err := readFull(p.r, old, off); err != nil {
		return err
	}
	clear(buf[len(old):])
	if off < int64(len(p.head)) {
		copy(buf, p.head[off:])
	}
	return nil
}

// super makes the signature.
func (p *plan) super(hashes []byte) []byte {
	be := binary.BigEndian
	b := make([]byte, 0, p.superSize())
	words := func(all ...uint32) {
		for _, v := range all {
			b = be.AppendUint32(b, v)
		}
	}
	directory, requirements := uint32(superHeader), uint32(superHeader+p.directorySize())
	words(magicSignature, uint32(p.superSize()), 3,
		slotDirectory, directory, slotRequirements, requirements, slotCMS, requirements+uint32(len(emptyRequirements)))

	base, limit, flags := uint64(0), uint64(0), uint64(0)
	if seg := p.find("__TEXT"); seg != nil {
		base, limit = seg.offset, seg.filesize
	}
	if p.kind == typeExecute {
		flags = execSegMain
	}
	hashOffset := p.directorySize() - len(hashes)
	words(magicDirectory, uint32(p.directorySize()), versionExecSeg, flagAdHoc, uint32(hashOffset), signFixed, signSpecials, uint32(p.pages()), uint32(p.at))
	b = append(b, sha256.Size, 2, 0, signShift)
	words(0, 0, 0, 0) // spare, scatter, team, spare
	for _, v := range []uint64{0, base, limit, flags} {
		b = be.AppendUint64(b, v)
	}
	b = append(b, p.identifier...)
	b = append(b, 0)
	sum := sha256.Sum256(emptyRequirements)
	b = append(b, sum[:]...)
	b = append(b, make([]byte, sha256.Size)...) // slot 1
	b = append(b, hashes...)
	b = append(b, emptyRequirements...)
	return append(b, emptyCMS...)
}

// roundUp gives the next multiple of step, a power of two. n is below 2^62.
func roundUp(n, step int64) int64 { return (n + step - 1) &^ (step - 1) }

func zeros(w io.Writer, n int64) error {
	_, err := w.Write(make([]byte, n))
	return err
}
