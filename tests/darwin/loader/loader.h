// A loader of macOS programs on Linux, for tests only: what the files of this folder share. README.md of the folder above says what is modelled.
#ifndef LOADER_H
#define LOADER_H

#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "macho.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

// ---- options: how the pretended machine is made up. They are handed on with every exec.

enum machine { APPLE_SILICON, APPLE_SILICON_WITHOUT_ROSETTA, INTEL };
enum forked { FORKED_ALL, FORKED_INSERTED, FORKED_FREE }; // whose calls are checked between fork and exec: everybody's, the inserted libraries', nobody's

struct options {
    enum machine machine;
    enum forked forked;
    bool trace;      // every imported call is written to stderr
    bool unknown;    // list imports without a shim and stop
    uint32_t affinity; // kern.curproc_arch_affinity: 0 or CPU_X86_64
    char files[PATH_MAX]; // the table of files, or empty
};
extern struct options options;

// ---- the table of files: flags of paths as the program sees them, and where their bytes really are (files.c)

enum { SF_RESTRICTED = 0x80000 };
struct file_entry {
    const char *path, *backing; // backing is NULL when the path itself is meant
    uint32_t flags;             // st_flags
    bool setuid;
};
void files_read(const char *table);
const struct file_entry *files_find(const char *path); // by the cleaned absolute path; NULL when not in the table
const char *files_real(const char *path, char buffer[PATH_MAX]); // the Linux path to use for a program's path
void files_clean(const char *path, char buffer[PATH_MAX]); // absolute, without . and .., symlinks kept

// ---- slices and signatures

struct slice {
    uint32_t cputype, cpusubtype;
    uint64_t offset, size;
};
enum { MAX_SLICES = 16 };

// slices_of reads the header or fat header in the first bytes of a file of the size given. The number of slices, or minus a darwin errno.
int slices_of(const uint8_t *head, size_t length, uint64_t size, struct slice out[MAX_SLICES]);
const char *arch_name(uint32_t cputype, uint32_t cpusubtype);

enum { CS_ADHOC = 0x2, CS_HARD = 0x100, CS_KILL = 0x200, CS_RESTRICT = 0x800, CS_REQUIRE_LV = 0x2000, CS_RUNTIME = 0x10000 };
struct signature {
    bool present;
    const char *fault; // NULL when everything that was checked holds
    uint32_t flags;
    uint8_t platform;
    bool cms, allow_dyld, disable_lv;
    char identifier[256], team[64];
};
void signature_read(const uint8_t *slice, size_t size, struct signature *out);
void sha256(const void *data, size_t size, uint8_t digest[32]);

// ---- images (image.c, fixups.c, symbols.c)

struct segment {
    char name[17];
    uint64_t vmaddr, vmsize, fileoff, filesize;
    uint32_t initprot, flags;
};

struct image;
struct dependency {
    const char *name;
    struct image *image; // NULL for a library of the system
    bool weak, reexport, absent;
};

struct bound { // a pointer that was bound, kept so that interposing can change it
    uintptr_t *where;
    uintptr_t target;
    int64_t addend;
};

enum { MAX_SEGMENTS = 32, MAX_DEPENDENCIES = 256, MAX_RPATHS = 32 };
struct image {
    char path[PATH_MAX];
    const uint8_t *bytes; // the slice
    size_t size;
    const struct mach_header *file_header;
    struct segment segments[MAX_SEGMENTS];
    int segment_count;
    struct dependency dependencies[MAX_DEPENDENCIES];
    int dependency_count;
    const char *rpaths[MAX_RPATHS];
    int rpath_count;
    const char *install_name;
    struct linkedit_command chained, exports, code_signature;
    struct dyld_info_command info;
    struct symtab_command symtab;
    struct build_version_command build;
    uint64_t entry;
    bool has_entry, has_thread, restrict_section, encrypted;
    uint8_t *base; // of the mapped memory, where the lowest segment lies
    uint64_t preferred, extent;
    intptr_t slide;
    struct bound *bounds;
    size_t bound_count, bound_room;
    bool launch, inserted, initialised;
    struct signature signature;
    struct image *next;
};

// image_parse reads the load commands of a slice, which must stay mapped. NULL, or what is wrong with it.
const char *image_parse(struct image *image, const uint8_t *bytes, size_t size);
void image_map(struct image *image);
void image_protect(struct image *image);
void *image_address(const struct image *image, uint64_t vmaddr, uint64_t length); // in memory; dies when outside the image
const void *image_bytes(const struct image *image, uint64_t offset, uint64_t length); // in the file; dies when outside the slice
// image_sections calls visit for each section.
void image_sections(const struct image *image, void (*visit)(struct image *, const struct section *, void *), void *context);
void image_fix(struct image *image);
// image_bound binds a pointer, and remembers it for interposing.
void image_bound(struct image *image, uintptr_t *where, uintptr_t target, int64_t addend);

uintptr_t symbols_export(struct image *image, const char *name); // 0 when the image has no such symbol
uintptr_t symbols_bind(struct image *image, int ordinal, const char *name, bool weak);
void interpose_collect(struct image *image);
void interpose_apply(struct image *image, size_t first);
uintptr_t interpose_for(const struct image *image, uintptr_t target);

// ---- dyld (dyld.c)

extern struct image *images; // in the order of loading: inserted ones, the program, what they need
extern struct image *main_image;
extern char executable_path[PATH_MAX];
void dyld_run(const char *path, const uint8_t *bytes, size_t size, int argc, char **argv) __attribute__((noreturn));
struct image *image_of(const void *address);
void *dyld_lookup(struct image *caller, void *handle, const char *name);
void *dyld_open(const char *path, const struct image *caller, char *why, size_t room);
bool is_system_library(const char *path);
int program_arguments(char ***argv); // argc

// ---- exec as the kernel does it (kernel.c)

struct preference { // of posix_spawnattr_setarchpref_np
    int count;
    uint32_t types[4], subtypes[4]; // CPU_ANY
};
// kernel_exec does what execve does for a program's path: it returns a darwin errno, or not at all.
int kernel_exec(const char *path, char *const argv[], char *const envp[], const struct preference *preference);
// search_goes_on says whether execvp and posix_spawnp try the next folder of PATH after a darwin errno (Libc gen/FreeBSD/exec.c).
bool search_goes_on(int fault);
bool translated(void); // runs x86_64 on Apple silicon

// ---- shims: what stands for the functions and data of the system's libraries

enum { PLAIN = 1, DATA = 2 }; // PLAIN: allowed between fork and exec
struct shim {
    const char *name;
    const void *address;
    uint8_t kind;
    uint8_t fixed; // arm64: number of arguments in registers before the variadic ones; 0: not variadic
};
extern const struct shim file_shims[], directory_shims[], process_shims[], spawn_shims[], signal_shims[], thread_shims[], socket_shims[], name_shims[],
    memory_shims[], string_shims[], stdio_shims[], system_shims[], dyld_shims[], tool_shims[], event_shims[];
void stubs_make(void);
uintptr_t stub_of(const char *symbol); // 0 when unknown
uintptr_t stub_unknown(const char *symbol); // aborts by name when called
extern volatile int stubs_slow; // non-zero: every stub asks first
extern bool forked_child;
void pauth_off(void);

// On arm64 darwin passes variadic arguments on the stack, so the stub hands over where they begin.
#ifdef __aarch64__
#define VARIADIC void *variadic
typedef struct {
    void *stack, *gr_top, *vr_top;
    int gr_offs, vr_offs;
} raw_va_list;
_Static_assert(sizeof(raw_va_list) == sizeof(va_list), "va_list of the AAPCS");
#define VA_BEGIN(ap, last) \
    va_list ap;            \
    va_from(&ap, variadic)
#define VA_DONE(ap) (void)ap
typedef void *darwin_va_list;
#define VA_OF(ap, darwin) \
    va_list ap;           \
    va_from(&ap, darwin)
static inline void va_from(va_list *ap, void *stack) { // nothing left in registers: all arguments come from the stack
    raw_va_list raw = {stack, stack, stack, 0, 0};
    memcpy(ap, &raw, sizeof raw);
}
#else
#define VARIADIC ...
#define VA_BEGIN(ap, last) \
    va_list ap;            \
    va_start(ap, last)
#define VA_DONE(ap) va_end(ap)
typedef struct __va_list_tag *darwin_va_list;
#define VA_OF(ap, darwin) \
    va_list ap;           \
    memcpy(ap, darwin, sizeof ap)
#endif

// INODE64 is the name under which a program asks for the 64-bit layouts: x86_64 alone has older ones.
#ifdef __x86_64__
#define INODE64(name) name "$INODE64"
#define HOST_CPU CPU_X86_64
#else
#define INODE64(name) name
#define HOST_CPU CPU_ARM64
#endif

// ---- numbers of the two systems (numbers.c)

extern __thread int darwin_errno;
int errno_to_darwin(int linux_errno);
int errno_to_linux(int darwin);
int signal_to_darwin(int linux_signal); // 0 when there is none
int signal_to_linux(int darwin);
int status_to_darwin(int status); // of wait
int open_flags_to_linux(int flags);
int open_flags_to_darwin(int flags);

// ret passes a result on, with errno translated when it is a failure.
static inline long ret(long result) {
    if (result == -1) darwin_errno = errno_to_darwin(errno);
    return result;
}
static inline void *retp(void *result) {
    if (result == NULL) darwin_errno = errno_to_darwin(errno);
    return result;
}
static inline int fail(int darwin) {
    darwin_errno = darwin;
    return -1;
}

enum { // darwin's numbers, where the shims themselves answer with one
    D_EPERM = 1, D_ENOENT = 2, D_E2BIG = 7, D_ENOEXEC = 8, D_EBADF = 9, D_ENOMEM = 12, D_EACCES = 13, D_ENOTDIR = 20, D_EINVAL = 22, D_ERANGE = 34,
    D_EAGAIN = 35, D_ENOTSUP = 45, D_EAFNOSUPPORT = 47, D_ELOOP = 62, D_ENAMETOOLONG = 63, D_EBADEXEC = 85, D_EBADARCH = 86, D_EDEADLK = 11, D_EBUSY = 16,
    D_ETIMEDOUT = 60, D_ESRCH = 3
};

// Both end the process with 134: die in dyld's words, unmodelled where the model itself is at its end.
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void unmodelled(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
