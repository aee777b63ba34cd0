package patch

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"mirrord/codesign/machotest"
)

// From file to file the copy is the same as through memory, also of a slice in the middle of a file and of an odd size.
func TestMakeFiles(t *testing.T) {
	dir := t.TempDir()
	for _, code := range []int{1, 300_000, 1 << 20, 3<<20 + 5} {
		image := machotest.Image{Page: 0x400, Code: code, Libraries: library("@loader_path/a.dylib")}
		intel := machotest.Image{Arch: machotest.X86_64}.Bytes()
		for _, b := range [][]byte{image.Bytes(), image.With(hardened).Bytes(), machotest.Fat(intel, image.With(hardened).Bytes(), intel)} {
			c, want, err := apply(b, Options{Arch: "arm64"})
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "tool")
			if err := os.WriteFile(file, b, 0o700); err != nil {
				t.Fatal(err)
			}
			from, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer from.Close()
			to, err := os.Create(filepath.Join(dir, "copy"))
			if err != nil {
				t.Fatal(err)
			}
			defer to.Close()
			made, err := Make(to, from, int64(len(b)), Options{Arch: "arm64", Path: tool})
			if err != nil || made.Key != c.Key || made.CDHash != c.CDHash {
				t.Errorf("%d bytes of code: %+v, %v", code, made, err)
			}
			if got, err := os.ReadFile(to.Name()); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes of code: %d bytes, not %d: %v", code, len(got), len(want), err)
			}
		}
	}
}
