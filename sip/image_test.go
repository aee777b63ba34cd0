package sip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mirrord/codesign/macho"
	"mirrord/codesign/machotest"
	"mirrord/sip/siptest"
)

// TestImagesOfBytes: every program that a golden description has, made real, reads as it is described.
func TestImagesOfBytes(t *testing.T) {
	files, err := filepath.Glob("testdata/mac*.yaml")
	if err != nil || files == nil {
		t.Fatal(files, err)
	}
	compared := 0
	for _, name := range files {
		described, err := ReadHost(name)
		if err != nil {
			t.Fatal(err)
		}
		made, err := ReadHost(siptest.Mac(t, name))
		if err != nil {
			t.Fatal(err)
		}
		for path, e := range described.entries {
			if e.image == nil {
				continue
			}
			f := &file{}
			if errno := readNamed(f, made.entries[path].onDisk); errno != 0 || f.image == nil {
				t.Errorf("%s: %s: %v %+v", name, path, errno, f.fault)
				continue
			}
			if diff := cmp.Diff(e.image, f.image, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: %s (-described +read):\n%s", name, path, diff)
			}
			compared++
		}
	}
	if compared < 100 {
		t.Errorf("only %d programs", compared)
	}
}

func readImage(b []byte) (*Image, error) { return ReadImage(bytes.NewReader(b), int64(len(b))) }

// TestReadImage has what descriptions cannot say.
func TestReadImage(t *testing.T) {
	yes, no := map[string]any{"a": true, "b": []any{"x"}}, map[string]any{"a": false}
	signed := func(s machotest.Signature) []byte { return machotest.Image{}.With(s).Bytes() }
	for _, tt := range []struct {
		name string
		file []byte
		want map[string]bool
	}{
		{"a list is no grant", signed(machotest.Signature{Entitlements: machotest.XML(yes)}), map[string]bool{"a": true, "b": false}},
		{"false", signed(machotest.Signature{Entitlements: machotest.XML(no)}), map[string]bool{"a": false}},
		{"DER counts", signed(machotest.Signature{Entitlements: machotest.XML(yes), DER: machotest.DER(no)}), map[string]bool{"a": false}},
		{"only DER", signed(machotest.Signature{DER: machotest.DER(no)}), map[string]bool{"a": false}},
		{"none", signed(machotest.LinkerSigned), nil},
	} {
		image, err := readImage(tt.file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, image.Slices[0].Entitlements); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
	image, err := readImage(machotest.Image{Build: machotest.Build{None: true}}.Bytes())
	if err != nil || !image.Slices[0].Unsigned || image.Slices[0].Platform != macho.PlatformMacOS {
		t.Errorf("unsigned, without a platform: %+v, %v", image, err)
	}
	// A signature whose CodeDirectory cannot be read is none for the kernel.
	broken := signed(machotest.Signature{Flags: FlagRuntime})
	binary.BigEndian.PutUint32(broken[bytes.Index(broken, []byte{0xfa, 0xde, 0x0c, 0x02})+8:], 0x99999)
	if image, err := readImage(broken); err != nil || !image.Slices[0].Unsigned || image.Slices[0].Flags != 0 {
		t.Errorf("a broken signature: %+v, %v", image, err)
	}
}

// metered counts the bytes that are read.
type metered struct {
	*bytes.Reader
	n int
}

func (c *metered) ReadAt(b []byte, off int64) (int, error) {
	c.n += len(b)
	return c.Reader.ReadAt(b, off)
}

// TestReadImageIsCheap: the work is that of the headers and the signature, 32 bytes for each page of 4 KiB.
func TestReadImageIsCheap(t *testing.T) {
	b := machotest.Image{Code: 16 << 20}.With(machotest.Signature{}).Bytes()
	r := &metered{Reader: bytes.NewReader(b)}
	if _, err := ReadImage(r, int64(len(b))); err != nil || r.n > len(b)/100 {
		t.Errorf("%d of %d bytes, %v", r.n, len(b), err)
	}
}

// TestReadImageRefuses has the files that the kernel does not execute.
func TestReadImageRefuses(t *testing.T) {
	intel, arm := machotest.Image{Arch: machotest.X86_64}.Bytes(), machotest.Image{}.With(machotest.Signature{}).Bytes()
	other := bytes.Clone(machotest.Fat(intel, arm)) // the header says arm64e, the slice arm64
	binary.BigEndian.PutUint32(other[8+20+4:], macho.ARM64e.Subtype)
	overlap := machotest.Fat(intel, arm)
	copy(overlap[8+20+8:], overlap[8+8:8+12])
	beyond := machotest.Fat(intel, arm)
	binary.BigEndian.PutUint32(beyond[8+20+12:], 1<<30)
	script := machotest.Fat(intel, append([]byte("#!/b\x0c\x00\x00\x01\x00\x00\x00\x00"), make([]byte, 100)...))
	binary.BigEndian.PutUint32(script[8+20:], macho.CPUARM64)
	binary.BigEndian.PutUint32(script[8+20+4:], 0)
	for _, tt := range []struct {
		name  string
		file  []byte
		whole string // why the whole is refused
		errno syscall.Errno
		why   string // why the second slice is
	}{
		{"text", []byte("#!/bin/sh\n"), "not a Mach-O file", 0, ""},
		{"cut off", arm[:200], "malformed at byte 20: ", 0, ""},
		{"library", machotest.Image{Kind: machotest.Dylib}.Bytes(), "it is no program but a file of kind dylib", 0, ""},
		{"64-bit offsets", machotest.Fat64(intel, arm), "a fat file of 64-bit offsets", 0, ""},
		{"twice", machotest.Fat(arm, intel, arm), "it has two arm64 slices", 0, ""},
		{"overlapping", overlap, "malformed at byte 16384: slice 1 overlaps", 0, ""},
		{"beyond the end", beyond, "malformed at byte 28: slice 1 ", 0, ""},
		{"another subtype", other, "", errBadArch, "bad CPU type: the fat header says arm64e (0x80000002), the slice itself arm64 (0x0)"},
		{"script in it", script, "", syscall.ENOEXEC, "its arm64 slice is not a Mach-O file"},
		{"library in it", machotest.Fat(intel, machotest.Image{Kind: machotest.Bundle}.Bytes()), "", syscall.ENOEXEC, "it is no program but a file of kind bundle"},
	} {
		image, err := readImage(tt.file)
		if tt.whole != "" {
			if image != nil || err == nil || !strings.HasPrefix(err.Error(), tt.whole) {
				t.Errorf("%s: %+v, %v", tt.name, image, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		fault := image.Slices[1].Fault
		if diff := cmp.Diff(&Error{Errno: tt.errno, Why: tt.why}, fault); diff != "" || image.Slices[0].Fault != nil {
			t.Errorf("%s: %s", tt.name, diff)
		}
		// Only who picks it is refused.
		for arch, picked := range map[string]bool{"arm64": true, "x86_64": false} {
			d := describe(t, strings.NewReplacer("arm64", arch, ", rosetta: true", "").Replace(small))
			d.add("/x", &entry{mode: syscall.S_IFREG | 0o755, image: image})
			v := For(d).Decide(Request{Path: "/x", Cwd: "/"})
			if errors.Is(v.Err, tt.errno) != picked || picked && v.Err.Error() != "/x: "+tt.why {
				t.Errorf("%s on %s: %+v", tt.name, arch, v)
			}
		}
	}
}

// FuzzReadImage: any bytes are an image or an error, and every image has a verdict.
func FuzzReadImage(f *testing.F) {
	signed := machotest.Image{Code: 100, Page: 1 << 10, Restrict: true}.With(machotest.Signature{
		Flags: FlagRuntime, Entitlements: machotest.XML(map[string]any{allowDyld: true}), DER: machotest.DER(map[string]any{allowDyld: false}),
	}).Bytes()
	intel := machotest.Image{Arch: machotest.X86_64, Code: 100, Page: 1 << 10}.Bytes()
	for _, seed := range [][]byte{signed, intel, machotest.Fat(intel, signed), machotest.Fat64(intel), []byte("#!/bin/sh\n"), machotest.Image{Kind: machotest.Dylib, Code: 100, Page: 1 << 10}.Bytes()} {
		f.Add(seed)
	}
	d := describe(f, small)
	f.Fuzz(func(t *testing.T, b []byte) {
		image, err := readImage(b)
		if (image == nil) != (err != nil) || err == nil && len(image.Slices) == 0 {
			t.Fatalf("%+v %v", image, err)
		}
		if err != nil {
			return
		}
		d.add("/x", &entry{mode: syscall.S_IFREG | 0o755, image: image})
		if v := For(d).Decide(Request{Path: "/x", Cwd: "/"}); (v.Err == nil) != (v.Kind != Fails) {
			t.Fatalf("%+v", v)
		}
	})
}
