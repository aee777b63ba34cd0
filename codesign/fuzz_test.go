package codesign

import (
	"bytes"
	"testing"

	"mirrord/codesign/macho"
)

// FuzzVerify: any bytes give a report or an error, and what can be signed is valid afterwards.
func FuzzVerify(f *testing.F) {
	full := signing{hashes: []uint8{1, 2}, pageShift: 14, team: "T", entitlements: plistHead + "<dict><key>a</key><true/></dict></plist>",
		der: derBlob(map[string]any{"a": true}), constraint: derBlob(map[string]any{"ccat": int64(1)}), cms: []byte("cms")}
	small := arm64
	small.code, small.page = 100, 1<<10 // the smaller, the faster
	seeds := [][]byte{
		small.bytes(), with(small, full).bytes(), with(image{cpu: macho.CPUX86_64, subtype: 3, kind: macho.Dylib, code: 100, page: 1 << 10, info: "<plist/>"}, signing{hashes: []uint8{3, 4}}).bytes(),
		append([]byte{0xce, 0xfa, 0xed, 0xfe, 7, 0, 0, 0, 3, 0, 0, 0, 2}, make([]byte, 100)...), []byte("\xca\xfe\xba\xbe\x00\x00\x00\x41"),
	}
	seeds = append(seeds, fatFixture(false, seeds[0], seeds[1]), fatFixture(true, seeds[1], seeds[2]))
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
	f.Add(derBlob(map[string]any{"a": true, "b": []any{int64(1), "x"}, "c": map[string]any{"d": false}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (map[string]any, error){parsePlist, parseDER} {
			if v, err := parse(b); (v == nil) != (err != nil) {
				t.Fatalf("%v %v", v, err)
			}
		}
	})
}
