package codesign

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"

	"mirrord/codesign/macho"
)

// Options say what a signature is to hold.
type Options struct {
	// Identifier is the program's name for the system; it should be different for different programs (man codesign). Not empty, at most
	// 1024 bytes, without a zero byte.
	Identifier string
	// Digits, if not nil, gives 16 more characters for the end of the identifier, when it is known what the copy consists of: content is the SHA-256
	// of the SHA-256 of each of its pages of 4 KiB, one after the other, headers included, without the signature.
	Digits func(content [sha256.Size]byte) [16]byte
	// Copy, if not nil, appends a range of the slice to what SignSlice has written, by a way that does not lead through this program's memory. It is
	// called at most once, by another goroutine, while nothing else is written. What it copies has to be what is read meanwhile.
	Copy func(off, n int64) error
}

// Signed says what a signature holds.
type Signed struct {
	Identifier string
	CDHash     string // 20 bytes, hexadecimal: by which the system knows the program
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
// launch constraints, no flags but adhoc. A signature that is there is replaced. The same input gives the same bytes. The error is
// macho.ErrNotMachO, a *macho.FormatError, a *RefusedError (before anything is written), or what r or w say; then w has a part of a file.
//
// The copy is as acceptable to dyld's checks as the original (Policy.cpp: they depend on the SDK stamped in the file): load commands keep
// their order, none is added but LC_CODE_SIGNATURE, and the signature is aligned to 16 bytes at the end of __LINKEDIT.
func Sign(w io.Writer, r io.ReaderAt, size int64, o Options) error {
	f, err := macho.Read(r, size)
	if err != nil {
		return err
	}
	plans := make([]*plan, len(f.Slices))
	o.Copy = nil
	for i, s := range f.Slices {
		if plans[i], err = planFor(s, o); err != nil {
			return err
		}
	}
	if f.Magic == 0 {
		_, err := plans[0].write(w)
		return err
	}
	head, err := layout(f.Magic, plans)
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
		if _, err := p.write(w); err != nil {
			return err
		}
		at = p.offset + p.length()
	}
	return nil
}

// SignSlice writes a signed copy of one slice to w, as a thin file. Everything else is as for Sign.
func SignSlice(w io.Writer, s *macho.Slice, o Options) (Signed, error) {
	p, err := planFor(s, o)
	if err != nil {
		return Signed{}, err
	}
	return p.write(w)
}

// layout says where the slices go, and makes the fat header.
func layout(magic uint32, plans []*plan) ([]byte, error) {
	be, width := binary.BigEndian, macho.FatEntrySize(magic)
	head := be.AppendUint32(nil, magic)
	head = be.AppendUint32(head, uint32(len(plans)))
	at := int64(8 + len(plans)*width)
	for _, p := range plans {
		p.offset = roundUp(at, 1<<p.Align)
		at = p.offset + p.length()
		head = be.AppendUint32(head, p.Arch.CPU)
		head = be.AppendUint32(head, p.Arch.Subtype)
		if magic == macho.MagicFat64 {
			head = be.AppendUint64(head, uint64(p.offset))
			head = be.AppendUint64(head, uint64(p.length()))
			head = be.AppendUint64(head, uint64(p.Align)<<32)
			continue
		}
		if at > math.MaxUint32 {
			return nil, refuse(p.Slice, "it would be beyond the 4 GiB of a fat file")
		}
		head = be.AppendUint32(head, uint32(p.offset))
		head = be.AppendUint32(head, uint32(p.length()))
		head = be.AppendUint32(head, p.Align)
	}
	return head, nil
}

// plan is how the signed copy of a slice will be.
type plan struct {
	*macho.Slice
	offset     int64  // of the copy, in the file that is written
	head       []byte // header and load commands
	keep       int64  // bytes taken over from the slice, those of head included
	at         int64  // where the signature begins
	size       int64  // of the signature, with its padding
	identifier string // without digits yet, zero bytes are in their place
	digits     func([sha256.Size]byte) [16]byte
	copy       func(off, n int64) error
}

func (p *plan) length() int64 { return p.at + p.size }

func refuse(s *macho.Slice, format string, args ...any) error {
	return &RefusedError{s.Arch.String(), fmt.Errorf(format, args...)}
}

func planFor(s *macho.Slice, o Options) (*plan, error) {
	if o.Identifier == "" || len(o.Identifier) > 1024 || strings.ContainsRune(o.Identifier, 0) {
		return nil, fmt.Errorf("identifier %.80q of %d bytes: it has to have 1 to 1024, and no zero byte", o.Identifier, len(o.Identifier))
	}
	if s.Err != nil {
		return nil, s.Err
	}
	switch {
	case s.Entry != nil && *s.Entry != s.Arch:
		return nil, refuse(s, "the fat header calls it %s", s.Entry)
	case !s.Wide || s.Order != binary.LittleEndian:
		return nil, refuse(s, "no Mac of today runs 32-bit or big-endian programs")
	case s.Type != macho.Execute && s.Type != macho.Dylib && s.Type != macho.Bundle && s.Type != macho.Dylinker:
		return nil, refuse(s, "it is no program or library but a file of kind %s", s.Type)
	case s.Encrypted:
		return nil, refuse(s, "it is encrypted")
	case s.Size > math.MaxUint32:
		return nil, refuse(s, "it has more than 4 GiB")
	}
	p := &plan{Slice: s, identifier: o.Identifier, digits: o.Digits, copy: o.Copy}
	if o.Digits != nil {
		p.identifier += string(make([]byte, 16))
	}
	linkedit, err := linkeditOf(s)
	if err != nil {
		return nil, err
	}
	p.keep = s.Size
	if s.Signature != nil {
		p.keep = int64(s.Signature.Offset)
	}
	p.at = roundUp(p.keep, 16)
	p.size = roundUp(int64(p.superSize()), 16)
	if p.length() > math.MaxUint32 {
		return nil, refuse(s, "with its signature it would have more than 4 GiB")
	}
	filesize := uint64(p.length()) - linkedit.Offset
	vmsize := uint64(roundUp(int64(filesize), pageSize(s)))
	for _, other := range s.Segments {
		if other.Address > linkedit.Address && other.Address-linkedit.Address < vmsize {
			return nil, refuse(s, "segment __LINKEDIT cannot grow: %q follows it in memory", other.Name)
		}
	}
	if err := p.header(linkedit, filesize, vmsize); err != nil {
		return nil, err
	}
	return p, nil
}

// linkedit gives the segment that a signature belongs in, when it is the last in the file and the signature, if any, its end.
func linkeditOf(s *macho.Slice) (*macho.Segment, error) {
	seg := s.Segment("__LINKEDIT")
	if seg == nil {
		return nil, refuse(s, "it has no segment __LINKEDIT")
	}
	if !s.Within(seg.Offset, seg.FileSize) {
		return nil, refuse(s, "segment __LINKEDIT is not within the file")
	}
	for _, other := range s.Segments {
		if other.Command != seg.Command && other.FileSize > 0 && (!s.Within(other.Offset, other.FileSize) || other.Offset+other.FileSize > seg.Offset) {
			return nil, refuse(s, "segment %q is not within the file before __LINKEDIT", other.Name)
		}
	}
	if end := seg.Offset + seg.FileSize; end != uint64(s.Size) {
		return nil, refuse(s, "%d bytes follow segment __LINKEDIT", uint64(s.Size)-end)
	}
	if sig := s.Signature; sig != nil && (uint64(sig.Offset) < seg.Offset || uint64(sig.Offset)+uint64(sig.Size) != uint64(s.Size)) {
		return nil, refuse(s, "its signature is not at the end of segment __LINKEDIT")
	}
	if int64(seg.Offset) < int64(len(s.Head)) {
		return nil, refuse(s, "segment __LINKEDIT is over the load commands")
	}
	return seg, nil
}

// header makes the new header and load commands.
func (p *plan) header(linkedit *macho.Segment, filesize, vmsize uint64) error {
	const commandSize = 16
	s, le := p.Slice, binary.LittleEndian
	p.head = slices.Clone(s.Head)
	at := int(s.Commands[linkedit.Command].Offset)
	le.PutUint64(p.head[at+32:], vmsize)
	le.PutUint64(p.head[at+48:], filesize)
	if s.Signature == nil {
		if s.Used < int64(len(s.Head)) {
			return refuse(s, "something follows its %d load commands", len(s.Commands))
		}
		switch room, err := s.Room(); {
		case err != nil:
			return err
		case room < commandSize:
			return &RefusedError{s.Arch.String(), ErrNoRoom}
		}
		le.PutUint32(p.head[16:], uint32(len(s.Commands)+1))
		le.PutUint32(p.head[20:], uint32(len(s.Head)+commandSize)-uint32(s.HeaderSize()))
		at = len(p.head)
		p.head = append(p.head, make([]byte, commandSize)...)
		le.PutUint32(p.head[at:], macho.LCCodeSignature)
		le.PutUint32(p.head[at+4:], commandSize)
	} else {
		at = int(s.Commands[s.Signature.Command].Offset)
	}
	le.PutUint32(p.head[at+8:], uint32(p.at))
	le.PutUint32(p.head[at+12:], uint32(p.size))
	return nil
}

// pageSize is that of memory, in which segments are counted.
func pageSize(s *macho.Slice) int64 {
	if s.Arch.CPU == macho.CPUX86_64 {
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

// write writes the copy, hashing what it writes: one chunk by another core while the next is read and written.
func (p *plan) write(w io.Writer) (Signed, error) {
	hashes := make([]byte, p.pages()*sha256.Size)
	var halves [2]struct {
		buf  []byte
		busy sync.WaitGroup
	}
	for i := range halves {
		halves[i].buf = make([]byte, min(p.at, chunk))
		defer halves[i].busy.Wait()
	}
	through := p.at // what is written from memory
	if p.copy != nil {
		through = min(through, roundUp(int64(len(p.head)), chunk))
	}
	var copying sync.WaitGroup
	var copied error
	defer copying.Wait()
	for off := int64(0); off < p.at; off += chunk {
		half := &halves[off/chunk%2]
		half.busy.Wait()
		buf := half.buf[:min(chunk, p.at-off)]
		if err := p.fill(buf, off); err != nil {
			return Signed{}, err
		}
		half.busy.Go(func() { hashPages(hashes[off>>signShift*sha256.Size:], buf) })
		if off >= through {
			continue
		}
		if _, err := w.Write(buf); err != nil {
			return Signed{}, err
		}
		if end := off + chunk; end == through && end < p.keep {
			copying.Go(func() { copied = p.copy(end, p.keep-end) })
		}
	}
	for i := range halves {
		halves[i].busy.Wait()
	}
	if copying.Wait(); copied != nil {
		return Signed{}, copied
	}
	if through < p.at {
		if err := zeros(w, p.at-max(p.keep, through)); err != nil {
			return Signed{}, err
		}
	}
	if p.digits != nil {
		digits := p.digits(sha256.Sum256(hashes))
		p.identifier = p.identifier[:len(p.identifier)-len(digits)] + string(digits[:])
	}
	super := p.super(hashes)
	if _, err := w.Write(super); err != nil {
		return Signed{}, err
	}
	sum := sha256.Sum256(super[superHeader:][:p.directorySize()])
	return Signed{p.identifier, hex.EncodeToString(sum[:20])}, zeros(w, p.size-int64(len(super)))
}

// hashPages puts the hash of each page of content into hashes.
func hashPages(hashes, content []byte) {
	for len(content) > 0 {
		page := content[:min(signPage, len(content))]
		sum := sha256.Sum256(page)
		copy(hashes, sum[:])
		hashes, content = hashes[sha256.Size:], content[len(page):]
	}
}

// fill gives what the copy has at an offset before its signature.
func (p *plan) fill(buf []byte, off int64) error {
	old := buf[:max(0, min(int64(len(buf)), p.keep-off))]
	if err := p.ReadFull(old, off); err != nil {
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
	if seg := p.Segment("__TEXT"); seg != nil {
		base, limit = seg.Offset, seg.FileSize
	}
	if p.Type == macho.Execute {
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
