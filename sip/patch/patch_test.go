package patch

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/codesign"
	"mirrord/codesign/macho"
	"mirrord/codesign/machotest"
)

// tool is where the originals of these tests lie.
const tool = "/opt/shop/bin/tool"

func apply(b []byte, o Options) (Copy, []byte, error) {
	if o.Path == "" {
		o.Path = tool
	}
	var out bytes.Buffer
	c, err := Make(&out, bytes.NewReader(b), int64(len(b)), o)
	return c, out.Bytes(), err
}

// read reads a copy, which has to be thin and rightly signed.
func read(t *testing.T, b []byte) (*macho.Slice, codesign.Slice) {
	t.Helper()
	f, err := macho.Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	r, err := codesign.Verify(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if f.Magic != 0 || !r.Valid() || !r.Slices[0].Signed {
		t.Errorf("magic %#x, faults %+v", f.Magic, r.Slices)
	}
	return f.Slices[0], r.Slices[0]
}

func library(paths ...string) (all []machotest.Library) {
	for _, path := range paths {
		all = append(all, machotest.Library{Path: path})
	}
	return all
}

const plist = `<?xml version="1.0" encoding="UTF-8"?><!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd"><plist version="1.0">`

// hardened is what Apple's own programs and those of companies are signed with.
var hardened = machotest.Signature{Flags: machotest.FlagRuntime | machotest.FlagLibraryValidation | machotest.FlagRestrict, Team: "TEAM123456", Platform: 16, PageShift: 14,
	Entitlements: plist + "<dict><key>com.apple.private.a</key><true/></dict></plist>", DER: machotest.DER(map[string]any{"com.apple.private.a": true}),
	Constraints: map[uint32][]byte{machotest.SlotSelf: machotest.DER(map[string]any{})}, CMS: []byte("certificates")}

func TestMake(t *testing.T) {
	intel := machotest.Image{Arch: machotest.X86_64, Page: 0x1000}.With(hardened).Bytes()
	arm := machotest.Image{}.With(hardened).Bytes()
	arm64e := machotest.Image{Arch: machotest.ARM64e}.With(hardened).Bytes()
	for name, tt := range map[string]struct {
		file []byte
		arch string
		want string
	}{
		"thin":             {arm, "arm64", "arm64"},
		"unsigned":         {machotest.Image{}.Bytes(), "arm64", "arm64"},
		"of Apple's tools": {machotest.Fat(intel, arm64e), "x86_64", "x86_64"},
		"universal":        {machotest.Fat(intel, arm), "arm64", "arm64"},
		"by itself":        {machotest.Fat(intel, arm, arm64e), "", "arm64"},
		"Intel by itself":  {intel, "", "x86_64"},
		"Haswell":          {machotest.Image{Arch: machotest.X86_64h}.Bytes(), "x86_64", "x86_64h"},
		"Haswell by name":  {machotest.Fat(intel, machotest.Image{Arch: machotest.X86_64h}.Bytes()), "x86_64h", "x86_64h"},
		"not Haswell":      {machotest.Fat(machotest.Image{Arch: machotest.X86_64h}.Bytes(), intel), "x86_64", "x86_64"},
		"v8":               {machotest.Image{Arch: machotest.ARM64v8}.Bytes(), "arm64", "arm64v8"},
		"restricted":       {machotest.Image{Restrict: true}.With(hardened).Bytes(), "arm64", "arm64"},
		"no room at all":   {machotest.Image{NoRoom: true}.With(hardened).Bytes(), "arm64", "arm64"},
	} {
		t.Run(name, func(t *testing.T) {
			c, out, err := apply(tt.file, Options{Arch: tt.arch})
			if err != nil {
				t.Fatal(err)
			}
			s, signature := read(t, out)
			if c.Arch != tt.want || s.Arch.String() != tt.want || c.Paths != nil || c.Restricted != (name == "restricted") {
				t.Errorf("%+v", c)
			}
			if c.Identifier != "mirrord.tool-"+c.Key[:16] || signature.Identifier != c.Identifier || signature.CDHash != c.CDHash || len(c.Key) != 64 {
				t.Errorf("%+v, signed as %s, %s", c, signature.Identifier, signature.CDHash)
			}
			if signature.Flags != 2 || signature.Team != "" || signature.Entitlements != nil || signature.Constraints != nil || signature.Platform != 0 || signature.CMS != 0 {
				t.Errorf("something of the old signature was kept: %+v", signature)
			}
			d := signature.Directories[0]
			if len(signature.Directories) != 1 || d.Hash != "SHA-256" || d.PageSize != 4096 || d.ExecSegment == nil || d.ExecSegment.Flags != 1 {
				t.Errorf("%+v", d)
			}
			for _, seg := range s.Segments {
				for _, section := range seg.Sections {
					if section.Name == "__restrict" {
						t.Error("the section __restrict is still there")
					}
				}
			}
			original, err := macho.Read(bytes.NewReader(tt.file), int64(len(tt.file)))
			if err != nil {
				t.Fatal(err)
			}
			from := original.Slices[slices.IndexFunc(original.Slices, func(s *macho.Slice) bool { return s.Arch.String() == tt.want })]
			checkContent(t, from, s)

			if again, twice, err := apply(tt.file, Options{Arch: tt.arch}); err != nil || !cmp.Equal(again, c) || !bytes.Equal(twice, out) {
				t.Errorf("another copy of the same: %+v, %v", again, err)
			}
			other, _, err := apply(tt.file, Options{Arch: tt.arch, Path: "/usr/bin/tool"})
			if err != nil || other.Key == c.Key || other.Identifier == c.Identifier {
				t.Errorf("the same key for another original: %v", err)
			}
			if again, twice, err := apply(out, Options{}); err != nil || again.Identifier != c.Identifier || !bytes.Equal(twice, out) {
				t.Errorf("another copy of the copy: %+v, %v", again, err)
			}
		})
	}
}

// checkContent makes sure that nothing but headers and signature differs.
func checkContent(t *testing.T, from, to *macho.Slice) {
	t.Helper()
	end := func(s *macho.Slice) int64 {
		if s.Signature == nil {
			return s.Size
		}
		return int64(s.Signature.Offset)
	}
	at := max(len(from.Head), len(to.Head))
	old, new := make([]byte, end(from)), make([]byte, end(to))
	if err := errors.Join(from.ReadFull(old, 0), to.ReadFull(new, 0)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(old[at:], new[at:len(old)]) || len(bytes.Trim(new[len(old):], "\x00")) > 0 {
		t.Error("the copy's content is another")
	}
	seg := to.Segment("__LINKEDIT")
	if sig := to.Signature; seg.Offset+seg.FileSize != uint64(to.Size) || uint64(sig.Offset)+uint64(sig.Size) != uint64(to.Size) || sig.Offset%16 != 0 || seg.VMSize < seg.FileSize || seg.VMSize%0x1000 != 0 {
		t.Errorf("%+v and signature %+v do not end at %d", seg, sig, to.Size)
	}
	var segments [2][]string
	for i, s := range []*macho.Slice{from, to} {
		for _, seg := range s.Segments {
			segments[i] = append(segments[i], seg.Name)
		}
	}
	if diff := cmp.Diff(segments[0], segments[1]); diff != "" {
		t.Error(diff)
	}
}

func TestPaths(t *testing.T) {
	environment := func(text string) machotest.Command {
		body := append([]byte{12, 0, 0, 0}, text...)
		return machotest.Command{Kind: macho.LCDyldEnvironment, Body: append(body, make([]byte, 8-len(body)%8)...)}
	}
	image := machotest.Image{
		Libraries: append(library("@executable_path/../lib/a.dylib", "/usr/lib/libSystem.B.dylib", "@rpath/b.dylib", "@loader_path/../lib/a.dylib", "/opt/shop/lib/c.dylib",
			"@loader_path/../lib/c.dylib", "d.dylib", "./@x/e.dylib", "@loader_path/../../../../f.dylib", "@loader_pathology/g.dylib"),
			machotest.Library{Path: "@loader_path/w.dylib", Kind: machotest.LoadWeakDylib}, machotest.Library{Path: "@loader_path//./../r/../r.dylib", Kind: machotest.ReexportDylib},
			machotest.Library{Path: "@loader_path/u.dylib", Kind: machotest.LoadUpwardDylib}),
		Rpaths:   []string{"@executable_path/../Frameworks", "@loader_path/../Frameworks", "/usr/lib/swift", "@loader_path", "plugins", "@executable_path/.", "/opt/shop/Frameworks", "/usr/lib/swift", "@loader_path/.."},
		Commands: []machotest.Command{environment("DYLD_FRAMEWORK_PATH=@executable_path/../F:/G:here:@loader_path"), environment("NONE")},
	}
	c, out, err := apply(image.With(hardened).Bytes(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, _ := read(t, out)
	want := []string{"/opt/shop/lib/a.dylib", "/usr/lib/libSystem.B.dylib", "@rpath/b.dylib", "/opt/shop/lib//a.dylib", "/opt/shop/lib/c.dylib", "/opt/shop/lib//c.dylib",
		"/opt/shop/bin/d.dylib", "/opt/shop/bin/@x/e.dylib", "/f.dylib", "@loader_pathology/g.dylib", "/opt/shop/bin/w.dylib", "/opt/shop/r/../r.dylib", "/opt/shop/bin/u.dylib"}
	if diff := cmp.Diff(want, s.Libraries()); diff != "" {
		t.Errorf("libraries: -want +got:\n%s", diff)
	}
	texts := map[uint32][]string{}
	for _, n := range s.Names {
		texts[n.Kind] = append(texts[n.Kind], n.Text)
		if len(s.Commands[n.Command].Data)%8 != 0 {
			t.Errorf("%q: a load command of %d bytes", n.Text, len(s.Commands[n.Command].Data))
		}
	}
	if diff := cmp.Diff([]string{"/opt/shop/Frameworks", "/usr/lib/swift", "/opt/shop/bin", "/opt/shop/bin/plugins", "/opt/shop"}, texts[macho.LCRPath]); diff != "" {
		t.Errorf("rpaths: -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"DYLD_FRAMEWORK_PATH=/opt/shop/F:/G:here:/opt/shop/bin", "NONE"}, texts[macho.LCDyldEnvironment]); diff != "" {
		t.Errorf("environment: -want +got:\n%s", diff)
	}
	if c.Paths[0] != (Path{From: "@executable_path/../lib/a.dylib", To: "/opt/shop/lib/a.dylib"}) || len(c.Paths) != 17 ||
		c.Paths[15] != (Path{Folder: true, From: "@executable_path/../F", To: "/opt/shop/F"}) || !slices.Equal(c.Searched, []string{"b.dylib"}) {
		t.Errorf("%d paths: %+v, %q", len(c.Paths), c.Paths, c.Searched)
	}
	// Kinds and numbers of load commands stay, but for the rpaths left out.
	original, err := macho.Read(bytes.NewReader(image.With(hardened).Bytes()), int64(len(image.With(hardened).Bytes())))
	if err != nil {
		t.Fatal(err)
	}
	kinds := func(s *macho.Slice) (all []uint32) {
		for _, c := range s.Commands {
			if c.Kind != macho.LCRPath {
				all = append(all, c.Kind)
			}
		}
		return all
	}
	if diff := cmp.Diff(kinds(original.Slices[0]), kinds(s)); diff != "" {
		t.Error(diff)
	}
	checkContent(t, original.Slices[0], s)

	// In another folder it is another copy; a folder like the original's needs none of it.
	if elsewhere, _, err := apply(image.Bytes(), Options{Path: "/tool"}); err != nil || elsewhere.Paths[0].To != "/lib/a.dylib" {
		t.Errorf("%+v, %v", elsewhere.Paths, err)
	}
	kept, out, err := apply(image.Bytes(), Options{KeepPaths: true})
	if err != nil || !cmp.Equal(kept.Paths, c.Paths) {
		t.Fatalf("%+v, %v", kept, err)
	}
	s, _ = read(t, out)
	if diff := cmp.Diff(original.Slices[0].Names, s.Names); diff != "" {
		t.Error(diff)
	}
}

// Without room for longer paths nothing is written; shorter ones need none.
func TestNoRoom(t *testing.T) {
	image := machotest.Image{NoRoom: true, Libraries: library("@executable_path/../lib/a.dylib")}
	edge := machotest.Image{Libraries: library("@executable_path/a.dylib")}.Bytes() // unsigned: LC_CODE_SIGNATURE takes 16 bytes
	f, err := macho.Read(bytes.NewReader(edge), int64(len(edge)))
	if err != nil {
		t.Fatal(err)
	}
	room, err := f.Slices[0].Room()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		file []byte
		path string
		want error
	}{
		"longer":             {image.With(hardened).Bytes(), "/opt/a/long/way/down/from/here/to/there/tool", ErrNoRoom},
		"shorter":            {image.With(hardened).Bytes(), "/bin/tool", nil},
		"longer, unsigned":   {image.Bytes(), "/opt/a/long/way/down/from/here/to/there/tool", ErrNoRoom},
		"shorter, unsigned":  {image.Bytes(), "/bin/tool", nil}, // what is saved is enough for LC_CODE_SIGNATURE
		"as long, unsigned":  {image.Bytes(), "/abcdefgh/bin/tool", codesign.ErrNoRoom},
		"nothing, unsigned":  {machotest.Image{NoRoom: true}.Bytes(), tool, codesign.ErrNoRoom},
		"64 bytes are there": {machotest.Image{Libraries: library("@executable_path/" + strings.Repeat("x", 3000))}.Bytes(), "/opt/shop/bin/" + strings.Repeat("y", 90) + "/tool", nil},
		"8 bytes are left":   {edge, "/" + strings.Repeat("y", int(room)-8) + strings.Repeat("x", len("@executable_path")-1) + "/tool", ErrNoRoom},
		"16 bytes are left":  {edge, "/" + strings.Repeat("y", int(room)-16) + strings.Repeat("x", len("@executable_path")-1) + "/tool", nil},
	} {
		c, out, err := apply(tt.file, Options{Path: tt.path})
		if !errors.Is(err, tt.want) || tt.want != nil && len(out) > 0 {
			t.Errorf("%s: %d bytes, %+v, %v", name, len(out), c, err)
		}
		if refused := (*RefusedError)(nil); tt.want != nil && !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
		if tt.want == nil && err == nil {
			read(t, out)
		}
		if _, out, err := apply(tt.file, Options{Path: tt.path, KeepPaths: true}); tt.want == ErrNoRoom && name == "longer" {
			if err != nil {
				t.Errorf("%s: with its paths: %v", name, err)
			}
			read(t, out)
		}
	}
}

func TestRefused(t *testing.T) {
	arm := machotest.Image{}.Bytes()
	bogus := machotest.Fat(arm, machotest.Image{Arch: machotest.X86_64}.Bytes())
	bogus[8+3] = 5
	unknown := machotest.Image{Arch: machotest.Arch{CPU: 0x1000005, Subtype: 3}}.Bytes()
	x1 := machotest.Image{Arch: machotest.ARM64eX1}.Bytes()
	arm64e := machotest.Image{Arch: machotest.ARM64e}.Bytes()
	big := append([]byte{0xfe, 0xed, 0xfa, 0xcf, 1, 0, 0, 7, 0, 0, 0, 3, 0, 0, 0, 2}, make([]byte, 100)...)
	for name, tt := range map[string]struct {
		file []byte
		arch string
		want string
	}{
		"arm64e":            {arm64e, "", "its arm64e slice cannot be copied: arm64e programs run"},
		"arm64e by name":    {arm64e, "arm64e", "its arm64e slice cannot be copied: arm64e programs run"},
		"arm64e and Intel":  {machotest.Fat(machotest.Image{Arch: machotest.X86_64}.Bytes(), arm64e), "arm64", "cannot be copied: arm64e programs run as they should only with Apple's own signature (xnu bsd/kern/kern_exec.c, preview ABI)\nhint: its x86_64"},
		"arm64e.x1":         {x1, "arm64", "its arm64e.x1 slice cannot be copied: "},
		"no such slice":     {machotest.Fat(arm, arm64e), "x86_64", "it cannot be copied: it has no x86_64 or x86_64h slice but arm64, arm64e"},
		"no such name":      {arm, "m68k", "it has no m68k slice but arm64"},
		"a library":         {machotest.Image{Kind: machotest.Dylib}.Bytes(), "", "it is no program but a file of kind dylib"},
		"an arm64e library": {machotest.Image{Arch: machotest.ARM64e, Kind: machotest.Dylib}.Bytes(), "", "it is no program but a file of kind dylib"},
		"a bundle":          {machotest.Image{Kind: machotest.Bundle}.Bytes(), "", "it is no program but a file of kind bundle"},
		"an object":         {machotest.Image{Kind: machotest.Object}.Bytes(), "", "it is no program but a file of kind object"},
		"a core":            {machotest.Image{Kind: 4}.Bytes(), "", "it is no program but a file of kind core"},
		"encrypted":         {machotest.Image{Encrypted: true}.Bytes(), "", "it is encrypted"},
		"Catalyst":          {machotest.Image{Build: machotest.Build{Platform: macho.PlatformMacCatalyst}}.Bytes(), "", "it is built for Mac Catalyst"},
		"iOS":               {machotest.Image{Build: machotest.Build{Platform: macho.PlatformIOS}}.Bytes(), "", "it is built for iOS"},
		"a simulator":       {machotest.Image{Build: machotest.Build{Platform: 7}}.Bytes(), "", "it is built for platform 7"},
		"fat header":        {bogus, "arm64", "the fat header calls it cpu 0x1000005/0x0, and the kernel runs no such file"},
		"unknown":           {unknown, "", "slice but cpu 0x1000005/0x3"},
		"big-endian":        {big, "", "big-endian"},
		"trailing":          {machotest.Image{Trailing: 100}.Bytes(), "", "100 bytes follow segment __LINKEDIT"},
		"cut off":           {arm[:len(arm)/2], "", "is not within the file"},
	} {
		c, out, err := apply(tt.file, Options{Arch: tt.arch})
		refused := (*RefusedError)(nil)
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), tt.want) || len(out) > 0 || c.Key != "" {
			t.Errorf("%s: %d bytes, %v", name, len(out), err)
		}
	}
	for _, text := range []string{"", "#!/bin/sh\n", "\x7fELF"} {
		if _, _, err := apply([]byte(text), Options{}); !errors.Is(err, macho.ErrNotMachO) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, _, err := apply(arm[:100], Options{}); !errors.As(err, new(*macho.FormatError)) {
		t.Errorf("only a header: %v", err)
	}
	broken := machotest.Fat(arm, machotest.Image{Arch: machotest.X86_64}.Bytes())
	if _, _, err := apply(broken[:0x6000], Options{Arch: "x86_64"}); !errors.As(err, new(*macho.FormatError)) {
		t.Errorf("only a header: %v", err)
	}
	for _, path := range []string{"tool", "./tool", "/a\x00b"} {
		if _, out, err := apply(arm, Options{Path: path}); err == nil || len(out) > 0 {
			t.Errorf("%q is taken for a path", path)
		}
	}
	if _, err := Make(full{}, bytes.NewReader(arm), int64(len(arm)), Options{Path: tool}); !errors.Is(err, errFull) {
		t.Errorf("a writer that fails: %v", err)
	}
}

var errFull = errors.New("full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func FuzzMake(f *testing.F) {
	for _, image := range []machotest.Image{
		{}, {Arch: machotest.X86_64, Restrict: true}, {Arch: machotest.ARM64e}, {NoRoom: true, Rpaths: []string{"@loader_path"}},
		{Libraries: library("@executable_path/../lib/a.dylib", "@loader_path/../lib/a.dylib", "b"), Rpaths: []string{"@loader_path/..", "@executable_path/..", "x"}},
	} {
		image.Page, image.Code = 0x400, 1
		f.Add(image.Bytes(), tool, false)
		f.Add(image.With(hardened).Bytes(), "/a", true)
	}
	f.Add(machotest.Fat(machotest.Image{Page: 0x400, Code: 1}.Bytes(), machotest.Image{Arch: machotest.X86_64, Page: 0x400, Code: 1}.Bytes()), tool, false)
	f.Fuzz(func(t *testing.T, b []byte, path string, keep bool) {
		if len(b) > 1<<20 || !strings.HasPrefix(path, "/") || len(path) > 4096 {
			return
		}
		var out bytes.Buffer
		c, err := Make(&out, bytes.NewReader(b), int64(len(b)), Options{Path: path, KeepPaths: keep})
		if err != nil {
			return
		}
		s, signature := read(t, out.Bytes())
		if signature.Identifier != c.Identifier || signature.CDHash != c.CDHash || s.Type != macho.Execute {
			t.Errorf("%+v signed as %+v", c, signature)
		}
		rpaths := map[string]bool{}
		for _, n := range s.Names {
			if _, relative := absolute(n.Text, "/"); relative && !keep && (n.Kind == macho.LCRPath || n.Kind == macho.LCLoadDylib) {
				t.Errorf("%q is relative", n.Text)
			}
			if n.Kind == macho.LCRPath && rpaths[n.Text] && !keep {
				t.Errorf("rpath %q is there twice", n.Text)
			}
			rpaths[n.Text] = n.Kind == macho.LCRPath || rpaths[n.Text]
		}
		if _, err := Make(io.Discard, bytes.NewReader(out.Bytes()), int64(out.Len()), Options{Path: path}); err != nil && !errors.Is(err, ErrNoRoom) {
			t.Errorf("the copy cannot be copied: %v", err)
		}
	})
}
