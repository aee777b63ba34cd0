// Package codesign verifies and makes the code signatures of Mach-O programs, thin and fat. It is pure Go, needs no Mac, and takes files that may
// be anything: what is read is bounded by this package and by package macho, never by numbers in the file.
//
// Facts come from Apple's sources: xnu osfmk/kern/cs_blobs.h and bsd/kern/ubc_subr.c (signatures as the kernel takes them), Security
// OSX/libsecurity_codesigning (what codesign writes), dyld mach_o (what dyld demands).
package codesign

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"reflect"

	"mirrord/codesign/macho"
)

const maxSignature = 64 << 20 // bytes

// Verify reads a file of size bytes and checks every hash of every signature in it. The error is macho.ErrNotMachO, a *macho.FormatError when
// no slice can be read, or what r says; what is wrong with signatures is in the report. Certificates are not checked: whom a program is from is
// for the system to judge.
func Verify(r io.ReaderAt, size int64) (*Report, error) {
	f, err := macho.Read(r, size)
	if err != nil {
		return nil, err
	}
	return report(f, true)
}

// Inspect is Verify without the hashes of pages: it reads signatures only, and says what those claim.
func Inspect(f *macho.File) (*Report, error) { return report(f, false) }

func report(f *macho.File, pages bool) (*Report, error) {
	all := &Report{Fat: f.Magic != 0}
	for _, s := range f.Slices {
		one, err := reportSlice(s, pages)
		if err != nil {
			return nil, err
		}
		all.Slices = append(all.Slices, *one)
	}
	return all, nil
}

// check is the work on one slice.
type check struct {
	*macho.Slice
	out    *Slice
	faults faults // offsets count from the signature
	blobs  map[uint32]blob
	pages  bool
}

func reportSlice(s *macho.Slice, pages bool) (*Slice, error) {
	out := &Slice{Arch: s.Arch.String(), Offset: s.Offset, Size: s.Size, Faults: []Fault{}}
	if s.Err != nil {
		var format *macho.FormatError
		if !errors.As(s.Err, &format) && !errors.Is(s.Err, macho.ErrNotMachO) {
			return nil, s.Err
		}
		out.Unreadable = s.Err.Error()
		return out, nil
	}
	out.CPUType, out.CPUSubtype, out.Kind = s.Arch.CPU, s.Arch.Subtype, s.Type.String()
	c := check{Slice: s, out: out, pages: pages, faults: faults{base: s.Offset}}
	if s.Entry != nil && *s.Entry != s.Arch {
		c.faults.add(0, "the fat header calls it %s, the slice says %s: the kernel refuses it", s.Entry, out.Arch)
	}
	if s.Signature != nil {
		out.Signed = true
		if err := c.signature(); err != nil {
			return nil, err
		}
	}
	out.Faults = append(out.Faults, c.faults.list...)
	return out, nil
}

func (c *check) note(format string, args ...any) {
	c.out.Notes = append(c.out.Notes, fmt.Sprintf(format, args...))
}

// signature checks where the signature is, and reads it.
func (c *check) signature() error {
	at, size := uint64(c.Signature.Offset), uint64(c.Signature.Size)
	c.out.SignatureOffset, c.out.SignatureSize = c.Offset+int64(at), int64(size)
	if !c.Within(at, size) || size > maxSignature {
		c.faults.add(0, "the signature of %d bytes at byte %d is not within the %d bytes of the slice", size, at, c.Size)
		return nil
	}
	c.faults.base = c.Offset + int64(at)
	if seg := c.Segment("__LINKEDIT"); seg == nil || at < seg.Offset || at+size != seg.Offset+seg.FileSize {
		c.faults.add(0, "the signature is not at the end of segment __LINKEDIT")
	}
	if at+size < uint64(c.Size) {
		c.faults.add(int(size), "%d bytes after the signature are covered by no hash", uint64(c.Size)-at-size)
	}
	if at%16 != 0 {
		c.note("the signature is not aligned to 16 bytes, which dyld demands of programs for macOS 11 and later")
	}
	data := make([]byte, size)
	if err := c.ReadFull(data, int64(at)); err != nil {
		return err
	}
	super, problem := blobAt(data, 0)
	if problem != "" {
		c.faults.add(0, "the signature %s", problem)
		return nil
	}
	if super.magic() != magicSignature {
		c.faults.add(0, "the signature begins with %#08x, not with %#08x", super.magic(), uint32(magicSignature))
		return nil
	}
	return c.contents(super)
}

// contents goes through the blobs of the signature.
func (c *check) contents(super blob) error {
	c.blobs = map[uint32]blob{}
	var directories []blob
	for _, b := range index(super, &c.faults) {
		if want := slotMagic(b.slot); want != 0 && b.magic() != want {
			c.faults.add(b.offset, "%s: magic %#08x, not %#08x", slotName(b.slot), b.magic(), want)
			continue
		}
		if slotMagic(b.slot) == magicDirectory {
			directories = append(directories, b)
			continue
		}
		c.blobs[b.slot] = b
		if b.slot > slotConstraintLast && slotNames[b.slot] == "" {
			c.note("%s of the signature is not known, and not checked", slotName(b.slot))
		}
	}
	c.entitlements()
	c.requirements()
	c.constraints()
	if b, ok := c.blobs[slotCMS]; ok {
		if c.out.CMS = len(b.payload()); c.out.CMS > 0 {
			c.note("the certificates (CMS) are not checked")
		}
	}
	_, c.out.Ticket = c.blobs[slotTicket]

	best, seen := 0, map[uint8]bool{}
	for _, b := range directories {
		d, err := parseDirectory(b.data)
		if err != nil {
			c.faults.add(b.offset, "the %s: %v", slotName(b.slot), err)
			continue
		}
		if seen[d.HashType] {
			c.faults.add(b.offset, "the %s is a second one with %s: the kernel refuses it", slotName(b.slot), d.hash.name)
			continue
		}
		seen[d.HashType] = true
		if d.hash.rank > best {
			best = d.hash.rank
			c.identity(d)
		}
		if err := c.directory(b, d); err != nil {
			return err
		}
	}
	if best == 0 {
		c.faults.add(0, "the signature has no CodeDirectory that can be read")
	}
	return nil
}

// identity takes over what the CodeDirectory says about the program.
func (c *check) identity(d *directory) {
	out := c.out
	out.Identifier, out.Team, out.Flags, out.Platform = d.identifier(), d.team(), d.Flags, d.Platform
	out.CDHash = hex.EncodeToString(d.sum(d.data)[:20])
	out.FlagNames, out.Runtime = nil, ""
	for _, f := range flagNames {
		if d.Flags&f.bit != 0 {
			out.FlagNames = append(out.FlagNames, f.name)
		}
	}
	if d.Runtime != 0 {
		out.Runtime = fmt.Sprintf("%d.%d.%d", d.Runtime>>16, d.Runtime>>8&0xff, d.Runtime&0xff)
	}
}

// directory checks all hashes of a CodeDirectory.
func (c *check) directory(b blob, d *directory) error {
	name := slotName(b.slot) + " (" + d.hash.name + ")"
	out := Directory{
		Version: fmt.Sprintf("%#x", d.Version), Hash: d.hash.name, Pages: int(d.NCodeSlots), CodeLimit: d.limit(),
		BadPages: []int{}, SpecialSlots: map[string]string{},
	}
	if d.Version >= versionExecSeg {
		out.ExecSegment = &ExecSegment{d.ExecSegBase, d.ExecSegLimit, d.ExecSegFlags}
	}
	if err := c.specials(b, d, name, out.SpecialSlots); err != nil {
		return err
	}
	if err := c.code(b, d, name, &out); err != nil {
		return err
	}
	c.out.Directories = append(c.out.Directories, out)
	return nil
}

// code checks the pages.
func (c *check) code(b blob, d *directory, name string, out *Directory) error {
	limit := d.limit()
	if end := uint64(c.Signature.Offset); limit != end {
		c.faults.add(b.offset, "the %s covers %d bytes, and the signature begins at byte %d", name, limit, end)
	}
	if limit > uint64(c.Size) {
		return nil
	}
	if d.ScatterOffset != 0 {
		c.faults.add(b.offset, "the %s has a scatter list, which only readers of macOS 10.6 understood", name)
		return nil
	}
	switch d.PageSize {
	case 12, 14:
	case 0:
		c.note("the %s has one hash for all of the code: the kernel runs only what has pages of 4 KiB, or of 16 on Apple silicon", name)
	default:
		c.note("the %s has pages of 2^%d bytes: the kernel runs only what has pages of 4 KiB, or of 16 on Apple silicon", name, d.PageSize)
	}
	page, want := limit, uint64(1)
	if d.PageSize != 0 {
		if d.PageSize > 30 {
			c.faults.add(b.offset, "the %s has pages of 2^%d bytes", name, d.PageSize)
			return nil
		}
		page = 1 << d.PageSize
		out.PageSize = page
		want = (limit + page - 1) / page
	}
	if uint64(d.NCodeSlots) != want {
		c.faults.add(b.offset, "the %s has %d pages where %d bytes have %d", name, d.NCodeSlots, limit, want)
	}
	if !c.pages {
		return nil
	}
	bad, err := c.badPages(d, limit, page, int(min(want, uint64(d.NCodeSlots))))
	if len(bad) > 0 {
		out.BadPages = bad
		c.faults.list = append(c.faults.list, Fault{c.Offset + int64(bad[0])*int64(page),
			fmt.Sprintf("%d of %d pages of the %s have another hash: %s", len(bad), d.NCodeSlots, name, ranges(bad))})
	}
	return err
}

// chunk is how much of a file is held at a time.
const chunk = 256 << 10

// badPages hashes the first count pages of page bytes.
func (c *check) badPages(d *directory, limit, page uint64, count int) (bad []int, err error) {
	in := io.NewSectionReader(c, 0, int64(limit))
	buf := make([]byte, min(max(limit, 1), chunk))
	h, sum := d.hash.hash.New(), make([]byte, 0, d.hash.hash.Size())
	held := []byte(nil) // what is read and not yet hashed
	for i := range count {
		h.Reset()
		for left := min(page, limit-uint64(i)*page); left > 0; {
			if len(held) == 0 {
				n, err := io.ReadFull(in, buf)
				if n == 0 {
					return bad, err
				}
				held = buf[:n]
			}
			n := min(left, uint64(len(held)))
			h.Write(held[:n])
			held, left = held[n:], left-n
		}
		if sum = h.Sum(sum[:0]); !bytes.Equal(sum[:d.hash.size], d.page(i)) {
			bad = append(bad, i)
		}
	}
	return bad, nil
}

// specials checks the hashes of everything but pages.
func (c *check) specials(b blob, d *directory, name string, out map[string]string) error {
	for slot := uint32(1); slot <= slotConstraintLast; slot++ {
		of, has := c.blobs[slot]
		hash := d.special(slot)
		content := of.data
		if slot == slotInfo && !has && hash != nil {
			var err error
			if content, err = c.embeddedInfo(); err != nil {
				return err
			}
			has = content != nil
		}
		switch {
		case hash == nil && !has:
			continue
		case hash == nil:
			out[slotName(slot)] = "uncovered"
			c.faults.add(of.offset, "the %s has no hash for the %s", name, slotName(slot))
		case has && bytes.Equal(d.sum(content), hash):
			out[slotName(slot)] = "right"
		case has:
			out[slotName(slot)] = "wrong"
			c.faults.add(of.offset, "the %s has another hash for the %s", name, slotName(slot))
		case slot == slotInfo || slot == slotResources || slot == slotApplication || slot == slotRepresentation:
			out[slotName(slot)] = "unchecked"
			c.note("outside of the file, and not checked: %s", slotName(slot))
		default:
			out[slotName(slot)] = "missing"
			c.faults.add(b.offset, "the %s has a hash for the %s, which is not there", name, slotName(slot))
		}
	}
	for slot := uint32(slotConstraintLast + 1); slot <= d.NSpecialSlots; slot++ {
		if d.special(slot) != nil {
			c.note("the %s has hashes of special slots that are not known", name)
			break
		}
	}
	return nil
}

// embeddedInfo gives the Info.plist that programs without a bundle have in a section, nil if there is none.
func (c *check) embeddedInfo() ([]byte, error) {
	const maxInfo = 1 << 20
	seg := c.Segment("__TEXT")
	if seg == nil {
		return nil, nil
	}
	for _, s := range seg.Sections {
		if s.Name == "__info_plist" && s.Size <= maxInfo && c.Within(uint64(s.Offset), s.Size) {
			data := make([]byte, s.Size)
			return data, c.ReadFull(data, int64(s.Offset))
		}
	}
	return nil, nil
}

// entitlements reads both forms. The kernel goes by DER where there is one (macOS 12), older systems by XML, so they have to agree.
func (c *check) entitlements() {
	forms := map[string]map[string]any{}
	for _, form := range []struct {
		slot  uint32
		name  string
		parse func([]byte) (map[string]any, error)
	}{{slotEntitlements, "XML", parsePlist}, {slotDEREntitlements, "DER", parseDER}} {
		b, ok := c.blobs[form.slot]
		if !ok {
			continue
		}
		values, err := form.parse(b.payload())
		if err != nil {
			c.faults.add(b.offset, "the %s cannot be read: %v", slotName(form.slot), err)
			continue
		}
		forms[form.name], c.out.Entitlements = values, values
		c.out.EntitlementsIn = append(c.out.EntitlementsIn, form.name)
	}
	if len(forms) == 2 && !reflect.DeepEqual(forms["XML"], forms["DER"]) {
		c.faults.add(c.blobs[slotDEREntitlements].offset, "the entitlements in DER are not those in XML")
	}
}

// requirements lists the kinds. Requirement.h: magic, length, count, then count times (kind, offset).
func (c *check) requirements() {
	b, ok := c.blobs[slotRequirements]
	if !ok {
		return
	}
	names := map[uint32]string{1: "host", 2: "guest", 3: "designated", 4: "library", 5: "plugin"}
	for _, r := range index(b, &c.faults) {
		name, known := names[r.slot]
		if !known {
			name = fmt.Sprintf("kind %d", r.slot)
		}
		if r.magic() != magicRequirement {
			c.faults.add(r.offset, "the %s requirement has magic %#08x", name, r.magic())
			continue
		}
		if len(r.data) < 12 || binary.BigEndian.Uint32(r.data[8:]) != 1 {
			c.note("the %s requirement is not an expression", name)
		}
		c.out.Requirements = append(c.out.Requirements, name)
	}
}

func (c *check) constraints() {
	for i, whom := range []string{"self", "parent", "responsible", "library"} {
		b, ok := c.blobs[slotConstraintSelf+uint32(i)]
		if !ok {
			continue
		}
		values, err := parseDER(b.payload())
		if err != nil { // its form is Apple's to change; the hash is what can be wrong
			c.note("the %s cannot be read: %v", slotName(b.slot), err)
		}
		if c.out.Constraints == nil {
			c.out.Constraints = map[string]map[string]any{}
		}
		c.out.Constraints[whom] = values
	}
}
