package sip

import (
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/codesign/machotest"
)

const (
	plain    = "inject: nothing protects it"
	unsigned = "outside: unsigned: the kernel ends native programs of Apple silicon without a signature at their start (codesign -s - FILE signs it)"
	preview  = "outside: an arm64e program that is not of the system: the kernel ends it at its start (bsd/kern/kern_exec.c, preview ABI)"
)

// kinds says what becomes of each kind of file on a Mac with Apple silicon, Rosetta and System Integrity Protection.
var kinds = map[string]string{
	"unsigned":                    unsigned,
	"unsigned x86_64":             plain,
	"linker-signed":               plain,
	"x86_64h":                     "/x: bad CPU type: it is built for x86_64h, this Mac is arm64",
	"arm64v8":                     plain,
	"arm64e":                      preview,
	"arm64e before versions":      preview,
	"arm64e.v1":                   plain,
	"arm64e.x1":                   "/x: bad CPU type: it is built for arm64e.x1, this Mac is arm64",
	"hardened":                    "copy: hardened, without the entitlement to be given libraries; a copy of its arm64 slice runs",
	"hardened, entitled":          "inject: hardened, and entitled to be given libraries",
	"hardened, entitled to false": "copy: hardened, and its entitlement to be given libraries is false; a copy of its arm64 slice runs",
	"restrict":                    "copy: its signature has the flag restrict; a copy of its arm64 slice runs",
	"library validation":          "copy: takes only libraries of its own team (library validation); a copy of its arm64 slice runs",
	"Apple's":                     "inject: signed as a part of the system, but not guarded",
	"pages of 16 KiB":             plain,
	"no pages":                    plain,
	"SHA-1 and SHA-256":           plain,
	"SHA-1 alone":                 plain,
	"SHA-384":                     plain,
	"__RESTRICT":                  "copy: its section __RESTRICT,__restrict keeps libraries out; a copy of its x86_64 slice runs under Rosetta",
	"Info.plist":                  plain,
	"relative paths":              plain,
	"duplicate rpath":             unsigned,
	"duplicate library":           unsigned,
	"no UUID":                     unsigned,
	"for Mac Catalyst":            "outside: built for Mac Catalyst, which the layer is not",
	"for iOS":                     "outside: built for iOS, which the layer is not",
	"no build version":            plain,
	"chained fixups":              plain,
	"chained fixups of arm64e":    preview,
	"dylib":                       "it is no program but a file of kind dylib",
	"bundle":                      "it is no program but a file of kind bundle",
	"object":                      "it is no program but a file of kind object",
	"no room":                     unsigned,
	"no room, signed":             plain,
	"encrypted":                   "outside: encrypted (from the App Store): it neither takes libraries nor can be copied",
	"bytes at the end":            unsigned,
	"fat":                         plain,
	"fat, Apple's":                "inject: signed as a part of the system, but not guarded",
	"fat, x86_64 twice":           "it has two x86_64 slices",
	"fat64":                       "a fat file of 64-bit offsets, which the kernel does not execute",
}

func TestKinds(t *testing.T) {
	d := describe(t, small)
	for _, file := range machotest.Kinds() {
		want, ok := kinds[file.Name]
		if !ok {
			t.Errorf("there is no row for %q", file.Name)
		}
		image, err := readImage(file.Bytes)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			d.add("/x", &entry{mode: syscall.S_IFREG | 0o755, image: image})
			v := For(d).Decide(Request{Path: "/x", Cwd: "/"})
			got = v.Kind.String() + ": " + v.Reason
			if v.Err != nil {
				got = v.Err.Error()
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", file.Name, diff)
		}
	}
}
