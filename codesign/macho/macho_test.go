package macho

import (
	"bytes"
	stdmacho "debug/macho"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// command makes a load command.
func command(order binary.AppendByteOrder, kind uint32, body ...any) []byte {
	var b []byte
	for _, v := range body {
		switch v := v.(type) {
		case int:
			b = order.AppendUint32(b, uint32(v))
		case int64:
			b = order.AppendUint64(b, uint64(v))
		case string:
			b = append(b, v...)
		}
	}
	return append(order.AppendUint32(order.AppendUint32(nil, kind), uint32(8+len(b))), b...)
}

// thin makes a file of the commands, then room zero bytes, then content.
func thin(a Arch, room int, content string, commands ...[]byte) []byte {
	le, all := binary.LittleEndian, slices.Concat(commands...)
	var b []byte
	for _, v := range []uint32{Magic64, a.CPU, a.Subtype, uint32(Execute), uint32(len(commands)), uint32(len(all)), 0x200085, 0} {
		b = le.AppendUint32(b, v)
	}
	return append(append(append(b, all...), make([]byte, room)...), content...)
}

func fat(magic uint32, slices ...[]byte) []byte {
	be := binary.BigEndian
	b := be.AppendUint32(be.AppendUint32(nil, magic), uint32(len(slices)))
	at := 0x400
	for _, s := range slices {
		b = append(b, s[7], s[6], s[5], s[4], s[11], s[10], s[9], s[8])
		if magic == MagicFat64 {
			b = be.AppendUint64(be.AppendUint64(be.AppendUint64(b, uint64(at)), uint64(len(s))), 10<<32)
		} else {
			b = be.AppendUint32(be.AppendUint32(be.AppendUint32(b, uint32(at)), uint32(len(s))), 10)
		}
		at += 0x400
	}
	for i, s := range slices {
		b = append(append(b, make([]byte, 0x400*(i+1)-len(b))...), s...)
	}
	return b
}

var (
	le      = binary.LittleEndian
	section = "__text\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00__TEXT\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	program = thin(ARM64e, 40, "code",
		command(le, LCSegment64, "__TEXT\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", int64(1<<32), int64(0x4000), int64(0), int64(0x300), 5, 5, 1, 0,
			section, int64(1<<32+0x300), int64(4), 32+152+49+24+32+24+24+16+40, 0, 0, 0, 0, 0, 0, 0),
		command(le, LCLoadDylib, 24, 2, 0x10000, 0x10000, "/usr/lib/libSystem.B.dyl\x00"), // 49 bytes are unusual, and fine
		command(le, LCUUID, "0123456789abcdef"),
		command(le, LCBuildVersion, 1, 12<<16, 15<<16|4<<8|1, 0, 0, 0),
		command(le, LCRPath, 12, "@loader_pat\x00"),
		command(le, LCLoadDylinker, 12, "/usr/lib/dyl"), // without an end
		command(le, LCCodeSignature, 0x300, 4),
	)
)

func readOne(t *testing.T, b []byte) *Slice {
	t.Helper()
	f, err := Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return f.Slices[0]
}

func TestRead(t *testing.T) {
	s := readOne(t, program)
	if got := s.Arch.String(); got != "arm64e" || s.Type != Execute || s.Flags != 0x200085 || !s.Wide {
		t.Errorf("%s %s %#x", got, s.Type, s.Flags)
	}
	if diff := cmp.Diff([]Build{{PlatformMacOS, 12 << 16, 15<<16 | 4<<8 | 1}}, s.Builds); diff != "" || s.Builds[0].MinOS.String() != "12.0" || s.Builds[0].SDK.String() != "15.4.1" {
		t.Error(diff, s.Builds)
	}
	if id, ok := s.UUID(); !ok || string(id[:]) != "0123456789abcdef" {
		t.Errorf("%q %v", id, ok)
	}
	if diff := cmp.Diff([]string{"/usr/lib/libSystem.B.dyl"}, s.Libraries()); diff != "" {
		t.Error(diff)
	}
	for _, n := range s.Names {
		if c := s.Commands[n.Command]; c.Kind != n.Kind || n.Offset+int64(n.Room) != c.Offset+int64(len(c.Data)) || !bytes.HasPrefix(program[n.Offset:], []byte(n.Text)) {
			t.Errorf("%+v of %+v", n, c)
		}
	}
	if len(s.Names) != 3 || s.Names[2].Text != "/usr/lib/dyl" {
		t.Errorf("%+v", s.Names)
	}
	for _, c := range s.Commands {
		if !bytes.Equal(program[c.Offset:][:len(c.Data)], c.Data) || !bytes.Equal(s.Head[c.Offset:][:len(c.Data)], c.Data) {
			t.Errorf("command %#x is not at byte %d", c.Kind, c.Offset)
		}
	}
	if s.Used != int64(len(s.Head)) || s.Signature == nil || s.Commands[s.Signature.Command].Kind != LCCodeSignature || s.Encrypted {
		t.Errorf("%d %+v %v", s.Used, s.Signature, s.Encrypted)
	}
	seg := s.Segment("__TEXT")
	if diff := cmp.Diff(&Segment{Name: "__TEXT", Address: 1 << 32, VMSize: 0x4000, FileSize: 0x300,
		Sections: []Section{{Name: "__text", Segment: "__TEXT", Offset: uint32(len(program) - 4), Size: 4}}}, seg); diff != "" {
		t.Error(diff)
	}
}

// Room ends at content, and at what is not zero.
func TestRoom(t *testing.T) {
	room := func(change func(b []byte) []byte) int64 {
		t.Helper()
		n, err := readOne(t, change(bytes.Clone(program))).Room()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	head := len(program) - 44
	for name, tt := range map[string]struct {
		want   int64
		change func(b []byte) []byte
	}{
		"zeros up to the code":      {40, func(b []byte) []byte { return b }},
		"something before the code": {7, func(b []byte) []byte { b[head+7] = 1; return b }},
		"the code begins at once":   {0, func(b []byte) []byte { le.PutUint32(b[32+72+48:], uint32(head)); return b }},
		"the code is in the head":   {0, func(b []byte) []byte { le.PutUint32(b[32+72+48:], uint32(head-4)); return b }},
		"the signature comes first": {8, func(b []byte) []byte { le.PutUint32(b[head-8:], uint32(head+8)); return b }},
		"no bytes of a section": {40, func(b []byte) []byte {
			b[32+72+64] = sectionZeroFill
			le.PutUint32(b[32+72+48:], uint32(head))
			return b
		}},
		"the file ends": {5, func(b []byte) []byte { return b[:head+5] }},
	} {
		if got := room(tt.change); got != tt.want {
			t.Errorf("%s: %d bytes, want %d", name, got, tt.want)
		}
	}
}

func TestArchNames(t *testing.T) {
	for name, a := range Archs() {
		if a.String() != name {
			t.Errorf("%s is %s", name, a)
		}
	}
	for a, want := range map[Arch]string{
		{CPUX86_64, 0x80000003}: "x86_64", // LIB64, as old linkers write for programs
		{CPUARM64, 0xc0000002}:  "arm64e", // the kernel's own ABI
		{18, 10}:                "cpu 0x12/0xa",
	} {
		if got := a.String(); got != want {
			t.Errorf("%#v is %s, want %s", a, got, want)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	other := thin(X86_64, 0, "")
	cut := fat(MagicFat, other, program)
	overlap := fat(MagicFat, other, program)
	binary.BigEndian.PutUint32(overlap[8+20+8:], 0x400)
	for name, tt := range map[string]struct {
		file []byte
		want string // of the last slice, or of the whole
	}{
		"empty":             {nil, "not a Mach-O file"},
		"a class of Java":   {[]byte("\xca\xfe\xba\xbe\x00\x00\x00\x41\x00\x1d"), "not a Mach-O file"},
		"a text":            {[]byte("#!/bin/sh\necho"), "not a Mach-O file"},
		"no slices":         {[]byte("\xca\xfe\xba\xbe\x00\x00\x00\x00"), "malformed at byte 4: a fat file without slices"},
		"cut off":           {cut[:0x800+100], "malformed at byte 28: slice 1 (bytes 2048 to 2445) is not within the file of 2148 bytes"},
		"overlap":           {overlap, "malformed at byte 1024: slice 1 overlaps slice 0"},
		"commands cut off":  {program[:300], "malformed at byte 20: 321 bytes of load commands in a file of 300"},
		"a name outside":    {thin(ARM64, 0, "", command(le, LCRPath, 17, "abcd")), "malformed at byte 32: load command 0: its name at byte 17 is not within its 16 bytes"},
		"a name cut off":    {thin(ARM64, 0, "", command(le, LCRPath)), "malformed at byte 32: load command 0: it is cut off"},
		"two signatures":    {thin(ARM64, 0, "", command(le, LCCodeSignature, 0, 0), command(le, LCCodeSignature, 0, 0)), "malformed at byte 48: load command 1: a second"},
		"a command of none": {thin(ARM64, 0, "", []byte{1, 0, 0, 0, 0, 0, 0, 0}), "malformed at byte 32: load command 0 has 0 bytes"},
		"too many commands": {thin(ARM64, 0, "", slices.Repeat([][]byte{command(le, 99)}, maxCount+1)...), "malformed at byte 16: 16385 load commands"},
	} {
		f, err := Read(bytes.NewReader(tt.file), int64(len(tt.file)))
		if err == nil {
			err = f.Slices[len(f.Slices)-1].Err
		}
		var format *FormatError
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) || !errors.Is(err, ErrNotMachO) && !errors.As(err, &format) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Go's own reader sees the same in every sample.
func TestReadSamples(t *testing.T) {
	root := os.Getenv("MIRRORD_SAMPLES")
	if root == "" {
		t.Skip("MIRRORD_SAMPLES does not name a folder of programs for macOS")
	}
	compared := 0
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.Name() == "malformed":
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return err
		}
		f, err := Read(file, info.Size())
		if errors.Is(err, ErrNotMachO) {
			return nil
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return nil
		}
		for _, s := range f.Slices {
			if s.Err != nil {
				t.Errorf("%s: %v", name, s.Err)
				continue
			}
			theirs, err := stdmacho.NewFile(s)
			if err != nil {
				t.Logf("%s: %v", name, err)
				continue
			}
			libraries, _ := theirs.ImportedLibraries()
			var sections []string
			for _, seg := range s.Segments {
				for _, sec := range seg.Sections {
					sections = append(sections, sec.Segment+" "+sec.Name)
				}
			}
			var wanted []string
			for _, sec := range theirs.Sections {
				wanted = append(wanted, sec.Seg+" "+sec.Name)
			}
			var required []string // theirs has only LC_LOAD_DYLIB
			for _, n := range s.Names {
				if n.Kind == LCLoadDylib {
					required = append(required, n.Text)
				}
			}
			if diff := cmp.Diff([]any{uint32(theirs.Cpu), theirs.SubCpu, len(theirs.Loads), libraries, wanted},
				[]any{s.Arch.CPU, s.Arch.Subtype, len(s.Commands), required, sections}); diff != "" {
				t.Errorf("%s %s: %s", name, s.Arch, diff)
			}
			compared++
		}
		return nil
	})
	if err != nil || compared == 0 {
		t.Fatal(err, compared)
	}
	t.Logf("%d slices", compared)
}

// FuzzRead: any bytes are a file or an error, and what is said of them can be asked for.
func FuzzRead(f *testing.F) {
	for _, seed := range [][]byte{program, thin(X86_64, 8, "x"), fat(MagicFat, program, thin(X86_64, 0, "")), fat(MagicFat64, program), []byte("\xca\xfe\xba\xbe\x00\x00\x00\x41")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Read(bytes.NewReader(b), int64(len(b)))
		if (file == nil) != (err != nil) || err == nil && len(file.Slices) == 0 {
			t.Fatalf("%+v %v", file, err)
		}
		if err != nil {
			return
		}
		for _, s := range file.Slices {
			if s.Err != nil {
				continue
			}
			for _, n := range s.Names {
				if n.Offset+int64(n.Room) > int64(len(s.Head)) || len(n.Text) > n.Room {
					t.Fatalf("%+v in a head of %d", n, len(s.Head))
				}
			}
			if room, err := s.Room(); err != nil || int64(len(s.Head))+room > s.Size {
				t.Fatal(room, err)
			}
			s.UUID()
			s.Libraries()
		}
	})
}
