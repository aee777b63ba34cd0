// Slices of a file, the load commands of one, and its segments in memory. Sizes and offsets come from the file and are checked where they are used.
#include "loader.h"

#include <sys/mman.h>

static uint32_t big(uint32_t v) { return __builtin_bswap32(v); }

const char *arch_name(uint32_t cputype, uint32_t cpusubtype) {
    uint32_t sub = cpusubtype & SUBTYPE_MASK;
    if (cputype == CPU_X86_64) return sub == SUBTYPE_X86_64H ? "x86_64h" : "x86_64";
    if (cputype != CPU_ARM64) return "unknown";
    if (sub != SUBTYPE_ARM64E) return sub == SUBTYPE_ARM64_V8 ? "arm64v8" : sub == SUBTYPE_ARM64 ? "arm64" : "arm64e.x1";
    if ((cpusubtype & SUBTYPE_VERSIONED) == 0) return "arm64e.old";
    if ((cpusubtype & SUBTYPE_KERNEL) != 0) return "arm64e.kernel";
    return (cpusubtype >> 24 & 0xf) == 0 ? "arm64e" : "arm64e.v1";
}

int slices_of(const uint8_t *head, size_t length, uint64_t size, struct slice out[MAX_SLICES]) {
    const struct mach_header *thin = (const void *)head;
    if (length >= sizeof *thin && thin->magic == MH_MAGIC_64) {
        out[0] = (struct slice){thin->cputype, thin->cpusubtype, 0, size};
        return 1;
    }
    const struct fat_header *fat = (const void *)head;
    if (length < sizeof *fat || big(fat->magic) != FAT_MAGIC) return -D_ENOEXEC;
    uint32_t count = big(fat->count);
    if (count > MAX_SLICES || sizeof *fat + count * sizeof(struct fat_arch) > length) return -D_ENOEXEC;
    const struct fat_arch *arch = (const void *)(fat + 1);
    for (uint32_t i = 0; i < count; i++) {
        out[i] = (struct slice){big(arch[i].cputype), big(arch[i].cpusubtype), big(arch[i].offset), big(arch[i].size)};
        if (out[i].offset + out[i].size > size || out[i].size < sizeof *thin) return -D_EBADEXEC;
        for (uint32_t j = 0; j < i; j++) {
            bool same = out[i].cputype == out[j].cputype && out[i].cpusubtype == out[j].cpusubtype;
            bool overlap = out[i].offset < out[j].offset + out[j].size && out[j].offset < out[i].offset + out[i].size;
            if (same || overlap) return -D_EBADEXEC; // as xnu's fat_validate
        }
    }
    return (int)count;
}

static bool inside(const struct image *image, uint64_t offset, uint64_t length) { return offset <= image->size && length <= image->size - offset; }

const void *image_bytes(const struct image *image, uint64_t offset, uint64_t length) {
    if (!inside(image, offset, length))
        die("malformed: %s: %#llx bytes at %#llx are outside the file", image->path, (unsigned long long)length, (unsigned long long)offset);
    return image->bytes + offset;
}

void *image_address(const struct image *image, uint64_t vmaddr, uint64_t length) {
    if (vmaddr < image->preferred || vmaddr - image->preferred > image->extent || length > image->extent - (vmaddr - image->preferred))
        die("malformed: %s: address %#llx is outside the image", image->path, (unsigned long long)vmaddr);
    return image->base + (vmaddr - image->preferred);
}

// text_at is a string inside a load command.
static const char *text_at(const struct load_command *command, uint32_t offset) {
    if (offset >= command->cmdsize || memchr((const char *)command + offset, 0, command->cmdsize - offset) == NULL) return NULL;
    return (const char *)command + offset;
}

static const char *parse_segment(struct image *image, const struct segment_command *segment) {
    if (image->segment_count == MAX_SEGMENTS) return "too many segments";
    if (sizeof *segment + segment->nsects * sizeof(struct section) > segment->cmdsize) return "sections outside their command";
    struct segment *s = &image->segments[image->segment_count++];
    *s = (struct segment){.vmaddr = segment->vmaddr, .vmsize = segment->vmsize, .fileoff = segment->fileoff, .filesize = segment->filesize,
                          .initprot = segment->initprot, .flags = segment->flags};
    memcpy(s->name, segment->segname, 16);
    if (!inside(image, s->fileoff, s->filesize)) return "a segment outside the file";
    if (s->vmsize == 0) s->filesize = 0; // not mapped: Go's debugging information
    if (s->filesize > s->vmsize) return "a segment larger in the file than in memory";
    const struct section *sections = (const void *)(segment + 1);
    for (uint32_t i = 0; i < segment->nsects; i++)
        if (strncmp(sections[i].segname, "__RESTRICT", 16) == 0 && strncmp(sections[i].sectname, "__restrict", 16) == 0) image->restrict_section = true;
    return NULL;
}

static const char *parse_command(struct image *image, const struct load_command *command) {
    switch (command->cmd) {
    case LC_SEGMENT_64:
        if (command->cmdsize < sizeof(struct segment_command)) return "a short command";
        return parse_segment(image, (const void *)command);
    case LC_LOAD_DYLIB:
    case LC_LOAD_WEAK_DYLIB:
    case LC_REEXPORT_DYLIB:
    case LC_LOAD_UPWARD_DYLIB:
    case LC_ID_DYLIB: {
        const struct dylib_command *dylib = (const void *)command;
        const char *name = command->cmdsize < sizeof *dylib ? NULL : text_at(command, dylib->name);
        if (name == NULL) return "a library without a name";
        if (command->cmd == LC_ID_DYLIB) {
            image->install_name = name;
            return NULL;
        }
        if (image->dependency_count == MAX_DEPENDENCIES) return "too many libraries";
        image->dependencies[image->dependency_count++] =
            (struct dependency){.name = name, .weak = command->cmd == LC_LOAD_WEAK_DYLIB, .reexport = command->cmd == LC_REEXPORT_DYLIB};
        return NULL;
    }
    case LC_RPATH: {
        const char *path = text_at(command, ((const struct rpath_command *)command)->path);
        if (path == NULL || image->rpath_count == MAX_RPATHS) return "a bad rpath";
        image->rpaths[image->rpath_count++] = path;
        return NULL;
    }
    }
    static const struct {
        uint32_t cmd, size;
        size_t field;
    } copied[] = {
        {LC_DYLD_CHAINED_FIXUPS, sizeof(struct linkedit_command), offsetof(struct image, chained)},
        {LC_DYLD_EXPORTS_TRIE, sizeof(struct linkedit_command), offsetof(struct image, exports)},
        {LC_CODE_SIGNATURE, sizeof(struct linkedit_command), offsetof(struct image, code_signature)},
        {LC_DYLD_INFO, sizeof(struct dyld_info_command), offsetof(struct image, info)},
        {LC_DYLD_INFO_ONLY, sizeof(struct dyld_info_command), offsetof(struct image, info)},
        {LC_SYMTAB, sizeof(struct symtab_command), offsetof(struct image, symtab)},
        {LC_BUILD_VERSION, sizeof(struct build_version_command), offsetof(struct image, build)},
    };
    for (size_t i = 0; i < COUNT(copied); i++) {
        if (copied[i].cmd != command->cmd) continue;
        if (command->cmdsize < copied[i].size) return "a short command";
        memcpy((char *)image + copied[i].field, command, copied[i].size);
        return NULL;
    }
    if (command->cmd == LC_MAIN && command->cmdsize >= sizeof(struct entry_command)) {
        image->has_entry = true;
        image->entry = ((const struct entry_command *)command)->entryoff;
    }
    if (command->cmd == LC_UNIXTHREAD) {
        const struct thread_command *thread = (const void *)command;
        uint32_t index = HOST_CPU == CPU_X86_64 ? X86_RIP : ARM_PC, flavor = HOST_CPU == CPU_X86_64 ? X86_THREAD_STATE64 : ARM_THREAD_STATE64;
        if (command->cmdsize < sizeof *thread + (index + 1) * sizeof(uint64_t) || thread->flavor != flavor) return "a thread of another machine";
        image->has_thread = true;
        image->entry = thread->registers[index];
    }
    if (command->cmd == LC_ENCRYPTION_INFO_64 && command->cmdsize >= sizeof(struct encryption_command))
        image->encrypted = ((const struct encryption_command *)command)->cryptid != 0;
    return NULL;
}

const char *image_parse(struct image *image, const uint8_t *bytes, size_t size) {
    image->bytes = bytes;
    image->size = size;
    image->file_header = (const void *)bytes;
    const struct mach_header *header = image->file_header;
    if (size < sizeof *header || header->magic != MH_MAGIC_64) return "not a 64-bit Mach-O file";
    if (!inside(image, sizeof *header, header->sizeofcmds)) return "load commands outside the file";
    const uint8_t *at = bytes + sizeof *header, *end = at + header->sizeofcmds;
    for (uint32_t i = 0; i < header->ncmds; i++) {
        const struct load_command *command = (const void *)at;
        if ((size_t)(end - at) < sizeof *command || command->cmdsize < sizeof *command || command->cmdsize > (size_t)(end - at))
            return "a command outside the others";
        const char *fault = parse_command(image, command);
        if (fault != NULL) return fault;
        at += command->cmdsize;
    }
    uint64_t low = UINT64_MAX, high = 0;
    for (int i = 0; i < image->segment_count; i++) {
        struct segment *s = &image->segments[i];
        if ((s->initprot == 0 && s->filesize == 0) || s->vmsize == 0) continue; // __PAGEZERO
        if (s->vmaddr < low) low = s->vmaddr;
        if (s->vmaddr + s->vmsize > high) high = s->vmaddr + s->vmsize;
    }
    if (low >= high || high - low > 1ull << 36) return "segments that cannot be mapped";
    image->preferred = low;
    image->extent = high - low;
    return NULL;
}

// On arm64 darwin keeps the data of a thread at tpidrro_el0, which nobody but the kernel can set. Linux's tpidr_el0 takes its place (shim_threads.c).
static void replace_thread_register(uint32_t *code, size_t count) {
    for (size_t i = 0; i < count; i++)
        if ((code[i] & 0xffffffe0) == 0xd53bd060) code[i] -= 0x20; // mrs xN, tpidrro_el0
}

// The bytes are copied, not mapped: a slice need not begin at a page of this system (arm64 segments are cut at 16 KiB, which 4 KiB divides).
void image_map(struct image *image) {
    bool slides = image->file_header->filetype != MH_EXECUTE || (image->file_header->flags & MH_PIE) != 0;
    void *wanted = slides ? NULL : (void *)image->preferred;
    void *memory = mmap(wanted, image->extent + 0x4000, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (slides ? 0 : MAP_FIXED_NOREPLACE), -1, 0);
    if (memory == MAP_FAILED) die("no memory for %s", image->path);
    image->base = slides ? (uint8_t *)(((uintptr_t)memory + 0x3fff) & ~(uintptr_t)0x3fff) : memory;
    image->slide = (intptr_t)image->base - (intptr_t)image->preferred;
    for (int i = 0; i < image->segment_count; i++) {
        struct segment *s = &image->segments[i];
        if (s->filesize == 0) continue;
        uint32_t *at = memcpy(image_address(image, s->vmaddr, s->vmsize), image->bytes + s->fileoff, s->filesize);
        if (HOST_CPU == CPU_ARM64 && (s->initprot & 4) != 0) replace_thread_register(at, s->filesize / 4);
    }
}

void image_protect(struct image *image) {
    for (int i = 0; i < image->segment_count; i++) {
        struct segment *s = &image->segments[i];
        if (s->initprot == 0 || s->vmsize == 0) continue;
        int prot = (s->initprot & 1 ? PROT_READ : 0) | (s->initprot & 2 ? PROT_WRITE : 0) | (s->initprot & 4 ? PROT_EXEC : 0);
        if ((s->flags & 0x10) != 0) prot = PROT_READ; // SG_READ_ONLY: writable until the fixups are done
        void *at = image_address(image, s->vmaddr, s->vmsize);
        if ((prot & PROT_EXEC) != 0) __builtin___clear_cache(at, (char *)at + s->vmsize);
        if (mprotect(at, (s->vmsize + 0xfff) & ~0xfffull, prot) != 0) die("cannot protect %s of %s", s->name, image->path);
    }
}

void image_sections(const struct image *image, void (*visit)(struct image *, const struct section *, void *), void *context) {
    const uint8_t *at = image->bytes + sizeof *image->file_header;
    for (uint32_t i = 0; i < image->file_header->ncmds; i++) {
        const struct load_command *command = (const void *)at;
        const struct segment_command *segment = (const void *)at;
        if (command->cmd == LC_SEGMENT_64) {
            const struct section *sections = (const void *)(segment + 1);
            for (uint32_t j = 0; j < segment->nsects; j++) visit((struct image *)image, &sections[j], context);
        }
        at += command->cmdsize;
    }
}
