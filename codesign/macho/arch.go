package macho

import "fmt"

// Arch is what a slice is built for, as in its header: the subtype with its capability bits.
type Arch struct{ CPU, Subtype uint32 }

// CPU types (cputype).
const (
	CPUX86     = 7
	CPUX86_64  = 0x01000007
	CPUARM     = 12
	CPUARM64   = 0x0100000c
	CPUARM6432 = 0x0200000c
)

// Capabilities are the bits of a subtype that say what the slice can do, not what it needs: the pointer authentication ABI, and others.
const Capabilities = 0xff000000

// pointerABI are the bits of an arm64e subtype with the version of its pointer authentication ABI (xnu osfmk/mach/machine.h).
const pointerABI = 0x3f000000

// Preview says that the architecture is arm64e with version 0 of its ABI: the kernel lets only programs of the system have it
// (xnu bsd/kern/kern_exec.c, "preview arm64e ABI").
func (a Arch) Preview() bool { return a.Base() == ARM64e.Base() && a.Subtype&pointerABI == 0 }

// Architectures of 64-bit Macs.
var (
	X86_64   = Arch{CPUX86_64, 3}
	X86_64h  = Arch{CPUX86_64, 8} // from Haswell on
	ARM64    = Arch{CPUARM64, 0}
	ARM64v8  = Arch{CPUARM64, 1}
	ARM64e   = Arch{CPUARM64, 0x80000002}
	ARM64ex1 = Arch{CPUARM64, 0x8000000c} // macOS 27, with checked pointer arithmetic
)

// architectures are the names that lipo uses. The variants of arm64e differ in their pointer authentication ABI; dyld names them so (mach_o/Architecture.cpp).
var architectures = []struct {
	name string
	Arch
}{
	{"x86_64", X86_64},
	{"x86_64h", X86_64h},
	{"arm64", ARM64},
	{"arm64v8", ARM64v8},
	{"arm64e", ARM64e},
	{"arm64e.old", Arch{CPUARM64, 2}},
	{"arm64e.v1", Arch{CPUARM64, 0x81000002}},
	{"arm64e.x1", ARM64ex1},
	{"arm64_32", Arch{CPUARM6432, 1}},
	{"i386", Arch{CPUX86, 3}},
}

// String is the architecture as lipo names it. Capabilities that have no name of their own do not matter.
func (a Arch) String() string {
	for _, known := range architectures {
		if known.Arch == a {
			return known.name
		}
	}
	for _, known := range architectures {
		if known.Base() == a.Base() {
			return known.name
		}
	}
	return fmt.Sprintf("cpu %#x/%#x", a.CPU, a.Subtype)
}

// Base is the architecture without capabilities.
func (a Arch) Base() Arch { return Arch{a.CPU, a.Subtype &^ uint32(Capabilities)} }

// Archs are the architectures that have names, by name.
func Archs() map[string]Arch {
	all := map[string]Arch{}
	for _, known := range architectures {
		all[known.name] = known.Arch
	}
	return all
}
