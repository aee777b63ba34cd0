// What xnu does at an exec, as far as it can be seen from outside: which of the activators takes the file, which slice of a fat file runs, and with what words
// a script's interpreter is called. The rest of the exec is Linux's: the process goes on as another run of the loader, for the architecture of that slice.
#include "loader.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { SCRIPT_HEAD = 512, MAX_WORDS = 128, ARGUMENTS_LIMIT = 1024 * 1024 };

struct activation {
    char path[PATH_MAX]; // what is loaded: the program, or the interpreter of a script
    uint64_t offset, size;
    uint32_t cputype;
    char head[SCRIPT_HEAD + 1]; // of a script, cut into words
    const char *words[MAX_WORDS];
    int word_count; // 0: not a script
};

bool translated(void) { return HOST_CPU == CPU_X86_64 && options.machine != INTEL; }

// grade is how well a slice suits: 0 is not at all (bsd/dev/arm/kern_machdep.c; the order of Intel's is that of bsd/dev/i386).
static int grade(uint32_t cputype, uint32_t cpusubtype) {
    uint32_t sub = cpusubtype & SUBTYPE_MASK;
    if (options.machine == INTEL) return cputype != CPU_X86_64 ? 0 : sub == SUBTYPE_X86_64H ? 3 : sub == SUBTYPE_X86_64 ? 2 : 0;
    if (cputype != CPU_ARM64) return 0;
    if (sub == SUBTYPE_ARM64E) {
        if ((cpusubtype & SUBTYPE_KERNEL) != 0) return 0;
        return (cpusubtype >> 24 & 0xf) == 0 ? 12 : 11;
    }
    return sub == SUBTYPE_ARM64_V8 ? 10 : sub == SUBTYPE_ARM64 ? 9 : 0;
}

static bool runs_here(const struct slice *s) {
    if (grade(s->cputype, s->cpusubtype) > 0) return true;
    return options.machine == APPLE_SILICON && s->cputype == CPU_X86_64 && (s->cpusubtype & SUBTYPE_MASK) == SUBTYPE_X86_64;
}

static const struct slice *best_of(const struct slice *slices, int count, uint32_t cputype) {
    const struct slice *best = NULL;
    for (int i = 0; i < count; i++) {
        if (!runs_here(&slices[i]) || slices[i].cputype != cputype) continue;
        if (best == NULL || grade(slices[i].cputype, slices[i].cpusubtype) > grade(best->cputype, best->cpusubtype)) best = &slices[i];
    }
    return best;
}

// choose is the slice that runs: the first one that the caller's preference names, else the best for the affinity, else the best of the machine's own, else,
// with Rosetta, the x86_64 one.
static const struct slice *choose(const struct slice *slices, int count, const struct preference *preference, uint32_t affinity) {
    if (preference != NULL && preference->count > 0) {
        for (int i = 0; i < preference->count; i++) {
            if (preference->types[i] == (uint32_t)CPU_ANY) return choose(slices, count, NULL, affinity);
            for (int j = 0; j < count; j++) {
                bool subtype = preference->subtypes[i] == (uint32_t)CPU_ANY ||
                               (preference->subtypes[i] & SUBTYPE_MASK) == (slices[j].cpusubtype & SUBTYPE_MASK);
                if (preference->subtypes[i] == (uint32_t)CPU_ANY && slices[j].cputype == preference->types[i]) return best_of(slices, count, slices[j].cputype);
                if (slices[j].cputype == preference->types[i] && subtype && runs_here(&slices[j])) return &slices[j];
            }
        }
        return NULL;
    }
    const struct slice *found = NULL;
    if (affinity != 0) found = best_of(slices, count, affinity);
    if (found == NULL) found = best_of(slices, count, options.machine == INTEL ? CPU_X86_64 : CPU_ARM64);
    if (found == NULL) found = best_of(slices, count, CPU_X86_64);
    return found;
}

static bool blank(char c) { return c == ' ' || c == '\t'; }

// script_words cuts the first line of a script as exec_shell_imgact does: the line ends at a newline or at '#', all words count, there must be one.
static int script_words(struct activation *a, size_t length) {
    char *line = a->head + 2, *end = line;
    while (end < a->head + length && *end != '\n' && *end != '#') end++;
    if (end == a->head + length) return D_ENOEXEC; // not within the buffer, or not at all: its NUL ends nothing
    *end = 0;
    for (char *at = line; at < end;) {
        while (at < end && blank(*at)) *at++ = 0;
        if (at == end) break;
        if (a->word_count == MAX_WORDS) return D_ENOEXEC;
        a->words[a->word_count++] = at;
        while (at < end && !blank(*at)) at++;
    }
    return a->word_count == 0 ? D_ENOEXEC : 0;
}

// activate_binary takes a thin or fat file. ENOEXEC when it is neither, or no program.
static int activate_binary(struct activation *a, int fd, const uint8_t *head, size_t length, uint64_t size, const struct preference *preference) {
    struct slice slices[MAX_SLICES];
    struct mach_header header;
    int count = slices_of(head, length, size, slices);
    if (count < 0) return -count;
    const struct slice *slice = choose(slices, count, preference, options.affinity);
    if (slice == NULL) return D_EBADARCH;
    if (pread(fd, &header, sizeof header, (off_t)slice->offset) != sizeof header || header.magic != MH_MAGIC_64) return D_EBADARCH;
    if (header.cputype != slice->cputype || header.cpusubtype != slice->cpusubtype) return D_EBADARCH; // what a fat header says must be so, bit for bit
    if (header.filetype != MH_EXECUTE) return D_ENOEXEC;
    a->offset = slice->offset, a->size = slice->size, a->cputype = slice->cputype;
    return 0;
}

static int activate(struct activation *a, const char *path, const struct preference *preference, bool interpreter) {
    char real[PATH_MAX];
    struct stat st;
    const char *file = files_real(path, real);
    if (path[0] == 0) return D_ENOENT;
    if (stat(file, &st) != 0) return errno_to_darwin(errno);
    if (!S_ISREG(st.st_mode) || access(file, X_OK) != 0) return D_EACCES;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno_to_darwin(errno);
    uint8_t head[4096];
    ssize_t length = pread(fd, head, sizeof head, 0);
    int fault = length < 4 ? D_ENOEXEC : strlen(path) >= PATH_MAX ? D_ENAMETOOLONG : 0;
    if (fault == 0) fault = activate_binary(a, fd, head, (size_t)length, (uint64_t)st.st_size, preference);
    close(fd);
    if (fault == 0) strcpy(a->path, path);
    if (fault != D_ENOEXEC || length < 4) return fault;
    if (head[0] != '#' || head[1] != '!' || interpreter) return D_ENOEXEC; // an interpreter that is a script itself: nobody takes it
    size_t used = (size_t)length < SCRIPT_HEAD ? (size_t)length : SCRIPT_HEAD;
    memcpy(a->head, head, used);
    fault = script_words(a, used);
    return fault != 0 ? fault : activate(a, a->words[0], preference, true);
}

static bool too_big(char *const argv[], char *const envp[]) {
    size_t total = 0;
    for (; *argv != NULL; argv++) total += strlen(*argv) + 1 + sizeof(char *);
    for (; envp != NULL && *envp != NULL; envp++) total += strlen(*envp) + 1 + sizeof(char *);
    return total > ARGUMENTS_LIMIT;
}

// beside is a program that lies beside this one: /proc/self/exe is the loader itself, under qemu too.
static void beside(const char *name, char path[PATH_MAX]) {
    char self[PATH_MAX - 64];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length < 0 ? 0 : length] = 0;
    char *slash = strrchr(self, '/');
    if (slash != NULL) *slash = 0;
    snprintf(path, PATH_MAX, "%s/%s", self, name);
}

// It may run between fork and exec, so it takes no memory from the allocator.
int kernel_exec(const char *path, char *const argv[], char *const envp[], const struct preference *preference) {
    struct activation a = {0};
    int fault = activate(&a, path, preference, false);
    if (fault != 0) return fault;
    if (too_big(argv, envp)) return D_E2BIG;
    size_t count = 0;
    while (argv[count] != NULL) count++;
    size_t bytes = (count + MAX_WORDS + 16) * sizeof(char *);
    const char **words = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (words == MAP_FAILED) return D_ENOMEM;
    bool x86 = a.cputype == CPU_X86_64;
    char loader[PATH_MAX], made[128], slice[64], *none[] = {NULL};
    beside(x86 ? "darwin-x86_64" : "darwin-arm64", loader);
    uint32_t affinity = x86 && options.machine != INTEL ? CPU_X86_64 : options.affinity;
    snprintf(made, sizeof made, "--made=%d,%d,%d,%d,%x", options.machine, options.forked, options.trace, options.unknown, affinity);
    snprintf(slice, sizeof slice, "--slice=%llu,%llu", (unsigned long long)a.offset, (unsigned long long)a.size);
    size_t n = 0;
    const char *program = loader;
    if (!x86) {
        program = QEMU;
        words[n++] = "qemu-aarch64";
        words[n++] = "-cpu";
        words[n++] = "max,pauth=off";
    }
    words[n++] = loader;
    words[n++] = made;
    words[n++] = slice;
    if (options.files[0] != 0) {
        words[n++] = "--files";
        words[n++] = options.files;
    }
    words[n++] = "--loaded";
    words[n++] = a.path;
    for (int i = 0; i < a.word_count; i++) words[n++] = a.words[i];
    if (a.word_count > 0) words[n++] = path; // instead of argv[0], as it was given
    for (size_t i = a.word_count > 0 && count > 0; i < count; i++) words[n++] = argv[i];
    words[n] = NULL;
    execve(program, (char **)words, envp == NULL ? none : (char **)envp);
    fault = errno_to_darwin(errno);
    munmap(words, bytes);
    return fault;
}
