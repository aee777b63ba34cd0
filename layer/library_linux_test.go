package layer

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// machines are those that Linux's library is built for, by their folders in lib.
var machines = map[string]struct {
	elf     elf.Machine
	cc      string
	loader  string
	static  uint32   // relocation of memory of a thread's own that is there from the beginning
	dynamic []uint32 // of such that is not
}{
	"amd64": {elf.EM_X86_64, "gcc", "ld-linux-x86-64.so.2", uint32(elf.R_X86_64_TPOFF64), []uint32{uint32(elf.R_X86_64_DTPMOD64), 36 /* TLSDESC */}},
	"arm64": {elf.EM_AARCH64, "aarch64-linux-gnu-gcc", "ld-linux-aarch64.so.1", uint32(elf.R_AARCH64_TLS_TPREL64), []uint32{uint32(elf.R_AARCH64_TLS_DTPMOD64), uint32(elf.R_AARCH64_TLSDESC)}},
}

// newestGlibc is what the library may ask of libc: Debian 12, Ubuntu 22.04 and RHEL 9 have it. dlsym is of this version in every library that is linked today.
const newestGlibc = 34

// hookNames are the functions for Linux in the hook table, with their aliases, as the preprocessor sees it.
func hookNames(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("cc", "-E", "-P", "-x", "c", "-DHOOK(name)=hook name;", "-DALIAS(name,of)=hook name;", "src/hooks.def")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	var names []string
	for _, m := range regexp.MustCompile(`hook (\w+);`).FindAllStringSubmatch(string(out), -1) {
		names = append(names, m[1])
	}
	slices.Sort(names)
	return names
}

// openBuilt opens a file of lib. What is not built for the other machine is left out.
func openBuilt(t *testing.T, arch, name string) *elf.File {
	t.Helper()
	f, err := elf.Open(filepath.Join("lib", arch, name))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("left out: the library for %s is not built (make layer; tests/need %s)", arch, machines[arch].cc)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func segments(f *elf.File, kind elf.ProgType) (found []*elf.Prog) {
	for _, p := range f.Progs {
		if p.Type == kind {
			found = append(found, p)
		}
	}
	return found
}

// guarded fails the test unless no memory of the file is both written and executed, the stack included.
func guarded(t *testing.T, f *elf.File) {
	t.Helper()
	stack := segments(f, elf.PT_GNU_STACK)
	if len(stack) != 1 || stack[0].Flags != elf.PF_R|elf.PF_W {
		t.Errorf("the stack: %+v", stack)
	}
	for _, p := range segments(f, elf.PT_LOAD) {
		if p.Flags&(elf.PF_W|elf.PF_X) == elf.PF_W|elf.PF_X {
			t.Errorf("memory that is written and executed: %+v", p.ProgHeader)
		}
	}
}

func TestLibraries(t *testing.T) {
	hooks := hookNames(t)
	for arch, machine := range machines {
		t.Run(arch, func(t *testing.T) {
			f := openBuilt(t, arch, fileName)
			if f.Machine != machine.elf || f.Type != elf.ET_DYN || f.ByteOrder.String() != "LittleEndian" {
				t.Errorf("%s %s %s", f.Machine, f.Type, f.ByteOrder)
			}
			guarded(t, f)
			if len(segments(f, elf.PT_GNU_RELRO)) != 1 {
				t.Error("relocations stay writable")
			}
			now, err := f.DynValue(elf.DT_FLAGS_1)
			if err != nil || len(now) != 1 || elf.DynFlag1(now[0])&elf.DF_1_NOW == 0 {
				t.Errorf("not bound at once: %v, %v", now, err)
			}
			if libraries, err := f.ImportedLibraries(); err != nil || !slices.Equal(libraries, []string{"libc.so.6", machine.loader}) {
				t.Errorf("libraries: %v, %v", libraries, err)
			}
			// Its memory of each thread is there when the library is: a hook may run where none can be allocated.
			relocations := f.Section(".rela.dyn")
			if relocations == nil {
				t.Fatal("no relocations")
			}
			data, err := relocations.Data()
			if err != nil {
				t.Fatal(err)
			}
			static := 0
			for at := 0; at+24 <= len(data); at += 24 { // Elf64_Rela
				switch kind := binary.LittleEndian.Uint32(data[at+8:]); {
				case kind == machine.static:
					static++
				case slices.Contains(machine.dynamic, kind):
					t.Errorf("memory of a thread is asked for when it is used: relocation %d", kind)
				}
			}
			if static == 0 {
				t.Error("no memory of a thread's own")
			}
			symbols, err := f.DynamicSymbols()
			if err != nil {
				t.Fatal(err)
			}
			var exported []string
			for _, s := range symbols {
				if s.Section != elf.SHN_UNDEF && elf.ST_TYPE(s.Info) != elf.STT_SECTION {
					exported = append(exported, s.Name)
				}
				version, found := strings.CutPrefix(s.Version, "GLIBC_2.")
				major, _, _ := strings.Cut(version, ".")
				if n, err := strconv.Atoi(major); found && (err != nil || n > newestGlibc) || strings.Contains(s.Version, "PRIVATE") {
					t.Errorf("%s is needed of %s", s.Name, s.Version)
				}
			}
			slices.Sort(exported)
			if diff := cmp.Diff(hooks, exported); diff != "" || len(hooks) < 150 {
				t.Errorf("%d hooks, exported (-table +library):\n%s", len(hooks), diff)
			}
		})
	}
}

// TestHelpers: the program in front of supervised ones needs nothing of the machine but its kernel.
func TestHelpers(t *testing.T) {
	for arch, machine := range machines {
		t.Run(arch, func(t *testing.T) {
			f := openBuilt(t, arch, Variant(fileName, Supervise))
			if f.Machine != machine.elf || f.Type != elf.ET_EXEC {
				t.Errorf("%s %s", f.Machine, f.Type)
			}
			guarded(t, f)
			if len(segments(f, elf.PT_INTERP)) > 0 || len(segments(f, elf.PT_DYNAMIC)) > 0 || len(segments(f, elf.PT_TLS)) > 0 {
				t.Errorf("not static: %+v", f.Progs)
			}
		})
	}
}

// TestLibrariesAreReproducible: what lies in lib is what the sources give, byte for byte, wherever and however often they are built with the same compiler.
func TestLibrariesAreReproducible(t *testing.T) {
	dir := t.TempDir()
	var targets []string
	for arch, machine := range machines {
		if _, err := exec.LookPath(machine.cc); err != nil {
			t.Logf("left out: %s is not installed", machine.cc)
			continue
		}
		if _, err := os.Stat(filepath.Join("lib", arch, fileName)); err == nil {
			targets = append(targets, filepath.Join("lib", arch, fileName), filepath.Join("lib", arch, Variant(fileName, Supervise)))
		}
	}
	if _, err := exec.LookPath("make"); err != nil || len(targets) == 0 {
		t.Skipf("left out: there is no make, or nothing is built: %v", err)
	}
	if out, err := exec.Command("cp", "-R", "../layer", "../Makefile", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command("make", "-B", "-j2", "-C", dir)
	for _, target := range targets {
		cmd.Args = append(cmd.Args, filepath.Join("layer", target))
	}
	cmd.Env = append(os.Environ(), "MAKEFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, target := range targets {
		built, err := os.ReadFile(target)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := os.ReadFile(filepath.Join(dir, "layer", target)); err != nil || !bytes.Equal(built, again) {
			t.Errorf("another build in another folder gives another %s, or it is older than the sources: make layer (%v)", target, err)
		}
	}
}
