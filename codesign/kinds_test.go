package codesign

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/codesign/machotest"
)

// kinds says what is reported of each kind of file, and whether a copy of it can be signed.
var kinds = map[string]string{
	"unsigned":                    "arm64 unsigned",
	"unsigned x86_64":             "x86_64 unsigned",
	"linker-signed":               "arm64 fixture adhoc,linker-signed bad=0",
	"x86_64h":                     "x86_64h fixture adhoc,linker-signed bad=0",
	"arm64v8":                     "arm64v8 fixture adhoc,linker-signed bad=0",
	"arm64e":                      "arm64e fixture adhoc,linker-signed bad=0",
	"arm64e before versions":      "arm64e.old fixture adhoc,linker-signed bad=0",
	"arm64e.v1":                   "arm64e.v1 fixture adhoc,linker-signed bad=0",
	"arm64e.x1":                   "arm64e.x1 fixture adhoc,linker-signed bad=0",
	"hardened":                    "arm64 fixture runtime team=TEAM123456 cms bad=0",
	"hardened, entitled":          "arm64 fixture runtime team=TEAM123456 cms bad=0 allow-dyld=true",
	"hardened, entitled to false": "arm64 fixture runtime team=TEAM123456 cms bad=0 allow-dyld=false",
	"restrict":                    "arm64 fixture restrict bad=0",
	"library validation":          "arm64 fixture library-validation bad=0",
	"Apple's":                     "arm64e com.apple.fixture platform=16 cms bad=0",
	"pages of 16 KiB":             "arm64 fixture adhoc,linker-signed bad=0",
	"no pages":                    "arm64 fixture bad=0",
	"SHA-1 and SHA-256":           "x86_64 fixture bad=0 bad=0",
	"SHA-1 alone":                 "x86_64 fixture bad=0",
	"SHA-384":                     "arm64 fixture bad=0",
	"__RESTRICT":                  "x86_64 fixture bad=0",
	"Info.plist":                  "arm64 fixture bad=0",
	"relative paths":              "arm64 fixture adhoc,linker-signed bad=0",
	"duplicate rpath":             "arm64 unsigned",
	"duplicate library":           "arm64 unsigned",
	"no UUID":                     "arm64 unsigned",
	"for Mac Catalyst":            "arm64 fixture adhoc,linker-signed bad=0",
	"for iOS":                     "arm64 fixture adhoc,linker-signed bad=0",
	"no build version":            "arm64 fixture adhoc,linker-signed bad=0",
	"chained fixups":              "arm64 fixture adhoc,linker-signed bad=0",
	"chained fixups of arm64e":    "arm64e fixture adhoc,linker-signed bad=0",
	"dylib":                       "arm64 fixture adhoc,linker-signed bad=0",
	"bundle":                      "arm64 fixture adhoc,linker-signed bad=0",
	"object":                      "arm64 unsigned\nthe arm64 slice cannot be signed: it is no program or library but a file of kind object",
	"no room":                     "arm64 unsigned\nthe arm64 slice cannot be signed: there is no room for LC_CODE_SIGNATURE between the load commands and the first section",
	"no room, signed":             "arm64 fixture adhoc,linker-signed bad=0",
	"encrypted":                   "arm64 fixture adhoc,linker-signed bad=0\nthe arm64 slice cannot be signed: it is encrypted",
	"bytes at the end":            "arm64 unsigned\nthe arm64 slice cannot be signed: 9 bytes follow segment __LINKEDIT",
	"fat":                         "x86_64 unsigned\narm64 fixture adhoc,linker-signed bad=0",
	"fat, Apple's":                "x86_64 com.apple.fixture platform=16 cms bad=0\narm64e com.apple.fixture platform=16 cms bad=0\narm64e.x1 com.apple.fixture platform=16 cms bad=0",
	"fat, x86_64 twice":           "x86_64 unsigned\nx86_64 unsigned",
	"fat64":                       "x86_64 unsigned\narm64 fixture adhoc,linker-signed bad=0",
}

func TestKinds(t *testing.T) {
	for _, file := range machotest.Kinds() {
		t.Run(file.Name, func(t *testing.T) {
			want, ok := kinds[file.Name]
			if !ok {
				t.Error("there is no row for it")
			}
			r := verify(t, file.Bytes)
			got := factsOf(r)
			for _, s := range r.Slices {
				for _, f := range s.Faults {
					got += "; " + f.Problem
				}
			}
			out, err := sign(file.Bytes)
			if err != nil {
				got += "\n" + err.Error()
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if err == nil {
				checkSigned(t, file.Bytes, out)
			}
		})
	}
}

// checkSigned says whether a signed copy is one, and the same program.
func checkSigned(t *testing.T, original, out []byte) {
	t.Helper()
	r := verify(t, out)
	if !r.Valid() {
		t.Errorf("the signed copy: %s", sketch(r))
	}
	for _, s := range r.Slices {
		if s.Identifier != "mirrord.test" || s.Flags != flagAdHoc || s.Team != "" || s.Platform != 0 || s.Entitlements != nil || s.Constraints != nil || s.CMS != 0 || s.Notes != nil {
			t.Errorf("something of the old signature was kept: %+v", s)
		}
	}
	checkCopy(t, original, out)
	judged(t, original, out)
}

// What linkers make, and nobody has touched.
func TestLinked(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(t *testing.T) []machotest.File
	}{
		{"C", machotest.Linked},
		{"Go", machotest.GoPrograms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, file := range tt.make(t) {
				s := verify(t, file.Bytes).Slices[0]
				is := func(word string) bool { return strings.Contains(file.Name, word) }
				unsigned := is("unsigned") || is("no room") || is("object") || is("go amd64")
				if !s.Valid() || s.Signed == unsigned || s.Signed && s.Flags != machotest.FlagAdHoc|machotest.FlagLinkerSigned {
					t.Errorf("%s as it was made: %+v", file.Name, s)
				}
				out, err := sign(file.Bytes)
				if refused := is("object") || is("no room"); refused != (err != nil) {
					t.Errorf("%s: %v", file.Name, err)
				}
				if err == nil {
					checkSigned(t, file.Bytes, out)
				}
			}
		})
	}
}
