package patch

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/codesign/macho"
	"mirrord/codesign/machotest"
	"mirrord/codesign/machotest/judge"
)

const ended = "arm64e programs run as they should only with Apple's own signature (xnu bsd/kern/kern_exec.c, preview ABI)"

// kinds says of each kind of file which slice is copied, or why none is.
var kinds = map[string]string{
	"unsigned":                    "arm64",
	"unsigned x86_64":             "x86_64",
	"linker-signed":               "arm64",
	"x86_64h":                     "x86_64h",
	"arm64v8":                     "arm64v8",
	"arm64e":                      "its arm64e slice cannot be copied: " + ended,
	"arm64e before versions":      "its arm64e.old slice cannot be copied: " + ended,
	"arm64e.v1":                   "its arm64e.v1 slice cannot be copied: " + ended,
	"arm64e.x1":                   "its arm64e.x1 slice cannot be copied: " + ended,
	"hardened":                    "arm64",
	"hardened, entitled":          "arm64",
	"hardened, entitled to false": "arm64",
	"restrict":                    "arm64",
	"library validation":          "arm64",
	"Apple's":                     "its arm64e slice cannot be copied: " + ended,
	"pages of 16 KiB":             "arm64",
	"no pages":                    "arm64",
	"SHA-1 and SHA-256":           "x86_64",
	"SHA-1 alone":                 "x86_64",
	"SHA-384":                     "arm64",
	"__RESTRICT":                  "x86_64, with another name for __restrict",
	"Info.plist":                  "arm64",
	"relative paths":              "arm64, /opt/shop/a.dylib, /opt/shop/lib, /opt/shop/bin",
	"duplicate rpath":             "arm64",
	"duplicate library":           "arm64",
	"no UUID":                     "arm64",
	"for Mac Catalyst":            "its arm64 slice cannot be copied: it is built for Mac Catalyst, not for macOS",
	"for iOS":                     "its arm64 slice cannot be copied: it is built for iOS, not for macOS",
	"no build version":            "arm64",
	"chained fixups":              "arm64",
	"chained fixups of arm64e":    "its arm64e slice cannot be copied: " + ended,
	"dylib":                       "its arm64 slice cannot be copied: it is no program but a file of kind dylib",
	"bundle":                      "its arm64 slice cannot be copied: it is no program but a file of kind bundle",
	"object":                      "its arm64 slice cannot be copied: it is no program but a file of kind object",
	"no room":                     "its arm64 slice cannot be copied: there is no room for LC_CODE_SIGNATURE between the load commands and the first section",
	"no room, signed":             "arm64",
	"encrypted":                   "its arm64 slice cannot be copied: it is encrypted, as programs from the App Store may be",
	"bytes at the end":            "its arm64 slice cannot be copied: 9 bytes follow segment __LINKEDIT",
	"fat":                         "arm64",
	"fat, Apple's":                "x86_64",
	"fat, x86_64 twice":           "x86_64",
	"fat64":                       "arm64",
}

func TestKinds(t *testing.T) {
	for _, file := range machotest.Kinds() {
		t.Run(file.Name, func(t *testing.T) {
			want, ok := kinds[file.Name]
			if !ok {
				t.Error("there is no row for it")
			}
			c, out, err := apply(file.Bytes, Options{})
			got := c.Arch
			if err != nil {
				got = err.Error()
			}
			if c.Restricted {
				got += ", with another name for __restrict"
			}
			for _, p := range c.Paths {
				got += ", " + p.To
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if err != nil && len(out) > 0 {
				t.Errorf("%d bytes were written", len(out))
			}
			if err == nil {
				judged(t, file.Bytes, c, out)
			}
		})
	}
}

// judged has others judge a copy.
func judged(t *testing.T, original []byte, c Copy, out []byte) {
	t.Helper()
	_, signature := read(t, out)
	judge.Signed(t, out)
	judge.Identified(t, out, judge.Identity{Identifier: c.Identifier, Flags: 2, CDHash: signature.CDHash})
	f, err := macho.Read(bytes.NewReader(original), int64(len(original)))
	if err != nil {
		t.Fatal(err)
	}
	from := f.Slices[slices.IndexFunc(f.Slices, func(s *macho.Slice) bool { return s.Arch.String() == c.Arch })]
	judge.SameFixups(t, original[from.Offset:][:from.Size], out)
}

// What linkers make can be copied, but for one kind of program: clang and lld leave room for paths when they are told so.
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
				c, out, err := apply(file.Bytes, Options{})
				want := ""
				for part, reason := range map[string]string{"object": "a file of kind object", "dylib": "a file of kind dylib", "bundle": "a file of kind bundle", "no room": "there is no room"} {
					if strings.Contains(file.Name, part) {
						want = reason
					}
				}
				switch {
				case want != "":
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("%s: %v", file.Name, err)
					}
				case err != nil:
					t.Errorf("%s: %v", file.Name, err)
				default:
					if c.Restricted != strings.Contains(file.Name, "restricted") || (c.Paths != nil) != strings.Contains(file.Name, "rpaths") {
						t.Errorf("%s: %+v", file.Name, c)
					}
					judged(t, file.Bytes, c, out)
				}
			}
		})
	}
}
