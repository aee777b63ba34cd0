// Package machotest makes Mach-O files for tests, which alone import it: every kind of file that programs for macOS come as, sound and less so.
// The files are laid out as linkers do, and their content is noise: they are for readers, and no system can run them. The same description
// gives the same bytes. It shares no code with what it tests.
//
// Sources: xnu EXTERNAL_HEADERS/mach-o/{loader,fat,fixup-chains}.h, osfmk/mach/machine.h, osfmk/kern/cs_blobs.h.
package machotest

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
)

// Arch is cputype and cpusubtype, capability bits included.
type Arch struct{ CPU, Subtype uint32 }

// The architectures that occur.
var (
	X86_64    = Arch{0x01000007, 3}
	X86_64h   = Arch{0x01000007, 8}
	ARM64     = Arch{0x0100000c, 0}
	ARM64v8   = Arch{0x0100000c, 1}
	ARM64e    = Arch{0x0100000c, 0x80000002}
	ARM64eV1  = Arch{0x0100000c, 0x81000002} // another version of the ABI of signed pointers
	OldARM64e = Arch{0x0100000c, 2}          // arm64e from before that ABI had versions
	ARM64eX1  = Arch{0x0100000c, 0x8000000c} // arm64e.x1, from macOS 27
)

// File types.
const (
	Object     = 1
	Executable = 2
	Dylib      = 6
	Bundle     = 8
)

// Load commands that name a library.
const (
	LoadDylib       = 0xc
	LoadWeakDylib   = 0x80000018
	ReexportDylib   = 0x8000001f
	LoadUpwardDylib = 0x80000023
)

// Image describes a thin file. The zero value is an unsigned arm64 executable for macOS.
type Image struct {
	Arch  Arch   // ARM64 when zero
	Kind  uint32 // Executable when 0
	Build Build
	// Page is what segments begin at multiples of: 16 KiB when 0, at least 1 KiB.
	Page int
	// Code is the size of __TEXT,__text in bytes: 20,000 when 0.
	Code int
	// Info is what section __TEXT,__info_plist holds; without it there is none.
	Info string
	// ID is the name of a dylib: "@rpath/fixture.dylib" when empty.
	ID        string
	Libraries []Library // libSystem when nil
	Rpaths    []string
	Fixups    *Fixups
	Commands  []Command // more load commands, before LC_CODE_SIGNATURE
	NoUUID    bool
	NoRoom    bool // the first section begins right after the load commands
	Restrict  bool // there is a section __RESTRICT,__restrict
	Encrypted bool // LC_ENCRYPTION_INFO_64 with a cryptid
	Trailing  int  // bytes after __LINKEDIT
	Signature *Signature
}

// Build is LC_BUILD_VERSION. Versions are as Version gives them.
type Build struct {
	Platform   uint32 // 1, macOS, when 0
	MinOS, SDK uint32 // 12.0 and 26.0 when 0
	None       bool   // there is no such command
}

// Version is major.minor as load commands have it.
func Version(major, minor uint32) uint32 { return major<<16 | minor<<8 }

// Library is one that the program links.
type Library struct {
	Path string
	Kind uint32 // LoadDylib when 0
}

// Command is a load command. Body is what follows its size, a multiple of 8 bytes.
type Command struct {
	Kind uint32
	Body []byte
}

// With gives the image another signature.
func (i Image) With(s Signature) Image {
	i.Signature = &s
	return i
}

// Bytes makes the file. With a signature it is made twice more: its length has to be known, and what it covers.
func (i Image) Bytes() []byte {
	i = i.defaults()
	if i.Signature == nil {
		return i.build(nil)
	}
	covered := func(signature []byte) []byte {
		b := i.build(signature)
		return b[:len(b)-i.Trailing-len(signature)]
	}
	size := len(i.Signature.bytes(i, covered([]byte{})))
	return i.build(i.Signature.bytes(i, covered(make([]byte, size))))
}

func (i Image) defaults() Image {
	fill(&i.Arch, ARM64)
	fill(&i.Kind, Executable)
	fill(&i.Page, 0x4000)
	fill(&i.Code, 20_000)
	fill(&i.ID, "@rpath/fixture.dylib")
	fill(&i.Build.Platform, 1)
	fill(&i.Build.MinOS, Version(12, 0))
	fill(&i.Build.SDK, Version(26, 0))
	if i.Libraries == nil {
		i.Libraries = []Library{{Path: "/usr/lib/libSystem.B.dylib"}}
	}
	return i
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

const (
	headerSize = 32
	linkedit   = 1000 // bytes of __LINKEDIT besides fixups and the signature: they pass for the names of symbols
)

// build lays out __TEXT (with the header), __DATA and __LINKEDIT, each from a multiple of a page; an object has one segment without a name. A
// signature that is not nil gets its load command.
func (i Image) build(signature []byte) []byte {
	text := min(0x1000, i.Page)
	c := i.commands(text, signature)
	switch need := headerSize + len(c.bytes); {
	case i.NoRoom:
		text = need
	case need+64 > text:
		text = up(need+64, 0x1000)
	}
	c = i.commands(text, signature)
	le, random := binary.LittleEndian, rand.New(rand.NewPCG(1, 2))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for k := range b {
			b[k] = byte(random.Uint32())
		}
		return b
	}
	var out []byte
	for _, v := range []uint32{0xfeedfacf, i.Arch.CPU, i.Arch.Subtype, i.Kind, c.count, uint32(len(c.bytes)), i.flags(), 0} {
		out = le.AppendUint32(out, v)
	}
	out = append(out, c.bytes...)
	out = append(out, make([]byte, text-len(out))...)
	out = append(append(out, noise(i.Code)...), i.Info...)
	if i.Kind != Object {
		out = append(out, make([]byte, up(len(out), i.Page)-len(out))...)
		data := noise(up(i.data(), i.Page))
		i.Fixups.chain(data, i.base())
		out = append(append(out, data...), c.fixups...)
	}
	out = append(out, noise(linkedit)...)
	if signature != nil {
		out = append(append(out, make([]byte, up(len(out), 16)-len(out))...), signature...)
	}
	return append(out, bytes.Repeat([]byte{'x'}, i.Trailing)...)
}

// flags are MH_NOUNDEFS, MH_DYLDLINK, MH_TWOLEVEL, and MH_PIE for programs.
func (i Image) flags() uint32 {
	switch i.Kind {
	case Object:
		return 0x2000 // MH_SUBSECTIONS_VIA_SYMBOLS
	case Executable:
		return 0x200085
	}
	return 0x85
}

// base is the address of __TEXT.
func (i Image) base() int {
	if i.Kind == Executable {
		return 1 << 32
	}
	return 0
}

// data is the size of __DATA,__data in bytes.
func (i Image) data() int { return max(100, i.Fixups.end()) }

// up gives the next multiple of step.
func up(n, step int) int { return (n + step - 1) / step * step }

// commands are the load commands, and what they refer to in __LINKEDIT.
type commands struct {
	bytes  []byte
	count  uint32
	fixups []byte
}

func (c *commands) add(kind uint32, body []byte) {
	le := binary.LittleEndian
	c.bytes = le.AppendUint32(le.AppendUint32(c.bytes, kind), uint32(8+len(body)))
	c.bytes = append(c.bytes, body...)
	c.count++
}

// words adds a load command of numbers.
func (c *commands) words(kind uint32, words ...int) {
	var body []byte
	for _, w := range words {
		body = binary.LittleEndian.AppendUint32(body, uint32(w))
	}
	c.add(kind, body)
}

// path adds a load command that ends with a string, which some numbers come before.
func (c *commands) path(kind uint32, path string, words ...uint32) {
	body := binary.LittleEndian.AppendUint32(nil, uint32(12+4*len(words)))
	for _, w := range words {
		body = binary.LittleEndian.AppendUint32(body, w)
	}
	body = append(append(body, path...), 0)
	c.add(kind, append(body, make([]byte, up(8+len(body), 8)-8-len(body))...))
}

// part is a segment or a section of one.
type part struct {
	name     string
	at, size int // in the file
	flags    uint32
}

func (c *commands) segment(p part, address, vmsize, protection int, sections ...part) {
	le := binary.LittleEndian
	name := func(s string) []byte { return append([]byte(s), make([]byte, 16-len(s))...) }
	b := name(p.name)
	for _, v := range []int{address, vmsize, p.at, p.size} {
		b = le.AppendUint64(b, uint64(v))
	}
	for _, v := range []int{protection, protection, len(sections), 0} {
		b = le.AppendUint32(b, uint32(v))
	}
	for _, s := range sections {
		owner := p.name
		if owner == "" {
			owner = "__TEXT"
		}
		b = append(append(b, name(s.name)...), name(owner)...)
		b = le.AppendUint64(le.AppendUint64(b, uint64(address+s.at-p.at)), uint64(s.size))
		b = le.AppendUint32(b, uint32(s.at))
		b = append(b, make([]byte, 12)...) // alignment 1, no relocations
		b = append(le.AppendUint32(b, s.flags), make([]byte, 12)...)
	}
	c.add(0x19, b)
}

const code = 0x80000400 // S_REGULAR with S_ATTR_PURE_INSTRUCTIONS and S_ATTR_SOME_INSTRUCTIONS

// commands makes them for a section __text at that place in the file.
func (i Image) commands(text int, signature []byte) *commands {
	c := &commands{}
	sections := []part{{name: "__text", at: text, size: i.Code, flags: code}}
	if i.Info != "" {
		sections = append(sections, part{name: "__info_plist", at: text + i.Code, size: len(i.Info)})
	}
	if i.Kind == Object {
		c.segment(part{at: text, size: i.Code + len(i.Info)}, 0, i.Code+len(i.Info), 7, sections...)
		i.buildVersion(c)
		c.words(0x2, text+i.Code+len(i.Info), 0, text+i.Code+len(i.Info), linkedit)
		for _, more := range i.Commands {
			c.add(more.Kind, more.Body)
		}
		return c
	}
	end, base := up(text+i.Code+len(i.Info), i.Page), i.base()
	if base > 0 {
		c.segment(part{name: "__PAGEZERO"}, 0, base, 0)
	}
	c.segment(part{name: "__TEXT", size: end}, base, end, 5, sections...)
	data := up(i.data(), i.Page)
	c.segment(part{name: "__DATA", at: end, size: data}, base+end, data, 3, part{name: "__data", at: end, size: i.data()})
	last := end + data
	c.fixups = i.Fixups.table(i, end, data)
	if i.Restrict {
		c.segment(part{name: "__RESTRICT"}, base+last, 0, 3, part{name: "__restrict"})
	}
	size := len(c.fixups) + linkedit
	if signature != nil {
		size = up(size, 16) + len(signature)
	}
	c.segment(part{name: "__LINKEDIT", at: last, size: size}, base+last, up(size, i.Page), 1)
	if c.fixups != nil {
		c.words(0x80000034, last, len(c.fixups)) // LC_DYLD_CHAINED_FIXUPS
	}
	names := last + len(c.fixups)
	c.words(0x2, names, 0, names, linkedit) // LC_SYMTAB: no symbols
	c.add(0xb, make([]byte, 72))            // LC_DYSYMTAB
	if i.Kind == Executable {
		c.path(0xe, "/usr/lib/dyld")
	}
	if !i.NoUUID {
		c.add(0x1b, []byte("\x10\x32\x54\x76\x98\xba\x4c\xde\x8f\x01\x23\x45\x67\x89\xab\xcd"))
	}
	i.buildVersion(c)
	if i.Kind == Executable {
		c.words(0x80000028, text, 0, 0, 0) // LC_MAIN
	}
	if i.Encrypted {
		c.words(0x2c, text, up(i.Code, 0x1000), 1, 0)
	}
	if i.Kind == Dylib {
		c.path(0xd, i.ID, 2, 0x10000, 0x10000)
	}
	for _, l := range i.Libraries {
		fill(&l.Kind, LoadDylib)
		c.path(l.Kind, l.Path, 2, 0x10000, 0x10000)
	}
	for _, path := range i.Rpaths {
		c.path(0x8000001c, path)
	}
	for _, more := range i.Commands {
		c.add(more.Kind, more.Body)
	}
	if signature != nil {
		c.words(0x1d, last+size-len(signature), len(signature))
	}
	return c
}

// buildVersion adds LC_BUILD_VERSION, without tools.
func (i Image) buildVersion(c *commands) {
	if !i.Build.None {
		c.words(0x32, int(i.Build.Platform), int(i.Build.MinOS), int(i.Build.SDK), 0)
	}
}
