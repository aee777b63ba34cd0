package codesign

import (
	"bytes"
	"testing"

	"mirrord/codesign/machotest"
)

// FuzzVerify: any bytes give a report or an error, and what can be signed is valid afterwards.
func FuzzVerify(f *testing.F) {
	full := machotest.Signature{Hashes: []uint8{1, 2}, PageShift: 14, Team: "T", Entitlements: plistHead + "<dict><key>a</key><true/></dict></plist>",
		DER: machotest.DER(map[string]any{"a": true}), Constraints: map[uint32][]byte{machotest.SlotSelf: machotest.DER(map[string]any{"ccat": int64(1)})}, CMS: []byte("cms")}
	small := arm64
	small.Code, small.Page = 100, 1<<10 // the smaller, the faster
	seeds := [][]byte{
		small.Bytes(), small.With(full).Bytes(),
		(machotest.Image{Arch: machotest.X86_64, Kind: machotest.Dylib, Code: 100, Page: 1 << 10, Info: "<plist/>"}).With(machotest.Signature{Hashes: []uint8{3, 4}, NoPages: true}).Bytes(),
		append([]byte{0xce, 0xfa, 0xed, 0xfe, 7, 0, 0, 0, 3, 0, 0, 0, 2}, make([]byte, 100)...), []byte("\xca\xfe\xba\xbe\x00\x00\x00\x41"),
	}
	for _, i := range []machotest.Image{{Kind: machotest.Object}, {NoRoom: true}, {Restrict: true, Encrypted: true}, {Trailing: 9}} {
		i.Code, i.Page = small.Code, small.Page
		seeds = append(seeds, i.Bytes(), i.With(machotest.LinkerSigned).Bytes())
	}
	seeds = append(seeds, machotest.Fat(seeds[0], seeds[1]), machotest.Fat64(seeds[1], seeds[2]))
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Verify(bytes.NewReader(b), int64(len(b)))
		if (r == nil) != (err != nil) || err == nil && len(r.Slices) == 0 {
			t.Fatalf("%+v %v", r, err)
		}
		if out, err := sign(b); err == nil {
			if r := verify(t, out); !r.Valid() {
				t.Fatalf("the signed copy is not valid: %s", sketch(r))
			}
		}
	})
}

// FuzzEntitlements: any bytes are values or an error.
func FuzzEntitlements(f *testing.F) {
	f.Add([]byte(plistHead + "<dict><key>a</key><true/><key>b</key><array><integer>1</integer><data>aGk=</data></array></dict></plist>"))
	f.Add(machotest.DER(map[string]any{"a": true, "b": []any{int64(1), "x"}, "c": map[string]any{"d": false}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (map[string]any, error){parsePlist, parseDER} {
			if v, err := parse(b); (v == nil) != (err != nil) {
				t.Fatalf("%v %v", v, err)
			}
		}
	})
}
