package judge

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"mirrord/codesign/machotest"
)

// adHoc is a signature as ours are.
var adHoc = machotest.Signature{Flags: machotest.FlagAdHoc}

// A judge counts when it takes what is sound, and finds what it is said to find.
func TestJudges(t *testing.T) {
	sound := machotest.Image{}.With(adHoc)
	at := func(b []byte, text string) int {
		k := bytes.Index(b, []byte(text))
		if k < 0 {
			t.Fatalf("no %q", text)
		}
		return k
	}
	change := func(f func(b []byte)) []byte {
		b := sound.Bytes()
		f(b)
		return b
	}
	directory := func(b []byte) []byte { return b[at(b, "\xfa\xde\x0c\x02"):] }
	add := func(b []byte, n uint64) { binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)+n) }
	broken := []struct {
		name string
		file []byte
		by   string // who finds it
	}{
		{"a page", change(func(b []byte) { b[0x2345] ^= 1 }), "go-macho rcodesign"},
		{"the hash of a page", change(func(b []byte) {
			d := directory(b)
			d[binary.BigEndian.Uint32(d[16:])+5] ^= 1
		}), "go-macho rcodesign"},
		{"a page less", change(func(b []byte) { d := directory(b); binary.BigEndian.PutUint32(d[28:], 12) }), "go-macho rcodesign"},
		{"the hash of the requirements", change(func(b []byte) { b[bytes.LastIndex(b, []byte("fixture"))] ^= 1 }), "rcodesign"},
		{"the size of __LINKEDIT", change(func(b []byte) { add(b[at(b, "__LINKEDIT")+40:], 16) }), "go-macho rcodesign LIEF llvm-objdump"},
		{"__LINKEDIT in memory", change(func(b []byte) {
			binary.LittleEndian.PutUint64(b[at(b, "__LINKEDIT")+24:], 16)
		}), "go-macho rcodesign LIEF llvm-objdump"},
		{"the size of the signature", change(func(b []byte) {
			k := at(b, "\x1d\x00\x00\x00\x10\x00\x00\x00")
			b[k+12] -= 16
		}), "go-macho rcodesign LIEF"},
		{"the order of segments", change(func(b []byte) { add(b[at(b, "__DATA")+16:], 1<<30) }), "go-macho rcodesign LIEF llvm-objdump"},
		{"a load command", change(func(b []byte) { b[32+4] -= 4 }), "go-macho rcodesign LIEF llvm-objdump"},
		{"the number of load commands", change(func(b []byte) { b[16]++ }), "go-macho rcodesign llvm-objdump"},
		{"no library", machotest.Image{Libraries: []machotest.Library{}}.With(adHoc).Bytes(), "LIEF"},
		{"no signature", (machotest.Image{}).Bytes(), "go-macho rcodesign LIEF llvm-objdump"},
	}
	for _, j := range all {
		t.Run(j.name, func(t *testing.T) {
			if missing := j.missing(); missing != "" {
				if required() {
					t.Fatal(missing)
				}
				t.Skip("left out: " + missing)
			}
			for _, i := range []machotest.Image{{}, {Arch: machotest.X86_64, NoRoom: true}, {Arch: machotest.ARM64e, Kind: machotest.Dylib}, {Arch: machotest.X86_64h, Kind: machotest.Bundle, Code: 1}} {
				if faults := j.faults(t, i.With(adHoc).Bytes()); faults != nil {
					t.Errorf("%+v: %q", i, faults)
				}
			}
			for _, tt := range broken {
				faults := j.faults(t, tt.file)
				if want := slices.Contains(strings.Fields(tt.by), j.name); want != (faults != nil) {
					t.Errorf("%s: %q", tt.name, faults)
				}
			}
		})
	}
}

func TestFixups(t *testing.T) {
	pointers := []machotest.Pointer{{At: 8, Symbol: "_open"}, {At: 16, Target: 0x4008}, {At: 24, Symbol: "_close"}}
	fixups := func(arch machotest.Arch, format uint16, pointers ...machotest.Pointer) []byte {
		return machotest.Image{Arch: arch, Fixups: &machotest.Fixups{Format: format, Pointers: pointers}}.With(adHoc).Bytes()
	}
	sound := fixups(machotest.ARM64, machotest.Pointer64Offset, pointers...)
	signed := fixups(machotest.ARM64e, machotest.PointerARM64eUserland24, pointers...)
	for _, tt := range []struct {
		name  string
		other []byte
		by    string // who finds it
	}{
		{"the same", sound, ""},
		{"another symbol", bytes.Replace(slices.Clone(sound), []byte("_open\x00"), []byte("_stat\x00"), 1), "go-macho LIEF llvm-objdump"},
		{"another place", fixups(machotest.ARM64, machotest.Pointer64Offset, pointers[0], machotest.Pointer{At: 16, Target: 0x4010}, pointers[2]), "go-macho llvm-objdump"},
		{"one less", fixups(machotest.ARM64, machotest.Pointer64Offset, pointers[:2]...), "go-macho LIEF llvm-objdump"},
		{"those of arm64e", signed, ""},
	} {
		for _, j := range all {
			if j.fixups == nil || j.missing() != "" {
				continue
			}
			program, _ := j.program()
			a, ok := j.fixups(t, program, written(t, sound))
			b, ok2 := j.fixups(t, program, written(t, tt.other))
			if !ok || !ok2 && j.name != "llvm-objdump" {
				t.Errorf("%s: %s cannot read it", tt.name, j.name)
			}
			if want := slices.Contains(strings.Fields(tt.by), j.name); ok2 && want != !slices.Equal(a, b) {
				t.Errorf("%s: %s sees\n%s\nand\n%s", tt.name, j.name, strings.Join(a, "\n"), strings.Join(b, "\n"))
			}
		}
	}
	directory := sound[bytes.Index(sound, []byte("\xfa\xde\x0c\x02")):]
	sum := sha256.Sum256(directory[:binary.BigEndian.Uint32(directory[4:])])
	Identified(t, sound, Identity{"fixture", "", 2, hex.EncodeToString(sum[:20])})
	Signed(t, machotest.Fat(sound, signed))
	Signed(t, machotest.Fat64(sound, signed))
	SameFixups(t, machotest.Fat(sound, signed), machotest.Fat64(sound, sound))
}
