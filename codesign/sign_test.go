package codesign

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/codesign/macho"
	"mirrord/codesign/machotest"
)

func sign(b []byte) ([]byte, error) {
	var out bytes.Buffer
	err := Sign(&out, bytes.NewReader(b), int64(len(b)), Options{Identifier: "mirrord.test"})
	return out.Bytes(), err
}

func TestSign(t *testing.T) {
	entitled := machotest.Signature{Hashes: []uint8{1, 2}, PageShift: 14, Flags: 0x10000, Team: "TEAM123456", Platform: 16, Entitlements: plistHead + "<dict><key>a</key><true/></dict></plist>",
		DER: machotest.DER(map[string]any{"a": true}), Constraints: map[uint32][]byte{machotest.SlotSelf: machotest.DER(map[string]any{})}, CMS: []byte("certificates")}
	signed := func(pages int) string {
		return fmt.Sprintf(" mirrord.test flags=adhoc [0x20400 SHA-256 %d*4096 bad=[] requirements=right]", pages)
	}
	for _, tt := range []struct {
		name string
		file []byte
		want string
	}{
		{"unsigned", x86_64.Bytes(), "x86_64 executable" + signed(13)},
		{"signed", arm64.With(entitled).Bytes(), "arm64 executable" + signed(13)},
		{"linker-signed", arm64.With(machotest.Signature{Flags: 0x20002}).Bytes(), "arm64 executable" + signed(13)},
		{"arm64e dylib", (machotest.Image{Arch: machotest.ARM64e, Kind: machotest.Dylib, Code: 1}).Bytes(), "arm64e dylib" + signed(9)},
		{"large", (machotest.Image{Kind: machotest.Bundle, Code: 3 << 20}).Bytes(), "arm64 bundle" + signed(777)},
		{"no room is needed", (machotest.Image{Arch: machotest.X86_64, NoRoom: true}).With(entitled).Bytes(), "x86_64 executable" + signed(13)},
		{"fat", machotest.Fat(x86_64.Bytes(), arm64e.With(entitled).Bytes()), "x86_64 executable" + signed(13) + "\narm64e executable" + signed(13)},
		{"fat64", machotest.Fat64(arm64.Bytes(), arm64e.With(entitled).Bytes()), "arm64 executable" + signed(13) + "\narm64e executable" + signed(13)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := sign(tt.file)
			if err != nil {
				t.Fatal(err)
			}
			r := verify(t, out)
			if diff := cmp.Diff(tt.want, sketch(r)); diff != "" || !r.Valid() {
				t.Errorf("-want +got:\n%s", diff)
			}
			for _, s := range r.Slices {
				want := ExecSegment{Limit: s.Directories[0].ExecSegment.Limit, Flags: 1}
				if s.Kind != "executable" {
					want.Flags = 0
				}
				if got := *s.Directories[0].ExecSegment; got != want || got.Limit%0x4000 != 0 || got.Limit == 0 {
					t.Errorf("exec segment %+v", got)
				}
			}
			// The same bytes again, also from its own output.
			if again, err := sign(tt.file); err != nil || !bytes.Equal(again, out) {
				t.Errorf("signing twice gives other bytes: %v", err)
			}
			if again, err := sign(out); err != nil || !bytes.Equal(again, out) {
				t.Errorf("signing the copy gives other bytes: %v", err)
			}
			checkSigned(t, tt.file, out)
			for _, flip := range []int{0x5000, len(out) / 2} {
				broken := slices.Clone(out)
				broken[flip] ^= 1
				if r, err := Verify(bytes.NewReader(broken), int64(len(broken))); err == nil && r.Valid() && len(r.Slices) == 1 {
					t.Errorf("a flipped bit at byte %d is not found", flip)
				}
			}
		})
	}
}

// checkCopy says what a signed copy may differ in: the signature, where it is, and the sizes of __LINKEDIT.
func checkCopy(t *testing.T, original, out []byte) {
	t.Helper()
	before, err := macho.Read(bytes.NewReader(original), int64(len(original)))
	if err != nil {
		t.Fatal(err)
	}
	after, err := macho.Read(bytes.NewReader(out), int64(len(out)))
	if err != nil {
		t.Fatal(err)
	}
	if before.Magic != after.Magic || len(before.Slices) != len(after.Slices) {
		t.Fatalf("%x with %d slices became %x with %d", before.Magic, len(before.Slices), after.Magic, len(after.Slices))
	}
	for i, old := range before.Slices {
		now := after.Slices[i]
		if now.Offset&(1<<now.Align-1) != 0 || now.Align != old.Align {
			t.Errorf("slice %d at byte %d, aligned to 2^%d", i, now.Offset, now.Align)
		}
		end := old.Size
		if old.Signature != nil {
			end = int64(old.Signature.Offset)
		}
		a, b := original[old.Offset:][:end], slices.Clone(out[now.Offset:][:end])
		heads := int64(len(old.Head)) + 16
		for _, at := range differences(a[:heads], b[:heads]) {
			linkedit, signature := int(old.Commands[old.Segment("__LINKEDIT").Command].Offset), int(now.Commands[now.Signature.Command].Offset)
			switch {
			case at >= linkedit+32 && at < linkedit+40, at >= linkedit+48 && at < linkedit+56, at >= signature && at < signature+16:
			case old.Signature == nil && at >= 16 && at < 24:
			default:
				t.Errorf("slice %d: byte %d of the header is another", i, at)
			}
		}
		if !bytes.Equal(a[heads:], b[heads:]) {
			t.Errorf("slice %d: its content is another", i)
		}
		if gap := out[now.Offset+end : now.Offset+int64(now.Signature.Offset)]; len(gap) > 15 || len(bytes.Trim(gap, "\x00")) > 0 {
			t.Errorf("slice %d: %x before the signature", i, gap)
		}
		for rule := range dyldRules(now) {
			if !dyldRules(old)[rule] {
				t.Errorf("slice %d: dyld would find a new fault: %s", i, rule)
			}
		}
	}
}

func differences(a, b []byte) (at []int) {
	for i := range a {
		if a[i] != b[i] {
			at = append(at, i)
		}
	}
	return at
}

// dyldRules are what dyld demands of files for the newest SDK, and this file breaks (dyld mach_o/Policy.cpp, UnsafeHeader.cpp).
func dyldRules(s *macho.Slice) map[string]bool {
	broken := map[string]bool{}
	seen := map[string]bool{}
	for _, n := range s.Names {
		if key := fmt.Sprint(n.Kind == macho.LCRPath, n.Text); seen[key] {
			broken["duplicate "+n.Text] = true
		} else {
			seen[key] = true
		}
	}
	_, uuid := s.UUID()
	broken["missing LC_UUID"] = !uuid
	broken["missing LC_LOAD_DYLIB"] = len(s.Libraries()) == 0
	for i, seg := range s.Segments {
		if i > 0 && (seg.Address < s.Segments[i-1].Address+s.Segments[i-1].VMSize) {
			broken["segments out of order"] = true
		}
		if seg.FileSize > seg.VMSize {
			broken["segment "+seg.Name+" has more in the file than in memory"] = true
		}
		if !s.Within(seg.Offset, seg.FileSize) {
			broken["segment "+seg.Name+" is not within the file"] = true
		}
	}
	if sig := s.Signature; sig != nil && (sig.Offset%16 != 0 || uint64(sig.Offset)+uint64(sig.Size) != s.Segment("__LINKEDIT").Offset+s.Segment("__LINKEDIT").FileSize) {
		broken["mis-aligned code signature"] = true
	}
	for rule, is := range broken {
		if !is {
			delete(broken, rule)
		}
	}
	return broken
}

func TestSignRefuses(t *testing.T) {
	change := func(b []byte, f func(b []byte)) []byte {
		f(b)
		return b
	}
	for _, tt := range []struct {
		name   string
		file   []byte
		want   string
		noRoom bool
	}{
		{"no room", (machotest.Image{Arch: machotest.X86_64, NoRoom: true}).Bytes(), "the x86_64 slice cannot be signed: there is no room for LC_CODE_SIGNATURE", true},
		{"something in the gap", change(arm64.Bytes(), func(b []byte) {
			b[0xfff] = 0
			copy(b[32+int(b[20])|int(b[21])<<8:], "note")
			b[32+(int(b[20])|int(b[21])<<8)] = 1
		}), "there is no room", true},
		{"something after the commands", change(arm64.Bytes(), func(b []byte) { b[20] += 8 }), "something follows its 11 load commands", false},
		{"encrypted", (machotest.Image{Encrypted: true}).Bytes(), "the arm64 slice cannot be signed: it is encrypted", false},
		{"object", (machotest.Image{Kind: machotest.Object}).Bytes(), "it is no program or library but a file of kind object", false},
		{"data at the end", (machotest.Image{Trailing: 9}).Bytes(), "9 bytes follow segment __LINKEDIT", false},
		{"no __LINKEDIT", change(arm64.Bytes(), func(b []byte) { b[bytes.Index(b, []byte("__LINKEDIT"))] = '-' }), "it has no segment __LINKEDIT", false},
		{"32 bits", append([]byte{0xce, 0xfa, 0xed, 0xfe, 7, 0, 0, 0, 3, 0, 0, 0, 2}, make([]byte, 100)...), "the i386 slice cannot be signed: no Mac of today", false},
		{"bogus entry", change(machotest.Fat(x86_64.Bytes()), func(b []byte) { b[11] = 5 }), "the x86_64 slice cannot be signed: the fat header calls it cpu 0x1000005/0x3", false},
		{"one slice of two", machotest.Fat(arm64.Bytes(), []byte("something else")), "not a Mach-O file", false},
		{"text", []byte("#!/bin/sh\n"), "not a Mach-O file", false},
	} {
		out, err := sign(tt.file)
		if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, ErrNoRoom) != tt.noRoom || len(out) > 0 {
			t.Errorf("%s: %v, %d bytes", tt.name, err, len(out))
		}
	}
	for _, id := range []string{"", "a\x00b", strings.Repeat("x", 1025)} {
		if err := Sign(&bytes.Buffer{}, bytes.NewReader(arm64.Bytes()), int64(len(arm64.Bytes())), Options{Identifier: id}); err == nil {
			t.Errorf("identifier %.10q is taken", id)
		}
	}
	// A source that shrinks meanwhile, and a disk that is full.
	b := arm64.Bytes()
	if err := Sign(&bytes.Buffer{}, bytes.NewReader(b[:0x4800]), int64(len(b)), Options{Identifier: "x"}); err == nil {
		t.Error("a source that shrinks is no error")
	}
	if err := Sign(full{}, bytes.NewReader(b), int64(len(b)), Options{Identifier: "x"}); !errors.Is(err, errBroken) {
		t.Error(err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errBroken }

// A large program is never in memory.
func TestMemory(t *testing.T) {
	const size = 150 << 20
	large := &sparse{(machotest.Image{Code: 1 << 16}).Bytes(), size}
	large.grow()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	file, err := os.Create(filepath.Join(t.TempDir(), "copy"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := Sign(file, large, size, Options{Identifier: "large"}); err != nil {
		t.Fatal(err)
	}
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	r, err := Verify(file, info.Size())
	runtime.ReadMemStats(&after)
	if err != nil || !r.Valid() {
		t.Errorf("%v %+v", err, r)
	}
	// All that was ever allocated is more than what was held at any time.
	if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
		t.Errorf("%d bytes were allocated", used)
	}
}

// sparse is a program whose __LINKEDIT goes on with zeros.
type sparse struct {
	begin []byte
	size  int64
}

func (s *sparse) grow() {
	f, err := macho.Read(bytes.NewReader(s.begin), int64(len(s.begin)))
	if err != nil {
		panic(err)
	}
	file := f.Slices[0]
	seg := file.Segment("__LINKEDIT")
	file.Order.PutUint64(s.begin[file.Commands[seg.Command].Offset+48:], uint64(s.size)-seg.Offset)
}

func (s *sparse) ReadAt(b []byte, off int64) (int, error) {
	n := 0
	if off < int64(len(s.begin)) {
		n = copy(b, s.begin[off:])
	}
	clear(b[n:])
	return len(b), nil
}

// One slice of a fat file comes out as that file signed alone would, and its identifier may tell its content.
func TestSignSlice(t *testing.T) {
	thin := arm64.Bytes()
	alone, err := sign(thin)
	if err != nil {
		t.Fatal(err)
	}
	fat := machotest.Fat(x86_64.Bytes(), thin)
	f, err := macho.Read(bytes.NewReader(fat), int64(len(fat)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	signed, err := SignSlice(&out, f.Slices[1], Options{Identifier: "mirrord.test"})
	if err != nil || !bytes.Equal(out.Bytes(), alone) {
		t.Errorf("%d bytes, not %d: %v", out.Len(), len(alone), err)
	}
	if s := verify(t, alone).Slices[0]; signed != (Signed{"mirrord.test", s.CDHash}) {
		t.Errorf("%+v, not %s", signed, s.CDHash)
	}

	var content [sha256.Size]byte
	out.Reset()
	signed, err = SignSlice(&out, f.Slices[1], Options{Identifier: "tool-", Digits: func(c [sha256.Size]byte) [16]byte {
		content = c
		return [16]byte([]byte("0123456789abcdef"))
	}})
	if err != nil {
		t.Fatal(err)
	}
	s := verify(t, out.Bytes()).Slices[0]
	if signed != (Signed{"tool-0123456789abcdef", s.CDHash}) || s.Identifier != signed.Identifier {
		t.Errorf("%+v, not %s %s", signed, s.Identifier, s.CDHash)
	}
	pages := sha256.New()
	for code := out.Bytes()[:s.SignatureOffset]; len(code) > 0; code = code[min(4096, len(code)):] {
		sum := sha256.Sum256(code[:min(4096, len(code))])
		pages.Write(sum[:])
	}
	if content != [sha256.Size]byte(pages.Sum(nil)) {
		t.Errorf("another hash of the content: %x", content)
	}

	if _, err := SignSlice(full{}, f.Slices[1], Options{Identifier: "x"}); !errors.Is(err, errBroken) {
		t.Errorf("a writer that fails: %v", err)
	}
	f.Slices[0].Entry.Subtype++
	_, err = SignSlice(&out, f.Slices[0], Options{Identifier: "x"})
	if refused := (*RefusedError)(nil); !errors.As(err, &refused) {
		t.Errorf("a slice that its fat header calls otherwise: %v", err)
	}
}
