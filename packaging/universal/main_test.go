package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blacktop/go-macho"

	"mirrord/codesign"
)

// slices compiles a small program of Go, as the launcher is one, for both kinds of Mac.
func slices(t *testing.T) (names []string) {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() { println(1) }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		name := filepath.Join(dir, arch)
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", name, source)
		cmd.Env = append(os.Environ(), "GOOS=darwin", "GOARCH="+arch, "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		names = append(names, name)
	}
	return names
}

func TestUniversal(t *testing.T) {
	names := slices(t)
	var made [2][]byte
	for i := range made {
		out := filepath.Join(t.TempDir(), "mirrord")
		if err := universal(out, "mirrord", false, names); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(out)
		if err != nil || info.Mode() != 0o755 {
			t.Fatal(info, err)
		}
		if made[i], err = os.ReadFile(out); err != nil {
			t.Fatal(err)
		}
		if left, _ := os.ReadDir(filepath.Dir(out)); len(left) != 1 {
			t.Errorf("left behind: %v", left)
		}
		if i == 0 {
			judge(t, out)
		}
	}
	if !bytes.Equal(made[0], made[1]) {
		t.Error("the same input gives other bytes")
	}
	r, err := codesign.Verify(bytes.NewReader(made[0]), int64(len(made[0])))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Slices {
		if !s.Signed || !s.Valid() || s.Identifier != "mirrord" || s.Offset%(1<<14) != 0 {
			t.Errorf("%s at %d: signed %v, %v", s.Arch, s.Offset, s.Signed, s.Faults)
		}
	}
}

// judge asks readers that we did not write: go-macho always, llvm-lipo, llvm-objdump and LIEF where they are.
func judge(t *testing.T, name string) {
	fat, err := macho.OpenFat(name)
	if err != nil {
		t.Fatal("go-macho:", err)
	}
	defer fat.Close()
	if len(fat.Arches) != 2 {
		t.Fatalf("go-macho sees %d slices", len(fat.Arches))
	}
	for _, a := range fat.Arches {
		if a.Align != 14 || a.Offset%(1<<14) != 0 || a.CodeSignature() == nil {
			t.Errorf("go-macho: %+v", a.FatArchHeader)
		}
	}
	python := os.Getenv("MIRRORD_LIEF")
	if python == "" {
		python = "python3"
	}
	for _, tool := range []struct {
		names []string
		args  []string
		want  string
	}{
		{[]string{"llvm-lipo-19", "llvm-lipo"}, []string{name, "-archs"}, "x86_64 arm64"},
		{[]string{"llvm-objdump-19", "llvm-objdump"}, []string{"--macho", "--universal-headers", name}, "align 2^14 (16384)"},
		{[]string{python}, []string{"-c", liefScript, name}, "2 slices, layout True, signed True"},
	} {
		left := true
		for _, program := range tool.names {
			path, err := exec.LookPath(program)
			if err != nil || len(tool.args) == 3 && tool.args[0] == "-c" && exec.Command(path, "-c", "import lief").Run() != nil {
				continue
			}
			out, err := exec.Command(path, tool.args...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), tool.want) {
				t.Errorf("%s: %v\n%s", program, err, out)
			}
			left = false
			break
		}
		if left {
			t.Logf("left out: %s", tool.names[0])
		}
	}
}

const liefScript = `
import lief, sys
f = lief.MachO.parse(sys.argv[1])
print(f.size, "slices, layout", all(lief.MachO.check_layout(b)[0] for b in f), end=", ")
print("signed", all(b.has_code_signature for b in f))
`

func TestJoinRefuses(t *testing.T) {
	thin := func(cpu uint32) []byte {
		b := binary.LittleEndian.AppendUint32(nil, magicThin)
		return append(binary.LittleEndian.AppendUint32(b, cpu), make([]byte, 64)...)
	}
	for name, tt := range map[string]struct {
		slices [][]byte
		want   string
	}{
		"a script":     {[][]byte{thin(7), []byte("#!/bin/sh\nexit 0; exit 0; exit 0; exit 0\n")}, "file 2 is no"},
		"nothing":      {[][]byte{nil}, "file 1 is no"},
		"twice":        {[][]byte{thin(7), thin(7)}, "file 2 is for the same"},
		"no commands":  {[][]byte{thin(7)}, "cannot be signed"},
		"a fat file":   {[][]byte{binary.BigEndian.AppendUint32(nil, magicFat)}, "file 1 is no"},
		"another size": {[][]byte{binary.LittleEndian.AppendUint32(nil, 0xfeedface)}, "file 1 is no"},
	} {
		err := join(io.Discard, "x", tt.slices)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
