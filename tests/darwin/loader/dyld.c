// From a slice to a running program: what the kernel and AMFI check of it, which variables of the environment count, what is loaded in which order.
#include "loader.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

extern char **environ;

struct image *images, *main_image;
char executable_path[PATH_MAX];

void die(const char *format, ...) {
    char text[4096];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    dprintf(2, "dyld[%d]: %s\n", getpid(), text);
    signal(SIGABRT, SIG_DFL);
    abort();
}

void unmodelled(const char *format, ...) {
    char text[4096];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    dprintf(2, "darwin loader[%d]: not modelled: %s\n", getpid(), text);
    signal(SIGABRT, SIG_DFL);
    abort();
}

// ---- the kernel's checks of the program itself

static void kill_self(const char *why) {
    dprintf(2, "darwin loader[%d]: killed: %s: %s\n", getpid(), executable_path, why);
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static bool arm64e(const struct image *image) {
    return image->file_header->cputype == CPU_ARM64 && (image->file_header->cpusubtype & SUBTYPE_MASK) == SUBTYPE_ARM64E;
}
static int abi_of(const struct image *image) { return image->file_header->cpusubtype >> 24 & 0xf; }

// A program is Apple's when its signature says so and is not ad hoc: a copy that was signed again is not. The real test is a list of hashes in the kernel.
static bool is_platform(const struct signature *s) {
    return s->fault == NULL && s->platform != 0 && s->cms && (s->flags & CS_ADHOC) == 0 && strncmp(s->identifier, "com.apple.", 10) == 0;
}

static void check_program(const struct image *image) {
    const struct signature *s = &image->signature;
    if (HOST_CPU == CPU_ARM64) {
        if (!s->present) kill_self("completely unsigned code");
        if (s->fault != NULL) kill_self(s->fault);
    } else if (s->present && s->fault != NULL && (s->flags & (CS_HARD | CS_KILL | CS_RUNTIME)) != 0) {
        kill_self(s->fault);
    }
    if (arm64e(image) && abi_of(image) == 0 && !is_platform(s)) kill_self("built against preview arm64e ABI");
}

// ---- the environment

// restricted tells whether dyld drops every DYLD_ variable, and so does not insert anything (facts: setuid, SF_RESTRICTED, __RESTRICT, CS_RESTRICT, hardened).
static bool restricted(const struct image *image) {
    const struct file_entry *entry = files_find(executable_path);
    if (entry != NULL && ((entry->flags & SF_RESTRICTED) != 0 || entry->setuid)) return true;
    if (image->restrict_section || image->encrypted || (image->signature.flags & CS_RESTRICT) != 0) return true;
    return (image->signature.flags & CS_RUNTIME) != 0 && !image->signature.allow_dyld;
}

static bool library_validation(const struct image *image) {
    return (image->signature.flags & (CS_RUNTIME | CS_REQUIRE_LV)) != 0 && !image->signature.disable_lv;
}

static void prune_environment(void) {
    char **to = environ;
    for (char **from = environ; *from != NULL; from++)
        if (strncmp(*from, "DYLD_", 5) != 0) *to++ = *from;
    *to = NULL;
}

// ---- loading

bool is_system_library(const char *path) {
    if (strncmp(path, "/usr/lib/", 9) != 0 && strncmp(path, "/System/", 8) != 0) return false;
    return files_find(path) == NULL;
}

// wanted_archs are the names of the architectures that a library may have, best first.
static int wanted_archs(const char *names[5]) {
    int n = 0;
    if (HOST_CPU == CPU_X86_64) {
        if (options.machine == INTEL) names[n++] = "x86_64h";
        names[n++] = "x86_64";
    } else if (arm64e(main_image) && abi_of(main_image) == 0) {
        names[n++] = "arm64e";
    } else {
        names[n++] = "arm64e", names[n++] = "arm64e.v1", names[n++] = "arm64", names[n++] = "arm64v8";
    }
    return n;
}

static void architectures(char *text, size_t room, const char *const *names, int count, const char *between) {
    text[0] = 0;
    for (int i = 0; i < count; i++) snprintf(text + strlen(text), room - strlen(text), "%s%s", i > 0 ? between : "", names[i]);
}

static const struct slice *slice_for_library(const struct slice *slices, int count, bool fat, char *why, size_t room) {
    const char *wanted[5], *have[MAX_SLICES];
    int wanted_count = wanted_archs(wanted);
    for (int i = 0; i < count; i++) have[i] = arch_name(slices[i].cputype, slices[i].cpusubtype);
    for (int i = 0; i < wanted_count; i++)
        for (int j = 0; j < count; j++)
            if (strcmp(wanted[i], have[j]) == 0) return &slices[j];
    char has[256], need[256];
    architectures(has, sizeof has, have, count, ",");
    architectures(need, sizeof need, wanted, wanted_count, "' or '");
    snprintf(why, room,
             fat ? "fat file, but missing compatible architecture (have '%s', need '%s')"
                 : "mach-o file, but is an incompatible architecture (have '%s', need '%s')",
             has, need);
    return NULL;
}

static struct image *loaded(const char *path) {
    for (struct image *image = images; image != NULL; image = image->next)
        if (strcmp(image->path, path) == 0) return image;
    return NULL;
}

static void append(struct image *image) {
    struct image **end = &images;
    while (*end != NULL) end = &(*end)->next;
    *end = image;
}

static bool load_dependencies(struct image *image, char *why, size_t room);

// check_library is what the kernel and AMFI have against a library. A hash that is wrong kills, whatever may be loaded without it.
static bool check_library(struct image *image, char *why, size_t room) {
    const struct signature *s = &image->signature;
    bool strict = HOST_CPU == CPU_ARM64 || (main_image->signature.flags & (CS_RUNTIME | CS_REQUIRE_LV)) != 0;
    if (library_validation(main_image) && !is_platform(s) && (main_image->signature.team[0] == 0 || strcmp(s->team, main_image->signature.team) != 0)) {
        snprintf(why, room,
                 s->present ? "code signature in '%s' not valid for use in process: mapping process and mapped file (non-platform) have different Team IDs"
                            : "code signature in '%s' not valid for use in process: mapped file has no cdhash, completely unsigned?",
                 image->path);
        return false;
    }
    if (!s->present && strict) {
        snprintf(why, room, "missing code signature in '%s'", image->path);
        return false;
    }
    if (s->present && s->fault != NULL && (strict || (main_image->signature.flags & (CS_KILL | CS_HARD)) != 0)) kill_self(s->fault);
    return true;
}

// load opens a library. NULL and why when it cannot be used.
static struct image *load(const char *path, bool launch, bool inserted, char *why, size_t room) {
    struct image *already = loaded(path);
    if (already != NULL) return already;
    char real[PATH_MAX];
    int fd = open(files_real(path, real), O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        snprintf(why, room, errno == ENOENT ? "no such file" : "open failed, errno=%d", errno_to_darwin(errno));
        return NULL;
    }
    uint8_t *bytes = st.st_size == 0 ? MAP_FAILED : mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    struct slice slices[MAX_SLICES];
    int count = bytes == MAP_FAILED ? -1 : slices_of(bytes, (size_t)st.st_size, (uint64_t)st.st_size, slices);
    if (count < 0) {
        snprintf(why, room, "not a mach-o file");
        return NULL;
    }
    const struct slice *slice = slice_for_library(slices, count, *(uint32_t *)bytes != MH_MAGIC_64, why, room);
    if (slice == NULL) return NULL;
    struct image *image = calloc(1, sizeof *image);
    snprintf(image->path, sizeof image->path, "%s", path);
    const char *fault = image_parse(image, bytes + slice->offset, slice->size);
    if (fault == NULL && image->file_header->filetype != MH_DYLIB && image->file_header->filetype != MH_BUNDLE) fault = "not a dylib";
    if (fault == NULL && image->build.cmd != 0 && main_image->build.cmd != 0 && image->build.platform != main_image->build.platform)
        fault = "incompatible platform";
    signature_read(image->bytes, image->size, &image->signature);
    if (fault != NULL) snprintf(why, room, "%s", fault);
    if (fault != NULL || !check_library(image, why, room)) {
        free(image);
        return NULL;
    }
    image->launch = launch;
    image->inserted = inserted;
    append(image);
    image_map(image);
    return load_dependencies(image, why, room) ? image : NULL;
}

static void directory_of(const char *path, char *to) {
    snprintf(to, PATH_MAX, "%s", path);
    char *slash = strrchr(to, '/');
    if (slash != NULL) *slash = 0;
}

// expand writes the path that a name with @executable_path, @loader_path or one of the rpaths means.
static void expand(const struct image *image, const char *name, const char *rpath, char to[PATH_MAX]) {
    char directory[PATH_MAX];
    if (rpath != NULL) {
        char head[PATH_MAX];
        expand(image, rpath, NULL, head);
        snprintf(to, PATH_MAX, "%.2000s/%.2000s", head, name + strlen("@rpath/"));
    } else if (strncmp(name, "@executable_path/", 17) == 0) {
        directory_of(executable_path, directory);
        snprintf(to, PATH_MAX, "%.2000s/%.2000s", directory, name + 17);
    } else if (strncmp(name, "@loader_path/", 13) == 0) {
        directory_of(image->path, directory);
        snprintf(to, PATH_MAX, "%.2000s/%.2000s", directory, name + 13);
    } else {
        snprintf(to, PATH_MAX, "%s", name);
    }
}

static struct image *load_named(const struct image *image, const char *name, bool launch, bool inserted, char *why, size_t room) {
    char path[PATH_MAX], reason[1024] = "no such file";
    if (strncmp(name, "@rpath/", 7) != 0) {
        expand(image, name, NULL, path);
        struct image *found = load(path, launch, inserted, reason, sizeof reason);
        if (found == NULL) snprintf(why, room, "tried: '%s' (%s)", path, reason);
        return found;
    }
    const struct image *owners[] = {image, main_image};
    snprintf(why, room, "tried:");
    for (size_t o = 0; o < (image == main_image ? 1 : 2); o++)
        for (int i = 0; i < owners[o]->rpath_count; i++) {
            expand(owners[o], name, owners[o]->rpaths[i], path);
            struct image *found = load(path, launch, inserted, reason, sizeof reason);
            if (found != NULL) return found;
            snprintf(why + strlen(why), room - strlen(why), " '%s' (%s)", path, reason);
        }
    return NULL;
}

static bool load_dependencies(struct image *image, char *why, size_t room) {
    for (int i = 0; i < image->dependency_count; i++) {
        struct dependency *d = &image->dependencies[i];
        if (is_system_library(d->name)) continue;
        char reason[2048];
        d->image = load_named(image, d->name, image->launch, image->inserted, reason, sizeof reason);
        if (d->image != NULL) continue;
        if (!d->weak) {
            snprintf(why, room, "Library not loaded: %s\n  Referenced from: %s\n  Reason: %s", d->name, image->path, reason);
            return false;
        }
        d->absent = true; // whatever the reason was, a wrong architecture too
    }
    return true;
}

// ---- inserted libraries

static void insert_libraries(void) {
    const char *list = getenv("DYLD_INSERT_LIBRARIES");
    if (list == NULL) return;
    char *copy = strdup(list), *save;
    for (char *path = strtok_r(copy, ":", &save); path != NULL; path = strtok_r(NULL, ":", &save)) {
        char why[4096], first[1024];
        if (strncmp(path, "@loader_path/", 13) == 0 || strncmp(path, "@rpath/", 7) == 0) snprintf(why, sizeof why, "tried: '%s' (no such file)", path);
        else if (load_named(main_image, path, true, true, why, sizeof why) != NULL) continue;
        if (library_validation(main_image)) continue; // a failed insertion is not fatal there
        if (strncmp(why, "tried: ", 7) != 0) die("terminating because inserted dylib '%s' could not be loaded: %s", path, why);
        snprintf(first, sizeof first, "%.1023s", why + 7);
        die("terminating because inserted dylib '%s' could not be loaded: tried: %s, '/System/Volumes/Preboot/Cryptexes/OS%s' (no such file), %s", path, first,
            path, first);
    }
    free(copy);
}

// ---- initialisers

static const char **apple;
static int program_argc;
static char **program_argv, **words;
static size_t word_count;

typedef void initialiser(int, char **, char **, const char **, void *);

static void initialise_section(struct image *image, const struct section *section, void *unused) {
    (void)unused;
    uint32_t type = section->flags & SECTION_TYPE;
    if (type == S_MOD_INIT_FUNC_POINTERS) {
        initialiser **functions = image_address(image, section->addr, section->size);
        for (uint64_t i = 0; i < section->size / 8; i++) functions[i](program_argc, program_argv, environ, apple, NULL);
    } else if (type == S_INIT_FUNC_OFFSETS) {
        const uint32_t *offsets = image_address(image, section->addr, section->size);
        for (uint64_t i = 0; i < section->size / 4; i++) {
            initialiser *function = image_address(image, image->preferred + offsets[i], 1);
            function(program_argc, program_argv, environ, apple, NULL);
        }
    }
}

static void initialise(struct image *image) {
    if (image->initialised) return;
    image->initialised = true;
    for (int i = 0; i < image->dependency_count; i++)
        if (image->dependencies[i].image != NULL) initialise(image->dependencies[i].image);
    image_sections(image, initialise_section, NULL);
}

// lay_out puts the words of the program one behind the other as the kernel does: argc, argv, envp, apple. Go looks for apple behind envp.
static void lay_out(char **argv, const char *apple_string) {
    size_t variables = 0;
    while (environ[variables] != NULL) variables++;
    word_count = (size_t)program_argc + variables + 5;
    words = calloc(word_count, sizeof *words);
    words[0] = (char *)(intptr_t)program_argc;
    program_argv = memcpy(words + 1, argv, (size_t)program_argc * sizeof *argv);
    environ = memcpy(program_argv + program_argc + 1, environ, variables * sizeof *environ);
    apple = (const char **)environ + variables + 1;
    apple[0] = apple_string;
}

// start_thread begins a program without LC_MAIN: at the place it says, with those words on the stack.
static void start_thread(const void *entry) {
    size_t size = word_count * sizeof *words;
    void *stack = memcpy(__builtin_alloca_with_align(size, 128), words, size);
#ifdef __x86_64__
    __asm__ volatile("movq %0, %%rsp\n xorl %%ebp, %%ebp\n jmpq *%1" : : "r"(stack), "r"(entry) : "memory");
#else
    __asm__ volatile("mov sp, %0\n mov x29, xzr\n mov x30, xzr\n br %1" : : "r"(stack), "r"(entry) : "memory");
#endif
    __builtin_unreachable();
}

void dyld_run(const char *path, const uint8_t *bytes, size_t size, int argc, char **argv) {
    static struct image program;
    static char apple_path[PATH_MAX + 32];
    program_argc = argc;
    snprintf(executable_path, sizeof executable_path, "%s", path);
    snprintf(apple_path, sizeof apple_path, "executable_path=%s", path);
    main_image = &program;
    files_clean(path, program.path);
    const char *fault = image_parse(&program, bytes, size);
    if (fault != NULL) kill_self(fault);
    program.launch = true;
    signature_read(bytes, size, &program.signature);
    check_program(&program);
    stubs_make();
    pauth_off();

    char why[4096];
    image_map(&program);
    if (restricted(&program)) prune_environment();
    lay_out(argv, apple_path);
    insert_libraries(); // before the program in the order of loading
    append(&program);
    if (!load_dependencies(&program, why, sizeof why)) die("%s", why);
    for (struct image *image = images; image != NULL; image = image->next) image_fix(image);
    for (struct image *image = images; image != NULL; image = image->next)
        if (image->file_header->filetype == MH_DYLIB) interpose_collect(image);
    for (struct image *image = images; image != NULL; image = image->next) {
        interpose_apply(image, 0);
        image_protect(image);
    }
    if (options.unknown) exit(0);
    for (struct image *image = images; image != NULL; image = image->next) initialise(image);
    if (program.has_thread) start_thread(image_address(&program, program.entry, 1));
    if (!program.has_entry) die("malformed: %s: no place to begin", path);
    int (*entry)(int, char **, char **, const char **) = image_address(&program, program.preferred + program.entry, 1);
    exit(entry(argc, program_argv, environ, apple));
}

// ---- afterwards: dlopen, dlsym, who is at an address

struct image *image_of(const void *address) {
    for (struct image *image = images; image != NULL; image = image->next)
        if ((const uint8_t *)address >= image->base && (const uint8_t *)address < image->base + image->extent) return image;
    return NULL;
}

// What dlopen loads comes too late for its own tuples, but those of the others hold for it.
void *dyld_open(const char *path, const struct image *caller, char *why, size_t room) {
    struct image *last = images;
    while (last->next != NULL) last = last->next;
    struct image *found = load_named(caller == NULL ? main_image : caller, path, false, false, why, room);
    if (found == NULL) return NULL;
    for (struct image *image = last->next; image != NULL; image = image->next) image_fix(image);
    for (struct image *image = last->next; image != NULL; image = image->next) {
        interpose_apply(image, 0);
        image_protect(image);
    }
    initialise(found);
    return found;
}

enum { NEXT = -1, DEFAULT = -2, SELF = -3, MAIN_ONLY = -5 };

void *dyld_lookup(struct image *caller, void *handle, const char *name) {
    char symbol[1024];
    snprintf(symbol, sizeof symbol, "_%s", name);
    uintptr_t address = 0;
    intptr_t kind = (intptr_t)handle;
    struct image *image = images;
    if (kind == NEXT) image = caller == NULL ? NULL : caller->next;
    if (kind == SELF) image = caller;
    if (kind == NEXT || kind == DEFAULT || kind == SELF) {
        for (; address == 0 && image != NULL; image = image->next) address = symbols_export(image, symbol);
        if (address == 0) address = stub_of(symbol);
    } else if (kind == MAIN_ONLY) {
        address = symbols_export(main_image, symbol);
    } else {
        for (image = images; image != NULL && image != handle; image = image->next) continue;
        address = image == NULL ? stub_of(symbol) : symbols_export(image, symbol);
    }
    return (void *)interpose_for(NULL, address); // for every caller, the owner of the tuple too
}

int program_arguments(char ***argv) {
    *argv = program_argv;
    return program_argc;
}
