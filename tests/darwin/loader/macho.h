// What a Mach-O file is made of, as far as the loader reads it: 64-bit, little endian. Fat headers and code signatures are big endian.
#ifndef MACHO_H
#define MACHO_H

#include <stdint.h>

enum { FAT_MAGIC = 0xcafebabe, MH_MAGIC_64 = 0xfeedfacf };
enum { MH_EXECUTE = 2, MH_DYLIB = 6, MH_BUNDLE = 8, MH_PIE = 0x200000 };
enum { CPU_X86_64 = 0x01000007, CPU_ARM64 = 0x0100000c, CPU_ANY = -1 };
enum { SUBTYPE_X86_64 = 3, SUBTYPE_X86_64H = 8, SUBTYPE_ARM64 = 0, SUBTYPE_ARM64_V8 = 1, SUBTYPE_ARM64E = 2, SUBTYPE_MASK = 0x00ffffff };
#define SUBTYPE_VERSIONED 0x80000000u // arm64e with an ABI version in bits 24 to 27
#define SUBTYPE_KERNEL 0x40000000u

struct fat_header {
    uint32_t magic, count;
};

struct fat_arch {
    uint32_t cputype, cpusubtype, offset, size, align;
};

struct mach_header {
    uint32_t magic, cputype, cpusubtype, filetype, ncmds, sizeofcmds, flags, reserved;
};

#define LC_REQ_DYLD 0x80000000u
#define LC_SYMTAB 0x2u
#define LC_UNIXTHREAD 0x5u
#define LC_LOAD_DYLIB 0xcu
#define LC_ID_DYLIB 0xdu
#define LC_LOAD_WEAK_DYLIB (0x18u | LC_REQ_DYLD)
#define LC_SEGMENT_64 0x19u
#define LC_RPATH (0x1cu | LC_REQ_DYLD)
#define LC_CODE_SIGNATURE 0x1du
#define LC_REEXPORT_DYLIB (0x1fu | LC_REQ_DYLD)
#define LC_ENCRYPTION_INFO_64 0x2cu
#define LC_DYLD_INFO 0x22u
#define LC_DYLD_INFO_ONLY (0x22u | LC_REQ_DYLD)
#define LC_LOAD_UPWARD_DYLIB (0x23u | LC_REQ_DYLD)
#define LC_MAIN (0x28u | LC_REQ_DYLD)
#define LC_BUILD_VERSION 0x32u
#define LC_DYLD_EXPORTS_TRIE (0x33u | LC_REQ_DYLD)
#define LC_DYLD_CHAINED_FIXUPS (0x34u | LC_REQ_DYLD)

struct load_command {
    uint32_t cmd, cmdsize;
};

struct segment_command {
    uint32_t cmd, cmdsize;
    char segname[16];
    uint64_t vmaddr, vmsize, fileoff, filesize;
    uint32_t maxprot, initprot, nsects, flags;
};

struct section {
    char sectname[16], segname[16];
    uint64_t addr, size;
    uint32_t offset, align, reloff, nreloc, flags, reserved1, reserved2, reserved3;
};
enum { SECTION_TYPE = 0xff, S_MOD_INIT_FUNC_POINTERS = 0x9, S_INTERPOSING = 0xd, S_INIT_FUNC_OFFSETS = 0x16 };

struct dylib_command {
    uint32_t cmd, cmdsize, name, timestamp, current, compatible;
};

struct rpath_command {
    uint32_t cmd, cmdsize, path;
};

struct linkedit_command { // code signature, chained fixups, exports trie
    uint32_t cmd, cmdsize, offset, size;
};

struct dyld_info_command {
    uint32_t cmd, cmdsize, rebase_off, rebase_size, bind_off, bind_size, weak_bind_off, weak_bind_size, lazy_bind_off, lazy_bind_size, export_off, export_size;
};

struct symtab_command {
    uint32_t cmd, cmdsize, symoff, nsyms, stroff, strsize;
};

struct nlist {
    uint32_t strx;
    uint8_t type, sect;
    uint16_t desc;
    uint64_t value;
};

struct entry_command {
    uint32_t cmd, cmdsize;
    uint64_t entryoff, stacksize;
};

struct thread_command { // registers as 64-bit words; where to begin is one of them
    uint32_t cmd, cmdsize, flavor, count;
    uint64_t registers[];
};
enum { X86_THREAD_STATE64 = 4, X86_RIP = 16, ARM_THREAD_STATE64 = 6, ARM_PC = 32 };

struct build_version_command {
    uint32_t cmd, cmdsize, platform, minos, sdk, ntools;
};

struct encryption_command {
    uint32_t cmd, cmdsize, cryptoff, cryptsize, cryptid, pad;
};

struct chained_header {
    uint32_t version, starts_offset, imports_offset, symbols_offset, imports_count, imports_format, symbols_format;
};

struct chained_starts {
    uint32_t size;
    uint16_t page_size, pointer_format;
    uint64_t segment_offset;
    uint32_t max_valid_pointer;
    uint16_t page_count, page_start[];
};

// Formats of chained pointers. In those for arm64e a pointer may be signed; here it is never (README.md, "keys off").
enum { PTR_ARM64E = 1, PTR_64 = 2, PTR_64_OFFSET = 6, PTR_ARM64E_USERLAND = 9, PTR_ARM64E_USERLAND24 = 12 };

// Ordinals of a bind that are not those of a library.
enum { ORDINAL_SELF = 0, ORDINAL_MAIN = -1, ORDINAL_FLAT = -2, ORDINAL_WEAK = -3 };

#endif
