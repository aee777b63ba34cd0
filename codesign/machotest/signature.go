package machotest

import (
	"crypto"
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Hash types of CodeDirectories.
const (
	SHA1      = 1
	SHA256    = 2
	SHA256_20 = 3 // the first 20 bytes of SHA-256
	SHA384    = 4
)

// Flags of CodeDirectories.
const (
	FlagAdHoc             = 0x2
	FlagRestrict          = 0x800
	FlagLibraryValidation = 0x2000
	FlagRuntime           = 0x10000 // hardened
	FlagLinkerSigned      = 0x20000
)

// Slots of signatures: SlotSelf and the three that follow hold launch constraints.
const (
	SlotInfo            = 1
	SlotRequirements    = 2
	SlotEntitlements    = 5
	SlotDEREntitlements = 7
	SlotSelf            = 8
	slotAlternate       = 0x1000
	slotCMS             = 0x10000
)

// Signature describes a signature. The zero value has one CodeDirectory with SHA-256 over pages of 4 KiB, without flags, and requirements.
type Signature struct {
	Identifier   string // "fixture" when empty
	Team         string
	Flags        uint32
	Platform     uint8             // not 0 for what comes with the system
	Version      uint32            // of the CodeDirectories, 0x20400 when 0
	Hashes       []uint8           // hash types, one CodeDirectory each; SHA256 when nil
	PageShift    uint8             // log2 of the bytes of a page; 12 when 0
	NoPages      bool              // one hash for all
	Limit64      bool              // the limit is in codeLimit64
	Bare         bool              // nothing but CodeDirectories, as linkers write it
	Entitlements string            // XML
	DER          []byte            // the entitlements once more
	Constraints  map[uint32][]byte // launch constraints in DER, by slot
	CMS          []byte            // certificates
	Extra        []Blob
	// Special gives the hash of a special slot in place of the right one.
	Special func(slot uint32, hash []byte) []byte
}

// LinkerSigned is what linkers write.
var LinkerSigned = Signature{Flags: FlagAdHoc | FlagLinkerSigned, Bare: true}

// Blob is one of a signature, with magic and length.
type Blob struct {
	Slot uint32
	Data []byte
}

// NewBlob adds magic and length to a payload.
func NewBlob(slot, magic uint32, payload []byte) Blob {
	b := binary.BigEndian.AppendUint32(nil, magic)
	return Blob{slot, append(binary.BigEndian.AppendUint32(b, uint32(8+len(payload))), payload...)}
}

// Requirements has one designated requirement: identifier "fixture".
func Requirements() Blob {
	be := binary.BigEndian
	expression := append(be.AppendUint32(be.AppendUint32(be.AppendUint32(nil, 1), 2), 7), "fixture\x00"...)
	one := NewBlob(0, 0xfade0c00, expression).Data
	return NewBlob(SlotRequirements, 0xfade0c01, append(be.AppendUint32(be.AppendUint32(be.AppendUint32(nil, 1), 3), 20), one...))
}

func (g Signature) bytes(i Image, covered []byte) []byte {
	fill(&g.Identifier, "fixture")
	fill(&g.Version, 0x20400)
	fill(&g.PageShift, 12)
	if g.Hashes == nil {
		g.Hashes = []uint8{SHA256}
	}
	var blobs []Blob
	if !g.Bare {
		blobs = append(blobs, Requirements())
	}
	if g.Entitlements != "" {
		blobs = append(blobs, NewBlob(SlotEntitlements, 0xfade7171, []byte(g.Entitlements)))
	}
	if g.DER != nil {
		blobs = append(blobs, NewBlob(SlotDEREntitlements, 0xfade7172, g.DER))
	}
	for _, slot := range slices.Sorted(maps.Keys(g.Constraints)) {
		blobs = append(blobs, NewBlob(slot, 0xfade8181, g.Constraints[slot]))
	}
	special := map[uint32][]byte{}
	for _, b := range blobs {
		special[b.Slot] = b.Data
	}
	if i.Info != "" {
		special[SlotInfo] = []byte(i.Info)
	}
	var all []Blob
	for k, kind := range g.Hashes {
		slot := uint32(0)
		if k > 0 {
			slot = slotAlternate + uint32(k) - 1
		}
		all = append(all, Blob{slot, g.directory(i, kind, special, covered)})
	}
	all = append(append(all, blobs...), g.Extra...)
	if !g.Bare {
		all = append(all, NewBlob(slotCMS, 0xfade0b01, g.CMS))
	}
	be := binary.BigEndian
	list, rest := be.AppendUint32(nil, uint32(len(all))), []byte(nil)
	for _, b := range all {
		list = be.AppendUint32(be.AppendUint32(list, b.Slot), uint32(12+8*len(all)+len(rest)))
		rest = append(rest, b.Data...)
	}
	return NewBlob(0, 0xfade0cc0, append(list, rest...)).Data
}

func (g Signature) directory(i Image, kind uint8, special map[uint32][]byte, content []byte) []byte {
	be := binary.BigEndian
	hash := map[uint8]crypto.Hash{SHA1: crypto.SHA1, SHA256: crypto.SHA256, SHA256_20: crypto.SHA256, SHA384: crypto.SHA384}[kind]
	size := hash.Size()
	if kind == SHA256_20 {
		size = 20
	}
	sum := func(b []byte) []byte {
		d := hash.New()
		d.Write(b)
		return d.Sum(nil)[:size]
	}
	specials := 0
	for slot := range special {
		specials = max(specials, int(slot))
	}
	var hashes []byte
	for slot := uint32(specials); slot > 0; slot-- {
		h := make([]byte, size)
		if b, ok := special[slot]; ok {
			h = sum(b)
		}
		if g.Special != nil {
			h = g.Special(slot, h)
		}
		hashes = append(hashes, h...)
	}
	page, pages := 1<<g.PageShift, 0
	if g.NoPages {
		page, g.PageShift = len(content), 0
	}
	for at := 0; at < len(content); at += page {
		hashes = append(hashes, sum(content[at:min(at+page, len(content))])...)
		pages++
	}
	fixed := map[uint32]int{0x20001: 44, 0x20100: 48, 0x20200: 52, 0x20300: 64, 0x20400: 88, 0x20500: 96}[g.Version]
	names := append([]byte(g.Identifier), 0)
	team := 0
	if g.Team != "" {
		team = fixed + len(names)
		names = append(append(names, g.Team...), 0)
	}
	b := make([]byte, fixed-8) // without magic and length
	for k, v := range []uint32{g.Version, g.Flags, uint32(fixed + len(names) + specials*size), uint32(fixed), uint32(specials), uint32(pages), uint32(len(content))} {
		be.PutUint32(b[k*4:], v)
	}
	copy(b[28:], []byte{uint8(size), kind, g.Platform, g.PageShift})
	if g.Version >= 0x20200 {
		be.PutUint32(b[40:], uint32(team))
	}
	if g.Limit64 {
		be.PutUint32(b[24:], 0)
		be.PutUint64(b[48:], uint64(len(content)))
	}
	if g.Version >= 0x20400 {
		be.PutUint64(b[64:], uint64(i.textSize(content)))
		if i.Kind == Executable {
			be.PutUint64(b[72:], 1)
		}
	}
	if g.Version >= 0x20500 {
		be.PutUint32(b[80:], Version(13, 3))
	}
	return NewBlob(0, 0xfade0c02, append(append(b, names...), hashes...)).Data
}

// textSize is the size of segment __TEXT, by its load command.
func (i Image) textSize(b []byte) uint64 {
	at := headerSize
	if i.Kind == Executable {
		at += 72 // __PAGEZERO
	}
	return binary.LittleEndian.Uint64(b[at+48:])
}

// XML is a property list with these values: bool, string, int64, []any and map[string]any.
func XML(values map[string]any) string {
	return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">` + element(values) + "</plist>\n"
}

func element(v any) string {
	switch v := v.(type) {
	case bool:
		return fmt.Sprintf("<%t/>", v)
	case string:
		return "<string>" + v + "</string>"
	case int64:
		return fmt.Sprintf("<integer>%d</integer>", v)
	case []any:
		var b strings.Builder
		for _, each := range v {
			b.WriteString(element(each))
		}
		return "<array>" + b.String() + "</array>"
	case map[string]any:
		var b strings.Builder
		for _, k := range slices.Sorted(maps.Keys(v)) {
			b.WriteString("<key>" + k + "</key>" + element(v[k]))
		}
		return "<dict>" + b.String() + "</dict>"
	}
	panic(fmt.Sprintf("machotest: no XML for %T", v))
}

// DER is such values as libCoreEntitlements writes them, at most 64 KiB: entitlements, and launch constraints.
func DER(values map[string]any) []byte {
	return tagged(0x70, append([]byte{2, 1, 1}, derValue(values)...)) // with the version
}

func tagged(tag byte, b []byte) []byte {
	if len(b) < 0x80 {
		return append([]byte{tag, byte(len(b))}, b...)
	}
	return append([]byte{tag, 0x82, byte(len(b) >> 8), byte(len(b))}, b...)
}

func derValue(v any) []byte {
	switch v := v.(type) {
	case bool:
		if v {
			return []byte{1, 1, 0xff}
		}
		return []byte{1, 1, 0}
	case string:
		return tagged(0xc, []byte(v))
	case int64:
		return tagged(2, binary.BigEndian.AppendUint64(nil, uint64(v)))
	case []any:
		var b []byte
		for _, each := range v {
			b = append(b, derValue(each)...)
		}
		return tagged(0x30, b)
	case map[string]any:
		var b []byte
		for _, k := range slices.Sorted(maps.Keys(v)) {
			b = append(b, tagged(0x30, append(derValue(k), derValue(v[k])...))...)
		}
		return tagged(0xb0, b)
	}
	panic(fmt.Sprintf("machotest: no DER for %T", v))
}
