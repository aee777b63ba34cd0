package machotest

import (
	"encoding/binary"
	"slices"
)

// Pointer formats of chained fixups, fixup-chains.h.
const (
	PointerARM64e           = 1
	Pointer64               = 2
	Pointer64Offset         = 6
	PointerARM64eUserland   = 9
	PointerARM64eUserland24 = 12
)

// Fixups are chained fixups of __DATA,__data.
type Fixups struct {
	Format   uint16 // of all pointers
	Pointers []Pointer
}

// Pointer is one place that dyld has to fill in. Auth and what follows it is for the formats of arm64e.
type Pointer struct {
	At      int    // bytes from the beginning of __data, a multiple of 8
	Symbol  string // of the first library; when it is empty Target counts
	Target  uint64 // bytes from the beginning of the image
	High    uint8  // the uppermost byte of a rebased pointer
	Addend  uint32 // of a bound pointer, at most 255
	Auth    bool
	Key     uint8 // 0 to 3: IA, IB, DA, DB
	Address bool  // the pointer's own address goes into its signature
	Salt    uint16
}

func (f *Fixups) arm64e() bool {
	return f.Format == PointerARM64e || f.Format == PointerARM64eUserland || f.Format == PointerARM64eUserland24
}

// end is the size of what the pointers need, 0 without any.
func (f *Fixups) end() int {
	end := 0
	if f != nil {
		for _, p := range f.Pointers {
			end = max(end, p.At+8)
		}
	}
	return end
}

// symbols gives the names of all bound pointers, once each.
func (f *Fixups) symbols() (names []string) {
	for _, p := range f.Pointers {
		if p.Symbol != "" && !slices.Contains(names, p.Symbol) {
			names = append(names, p.Symbol)
		}
	}
	return names
}

// chain writes the pointers into the content of __DATA, each with the distance to the next on its page.
func (f *Fixups) chain(data []byte, base int) {
	if f == nil {
		return
	}
	sorted := slices.SortedFunc(slices.Values(f.Pointers), func(a, b Pointer) int { return a.At - b.At })
	names := f.symbols()
	for k, p := range sorted {
		next := 0
		if k+1 < len(sorted) && p.At/chainPage == sorted[k+1].At/chainPage {
			next = sorted[k+1].At - p.At
		}
		binary.LittleEndian.PutUint64(data[p.At:], f.encode(p, uint64(slices.Index(names, p.Symbol)), uint64(next), uint64(base)))
	}
}

const chainPage = 0x1000 // in which chains lie; segments begin at multiples of it

func (f *Fixups) encode(p Pointer, ordinal, next, base uint64) uint64 {
	target := p.Target
	if f.Format == PointerARM64e || f.Format == Pointer64 {
		target += base
	}
	bind := p.Symbol != ""
	if !f.arm64e() {
		if bind {
			return ordinal | uint64(p.Addend)<<24 | next/4<<51 | 1<<63
		}
		return target | uint64(p.High)<<36 | next/4<<51
	}
	v := next / 8 << 51
	if bind {
		v |= ordinal | 1<<62
	}
	switch {
	case p.Auth:
		v |= uint64(p.Salt)<<32 | uint64(p.Key)<<49 | 1<<63
		if p.Address {
			v |= 1 << 48
		}
		if !bind {
			v |= p.Target
		}
	case bind:
		v |= uint64(p.Addend) << 32
	default:
		v |= target | uint64(p.High)<<43
	}
	return v
}

// table is what LC_DYLD_CHAINED_FIXUPS refers to: where chains begin, and what is bound. at is where __DATA is in the file, and from the
// image's base in memory.
func (f *Fixups) table(i Image, at, size int) []byte {
	if f == nil {
		return nil
	}
	segments := 3 // __TEXT, __DATA, __LINKEDIT
	data := 1
	if i.Kind == Executable {
		segments, data = segments+1, data+1
	}
	if i.Restrict {
		segments++
	}
	const head = 28
	starts := up(head, 8)
	info := up(4+4*segments, 8) // of __DATA, from starts
	pages := up(size, chainPage) / chainPage
	imports := up(starts+info+22+2*pages, 4)
	names := f.symbols()
	symbols := imports + 4*len(names)

	le := binary.LittleEndian
	b := make([]byte, symbols)
	for k, v := range []int{0, starts, imports, symbols, len(names), 1, 0} {
		le.PutUint32(b[4*k:], uint32(v))
	}
	le.PutUint32(b[starts:], uint32(segments))
	le.PutUint32(b[starts+4+4*data:], uint32(info))
	s := b[starts+info:]
	le.PutUint32(s, uint32(22+2*pages))
	le.PutUint16(s[4:], chainPage)
	le.PutUint16(s[6:], f.Format)
	le.PutUint64(s[8:], uint64(at))
	le.PutUint16(s[20:], uint16(pages))
	for page := range pages {
		first := 0xffff // DYLD_CHAINED_PTR_START_NONE
		for _, p := range f.Pointers {
			if p.At/chainPage == page {
				first = min(first, p.At%chainPage)
			}
		}
		le.PutUint16(s[22+2*page:], uint16(first))
	}
	b = append(b, 0) // the name at 0 is empty
	for k, name := range names {
		le.PutUint32(b[imports+4*k:], 1|uint32(len(b)-symbols)<<9)
		b = append(append(b, name...), 0)
	}
	return append(b, make([]byte, up(len(b), 8)-len(b))...)
}
