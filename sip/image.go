package sip

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"mirrord/codesign"
	"mirrord/codesign/macho"
)

// Image is what of a Mach-O file bears on how it is started.
type Image struct {
	Slices []Slice // in the order of the file; at least one
}

// Slice is the program for one architecture.
type Slice struct {
	Arch            macho.Arch      // by the fat header, if there is one: the kernel picks by it
	Unsigned        bool            // there is no signature that can be read. Then Flags, PlatformByte and Entitlements are zero
	Flags           uint32          // of the CodeDirectory
	PlatformByte    uint8           // of the CodeDirectory, "platform identifier": not 0 says that it comes with the system
	Platform        uint32          // of LC_BUILD_VERSION; PlatformMacOS when there is none
	Entitlements    map[string]bool // true where the value is <true/>, not where it is only there; nil when there are none
	Libraries       []string        // of LC_LOAD_DYLIB and its relatives, as written
	RestrictSegment bool            // there is a section __RESTRICT,__restrict
	Encrypted       bool            // LC_ENCRYPTION_INFO says so
	Fault           *Error          // the kernel may pick it, and then refuses it: with which errno and why. It has no path
}

// Flags of a CodeDirectory (xnu osfmk/kern/cs_blobs.h).
const (
	FlagRestrict          = 0x800
	FlagLibraryValidation = 0x2000
	FlagRuntime           = 0x10000
)

// errBadArch is EBADARCH of macOS, which other systems do not have.
const errBadArch = syscall.Errno(86)

// ReadImage reads the headers and signatures of a Mach-O file of size bytes; pages are not hashed. An error that wraps no errno says why the kernel would
// not execute the file, whichever slice it picks: macho.ErrNotMachO, or in words (xnu bsd/kern/mach_fat.c, kern_exec.c exec_mach_imgact).
func ReadImage(r io.ReaderAt, size int64) (*Image, error) {
	f, err := macho.Read(r, size)
	if err != nil {
		return nil, err
	}
	if f.Magic == macho.MagicFat64 {
		return nil, errors.New("a fat file of 64-bit offsets, which the kernel does not execute")
	}
	for i, s := range f.Slices {
		if s.Misplaced {
			return nil, s.Err
		}
		for _, other := range f.Slices[:i] {
			if *s.Entry == *other.Entry {
				return nil, fmt.Errorf("it has two %s slices", s.Entry)
			}
		}
	}
	signatures, err := codesign.Inspect(f)
	if err != nil {
		return nil, err
	}
	image := &Image{}
	for i, s := range f.Slices {
		image.Slices = append(image.Slices, sliceOf(s, &signatures.Slices[i]))
	}
	if only := image.Slices[0].Fault; f.Magic == 0 && only != nil {
		return nil, errors.New(only.Why)
	}
	return image, nil
}

func sliceOf(s *macho.Slice, signature *codesign.Slice) Slice {
	out := Slice{Arch: s.Arch, Platform: macho.PlatformMacOS, Unsigned: signature.CDHash == ""}
	if s.Entry != nil {
		out.Arch = *s.Entry
	}
	switch {
	case s.Err != nil:
		out.Fault = &Error{Errno: syscall.ENOEXEC, Why: fmt.Sprintf("its %s slice is %v", out.Arch, s.Err)}
		return out
	case s.Arch != out.Arch:
		out.Fault = &Error{Errno: errBadArch, Why: fmt.Sprintf("bad CPU type: the fat header says %s (%#x), the slice itself %s (%#x)", out.Arch, out.Arch.Subtype, s.Arch, s.Arch.Subtype)}
		return out
	case s.Type != macho.Execute:
		out.Fault = &Error{Errno: syscall.ENOEXEC, Why: fmt.Sprintf("it is no program but a file of kind %s", s.Type)}
		return out
	}
	if len(s.Builds) > 0 {
		out.Platform = s.Builds[0].Platform
	}
	out.Libraries, out.Encrypted = s.Libraries(), s.Encrypted
	for _, seg := range s.Segments {
		for _, sec := range seg.Sections {
			out.RestrictSegment = out.RestrictSegment || seg.Name == "__RESTRICT" && sec.Name == "__restrict"
		}
	}
	if out.Unsigned {
		return out
	}
	out.Flags, out.PlatformByte = signature.Flags, signature.Platform
	for name, value := range signature.Entitlements {
		if out.Entitlements == nil {
			out.Entitlements = map[string]bool{}
		}
		granted, ok := value.(bool)
		out.Entitlements[name] = ok && granted
	}
	return out
}

// read notes what the kernel of macOS sees in a file of size bytes: a Mach-O file, a script, or neither.
func (f *file) read(r io.ReaderAt, size int64) syscall.Errno {
	image, err := ReadImage(r, size)
	var errno syscall.Errno
	switch {
	case err == nil:
		f.format, f.image = formatBinary, image
		return 0
	case errors.As(err, &errno):
		return errno
	case !errors.Is(err, macho.ErrNotMachO):
		f.format, f.fault = formatBinary, &Error{Errno: syscall.ENOEXEC, Why: err.Error()}
		return 0
	}
	head := make([]byte, maxHead)
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return errnoOf(err)
	}
	f.script(head[:n])
	return 0
}

// script notes what the kernel of macOS sees in the beginning of a text.
func (f *file) script(head []byte) {
	head = head[:min(len(head), maxHead)]
	if words, ok := darwinWords(head); ok {
		f.format, f.words, f.crlf = formatScript, words, endsInCRLF(head)
	}
}

// first is the slice of the highest grade, of those of one grade the first; nil when all have 0.
func (m *Image) first(grade func(macho.Arch) int) *Slice {
	var best *Slice
	for i := range m.Slices {
		if g := grade(m.Slices[i].Arch); g > 0 && (best == nil || g > grade(best.Arch)) {
			best = &m.Slices[i]
		}
	}
	return best
}

func (m *Image) archs() []string {
	var names []string
	for _, s := range m.Slices {
		names = append(names, s.Arch.String())
	}
	return names
}

// gradeARM is what Apple silicon runs natively, the higher the rather (xnu bsd/dev/arm/kern_machdep.c): a pointer authentication ABI that is not
// today's is arm64e all the same. arm64e.x1 needs hardware that no Mac has.
func gradeARM(a macho.Arch) int {
	switch {
	case a == macho.ARM64e:
		return 12
	case a.Base() == macho.ARM64e.Base():
		return 11
	}
	return gradePlain(a)
}

// gradePlain is gradeARM of what is without pointer authentication.
func gradePlain(a macho.Arch) int {
	switch a.Base() {
	case macho.ARM64v8:
		return 10
	case macho.ARM64:
		return 9
	}
	return 0
}

// gradeIntel is for Macs with an Intel processor; all that run a system of today are Haswell or later.
func gradeIntel(a macho.Arch) int {
	if a.Base() == macho.X86_64h {
		return 2
	}
	return gradeRosetta(a)
}

func gradeRosetta(a macho.Arch) int {
	if a.Base() == macho.X86_64 {
		return 1
	}
	return 0
}
