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
	Build    string // "24F74" of macOS; empty when it is not known
	Arch     string // of the hardware: "arm64", "x86_64"
	Affinity string // the architecture that the caller passes on because it is translated itself (macos: kern.curproc_arch_affinity); "" is none
	Rosetta  bool   // x86_64 programs run on arm64
	SIP      bool   // System Integrity Protection is on
	// Probes are whether a copy of a slice of an architecture, "arm64" or "x86_64", was seen to run with the layer on this Mac. What is not in it
	// was not tried.
	Probes map[string]bool
	Cwd    string
	Env    []string
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
	image *Image // of a Mach-O file; nil when it could not be read, or with a fault
	fault *Error // of a Mach-O file that the kernel refuses; it has no path
}

// Reasons for the loader to drop libraries that its environment names (ld.so(8), dyld(1)).
const (
	reasonSetuid = "setuid: the system drops injected libraries"
	reasonSetgid = "setgid: the system drops injected libraries"
)

// sfRestricted is SF_RESTRICTED (xnu bsd/sys/stat.h): System Integrity Protection guards the file.
const sfRestricted = 0x00080000
