package sip

import "syscall"

// Host is the system that decisions are about: this machine (New), or one that is described (ReadHost). There are no others.
type Host interface {
	System() System

	// look reads what is at an absolute path, symbolic links followed. The errno is the one that exec would give.
	look(path string) (*file, syscall.Errno)
	// privilege says why the loader would drop the layer because of the rights that the file gives its process, or "".
	privilege(path string, f *file, caller *Creds) string
	// readlink gives the target of a symbolic link.
	readlink(path string) (string, bool)
	exists(path string) bool
}

// System is what a verdict depends on besides files.
type System struct {
	Kernel   Kernel
	Version  string // "15.5" of macOS; empty where nothing depends on it
	Arch     string // of the hardware: "arm64", "x86_64"
	Affinity string // the architecture that the caller passes on because it is translated itself (macos: kern.curproc_arch_affinity); "" is none
	Rosetta  bool   // x86_64 programs run on arm64
	SIP      bool   // System Integrity Protection is on
	Cwd      string
	Env      []string
}

// file is what its content and rights say, whoever executes it.
type file struct {
	format   format
	words    []string // of a script: the interpreter and its arguments
	crlf     bool     // of a script: the line ends with CR LF, so the CR belongs to its last word
	reason   string   // of an ELF binary: why it is outside; "" when it can be injected
	mode     uint32   // st_mode
	uid, gid int
	caps     bool // file capabilities that take effect

	rights     []string // of Linux: what the file gives to who executes it, as "group shadow", "cap_net_raw"
	origin     bool     // of an ELF binary: it looks for libraries in folders relative to its own
	unreadable bool     // it may only be executed

	real  string // the path without symbolic links; "" when nobody asked
	flags uint32 // st_flags of macOS
	image *Image // of a Mach-O file
}

// Reasons for the loader to drop libraries that its environment names (ld.so(8), dyld(1)).
const (
	reasonSetuid = "setuid: the system drops injected libraries"
	reasonSetgid = "setgid: the system drops injected libraries"
)

// sfRestricted is SF_RESTRICTED (xnu bsd/sys/stat.h): System Integrity Protection guards the file.
const sfRestricted = 0x00080000

// Image is what of a Mach-O file bears on how it is started.
type Image struct {
	Slices []Slice // in the order of the file; at least one
}

// Slice is the program for one architecture.
type Slice struct {
	CPUType, CPUSubtype uint32          // as in mach_header, capability bits included
	Flags               uint32          // of the CodeDirectory
	PlatformByte        uint8           // of the CodeDirectory, "platform identifier": not 0 says that it comes with the system
	Platform            uint32          // of LC_BUILD_VERSION; PlatformMacOS when there is none
	Entitlements        map[string]bool // true where the value is <true/>, not where it is only there
	Libraries           []string        // of LC_LOAD_DYLIB and its relatives, as written
	RestrictSegment     bool            // there is a section __RESTRICT,__restrict
	Encrypted           bool            // LC_ENCRYPTION_INFO says so
}

// Values of the fields of a Slice. Sources: xnu osfmk/mach/machine.h and osfmk/kern/cs_blobs.h, mach-o/loader.h.
const (
	CPUTypeX86_64 = 0x01000007
	CPUTypeARM64  = 0x0100000c

	FlagRestrict          = 0x800
	FlagLibraryValidation = 0x2000
	FlagRuntime           = 0x10000

	PlatformMacOS       = 1
	PlatformIOS         = 2
	PlatformMacCatalyst = 6
)

// architectures names the pairs of type and subtype that occur, as lipo does.
var architectures = []struct {
	name             string
	cputype, subtype uint32
}{
	{"x86_64", CPUTypeX86_64, 3},
	{"x86_64h", CPUTypeX86_64, 8},
	{"arm64", CPUTypeARM64, 0},
	{"arm64v8", CPUTypeARM64, 1},
	{"arm64e", CPUTypeARM64, 0x80000002},
	{"arm64e.old", CPUTypeARM64, 2},
	{"arm64e.v1", CPUTypeARM64, 0x81000002},
	{"arm64e.x1", CPUTypeARM64, 0x8000000c},
}

// Arch is the slice's architecture as lipo names it, or "unknown".
func (s *Slice) Arch() string {
	for _, a := range architectures {
		if a.cputype == s.CPUType && a.subtype == s.CPUSubtype {
			return a.name
		}
	}
	return "unknown"
}
