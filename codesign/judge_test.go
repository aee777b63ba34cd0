package codesign

import (
	"bytes"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/blacktop/go-macho"
)

// judge asks readers that we did not write whether a signed copy is sound: go-macho, llvm-objdump and LIEF, the last two where they are
// installed.
func judge(t *testing.T, b []byte) {
	t.Helper()
	for _, s := range verify(t, b).Slices {
		image := b[s.Offset:][:s.Size]
		judgeHashes(t, s, image)
		file := filepath.Join(t.TempDir(), "copy")
		if err := os.WriteFile(file, image, 0o600); err != nil {
			t.Fatal(err)
		}
		judgeByTool(t, "LC_CODE_SIGNATURE", []string{"llvm-objdump-19", "llvm-objdump"}, "--macho", "--private-headers", file)
		judgeByTool(t, "layout: True", []string{lief()}, "-c", liefScript, file)
	}
}

// judgeHashes compares what go-macho finds in the signature with hashes of the pages, and with what we found.
func judgeHashes(t *testing.T, s Slice, image []byte) {
	t.Helper()
	f, err := macho.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Errorf("%s: go-macho: %v", s.Arch, err)
		return
	}
	defer f.Close()
	signature := f.CodeSignature()
	if signature == nil || len(signature.CodeDirectories) != 1 || len(signature.Errors) > 0 {
		t.Errorf("%s: go-macho sees another signature: %+v", s.Arch, signature)
		return
	}
	d := signature.CodeDirectories[0]
	if d.ID != s.Identifier || d.TeamID != "" || uint32(d.Header.Flags) != s.Flags || d.CodeLimit != 0 && d.CodeLimit != s.Directories[0].CodeLimit || !strings.HasPrefix(d.CDHash, s.CDHash) {
		t.Errorf("%s: go-macho sees %+v, we %+v", s.Arch, d.Header, s)
	}
	code := image[:s.SignatureOffset-s.Offset]
	if pages := (len(code) + 4095) / 4096; len(d.CodeSlots) != pages {
		t.Errorf("%s: go-macho sees %d pages, not %d", s.Arch, len(d.CodeSlots), pages)
		return
	}
	for i, slot := range d.CodeSlots {
		if sum := sha256.Sum256(code[i*4096 : min(i*4096+4096, len(code))]); !bytes.Equal(slot.Hash, sum[:]) {
			t.Errorf("%s: go-macho sees another hash of page %d", s.Arch, i)
		}
	}
}

func judgeByTool(t *testing.T, want string, names []string, args ...string) {
	t.Helper()
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		out, err := exec.Command(path, args...).CombinedOutput()
		if text := string(out); err != nil || !strings.Contains(text, want) || strings.Contains(text, "malformed") {
			t.Errorf("%s: %v\n%.1000s", name, err, text)
		}
		return
	}
	t.Logf("left out: %s is not installed", names[0])
}

// lief gives a Python with the package lief; MIRRORD_LIEF may name one of a virtual environment.
var lief = sync.OnceValue(func() string {
	python := os.Getenv("MIRRORD_LIEF")
	if python == "" {
		python = "python3"
	}
	if exec.Command(python, "-c", "import lief").Run() != nil {
		return "python3 with lief"
	}
	return python
})

// liefScript applies LIEF's checks of a file's layout, which follow dyld's.
const liefScript = `
import lief, sys
b = lief.MachO.parse(sys.argv[1]).at(0)
ok, why = lief.MachO.check_layout(b)
end = b.code_signature.data_offset + b.code_signature.data_size
print("layout:", ok and b.has_code_signature and end == b.get_segment("__LINKEDIT").file_offset + b.get_segment("__LINKEDIT").file_size, why)
`
