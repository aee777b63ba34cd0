package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	gomacho "github.com/blacktop/go-macho"

	"mirrord/codesign"
	"mirrord/codesign/machotest"
)

// pointing is a library with two pointers in chains of this format.
func pointing(arch machotest.Arch, format uint16) []byte {
	return machotest.Image{Arch: arch, Kind: machotest.Dylib, Fixups: &machotest.Fixups{Format: format, Pointers: []machotest.Pointer{
		{At: 0, Symbol: "_open"}, {At: 16, Target: 0x400},
	}}}.Bytes()
}

// TestARM64e: the variant's third slice is the second with another name, and signed as itself.
func TestARM64e(t *testing.T) {
	dir := t.TempDir()
	names := []string{filepath.Join(dir, "x86_64"), filepath.Join(dir, "arm64")}
	for i, data := range [][]byte{pointing(machotest.X86_64, machotest.Pointer64), pointing(machotest.ARM64, machotest.Pointer64Offset)} {
		if err := os.WriteFile(names[i], data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "variant.dylib")
	if err := universal(out, "variant", true, names); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	report, err := codesign.Verify(f, info.Size())
	if err != nil || !report.Valid() || len(report.Slices) != 3 {
		t.Fatalf("%v, %+v", err, report)
	}
	if e := report.Slices[2]; e.Arch != "arm64e" || e.CPUSubtype != 0x80000002 || !e.Signed || e.CDHash == report.Slices[1].CDHash {
		t.Errorf("the third slice is %s, %#x, signed %v", e.Arch, e.CPUSubtype, e.Signed)
	}

	// The entry must say the same as the slice, bit for bit (xnu bsd/kern/kern_exec.c), or the kernel refuses it.
	fat, err := gomacho.OpenFat(out)
	if err != nil {
		t.Fatal("go-macho:", err)
	}
	defer fat.Close()
	for _, a := range fat.Arches {
		if a.CPU != a.FileHeader.CPU || uint32(a.SubCPU) != uint32(a.FileHeader.SubCPU) {
			t.Errorf("go-macho: the entry says %v %#x, the slice %v %#x", a.CPU, a.SubCPU, a.FileHeader.CPU, a.FileHeader.SubCPU)
		}
	}
	objdump, err := exec.LookPath("llvm-objdump-19")
	if err != nil {
		t.Skip("left out: llvm-objdump-19")
	}
	text, err := exec.Command(objdump, "--macho", "--dyld-info", "--arch=arm64e", out).CombinedOutput()
	if err != nil || !strings.Contains(string(text), "_open") || !strings.Contains(string(text), "rebase") {
		t.Errorf("llvm-objdump: %v\n%s", err, text)
	}
}

func TestARM64eRefuses(t *testing.T) {
	opcodes := pointing(machotest.ARM64, machotest.Pointer64)
	binary.LittleEndian.PutUint32(opcodes[bytes.Index(opcodes, binary.LittleEndian.AppendUint32(nil, lcChainedFixups)):], lcDyldInfoOnly)
	cut := pointing(machotest.ARM64, machotest.Pointer64)
	at := bytes.Index(cut, binary.LittleEndian.AppendUint32(nil, lcChainedFixups))
	binary.LittleEndian.PutUint32(cut[at+12:], 8)
	for name, tt := range map[string]struct {
		slices [][]byte
		want   string
	}{
		"no arm64":       {[][]byte{pointing(machotest.X86_64, machotest.Pointer64)}, "there is no arm64 slice"},
		"arm64e already": {[][]byte{pointing(machotest.ARM64e, machotest.PointerARM64e)}, "there is no arm64 slice"},
		"signed format":  {[][]byte{pointing(machotest.ARM64, machotest.PointerARM64eUserland24)}, "format 12"},
		"opcodes":        {[][]byte{opcodes}, "are opcodes"},
		"cut off":        {[][]byte{cut}, "cut off"},
		"no fixups":      {[][]byte{machotest.Image{Kind: machotest.Dylib}.Bytes()}, "has no chained fixups"},
		"a script":       {[][]byte{[]byte("#!/bin/sh\n")}, "Mach-O"},
	} {
		_, err := asARM64e(tt.slices)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
