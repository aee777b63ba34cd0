package codesign

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"

	"mirrord/codesign/macho"
)

// image describes a Mach-O file that the tests make themselves.
type image struct {
	cpu, subtype uint32
	kind         macho.FileType
	page         int    // segments begin at its multiples; 16 KiB when 0, at least 1 KiB
	code         int    // bytes of __TEXT,__text; 20,000 when 0
	info         string // section __TEXT,__info_plist
	full         bool   // the first section begins right after the load commands
	noUUID       bool
	encrypted    bool
	trailing     int // bytes after __LINKEDIT
	signature    func(i image, covered []byte) []byte
}

var (
	x86_64 = image{cpu: macho.CPUX86_64, subtype: 3, kind: macho.Execute}
	arm64  = image{cpu: macho.CPUARM64, subtype: 0, kind: macho.Execute}
	arm64e = image{cpu: macho.CPUARM64, subtype: 0x80000002, kind: macho.Execute}
)

// bytes makes the file. With a signature it is made twice: the second time its length is known.
func (i image) bytes() []byte {
	if i.signature == nil {
		return i.build(nil)
	}
	bare := i.build([]byte{})
	size := len(i.signature(i, bare[:len(bare)-i.trailing]))
	unsigned := i.build(make([]byte, size))
	return i.build(i.signature(i, unsigned[:len(unsigned)-i.trailing-size]))
}

// build lays out __TEXT (with the header), __DATA and __LINKEDIT, each from a multiple of a page. A signature that is not nil gets its
// load command.
func (i image) build(signature []byte) []byte {
	page := i.page
	if page == 0 {
		page = 0x4000
	}
	le, random := binary.LittleEndian, rand.New(rand.NewPCG(1, 2))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for k := range b {
			b[k] = byte(random.Uint32())
		}
		return b
	}
	if i.code == 0 {
		i.code = 20_000
	}
	var commands []byte
	count := uint32(0)
	command := func(kind uint32, body []byte) {
		commands = le.AppendUint32(commands, kind)
		commands = le.AppendUint32(commands, uint32(8+len(body)))
		commands = append(commands, body...)
		count++
	}
	name := func(s string) []byte { return append([]byte(s), make([]byte, 16-len(s))...) }
	type part struct {
		name     string
		at, size int
	}
	segment := func(p part, address, vmsize, protection int, sections ...part) {
		b := name(p.name)
		for _, v := range []int{address, vmsize, p.at, p.size} {
			b = le.AppendUint64(b, uint64(v))
		}
		for _, v := range []int{protection, protection, len(sections), 0} {
			b = le.AppendUint32(b, uint32(v))
		}
		for _, s := range sections {
			b = append(append(b, name(s.name)...), name(p.name)...)
			b = le.AppendUint64(b, uint64(address+s.at-p.at))
			b = le.AppendUint64(b, uint64(s.size))
			b = le.AppendUint32(b, uint32(s.at))
			b = append(b, make([]byte, 28)...)
		}
		command(macho.LCSegment64, b)
	}
	round := func(n int) int { return (n + page - 1) &^ (page - 1) }
	const base = 1 << 32
	layout := func(text int) {
		commands, count = nil, 0
		end := round(text + i.code + len(i.info))
		segment(part{name: "__PAGEZERO"}, 0, base, 0)
		sections := []part{{name: "__text", at: text, size: i.code}}
		if i.info != "" {
			sections = append(sections, part{name: "__info_plist", at: text + i.code, size: len(i.info)})
		}
		segment(part{name: "__TEXT", size: end}, base, end, 5, sections...)
		segment(part{name: "__DATA", at: end, size: page}, base+end, page, 3, part{name: "__data", at: end, size: 100})
		linkedit := 1000
		if signature != nil {
			linkedit = 1008 + len(signature)
		}
		segment(part{name: "__LINKEDIT", at: end + page, size: linkedit}, base+end+page, round(linkedit), 1)
		if !i.noUUID {
			command(0x1b, noise(16))
		}
		command(0x32, []byte{1, 0, 0, 0, 0, 0, 12, 0, 0, 0, 26, 0, 0, 0, 0, 0}) // LC_BUILD_VERSION: macOS, from 12, SDK 26
		dylib := func(kind uint32, path string) {
			b := le.AppendUint32(le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, 24), 2), 0x10000), 0x10000)
			command(kind, append(append(b, path...), make([]byte, 8-len(path)%8)...))
		}
		if i.kind == macho.Dylib {
			dylib(0xd, "@rpath/fixture.dylib")
		}
		dylib(0xc, "/usr/lib/libSystem.B.dylib")
		symbols := le.AppendUint32(le.AppendUint32(nil, uint32(end+page)), 0)
		command(0x2, le.AppendUint32(le.AppendUint32(symbols, uint32(end+page)), 1000)) // LC_SYMTAB: no symbols, all of __LINKEDIT is their names
		command(0xb, make([]byte, 72))                                                  // LC_DYSYMTAB
		if i.kind == macho.Execute {
			command(0x80000028, le.AppendUint64(le.AppendUint64(nil, uint64(text)), 0)) // LC_MAIN
		}
		if i.encrypted {
			command(macho.LCEncryptionInfo64, []byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0})
		}
		if signature != nil {
			command(macho.LCCodeSignature, le.AppendUint32(le.AppendUint32(nil, uint32(end+page+1008)), uint32(len(signature))))
		}
	}
	text := min(0x1000, page)
	layout(text)
	if i.full {
		text = 32 + len(commands)
		layout(text)
	}
	var out []byte
	for _, v := range []uint32{macho.Magic64, i.cpu, i.subtype, uint32(i.kind), count, uint32(len(commands)), 0x200085, 0} {
		out = le.AppendUint32(out, v)
	}
	out = append(out, commands...)
	out = append(out, make([]byte, text-len(out))...)
	out = append(append(out, noise(i.code)...), i.info...)
	out = append(out, make([]byte, round(len(out))-len(out))...)
	out = append(out, noise(page)...)
	out = append(out, noise(1000)...)
	if signature != nil {
		out = append(append(out, make([]byte, 8)...), signature...)
	}
	return append(out, bytes.Repeat([]byte{'x'}, i.trailing)...)
}

// signing describes a signature that the tests make themselves, of all the kinds that Verify has to know.
type signing struct {
	version      uint32 // 0x20400 when 0
	hashes       []uint8
	pageShift    uint8
	long         bool // the limit is in codeLimit64
	flags        uint32
	platform     uint8
	team         string
	entitlements string // XML
	der          []byte
	constraint   []byte // DER, for self
	cms          []byte
	specials     func(slot uint32, hash []byte) []byte // changes hashes
	extra        []blob
}

// fixtureBlob adds magic and length.
func fixtureBlob(magic uint32, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, magic)
	return append(binary.BigEndian.AppendUint32(b, uint32(8+len(payload))), payload...)
}

// requirementsFixture has one designated requirement: identifier "fixture".
func requirementsFixture() []byte {
	be := binary.BigEndian
	expression := append(be.AppendUint32(be.AppendUint32(be.AppendUint32(nil, 1), 2), 7), "fixture\x00"...)
	one := fixtureBlob(magicRequirement, expression)
	return fixtureBlob(magicRequirements, append(be.AppendUint32(be.AppendUint32(be.AppendUint32(nil, 1), 3), 20), one...))
}

func (g signing) bytes(i image, covered []byte) []byte {
	blobs := []blob{{slot: slotRequirements, data: requirementsFixture()}}
	if g.entitlements != "" {
		blobs = append(blobs, blob{slot: slotEntitlements, data: fixtureBlob(magicEntitlements, []byte(g.entitlements))})
	}
	if g.der != nil {
		blobs = append(blobs, blob{slot: slotDEREntitlements, data: fixtureBlob(magicDEREntitlements, g.der)})
	}
	if g.constraint != nil {
		blobs = append(blobs, blob{slot: slotConstraintSelf, data: fixtureBlob(magicConstraint, g.constraint)})
	}
	special := map[uint32][]byte{}
	for _, b := range blobs {
		special[b.slot] = b.data
	}
	if i.info != "" {
		special[slotInfo] = []byte(i.info)
	}
	all := []blob{}
	for k, kind := range g.hashes {
		slot := uint32(slotDirectory)
		if k > 0 {
			slot = slotAlternate + uint32(k) - 1
		}
		all = append(all, blob{slot: slot, data: g.directory(kind, special, covered)})
	}
	all = append(append(all, blobs...), g.extra...)
	all = append(all, blob{slot: slotCMS, data: fixtureBlob(magicCMS, g.cms)})
	be := binary.BigEndian
	list, rest := be.AppendUint32(nil, uint32(len(all))), []byte(nil)
	for _, b := range all {
		list = be.AppendUint32(be.AppendUint32(list, b.slot), uint32(12+8*len(all)+len(rest)))
		rest = append(rest, b.data...)
	}
	return fixtureBlob(magicSignature, append(list, rest...))
}

func (g signing) directory(kind uint8, special map[uint32][]byte, content []byte) []byte {
	be, h := binary.BigEndian, hashTypes[kind]
	sum := func(b []byte) []byte {
		d := h.hash.New()
		d.Write(b)
		return d.Sum(nil)[:h.size]
	}
	var hashes []byte
	specials := 0
	for slot := range special {
		specials = max(specials, int(slot))
	}
	for slot := uint32(specials); slot > 0; slot-- {
		hash := make([]byte, h.size)
		if b, ok := special[slot]; ok {
			hash = sum(b)
		}
		if g.specials != nil {
			hash = g.specials(slot, hash)
		}
		hashes = append(hashes, hash...)
	}
	page, pages := len(content), 0
	if g.pageShift > 0 {
		page = 1 << g.pageShift
	}
	for at := 0; at < len(content); at += page {
		hashes = append(hashes, sum(content[at:min(at+page, len(content))])...)
		pages++
	}
	version := g.version
	if version == 0 {
		version = versionExecSeg
	}
	fields := map[uint32]int{0x20001: 44, 0x20100: 48, 0x20200: 52, 0x20300: 64, 0x20400: 88, 0x20500: 96}[version]
	names := append([]byte("fixture"), 0)
	team := 0
	if g.team != "" {
		team = fields + len(names)
		names = append(append(names, g.team...), 0)
	}
	b := make([]byte, fields)
	for k, v := range []uint32{version, g.flags, uint32(fields + len(names) + specials*h.size), uint32(fields), uint32(specials), uint32(pages), uint32(len(content))} {
		be.PutUint32(b[k*4:], v)
	}
	copy(b[28:], []byte{uint8(h.size), kind, g.platform, g.pageShift})
	if g.long {
		be.PutUint32(b[24:], 0)
		be.PutUint64(b[48:], uint64(len(content)))
	}
	if version >= versionTeam {
		be.PutUint32(b[40:], uint32(team))
	}
	if version >= versionRuntime {
		be.PutUint32(b[80:], 13<<16|3<<8)
	}
	return fixtureBlob(magicDirectory, append(append(b[:fields-8], names...), hashes...))
}

// fatFixture joins files at multiples of 16 KiB.
func fatFixture(wide bool, slices ...[]byte) []byte {
	be, le := binary.BigEndian, binary.LittleEndian
	magic := uint32(macho.MagicFat)
	if wide {
		magic = macho.MagicFat64
	}
	head := be.AppendUint32(be.AppendUint32(nil, magic), uint32(len(slices)))
	at, offsets := 0x4000, []int{}
	for _, s := range slices {
		offsets = append(offsets, at)
		head = be.AppendUint32(be.AppendUint32(head, le.Uint32(s[4:])), le.Uint32(s[8:]))
		if wide {
			head = be.AppendUint64(be.AppendUint64(head, uint64(at)), uint64(len(s)))
			head = be.AppendUint64(head, 14<<32)
		} else {
			head = be.AppendUint32(be.AppendUint32(be.AppendUint32(head, uint32(at)), uint32(len(s))), 14)
		}
		at = (at + len(s) + 0x3fff) &^ 0x3fff
	}
	for k, s := range slices {
		head = append(append(head, make([]byte, offsets[k]-len(head))...), s...)
	}
	return head
}
