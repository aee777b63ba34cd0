package macho

import "fmt"

// Kinds of load commands. Those from LCRequireDyld on are refused by a dyld that does not know them.
const (
	LCRequireDyld = 0x80000000

	LCSegment          = 0x1
	LCUnixThread       = 0x5
	LCLoadDylib        = 0xc
	LCIDDylib          = 0xd
	LCLoadDylinker     = 0xe
	LCIDDylinker       = 0xf
	LCSegment64        = 0x19
	LCUUID             = 0x1b
	LCCodeSignature    = 0x1d
	LCLazyLoadDylib    = 0x20
	LCEncryptionInfo   = 0x21
	LCVersionMinMacOS  = 0x24
	LCVersionMinIOS    = 0x25
	LCDyldEnvironment  = 0x27
	LCEncryptionInfo64 = 0x2c
	LCVersionMinTVOS   = 0x2f
	LCVersionMinWatch  = 0x30
	LCBuildVersion     = 0x32
	LCLoadWeakDylib    = 0x18 | LCRequireDyld
	LCRPath            = 0x1c | LCRequireDyld
	LCReexportDylib    = 0x1f | LCRequireDyld
	LCLoadUpwardDylib  = 0x23 | LCRequireDyld
	LCMain             = 0x28 | LCRequireDyld
)

// loads are the kinds that have dyld load a library.
var loads = []uint32{LCLoadDylib, LCLoadWeakDylib, LCReexportDylib, LCLoadUpwardDylib, LCLazyLoadDylib}

// named are the kinds with a string, whose offset is at byte 8.
var named = append([]uint32{LCIDDylib, LCLoadDylinker, LCIDDylinker, LCDyldEnvironment, LCRPath}, loads...)

// versionMin are the predecessors of LC_BUILD_VERSION, and the platform that each is for.
var versionMin = map[uint32]uint32{LCVersionMinMacOS: PlatformMacOS, LCVersionMinIOS: PlatformIOS, LCVersionMinTVOS: PlatformTVOS, LCVersionMinWatch: PlatformWatchOS}

// Command is a load command.
type Command struct {
	Kind   uint32 // LC…
	Offset int64  // bytes, in the slice, and so in Slice.Head
	Data   []byte // whole: kind and size are the first 8 bytes; not to be changed
}

// Segment is LC_SEGMENT or LC_SEGMENT_64.
type Segment struct {
	Name             string
	Address, VMSize  uint64 // bytes, in memory
	Offset, FileSize uint64 // bytes, in the slice
	Command          int    // index in Slice.Commands
	Sections         []Section
}

// Section is a part of a segment.
type Section struct {
	Name, Segment string // the segment's name is said once more
	Offset        uint32 // bytes, in the slice
	Size          uint64
	Zero          bool // has no bytes in the file
}

const (
	sectionType       = 0xff // of a section's flags
	sectionZeroFill   = 1
	sectionGBZeroFill = 0xc
	sectionTLZeroFill = 0x12
)

// Name is the string of a load command: a library's path, an rpath, the path of dyld, or a variable for dyld.
type Name struct {
	Kind    uint32 // of the load command
	Command int    // index in Slice.Commands
	Text    string
	Offset  int64 // bytes, in the slice, and so in Slice.Head
	Room    int   // bytes from Offset to the end of the command: the text with its zero byte and padding
}

// Signature is LC_CODE_SIGNATURE.
type Signature struct {
	Offset, Size uint32 // bytes, in the slice
	Command      int    // index in Slice.Commands
}

// Build is LC_BUILD_VERSION or one of the older LC_VERSION_MIN_…: what system the slice is for.
type Build struct {
	Platform uint32  // Platform…
	MinOS    Version // the oldest system that it runs on
	SDK      Version // that it was built with, by which dyld and libraries choose their strictness
}

// Platforms (mach-o/loader.h).
const (
	PlatformMacOS       = 1
	PlatformIOS         = 2
	PlatformTVOS        = 3
	PlatformWatchOS     = 4
	PlatformMacCatalyst = 6
)

// Version is xxxx.yy.zz, as load commands have it.
type Version uint32

// String is 15.4 or 15.4.1.
func (v Version) String() string {
	s := fmt.Sprintf("%d.%d", v>>16, v>>8&0xff)
	if v&0xff != 0 {
		s += fmt.Sprintf(".%d", v&0xff)
	}
	return s
}
