// Package patch makes the copy of a macOS program that takes libraries when the program itself does not: one slice, as a thin file, signed ad hoc,
// without the entitlements, team, flags and launch constraints of the original, whose libraries are found from wherever the copy lies.
//
// Sources: dyld dyld/DyldProcessConfig.cpp (what keeps libraries out), dyld/Loader.cpp (how paths are expanded), mach_o/Policy.cpp and
// mach_o/UnsafeHeader.cpp (what load commands have to be like); xnu bsd/kern/kern_exec.c (which slices run).
package patch

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"mirrord/codesign"
	"mirrord/codesign/macho"
)

// Version changes whenever another copy is made of the same program. It is a part of Key.
const Version = "1"

// Options say which copy is made.
type Options struct {
	// Arch is the slice, as lipo names it: "x86_64" and "arm64" also stand for x86_64h and arm64v8 where there is no other. "" is arm64, else x86_64.
	Arch string
	// Path is that of the original, absolute and without symbolic links: what the program loads from beside itself is in its folder.
	Path string
	// KeepPaths leaves relative paths as they are. The copy has to lie in a folder that has what they lead to.
	KeepPaths bool
}

// Copy says what was made.
type Copy struct {
	Arch       string   // of the slice
	Identifier string   // of the signature: mirrord.NAME-DIGITS, the first 16 of Key
	CDHash     string   // 20 bytes, hexadecimal
	Key        string   // SHA-256, hexadecimal: the same for the same copy of the same original, and for no other
	Paths      []Path   // that are relative in the original, in the order of their load commands
	Searched   []string // libraries that are looked for in folders, without @rpath/
	Restricted bool     // the original had a section __RESTRICT,__restrict, which the copy has under another name
}

// Path is one that depended on where the program lies.
type Path struct {
	Folder bool   // where libraries are looked for: LC_RPATH, LC_DYLD_ENVIRONMENT
	From   string // as the original has it
	To     string // absolute
}

// RefusedError is for files of which no copy can be made.
type RefusedError struct {
	Arch string // of the slice, "" when there is none
	Err  error  // the reason, which may be ErrNoRoom
	Hint string // what to do instead, or ""
}

// Error says what cannot be done and why, then what to do.
func (e *RefusedError) Error() string {
	text := "it cannot be copied: " + e.Err.Error()
	if e.Arch != "" {
		text = fmt.Sprintf("its %s slice cannot be copied: %v", e.Arch, e.Err)
	}
	if e.Hint != "" {
		text += "\nhint: " + e.Hint
	}
	return text
}
func (e *RefusedError) Unwrap() error { return e.Err }

// ErrNoRoom is for programs whose header has no room for absolute paths. With KeepPaths there is a copy.
var ErrNoRoom = errors.New("its header has no room for absolute paths")

// Make writes a copy of the program in r, size bytes, to w. The same program and options give the same bytes. The content of the slice is read
// once, and a small part of it is held at a time. The error is macho.ErrNotMachO, a *macho.FormatError, a *RefusedError (before anything is
// written), or what r or w say; then w has a part of a copy.
func Make(w io.Writer, r io.ReaderAt, size int64, o Options) (Copy, error) {
	if !path.IsAbs(o.Path) || strings.Contains(o.Path, "\x00") {
		return Copy{}, fmt.Errorf("%.100q is no absolute path", o.Path)
	}
	f, err := macho.Read(r, size)
	if err != nil {
		return Copy{}, err
	}
	s, err := choose(f, o.Arch)
	if err != nil {
		return Copy{}, err
	}
	c := Copy{Arch: s.Arch.String()}
	head, err := c.rewrite(s, o)
	if err != nil {
		return Copy{}, err
	}
	edited, err := macho.Read(&overlay{s, head}, s.Size)
	if err != nil {
		return Copy{}, err
	}
	signed, err := codesign.SignSlice(w, edited.Slices[0], codesign.Options{
		Copy:       shortcut(w, r, s.Offset),
		Identifier: "mirrord." + identifier(o.Path) + "-",
		Digits: func(content [sha256.Size]byte) [16]byte {
			c.Key = Key(c.Arch, o.Path, content)
			return [16]byte([]byte(c.Key))
		},
	})
	if refused := (*codesign.RefusedError)(nil); errors.As(err, &refused) {
		return Copy{}, &RefusedError{Arch: c.Arch, Err: refused.Err}
	}
	c.Identifier, c.CDHash = signed.Identifier, signed.CDHash
	return c, err
}

// Key is what a copy is known by: its architecture, the original's path and the hash of its content. None of them can pass for another.
func Key(arch, path string, content [sha256.Size]byte) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s %s %q %x", Version, arch, path, content)
	return hex.EncodeToString(h.Sum(nil))
}

// identifier is a program's name as far as it can be a part of an identifier.
func identifier(file string) string {
	name := path.Base(file)
	return name[:min(len(name), 255)]
}

// alternatives are the slices to take for what was asked for, the best first.
var alternatives = map[string][]string{
	"":       {"arm64", "arm64v8", "x86_64", "x86_64h"},
	"arm64":  {"arm64", "arm64v8"},
	"x86_64": {"x86_64", "x86_64h"},
}

// choose gives the slice to copy.
func choose(f *macho.File, arch string) (*macho.Slice, error) {
	want := alternatives[arch]
	if want == nil {
		want = []string{arch}
	}
	var has []string
	for _, s := range f.Slices {
		has = append(has, s.Arch.String())
	}
	for _, name := range want {
		// The slices of arm64e take libraries only with Apple's own signature. This is the place for one that is converted to arm64.
		if i := slices.Index(has, name); i >= 0 && !strings.HasPrefix(name, "arm64e") {
			return f.Slices[i], refuse(f.Slices[i])
		}
	}
	all := strings.Join(has, ", ")
	if i := slices.IndexFunc(has, func(name string) bool { return strings.HasPrefix(name, "arm64e") }); i >= 0 && arch != "x86_64" {
		if err := refuse(f.Slices[i]); err != nil {
			return nil, err
		}
		e := &RefusedError{Arch: has[i], Err: errors.New("arm64e programs run as they should only with Apple's own signature (xnu bsd/kern/kern_exec.c, preview ABI)")}
		if slices.Contains(has, "x86_64") {
			e.Hint = "its x86_64 slice can be copied, and runs where Rosetta is"
		}
		return nil, e
	}
	return nil, &RefusedError{Err: fmt.Errorf("it has no %s slice but %s", strings.Join(want, " or "), all)}
}

// refuse says why a slice cannot be copied, or nil.
func refuse(s *macho.Slice) error {
	wrong := func(format string, args ...any) error {
		return &RefusedError{Arch: s.Arch.String(), Err: fmt.Errorf(format, args...)}
	}
	switch {
	case s.Err != nil:
		return s.Err
	case s.Entry != nil && *s.Entry != s.Arch:
		return wrong("the fat header calls it %s, and the kernel runs no such file", s.Entry)
	case !s.Wide || s.Order != binary.LittleEndian:
		return wrong("no Mac of today runs 32-bit or big-endian programs")
	case s.Used < int64(len(s.Head)):
		return wrong("something follows its load commands")
	case s.Type != macho.Execute:
		return wrong("it is no program but a file of kind %s", s.Type)
	case s.Encrypted:
		return wrong("it is encrypted, as programs from the App Store may be")
	}
	for _, b := range s.Builds {
		if b.Platform != macho.PlatformMacOS {
			return wrong("it is built for %s, not for macOS", platform(b.Platform))
		}
	}
	return nil
}

func platform(p uint32) string {
	names := map[uint32]string{macho.PlatformIOS: "iOS", macho.PlatformTVOS: "tvOS", macho.PlatformWatchOS: "watchOS", macho.PlatformMacCatalyst: "Mac Catalyst"}
	if name := names[p]; name != "" {
		return name
	}
	return fmt.Sprintf("platform %d", p)
}

// overlay is a slice with another beginning.
type overlay struct {
	slice *macho.Slice
	head  []byte
}

func (o *overlay) ReadAt(b []byte, off int64) (int, error) {
	n, err := o.slice.ReadAt(b, off)
	if off < int64(len(o.head)) {
		copy(b[:n], o.head[off:])
	}
	return n, err
}
