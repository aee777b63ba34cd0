package machotest

import (
	"bytes"
	"debug/macho"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	other "github.com/blacktop/go-macho"
	"github.com/blacktop/go-macho/pkg/fixupchains"
)

// Readers of Go and of others find in a file what was asked for.
func TestImage(t *testing.T) {
	for _, tt := range []struct {
		image Image
		want  string
	}{
		{Image{}, "CpuArm64 0x0 MH_EXECUTE __PAGEZERO __TEXT(__text) __DATA(__data) __LINKEDIT; LC_SYMTAB LC_DYSYMTAB LC_LOAD_DYLINKER LC_UUID LC_BUILD_VERSION LC_MAIN LC_LOAD_DYLIB"},
		{Image{Arch: X86_64h, Kind: Dylib, Rpaths: []string{"@loader_path", "x", "x"}}.With(LinkerSigned),
			"CpuAmd64 0x8 MH_DYLIB __TEXT(__text) __DATA(__data) __LINKEDIT; LC_SYMTAB LC_DYSYMTAB LC_UUID LC_BUILD_VERSION LC_ID_DYLIB LC_LOAD_DYLIB LC_RPATH LC_RPATH LC_RPATH LC_CODE_SIGNATURE"},
		{Image{Arch: ARM64e, Kind: Bundle, Restrict: true, Encrypted: true, NoUUID: true, Build: Build{None: true}, Info: "<plist/>",
			Libraries: []Library{{Path: "/a"}, {Path: "/b", Kind: LoadWeakDylib}, {Path: "/c", Kind: ReexportDylib}, {Path: "/d", Kind: LoadUpwardDylib}}},
			"CpuArm64 0x80000002 MH_BUNDLE __TEXT(__text __info_plist) __DATA(__data) __RESTRICT(__restrict) __LINKEDIT; " +
				"LC_SYMTAB LC_DYSYMTAB LC_ENCRYPTION_INFO_64 LC_LOAD_DYLIB LC_LOAD_WEAK_DYLIB LC_REEXPORT_DYLIB LC_LOAD_UPWARD_DYLIB"},
		{Image{Arch: X86_64, Kind: Object, Commands: []Command{{0x2d, make([]byte, 8)}}}, "CpuAmd64 0x3 MH_OBJECT (__text); LC_BUILD_VERSION LC_SYMTAB LC_LINKER_OPTION"},
		{Image{Libraries: []Library{}, Commands: []Command{{0x27, []byte("\x0c\x00\x00\x00A=b\x00")}}}, // LC_DYLD_ENVIRONMENT
			"CpuArm64 0x0 MH_EXECUTE __PAGEZERO __TEXT(__text) __DATA(__data) __LINKEDIT; LC_SYMTAB LC_DYSYMTAB LC_LOAD_DYLINKER LC_UUID LC_BUILD_VERSION LC_MAIN LC_DYLD_ENVIRONMENT"},
	} {
		b := tt.image.Bytes()
		if !bytes.Equal(b, tt.image.Bytes()) {
			t.Errorf("%+v gives other bytes the second time", tt.image)
		}
		f, err := macho.NewFile(bytes.NewReader(b))
		if err != nil {
			t.Errorf("%+v: %v", tt.image, err)
			continue
		}
		got := fmt.Sprintf("%v %#x", f.Cpu, f.SubCpu)
		g, err := other.NewFile(bytes.NewReader(b))
		if err != nil {
			t.Errorf("%+v: go-macho: %v", tt.image, err)
			continue
		}
		got += " MH_" + strings.ToUpper(strings.Fields(g.Type.String() + " ?")[0])
		var rest []string
		for _, l := range f.Loads {
			if s, ok := l.(*macho.Segment); ok {
				var names []string
				for _, section := range f.Sections {
					if section.Seg == s.Name || s.Name == "" {
						names = append(names, section.Name)
					}
				}
				if got += " " + s.Name; names != nil {
					got += "(" + strings.Join(names, " ") + ")"
				}
			}
		}
		for _, l := range g.Loads {
			if name := l.Command().String(); !strings.HasPrefix(name, "LC_SEGMENT") {
				rest = append(rest, name)
			}
		}
		if diff := cmp.Diff(tt.want, got+"; "+strings.Join(rest, " ")); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

func TestFixups(t *testing.T) {
	pointers := []Pointer{{At: 8, Symbol: "_open"}, {At: 16, Target: 0x4008, High: 0x80}, {At: 0x1000, Symbol: "_close", Addend: 7}, {At: 0x1010, Symbol: "_open"}}
	auth := append([]Pointer{{At: 24, Target: 0x4000, Auth: true, Key: 2, Address: true, Salt: 0x6ae1}, {At: 40, Symbol: "_read", Auth: true}}, pointers...)
	for _, tt := range []struct {
		arch     Arch
		format   uint16
		pointers []Pointer
		want     string
	}{
		{X86_64, Pointer64, pointers, "8 _open+0x0; 16 rebase 0x100004008 high 0x80; 4096 _close+0x7; 4112 _open+0x0"},
		{ARM64, Pointer64Offset, pointers, "8 _open+0x0; 16 rebase 0x4008 high 0x80; 4096 _close+0x7; 4112 _open+0x0"},
		{ARM64e, PointerARM64e, auth, "8 _open+0x0; 16 rebase 0x100004008 high 0x80; 24 auth 0x4000 key 2 salt 0x6ae1 true; 40 auth _read; 4096 _close+0x7; 4112 _open+0x0"},
		{ARM64e, PointerARM64eUserland24, auth, "8 _open+0x0; 16 rebase 0x4008 high 0x80; 24 auth 0x4000 key 2 salt 0x6ae1 true; 40 auth _read; 4096 _close+0x7; 4112 _open+0x0"},
	} {
		b := Image{Arch: tt.arch, Restrict: true, Fixups: &Fixups{tt.format, tt.pointers}}.Bytes()
		f, err := other.NewFile(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		chains, err := f.DyldChainedFixups()
		if err == nil {
			chains, err = chains.Parse()
		}
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		data := f.Segment("__DATA").Offset
		for _, start := range chains.Starts {
			for _, fixup := range start.Fixups {
				at := fixup.Offset() - data
				switch v := fixup.(type) {
				case fixupchains.Auth:
					if b, ok := fixup.(fixupchains.Bind); ok {
						got = append(got, fmt.Sprintf("%d auth %s", at, b.Name()))
						break
					}
					p := fixup.(fixupchains.DyldChainedPtrArm64eAuthRebase)
					got = append(got, fmt.Sprintf("%d auth %#x key %d salt %#x %t", at, p.Target(), p.Key(), p.Diversity(), p.AddrDiv() == 1))
				case fixupchains.Bind:
					got = append(got, fmt.Sprintf("%d %s+%#x", at, v.Name(), v.Addend()))
				case fixupchains.Rebase:
					raw := binary.LittleEndian.Uint64(b[fixup.Offset():])
					got = append(got, fmt.Sprintf("%d rebase %#x high %#x", at, v.Target(), highOf(tt.format, raw)))
				}
			}
		}
		if diff := cmp.Diff(tt.want, strings.Join(got, "; ")); diff != "" {
			t.Errorf("format %d (-want +got):\n%s", tt.format, diff)
		}
	}
}

func highOf(format uint16, raw uint64) uint64 {
	if format == Pointer64 || format == Pointer64Offset {
		return raw >> 36 & 0xff
	}
	return raw >> 43 & 0xff
}
