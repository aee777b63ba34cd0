// Executing a program: the broker says what becomes of it, and this carries it out. Between fork and exec only this runs: plain system calls, no heap, no
// lock, no memory of the parent's that is changed.
#include "layer.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <unistd.h>

static const char insert_name[] = "DYLD_INSERT_LIBRARIES=", broker_name[] = "MIRRORD_BROKER=", cwd_name[] = "MIRRORD_CWD=", copy_name[] = "MIRRORD_COPY=",
                  light_name[] = "MIRRORD_LIGHT=";

// value_of is asked of every variable for every name: most differ in the first letter.
static const char *value_of(const char *entry, const char *name) {
    while (*name != 0 && *entry == *name) entry++, name++;
    return *name == 0 ? entry : NULL;
}

// variable is getenv without its lock.
static const char *variable(char *const envp[], const char *name) {
    const char *value;
    for (size_t i = 0; envp != NULL && envp[i] != NULL; i++)
        if ((value = value_of(envp[i], name)) != NULL) return value;
    return NULL;
}

static size_t length_of(char *const list[]) {
    size_t n = 0;
    while (list != NULL && list[n] != NULL) n++;
    return n;
}

// A program to be executed, as it was asked for and then as it is to be.
struct program {
    const char *path;
    char *const *argv;
    char *const *envp;
    const char *cwd;       // where a relative path is looked for; NULL: where this process is
    const char *directory; // the working directory while it is one of the pod; empty otherwise
    int substituted; // another file stands in for the one that was asked for
    uint8_t *memory; // of what replaces the caller's; NULL: nothing does
    size_t size;
};

// ---- asking

static struct frame exec_frame(uint8_t *data, uint32_t size, const struct program *p) {
    char own[PATH_MAX];
    const char *cwd = p->cwd;
    if (p->path[0] == '/')
        cwd = NULL;
    else if (cwd == NULL && local_path(AT_FDCWD, own) > 0)
        cwd = own;
    struct frame f = frame_begin(data, size, FRAME_EXEC, session.token);
    put_u8(&f, EXEC_ASK);
    put_str(&f, p->path);
    put_str(&f, cwd);
    put_str(&f, p->argv != NULL ? p->argv[0] : NULL);
    put_str(&f, variable(p->envp, "PATH="));
    put_str(&f, variable(p->envp, "DEVELOPER_DIR="));
    return f;
}

// ---- composing

// Strings and lists of pointers that are written one after the other into room that was counted before.
struct room {
    char *at;
};
static char *text(struct room *r, const char *s, size_t n) {
    char *start = r->at;
    memcpy(start, s, n);
    start[n] = 0;
    r->at += n + 1;
    return start;
}

// answer is what the broker said; its strings are in the frame, without zeros.
struct answer {
    uint8_t verdict, flags;
    uint16_t path_length, skip, words_n, edits_n;
    const char *path;
    struct frame words, edits;
};

static int read_answer_of(struct frame *f, struct answer *a) {
    uint16_t n;
    a->verdict = get_u8(f);
    a->flags = get_u8(f);
    a->path = get_str(f, &a->path_length);
    a->skip = get_u16(f);
    a->words_n = get_u16(f);
    a->words = *f;
    for (int i = 0; i < a->words_n; i++) get_str(f, &n);
    a->edits_n = get_u16(f);
    a->edits = *f;
    for (int i = 0; i < a->edits_n; i++) get_str(f, &n);
    return !f->broken;
}

// is_edited says whether an edit of the answer is about the variable of entry.
static int is_edited(const struct answer *a, const char *entry) {
    struct frame f = a->edits;
    size_t name = strcspn(entry, "=");
    uint16_t n;
    for (int i = 0; i < a->edits_n; i++) {
        const char *edit = get_str(&f, &n);
        if (n >= name && memcmp(edit, entry, name) == 0 && (n == name || edit[name] == '=')) return 1;
    }
    return 0;
}

// The layer is there twice, side by side: a program with pointer authentication loads no library without (dyld mach_o/GradedArchitectures.cpp), and every
// native one would prefer the library with it. session.library is the plain one once the constructor has been here.
static const char arm64e_name[] = "-arm64e.dylib";
static char arm64e_library[PATH_MAX];

static void note_libraries(void) {
    enum { TAIL = sizeof ".dylib" - 1, NAME = sizeof arm64e_name - 1 };
    size_t n = strlen(session.library);
    if (n < NAME || n + NAME >= PATH_MAX) return;
    if (strcmp(session.library + n - NAME, arm64e_name) == 0) strcpy(session.library + (n -= NAME - TAIL) - TAIL, ".dylib");
    strcpy(strcpy(arm64e_library, session.library) + n - TAIL, arm64e_name);
}

static int is_element(const char *path, const char *list, size_t n) { return strncmp(path, list, n) == 0 && path[n] == 0; }

// inserted writes the value of DYLD_INSERT_LIBRARIES: the caller's, with the library of ours first or, when it is NULL, none. NULL when nothing is left.
static char *inserted(struct room *r, const char *list, const char *ours) {
    char *start = r->at;
    memcpy(r->at, insert_name, sizeof insert_name - 1);
    char *first = r->at += sizeof insert_name - 1;
    if (ours != NULL) {
        memcpy(r->at, ours, strlen(ours));
        r->at += strlen(ours);
    }
    while (list != NULL && *list != 0) {
        size_t n = strcspn(list, ":");
        if (n > 0 && !is_element(session.library, list, n) && !is_element(arm64e_library, list, n)) {
            if (r->at > first) *r->at++ = ':';
            memcpy(r->at, list, n);
            r->at += n;
        }
        list += n + (list[n] == ':');
    }
    *r->at++ = 0;
    return r->at > first + 1 ? start : NULL;
}

// environment writes the caller's with our variables put back and the answer's edits.
static char **environment(struct room *r, char **out, const struct program *p, const struct answer *a, const char *library) {
    static const char *const ours[] = {insert_name, broker_name, cwd_name, copy_name, light_name};
    char *const *envp = p->envp;
    char **start = out, *entry;
    uint16_t n;
    if ((entry = inserted(r, variable(envp, insert_name), library)) != NULL) *out++ = entry;
    for (size_t i = 0; envp != NULL && envp[i] != NULL; i++) {
        int dropped = is_edited(a, envp[i]);
        for (size_t j = 0; j < sizeof ours / sizeof *ours; j++) dropped |= value_of(envp[i], ours[j]) != NULL;
        if (!dropped) *out++ = envp[i];
    }
    *out++ = session.variable;
    if (p->directory[0] != 0) {
        *out++ = text(r, cwd_name, sizeof cwd_name - 1);
        r->at--;
        text(r, p->directory, strlen(p->directory));
    }
    if (a->flags & EXEC_LIGHT) *out++ = text(r, "MIRRORD_LIGHT=1", 15);
    struct frame f = a->edits;
    for (int i = 0; i < a->edits_n; i++) {
        const char *edit = get_str(&f, &n);
        if (memchr(edit, '=', n) != NULL) *out++ = text(r, edit, n);
    }
    *out = NULL;
    return start;
}

// prepare replaces what p holds by what is to be executed; the caller's stays where nobody answers, with our variables put back. drop_program ends it.
static void prepare(struct program *p) {
    const char *list = variable(p->envp, insert_name);
    size_t argc = length_of(p->argv), envc = length_of(p->envp), frame = FRAME_HEADER + FRAME_MAX;
    size_t pointers = (argc + envc + FRAME_MAX / 2 + 16) * sizeof(char *);
    size_t texts = 2 * FRAME_MAX + sizeof insert_name + sizeof session.library + PATH_MAX + 64 + (list != NULL ? strlen(list) : 0);
    p->size = frame + pointers + texts;
    p->memory = sys_mmap(p->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (sys_failed(p->memory)) {
        p->memory = NULL;
        return;
    }
    struct answer a = {0};
    struct frame f = exec_frame(p->memory, (uint32_t)frame, p);
    if (ask_exec(&f, p->argv) != STATUS_OK || !read_answer_of(&f, &a)) a = (struct answer){0};
    // A library that cannot be loaded ends a program before main.
    const char *library = a.flags & EXEC_ARM64E ? arm64e_library : session.library;
    if (a.verdict == VERDICT_OUTSIDE || ORIGINAL(access)(library, R_OK) != 0) library = NULL;
    char **out = (char **)(p->memory + frame);
    struct room r = {(char *)p->memory + frame + pointers};
    if (a.path_length > 0) {
        p->path = text(&r, a.path, a.path_length);
        p->substituted = 1;
    }
    if (a.words_n > 0 || a.skip > 0) {
        char **argv = out;
        uint16_t n;
        for (int i = 0; i < a.words_n; i++) {
            const char *word = get_str(&a.words, &n);
            *out++ = text(&r, word, n);
        }
        for (size_t i = a.skip; i < argc; i++) *out++ = p->argv[i];
        *out++ = NULL;
        p->argv = argv;
    }
    p->envp = environment(&r, out, p, &a, library);
}

static void drop_program(const struct program *p) {
    if (p->memory != NULL) sys_munmap(p->memory, p->size);
}

// ---- executing

// In a program that runs translated only because its copy does, what it executes is to run natively where it can: the constructor makes the attributes, the
// exec path reads them.
static posix_spawnattr_t native_exec, native_spawn;

static posix_spawnattr_t prefer_native(short flags) {
    cpu_type_t types[] = {CPU_TYPE_ARM64, CPU_TYPE_ANY};
    cpu_subtype_t subtypes[] = {CPU_SUBTYPE_ANY, CPU_SUBTYPE_ANY};
    posix_spawnattr_t attributes;
    size_t set;
    if (posix_spawnattr_init(&attributes) != 0) return NULL;
    return posix_spawnattr_setflags(&attributes, flags) == 0 && posix_spawnattr_setarchpref_np(&attributes, 2, types, subtypes, &set) == 0 ? attributes
                                                                                                                                      : NULL;
}

static void prepare_native(void) {
    if (!identity.translated) return;
    native_exec = prefer_native(POSIX_SPAWN_SETEXEC);
    native_spawn = prefer_native(0);
}

static int replace_image(const char *path, char *const argv[], char *const envp[]) {
    if (likely(native_exec == NULL)) return ORIGINAL(execve)(path, argv, envp);
    return fail(ORIGINAL(posix_spawn)(NULL, path, NULL, &native_exec, argv, envp));
}

// A relative program below a directory of the pod is looked for at the same path of this machine: programs are never taken from the pod.
static const char *program_path(const char *directory, const char *path, char buffer[PATH_MAX]) {
    if (likely(directory[0] == 0) || path == NULL || path[0] == '/' || strlen(directory) + strlen(path) + 2 > PATH_MAX) return path;
    return strcat(strcat(strcpy(buffer, directory), "/"), path);
}

EXPORT int execve(const char *path, char *const argv[], char *const envp[]) {
    char buffer[PATH_MAX];
    path = program_path(remote_cwd, path, buffer);
    // What is not there costs no round trip: shells and Python try every folder of PATH.
    if (!session.active || path == NULL || ORIGINAL(access)(path, X_OK) != 0) return ORIGINAL(execve)(path, argv, envp);
    struct program p = {.path = path, .argv = argv, .envp = envp, .directory = remote_cwd};
    prepare(&p);
    int result = replace_image(p.path, p.argv, p.envp);
    if (errno == E2BIG) result = ORIGINAL(execve)(path, argv, envp);
    int saved = errno;
    drop_program(&p);
    errno = saved;
    return result;
}

// spawn_program is posix_spawn. A caller's preference for architectures is for the file it named; a copy has one slice.
static int spawn_program(pid_t *pid, const struct program *p, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes) {
    cpu_type_t types[4], any[] = {CPU_TYPE_ANY};
    cpu_subtype_t subtypes[4], any_subtype[] = {CPU_SUBTYPE_ANY};
    size_t n = 0, set;
    int preferred = p->substituted && attributes != NULL && *attributes != NULL && posix_spawnattr_getarchpref_np(attributes, 4, types, subtypes, &n) == 0 && n > 0;
    posix_spawnattr_t *changed = (posix_spawnattr_t *)attributes;
    if (preferred) posix_spawnattr_setarchpref_np(changed, 1, any, any_subtype, &set);
    int err = ORIGINAL(posix_spawn)(pid, p->path, actions, attributes, p->argv, p->envp);
    if (preferred) posix_spawnattr_setarchpref_np(changed, n, types, subtypes, &set);
    return err;
}

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes, char *const argv[],
                       char *const envp[]) {
    char buffer[PATH_MAX];
    const struct noted *n = noted_of(actions);
    int changes = n != NULL && n->changes;
    path = program_path(changes && n->remote ? n->cwd : changes ? "" : remote_cwd, path, buffer);
    if (!session.active || path == NULL || (path[0] == '/' && ORIGINAL(access)(path, X_OK) != 0))
        return ORIGINAL(posix_spawn)(pid, path, actions, attributes, argv, envp);
    struct program p = {.path = path, .argv = argv, .envp = envp, .cwd = changes && !n->remote ? n->cwd : NULL,
                        .directory = !changes ? remote_cwd : n->remote ? n->cwd : ""};
    prepare(&p);
    int err = spawn_program(pid, &p, actions, attributes == NULL && native_spawn != NULL ? &native_spawn : attributes);
    if (err == E2BIG) err = ORIGINAL(posix_spawn)(pid, path, actions, attributes, argv, envp);
    drop_program(&p);
    return err;
}
