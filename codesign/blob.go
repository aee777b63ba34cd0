package codesign

import (
	"crypto"
	_ "crypto/sha1" // signatures until macOS 10.11 have nothing else
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/binary"
	"fmt"
)

// Magic numbers of blobs, cs_blobs.h. All of a signature is big-endian.
const (
	magicRequirement     = 0xfade0c00
	magicRequirements    = 0xfade0c01
	magicDirectory       = 0xfade0c02
	magicSignature       = 0xfade0cc0
	magicCMS             = 0xfade0b01
	magicEntitlements    = 0xfade7171
	magicDEREntitlements = 0xfade7172
	magicConstraint      = 0xfade8181
)

// Slots of a signature, cs_blobs.h. Those from 1 to 11 are also numbers of special slots: hashes in the CodeDirectory.
const (
	slotDirectory       = 0
	slotInfo            = 1 // Info.plist: of the bundle, or section __TEXT,__info_plist
	slotRequirements    = 2
	slotResources       = 3 // CodeResources of the bundle
	slotApplication     = 4
	slotEntitlements    = 5
	slotRepresentation  = 6 // of disk images
	slotDEREntitlements = 7
	slotConstraintSelf  = 8 // to 11: of the parent, of the responsible process, of libraries
	slotConstraintLast  = 11
	slotAlternate       = 0x1000 // to 0x1004: more CodeDirectories
	slotAlternateLast   = 0x1004
	slotCMS             = 0x10000
	slotTicket          = 0x10002 // a notarization ticket
)

var slotNames = map[uint32]string{
	slotDirectory: "CodeDirectory", slotInfo: "Info.plist", slotRequirements: "requirements", slotResources: "resources", slotApplication: "application",
	slotEntitlements: "entitlements", slotRepresentation: "disk image", slotDEREntitlements: "DER entitlements",
	slotConstraintSelf: "self constraint", 9: "parent constraint", 10: "responsible constraint", slotConstraintLast: "library constraint",
	slotCMS: "CMS", slotTicket: "ticket",
}

// slotName is how reports call a slot.
func slotName(slot uint32) string {
	if name, ok := slotNames[slot]; ok {
		return name
	}
	if slot >= slotAlternate && slot <= slotAlternateLast {
		return fmt.Sprintf("alternate CodeDirectory %d", slot-slotAlternate+1)
	}
	return fmt.Sprintf("slot %#x", slot)
}

// slotMagic is the magic that a blob of a slot has to have, 0 when anything goes.
func slotMagic(slot uint32) uint32 {
	switch {
	case slot == slotDirectory, slot >= slotAlternate && slot <= slotAlternateLast:
		return magicDirectory
	case slot == slotRequirements:
		return magicRequirements
	case slot == slotEntitlements:
		return magicEntitlements
	case slot == slotDEREntitlements:
		return magicDEREntitlements
	case slot >= slotConstraintSelf && slot <= slotConstraintLast:
		return magicConstraint
	case slot == slotCMS:
		return magicCMS
	}
	return 0
}

// Bits of a CodeDirectory's flags, cs_blobs.h.
const flagAdHoc = 0x2

// flagNames are those that codesign -d prints, by bit.
var flagNames = []struct {
	bit  uint32
	name string
}{
	{0x1, "host"}, {flagAdHoc, "adhoc"}, {0x4, "get-task-allow"}, {0x8, "installer"}, {0x100, "hard"}, {0x200, "kill"}, {0x400, "expires"}, {0x800, "restrict"},
	{0x1000, "enforcement"}, {0x2000, "library-validation"}, {0x10000, "runtime"}, {0x20000, "linker-signed"},
}

// hashType is what a CodeDirectory's hashType says, cs_blobs.h.
type hashType struct {
	name string
	hash crypto.Hash
	size int // bytes that are kept of each hash
	rank int // the kernel takes the CodeDirectory of the highest (ubc_subr.c)
}

var hashTypes = map[uint8]hashType{
	1: {"SHA-1", crypto.SHA1, 20, 1},
	2: {"SHA-256", crypto.SHA256, 32, 3},
	3: {"SHA-256/20", crypto.SHA256, 20, 2},
	4: {"SHA-384", crypto.SHA384, 48, 4},
}

// blob is one of a signature, with its header of magic and length.
type blob struct {
	slot   uint32
	offset int // in the signature
	data   []byte
}

// payload is what follows the header.
func (b blob) payload() []byte { return b.data[8:] }

const maxBlobs = 64 // of a signature; codesign makes at most 15

// blobAt gives the blob at an offset, checked to lie within data.
func blobAt(data []byte, offset uint32) (b blob, problem string) {
	if uint64(offset)+8 > uint64(len(data)) {
		return b, fmt.Sprintf("begins at byte %d of %d", offset, len(data))
	}
	length := binary.BigEndian.Uint32(data[offset+4:])
	if length < 8 || uint64(offset)+uint64(length) > uint64(len(data)) {
		return b, fmt.Sprintf("has %d bytes at byte %d of %d", length, offset, len(data))
	}
	return blob{offset: int(offset), data: data[offset : uint64(offset)+uint64(length)]}, ""
}

func (b blob) magic() uint32 { return binary.BigEndian.Uint32(b.data) }

// index gives the blobs of a superblob in its own order: magic, length, count, then count times (slot, offset), then the blobs. What is
// wrong with it is added to faults; the blobs that can be read are given all the same.
func index(super blob, faults *faults) (blobs []blob) {
	if len(super.data) < 12 {
		faults.add(super.offset, "the list of blobs is cut off")
		return nil
	}
	count := binary.BigEndian.Uint32(super.data[8:])
	if count > maxBlobs || int(count) > (len(super.data)-12)/8 {
		faults.add(super.offset, "a list of %d blobs in %d bytes", count, len(super.data))
		return nil
	}
	seen := map[uint32]bool{}
	for i := range int(count) {
		entry := super.data[12+8*i:]
		slot, offset := binary.BigEndian.Uint32(entry), binary.BigEndian.Uint32(entry[4:])
		b, problem := blobAt(super.data, offset)
		switch {
		case problem != "":
			faults.add(super.offset+12+8*i, "the blob %s", problem)
		case seen[slot]:
			faults.add(super.offset+12+8*i, "there is a second blob for slot %#x", slot)
		default:
			seen[slot] = true
			b.slot = slot
			b.offset += super.offset
			blobs = append(blobs, b)
		}
	}
	return blobs
}

// directory is a CodeDirectory, cs_blobs.h. It is followed by the identifier, the team and the hashes.
type directory struct {
	Version       uint32
	Flags         uint32
	HashOffset    uint32 // of the first page's hash; those of special slots are before it, in falling order
	IdentOffset   uint32 // of the identifier, which ends with a zero byte
	NSpecialSlots uint32
	NCodeSlots    uint32
	CodeLimit     uint32 // bytes of the slice that the pages cover, from its beginning
	HashSize      uint8
	HashType      uint8
	Platform      uint8 // not 0: one of Apple's platform binaries
	PageSize      uint8 // log2; 0: one hash for all
	_             uint32
	ScatterOffset uint32 // from version 0x20100
	TeamOffset    uint32 // from version 0x20200
	_             uint32 // from version 0x20300, with the next
	CodeLimit64   uint64 // in place of CodeLimit when it is not 0
	ExecSegBase   uint64 // from version 0x20400, with the next two: segment __TEXT in the slice
	ExecSegLimit  uint64
	ExecSegFlags  uint64
	Runtime       uint32 // from version 0x20500, with the next: version of the hardened runtime, xx.yy.zz
	PreEncrypt    uint32 // offset of the hashes of pages before encryption
	// Version 0x20600 adds what links a signature to another (linkage); it says nothing about this file.

	data []byte // the whole blob
	hash hashType
}

const (
	execSegMain = 0x1 // of ExecSegFlags: the main program of a process

	versionBase    = 0x20001
	versionScatter = 0x20100
	versionTeam    = 0x20200
	versionLimit64 = 0x20300
	versionExecSeg = 0x20400
	versionRuntime = 0x20500
	versionBeyond  = 0x2f000 // from here on readers have to refuse (Security codedirectory.h, compatibilityLimit)
)

// parseDirectory reads a CodeDirectory, and makes sure that all its offsets lie within it.
func parseDirectory(b []byte) (*directory, error) {
	const base = 44
	if len(b) < base {
		return nil, fmt.Errorf("has %d bytes", len(b))
	}
	be := binary.BigEndian
	d := &directory{
		Version: be.Uint32(b[8:]), Flags: be.Uint32(b[12:]), HashOffset: be.Uint32(b[16:]), IdentOffset: be.Uint32(b[20:]),
		NSpecialSlots: be.Uint32(b[24:]), NCodeSlots: be.Uint32(b[28:]), CodeLimit: be.Uint32(b[32:]),
		HashSize: b[36], HashType: b[37], Platform: b[38], PageSize: b[39], data: b,
	}
	if d.Version < versionBase || d.Version >= versionBeyond {
		return nil, fmt.Errorf("version %#x is not known", d.Version)
	}
	end := base
	for _, add := range []struct {
		version uint32
		size    int
		read    func(b []byte)
	}{
		{versionScatter, 4, func(b []byte) { d.ScatterOffset = be.Uint32(b) }},
		{versionTeam, 4, func(b []byte) { d.TeamOffset = be.Uint32(b) }},
		{versionLimit64, 12, func(b []byte) { d.CodeLimit64 = be.Uint64(b[4:]) }},
		{versionExecSeg, 24, func(b []byte) {
			d.ExecSegBase, d.ExecSegLimit, d.ExecSegFlags = be.Uint64(b), be.Uint64(b[8:]), be.Uint64(b[16:])
		}},
		{versionRuntime, 8, func(b []byte) { d.Runtime, d.PreEncrypt = be.Uint32(b), be.Uint32(b[4:]) }},
	} {
		if d.Version < add.version {
			break
		}
		if len(b) < end+add.size {
			return nil, fmt.Errorf("version %#x has only %d bytes", d.Version, len(b))
		}
		add.read(b[end:])
		end += add.size
	}
	var ok bool
	if d.hash, ok = hashTypes[d.HashType]; !ok || int(d.HashSize) != d.hash.size {
		return nil, fmt.Errorf("hash type %d with %d bytes is not known", d.HashType, d.HashSize)
	}
	before, after := uint64(d.NSpecialSlots)*uint64(d.HashSize), uint64(d.NCodeSlots)*uint64(d.HashSize)
	if uint64(d.HashOffset) < before+uint64(end) || uint64(d.HashOffset)+after > uint64(len(b)) {
		return nil, fmt.Errorf("%d special and %d page hashes at byte %d do not fit in %d bytes", d.NSpecialSlots, d.NCodeSlots, d.HashOffset, len(b))
	}
	if _, ok := text(b, d.IdentOffset); !ok {
		return nil, fmt.Errorf("the identifier at byte %d has no end", d.IdentOffset)
	}
	if _, ok := text(b, d.TeamOffset); d.TeamOffset != 0 && !ok {
		return nil, fmt.Errorf("the team at byte %d has no end", d.TeamOffset)
	}
	return d, nil
}

// limit is how many bytes of the slice the hashes are for.
func (d *directory) limit() uint64 {
	if d.CodeLimit64 != 0 {
		return d.CodeLimit64
	}
	return uint64(d.CodeLimit)
}

func (d *directory) identifier() string {
	s, _ := text(d.data, d.IdentOffset)
	return s
}

func (d *directory) team() string {
	if d.TeamOffset == 0 {
		return ""
	}
	s, _ := text(d.data, d.TeamOffset)
	return s
}

// page gives the hash of a page, counted from 0.
func (d *directory) page(i int) []byte {
	return d.data[int(d.HashOffset)+i*d.hash.size:][:d.hash.size]
}

// special gives the hash of a special slot, counted from 1, or nil when there is none: absent or all zero.
func (d *directory) special(slot uint32) []byte {
	if slot > d.NSpecialSlots {
		return nil
	}
	h := d.data[int(d.HashOffset)-int(slot)*d.hash.size:][:d.hash.size]
	for _, c := range h {
		if c != 0 {
			return h
		}
	}
	return nil
}

// sum is the hash of data as this directory keeps it.
func (d *directory) sum(data []byte) []byte {
	h := d.hash.hash.New()
	h.Write(data)
	return h.Sum(nil)[:d.hash.size]
}

// text is a string that ends with a zero byte.
func text(b []byte, offset uint32) (string, bool) {
	if uint64(offset) >= uint64(len(b)) {
		return "", false
	}
	b = b[offset:]
	for i, c := range b {
		if c == 0 {
			return string(b[:i]), true
		}
	}
	return "", false
}
