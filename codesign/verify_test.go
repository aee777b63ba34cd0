package codesign

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/codesign/macho"
	"mirrord/codesign/machotest"
)

// The files that most tests take.
var (
	x86_64 = machotest.Image{Arch: machotest.X86_64}
	arm64  = machotest.Image{}
	arm64e = machotest.Image{Arch: machotest.ARM64e}
)

const plistHead = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">`

func verify(t *testing.T, b []byte) *Report {
	t.Helper()
	r, err := Verify(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sketch is a report in a few words.
func sketch(r *Report) string {
	var lines []string
	for _, s := range r.Slices {
		line := s.Arch + " " + s.Kind
		if s.Unreadable != "" {
			line = s.Arch + " unreadable: " + s.Unreadable
		}
		if s.Signed {
			line += fmt.Sprintf(" %s flags=%s", s.Identifier, strings.Join(s.FlagNames, ","))
		}
		for _, d := range s.Directories {
			line += fmt.Sprintf(" [%s %s %d*%d bad=%v", d.Version, d.Hash, d.Pages, d.PageSize, d.BadPages)
			var specials []string
			for name, state := range d.SpecialSlots {
				specials = append(specials, " "+name+"="+state)
			}
			slices.Sort(specials)
			line += strings.Join(specials, "") + "]"
		}
		for _, f := range s.Faults {
			line += "; " + f.Problem
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestVerify(t *testing.T) {
	allowed := map[string]any{"com.apple.security.cs.allow-dyld-environment-variables": false, "n": int64(-5), "list": []any{"a", true}, "d": map[string]any{}}
	xml := plistHead + `<dict><key>com.apple.security.cs.allow-dyld-environment-variables</key><false/> <key>n</key><integer>-5</integer>
		<key>list</key><array><string>a</string><true/></array><key>d</key><dict/></dict></plist>`
	for _, tt := range []struct {
		name string
		file []byte
		want string
	}{
		{"unsigned", x86_64.Bytes(), "x86_64 executable"},
		{"ad hoc", arm64.With(machotest.Signature{Flags: 0x20002}).Bytes(),
			"arm64 executable fixture flags=adhoc,linker-signed [0x20400 SHA-256 13*4096 bad=[] requirements=right]"},
		{"both hashes of old", x86_64.With(machotest.Signature{Version: 0x20200, Hashes: []uint8{1, 2}}).Bytes(),
			"x86_64 executable fixture flags= [0x20200 SHA-1 13*4096 bad=[] requirements=right] [0x20200 SHA-256 13*4096 bad=[] requirements=right]"},
		{"the other hashes", x86_64.With(machotest.Signature{Version: 0x20001, Hashes: []uint8{3, 4}}).Bytes(),
			"x86_64 executable fixture flags= [0x20001 SHA-256/20 13*4096 bad=[] requirements=right] [0x20001 SHA-384 13*4096 bad=[] requirements=right]"},
		{"pages of 16 KiB", arm64e.With(machotest.Signature{Version: 0x20500, PageShift: 14, Flags: 0x10000}).Bytes(),
			"arm64e executable fixture flags=runtime [0x20500 SHA-256 4*16384 bad=[] requirements=right]"},
		{"a limit of 64 bits", arm64.With(machotest.Signature{Limit64: true}).Bytes(),
			"arm64 executable fixture flags= [0x20400 SHA-256 13*4096 bad=[] requirements=right]"},
		{"one hash for all", arm64.With(machotest.Signature{Version: 0x20100, NoPages: true}).Bytes(),
			"arm64 executable fixture flags= [0x20100 SHA-256 1*0 bad=[] requirements=right]"},
		{"all special slots", (machotest.Image{Kind: machotest.Dylib, Info: "<plist/>"}).With(machotest.Signature{
			Entitlements: xml, DER: machotest.DER(allowed), Constraints: map[uint32][]byte{machotest.SlotSelf: machotest.DER(map[string]any{"ccat": int64(0)})},
		}).Bytes(),
			"arm64 dylib fixture flags= [0x20400 SHA-256 13*4096 bad=[] DER entitlements=right Info.plist=right entitlements=right requirements=right self constraint=right]"},
		{"fat", machotest.Fat(x86_64.Bytes(), arm64e.With(machotest.Signature{}).Bytes()),
			"x86_64 executable\narm64e executable fixture flags= [0x20400 SHA-256 13*4096 bad=[] requirements=right]"},
		{"fat64", machotest.Fat64((machotest.Image{Arch: machotest.X86_64h, Kind: machotest.Bundle}).With(machotest.Signature{}).Bytes(), (machotest.Image{Arch: machotest.ARM64eX1}).Bytes()),
			"x86_64h bundle fixture flags= [0x20400 SHA-256 13*4096 bad=[] requirements=right]\narm64e.x1 executable"},
	} {
		r := verify(t, tt.file)
		if diff := cmp.Diff(tt.want, sketch(r)); diff != "" || !r.Valid() {
			t.Errorf("%s: valid %v (-want +got):\n%s", tt.name, r.Valid(), diff)
		}
		// What Inspect leaves out is only whether pages are right.
		f, err := macho.Read(bytes.NewReader(tt.file), int64(len(tt.file)))
		if err != nil {
			t.Fatal(err)
		}
		inspected, err := Inspect(f)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, inspected); diff != "" {
			t.Errorf("%s: Inspect says something else (-Verify +Inspect):\n%s", tt.name, diff)
		}
	}

	s := verify(t, arm64.With(machotest.Signature{Version: 0x20500, Hashes: []uint8{1, 2}, Flags: 0x10000, Platform: 16, Team: "TEAM123456", Entitlements: xml, DER: machotest.DER(allowed),
		Constraints: map[uint32][]byte{machotest.SlotSelf: machotest.DER(map[string]any{"ccat": int64(2)})}, CMS: []byte("cms")}).Bytes()).Slices[0]
	if diff := cmp.Diff(allowed, s.Entitlements); diff != "" {
		t.Error(diff)
	}
	if s.Team != "TEAM123456" || s.Platform != 16 || s.Runtime != "13.3.0" || s.CMS != 3 || s.Constraints["self"]["ccat"] != int64(2) || len(s.CDHash) != 40 ||
		!slices.Equal(s.Requirements, []string{"designated"}) || !slices.Equal(s.EntitlementsIn, []string{"XML", "DER"}) || *s.Directories[0].ExecSegment != (ExecSegment{Limit: 0x8000, Flags: 1}) {
		t.Errorf("%+v", s)
	}
}

// pageHash gives the hash of a page in the nth CodeDirectory.
func pageHash(signature []byte, nth, page int) []byte {
	for ; ; nth-- {
		signature = signature[bytes.Index(signature, []byte{0xfa, 0xde, 0x0c, 0x02}):]
		if nth == 0 {
			return signature[int(binary.BigEndian.Uint32(signature[16:]))+page*int(signature[36]):]
		}
		signature = signature[4:]
	}
}

// The kernel knows a program by the strongest hash, wherever that stands.
func TestCDHash(t *testing.T) {
	hash := func(kinds ...uint8) string {
		return verify(t, arm64.With(machotest.Signature{Hashes: kinds}).Bytes()).Slices[0].CDHash
	}
	for _, kinds := range [][2]uint8{{1, 2}, {2, 3}, {2, 4}} {
		if a, b := hash(kinds[0], kinds[1]), hash(kinds[1], kinds[0]); a != b {
			t.Errorf("hash types %v: %s, and in the other order %s", kinds, a, b)
		}
	}
}

func TestVerifyFindsFaults(t *testing.T) {
	sound := machotest.Signature{}
	entitled := sound
	entitled.Entitlements = plistHead + `<dict><key>a</key><true/></dict></plist>`
	// at gives the signature's place in a thin file.
	at := func(b []byte) int {
		f, err := macho.Read(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		return int(f.Slices[0].Signature.Offset)
	}
	change := func(i machotest.Image, f func(b, signature []byte)) []byte {
		b := i.Bytes()
		f(b, b[at(b):])
		return b
	}
	for _, tt := range []struct {
		name string
		file []byte
		want string // all faults
	}{
		{"three pages", change(arm64.With(sound), func(b, _ []byte) { b[0x1234] ^= 1; b[0x2000] ^= 1; b[0x6fff] ^= 0x80 }),
			"byte 4096: 3 of 13 pages of the CodeDirectory (SHA-256) have another hash: 1-2, 6"},
		{"the last page", change(arm64.With(sound), func(b, signature []byte) { b[len(b)-len(signature)-1] ^= 1 }),
			"byte 49152: 1 of 13 pages of the CodeDirectory (SHA-256) have another hash: 12"},
		{"a page hash", change(arm64.With(machotest.Signature{Hashes: []uint8{4}, NoPages: true}), func(_, signature []byte) { pageHash(signature, 0, 0)[47] ^= 1 }),
			"byte 0: 1 of 1 pages of the CodeDirectory (SHA-384) have another hash: 0"},
		{"one of two directories", change(arm64.With(machotest.Signature{Hashes: []uint8{1, 2}, PageShift: 14}), func(_, signature []byte) { pageHash(signature, 1, 3)[0] ^= 1 }),
			"byte 49152: 1 of 4 pages of the alternate CodeDirectory 1 (SHA-256) have another hash: 3"},
		{"entitlements", change(arm64.With(entitled), func(_, signature []byte) {
			copy(signature[bytes.Index(signature, []byte("<key>a")):], "<key>b")
		}), "byte 50924: the CodeDirectory (SHA-256) has another hash for the entitlements"},
		{"an uncovered blob", arm64.With(machotest.Signature{Entitlements: entitled.Entitlements, Special: func(slot uint32, hash []byte) []byte {
			if slot == slotEntitlements {
				return make([]byte, len(hash))
			}
			return hash
		}}).Bytes(), "byte 50924: the CodeDirectory (SHA-256) has no hash for the entitlements"},
		{"a missing blob", arm64.With(machotest.Signature{Constraints: map[uint32][]byte{machotest.SlotSelf: machotest.DER(nil)}, Special: func(slot uint32, hash []byte) []byte {
			return bytes.Repeat([]byte{1}, len(hash)) // of slots 1 to 8
		}}).Bytes(), "byte 50972: the CodeDirectory (SHA-256) has another hash for the requirements; byte 50204: the CodeDirectory (SHA-256) has a hash for the entitlements, which is not there; " +
			"byte 50204: the CodeDirectory (SHA-256) has a hash for the DER entitlements, which is not there; byte 51020: the CodeDirectory (SHA-256) has another hash for the self constraint"},
		{"entitlements that disagree", arm64.With(machotest.Signature{Entitlements: entitled.Entitlements, DER: machotest.DER(map[string]any{"a": false})}).Bytes(),
			"the entitlements in DER are not those in XML"},
		{"two of one kind", arm64.With(machotest.Signature{Hashes: []uint8{2, 2}}).Bytes(), "the alternate CodeDirectory 1 is a second one with SHA-256: the kernel refuses it"},
		{"no directory", arm64.With(machotest.Signature{Hashes: []uint8{}}).Bytes(), "the signature has no CodeDirectory that can be read"},
		{"a slot twice", arm64.With(machotest.Signature{Extra: []machotest.Blob{machotest.Requirements()}}).Bytes(), "there is a second blob for slot 0x2"},
		{"code limit", change(arm64.With(sound), func(_, signature []byte) {
			d := signature[bytes.Index(signature, []byte{0xfa, 0xde, 0x0c, 0x02}):]
			binary.BigEndian.PutUint32(d[32:], binary.BigEndian.Uint32(d[32:])-4096)
		}), "covers 46064 bytes, and the signature begins at byte 50160; byte 50196: the CodeDirectory (SHA-256) has 13 pages where 46064 bytes have 12; byte 45056: 1 of 13 pages"},
		{"code beyond", change(arm64.With(sound), func(_, signature []byte) {
			d := signature[bytes.Index(signature, []byte{0xfa, 0xde, 0x0c, 0x02}):]
			binary.BigEndian.PutUint32(d[32:], 1<<31)
		}), "covers 2147483648 bytes"},
		{"magic", change(arm64.With(sound), func(_, signature []byte) { signature[3] = 0xc1 }), "the signature begins with 0xfade0cc1, not with 0xfade0cc0"},
		{"length", change(arm64.With(sound), func(_, signature []byte) { signature[4] = 1 }), "the signature has 16777"},
		{"count", change(arm64.With(sound), func(_, signature []byte) { signature[8] = 1 }), "a list of 16777219 blobs"},
		{"offset", change(arm64.With(sound), func(_, signature []byte) { signature[16] = 1 }), "the blob begins at byte 16777252 of"},
		{"magic of a blob", change(arm64.With(sound), func(_, signature []byte) {
			signature[bytes.Index(signature, []byte{0xfa, 0xde, 0x0c, 0x01})+3] = 9
		}), "requirements: magic 0xfade0c09, not 0xfade0c01"},
		{"hash type", change(arm64.With(sound), func(_, signature []byte) {
			signature[bytes.Index(signature, []byte{0xfa, 0xde, 0x0c, 0x02})+37] = 1
		}), "the CodeDirectory: hash type 1 with 32 bytes is not known"},
		{"after the signature", (machotest.Image{Trailing: 5}).With(sound).Bytes(), "5 bytes after the signature are covered by no hash"},
		{"place", change(arm64.With(sound), func(b, _ []byte) { b[bytes.Index(b, []byte("__LINKEDIT"))] = '-' }), "the signature is not at the end of segment __LINKEDIT"},
		{"fat header", func() []byte { b := machotest.Fat(x86_64.Bytes(), arm64.Bytes()); b[8+3] = 5; return b }(), "the fat header calls it cpu 0x1000005/0x3, the slice says x86_64: the kernel refuses it"},
	} {
		r := verify(t, tt.file)
		var got []string
		for _, s := range r.Slices {
			for _, f := range s.Faults {
				got = append(got, f.String())
			}
		}
		if all := strings.Join(got, "; "); !strings.Contains(all, tt.want) || r.Valid() {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, all, tt.want)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	thin := arm64.Bytes()
	cut := func(n int) []byte { return thin[:n] }
	overlapping := machotest.Fat(x86_64.Bytes(), arm64.Bytes())
	copy(overlapping[8+20+8:], overlapping[8+8:8+12])
	for _, tt := range []struct {
		name string
		file []byte
		want string
	}{
		{"nothing", nil, "not a Mach-O file"},
		{"text", []byte("#!/bin/sh\n"), "not a Mach-O file"},
		{"Java", []byte("\xca\xfe\xba\xbe\x00\x00\x00\x41 and a class"), "not a Mach-O file"},
		{"header", cut(20), "malformed at byte 0: the header is cut off"},
		{"commands", cut(200), "malformed at byte 20: "},
		{"no slices", []byte("\xca\xfe\xba\xbe\x00\x00\x00\x00"), "malformed at byte 4: a fat file without slices"},
		{"list of slices", []byte("\xca\xfe\xba\xbe\x00\x00\x00\x02"), "malformed at byte 8: the list of slices is cut off"},
		{"slices of text", machotest.Fat([]byte("#!/bin/sh and more"), []byte("something else")), "none of 2 slices can be read; the first: not a Mach-O file"},
	} {
		_, err := Verify(bytes.NewReader(tt.file), int64(len(tt.file)))
		var format *macho.FormatError
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) || !errors.Is(err, macho.ErrNotMachO) && !errors.As(err, &format) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if got := sketch(verify(t, overlapping)); !strings.Contains(got, "arm64 unreadable: malformed at byte 16384: slice 1 overlaps slice 0") {
		t.Error(got)
	}
	steep := machotest.Fat(x86_64.Bytes(), arm64.Bytes())
	steep[8+20+19] = 16
	if got := sketch(verify(t, steep)); !strings.Contains(got, "arm64 unreadable: malformed at byte 28: slice 1 is to be aligned to 2^16 bytes") {
		t.Error(got)
	}
	// An error of the file itself is not a fault of its signature.
	signed := arm64.With(machotest.Signature{}).Bytes()
	if _, err := Verify(&failing{bytes.NewReader(signed), 0x3000}, int64(len(signed))); !errors.Is(err, errBroken) {
		t.Error(err)
	}
}

var errBroken = errors.New("broken disk")

// failing cannot read what is around an offset.
type failing struct {
	io.ReaderAt
	at int64
}

func (f *failing) ReadAt(b []byte, off int64) (int, error) {
	if off <= f.at && f.at < off+int64(len(b)) {
		return 0, errBroken
	}
	return f.ReaderAt.ReadAt(b, off)
}

func TestEntitlements(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`<plist><dict><key>a</key><real>1.5</real><key>b</key><data> aGk= </data><key>c</key><integer>0x10</integer></dict></plist>`, "map[a:1.5 b:[104 105] c:16] <nil>"},
		{`<dict/>`, "map[] <nil>"},
		{`<dict><key>a</key><real>nan</real></dict>`, `map[] has "nan" for a number`},
		{`<plist><array/></plist>`, "map[] is not a property list with a dictionary"},
		{`<plist><dict><key>a</key></dict></plist>`, `map[] has no value for "a"`},
		{`<plist><dict><true/></dict></plist>`, `map[] has "true" where a key should be`},
		{`<plist><dict><key>a</key><true/><key>a</key><false/></dict></plist>`, `map[] has "a" twice`},
		{`<plist><dict><key>a</key><true/>`, `map[] XML syntax error on line 1: unexpected EOF`},
		{`<plist><dict>` + strings.Repeat("<key>a</key><dict>", 40), "map[] is nested more than 32 deep"},
		{``, "map[] unexpected EOF"},
	} {
		v, err := parsePlist([]byte(tt.in))
		if got := fmt.Sprint(v, " ", err); got != tt.want {
			t.Errorf("%.80s: %s", tt.in, got)
		}
	}
	deep := map[string]any{}
	for range 40 {
		deep = map[string]any{"a": deep}
	}
	for _, tt := range []struct {
		in   []byte
		want string
	}{
		{machotest.DER(map[string]any{"a": int64(-1), "b": strings.Repeat("x", 300)})[:20], "map[] has "},
		{[]byte{derSet, 8, derSequence, 6, derString, 1, 'a', derBool, 1, 1}, "map[a:true] <nil>"}, // before macOS 12
		{[]byte{derDictionary, 8, derSequence, 6, derString, 1, 'a', derOctets, 1, 1}, "map[a:[1]] <nil>"},
		{[]byte{derDictionary, 8, derSequence, 6, derString, 1, 'a', 0x13, 1, 1}, "map[] has a value of tag 0x13"},
		{[]byte{derDictionary, 0, 0}, "map[] has 1 bytes after its end"},
		{[]byte{derDictionary, 0x84, 0xff, 0xff, 0xff, 0xff}, "map[] has 4294967295 bytes of tag 0xb0 where 0 are left"},
		{[]byte{derDictionary, 0x80}, "map[] has a length of 0 bytes"},
		{machotest.DER(deep), "map[] is nested more than 32 deep"},
	} {
		v, err := parseDER(tt.in)
		if got := fmt.Sprint(v, " ", err); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%.80q: %s", tt.in, got)
		}
	}
}
