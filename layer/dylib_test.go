package layer

import (
	"bytes"
	"debug/macho"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// hookCount counts the entries of the hook table for macOS: hooks and their aliases. Some are Intel's.
func hookCount(t *testing.T, intel bool) int {
	table, err := os.ReadFile("src/hooks.def")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(table)) {
		if strings.HasPrefix(line, "//") || strings.HasPrefix(line, "#") {
			continue
		}
		if !intel {
			line = strings.ReplaceAll(line, "OLD(", "LINUX(")
		}
		line = regexp.MustCompile(`LINUX\(([^()]*\([^()]*\))*\)`).ReplaceAllString(line, "")
		n += len(regexp.MustCompile(`\b(HOOK|HOOK64|HOOK_AS|ALIAS)\(`).FindAllString(line, -1))
	}
	return n
}

func openDylib(t *testing.T, name string) *macho.FatFile {
	t.Helper()
	f, err := macho.OpenFat("lib/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the library for macOS is not built: make layer")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestDylib(t *testing.T) {
	const (
		lcUUID          = 0x1b
		lcBuildVersion  = 0x32
		lcCodeSignature = 0x1d
		lcChainedFixups = 0x80000034
		minOS           = 12 << 16
		weakReference   = 0x40      // N_WEAK_REF, mach-o/nlist.h
		maxSlice        = 112 << 10 // bytes
	)
	archs := map[string]string{}
	for _, name := range []string{"libmirrord.dylib", "libmirrord-arm64e.dylib"} {
		for _, a := range openDylib(t, name).Arches {
			hooks := hookCount(t, a.Cpu == macho.CpuAmd64)
			suffix := map[macho.Cpu]string{macho.CpuAmd64: "$INODE64"}[a.Cpu]
			archs[name] += a.Cpu.String() + " "
			if a.Size > maxSlice {
				t.Errorf("%s: the slice %s has %d bytes", name, a.Cpu, a.Size)
			}
			// A compiler may drop the section, and every hook with it, without a word.
			s := a.Section("__interpose")
			if s == nil || s.Seg != "__DATA" || s.Size != uint64(16*hooks) {
				t.Errorf("%s, %s: __interpose is %+v; the table has %d hooks", name, a.Cpu, s, hooks)
			}
			kinds := map[uint32][]byte{}
			for _, l := range a.Loads {
				kinds[binary.LittleEndian.Uint32(l.Raw())] = l.Raw()
			}
			for _, kind := range []uint32{lcUUID, lcBuildVersion, lcCodeSignature, lcChainedFixups} {
				if kinds[kind] == nil {
					t.Errorf("%s, %s: there is no load command %#x", name, a.Cpu, kind)
				}
			}
			if v := binary.LittleEndian.Uint32(kinds[lcBuildVersion][12:]); v != minOS {
				t.Errorf("%s, %s: for macOS %#x", name, a.Cpu, v)
			}
			libraries, err := a.ImportedLibraries()
			if err != nil || !slices.Equal(libraries, []string{"/usr/lib/libSystem.B.dylib"}) {
				t.Errorf("%s, %s: libraries %v, %v", name, a.Cpu, libraries, err)
			}
			undefined := map[string]uint16{}
			for _, sym := range a.Symtab.Syms {
				undefined[sym.Name] = sym.Desc
			}
			// What a system lacks must not keep the library from being loaded.
			for _, hook := range []string{"_open", "_stat" + suffix, "_fstat" + map[string]string{"$INODE64": "64"}[suffix], "_readdir" + suffix, "_open$NOCANCEL", "_realpath$DARWIN_EXTSN", "_connectx", "_execve"} {
				if desc, ok := undefined[hook]; !ok || desc&weakReference == 0 {
					t.Errorf("%s, %s: %s is imported: %v, weakly: %v", name, a.Cpu, hook, ok, desc&weakReference != 0)
				}
			}
			if other := map[string]string{"": "_stat$INODE64", "$INODE64": "_stat"}[suffix]; undefined[other] != 0 {
				t.Errorf("%s, %s: %s is imported", name, a.Cpu, other)
			}
		}
	}
	if archs["libmirrord.dylib"] != "CpuAmd64 CpuArm64 " || archs["libmirrord-arm64e.dylib"] != "CpuAmd64 CpuArm64 CpuArm64 " {
		t.Errorf("slices: %v", archs)
	}
}

// TestDylibIsReproducible: what lies in lib is what the sources give, byte for byte, wherever and however often they are built.
func TestDylibIsReproducible(t *testing.T) {
	for _, tool := range []string{"make", "go", "clang-19", "ld64.lld-19"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("left out: %s is not installed", tool)
		}
	}
	built, err := os.ReadFile("lib/libmirrord.dylib")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the library for macOS is not built: make layer")
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if out, err := exec.Command("cp", "-R", "../layer", "../packaging", "../codesign", "../Makefile", "../go.mod", "../go.sum", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command("make", "-B", "-C", dir, "layer/lib/libmirrord.dylib")
	cmd.Env = append(os.Environ(), "MAKEFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	again, err := os.ReadFile(filepath.Join(dir, "layer/lib/libmirrord.dylib"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(built, again) {
		t.Error("another build in another folder gives other bytes, or lib/libmirrord.dylib is older than the sources: make layer")
	}
}
