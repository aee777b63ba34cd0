package patch

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mirrord/codesign/macho"
)

// Of every program of a folder of real ones, which are not ours to give away, each slice that can be copied is, and others judge the copies;
// dyld is told to fill in the same. For the rest there is a reason.
func TestSamples(t *testing.T) {
	dir := os.Getenv("MIRRORD_SAMPLES")
	if dir == "" {
		t.Skip("left out: MIRRORD_SAMPLES names no folder of real programs")
	}
	refused := map[string]string{
		"arm64e":                                 "arm64e programs run as they should only",
		".dylib":                                 "it is no program but a file of kind dylib",
		"malformed-cputype-apple-cal-fat x86_64": "the fat header calls it cpu 0x1000005/0x80000003",
		"malformed-cputype-apple-cal-fat i386":   "no Mac of today runs 32-bit",
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	copied := 0
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		m, err := macho.Read(f, info.Size())
		if errors.Is(err, macho.ErrNotMachO) {
			continue
		}
		if err != nil {
			t.Fatal(file, err)
		}
		for _, s := range m.Slices {
			arch := s.Arch.String()
			name := filepath.Base(file) + " " + arch
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c, out, err := apply(b, Options{Arch: arch, Path: "/usr/bin/" + filepath.Base(file)})
			want := ""
			for part, reason := range refused {
				if strings.Contains(name, part) && (part != "arm64e" || arch == "arm64e" && !strings.Contains(name, ".dylib")) {
					want = reason
				}
			}
			if want != "" {
				if e := (*RefusedError)(nil); !errors.As(err, &e) || !strings.Contains(err.Error(), want) || len(out) > 0 {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			copied++
			to, signature := read(t, out)
			checkContent(t, s, to)
			judged(t, b, c, out)
			t.Logf("%s: %s, %d paths", name, c.Identifier, len(c.Paths))
			if signature.Entitlements != nil || signature.Team != "" {
				t.Errorf("%s: something of the old signature was kept: %+v", name, signature)
			}
		}
	}
	if copied < 7 {
		t.Errorf("only %d slices were copied", copied)
	}
}
