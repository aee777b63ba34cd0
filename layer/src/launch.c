// Starting a program, by whichever function: an exec is told to the broker, and goes its way. Only of a program with rights of its own, in which the
// loader ignores LD_PRELOAD, and of one that makes its own system calls, the broker is asked what to execute in its place: then the asker waits.
//
// As all that may run between vfork and exec, this allocates nothing on the heap and takes no lock.
#define _GNU_SOURCE
#include "layer.h"

#include <alloca.h>
#include <elf.h>
#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <unistd.h>

// Small things live on the stack: what a vfork child maps, its parent keeps.
enum { ON_STACK = 32 << 10 };

// SCRATCH declares size bytes for as long as the function runs, NULL when there are none; RELEASE gives them back.
#define SCRATCH(name, size)                                                                                                         \
    size_t name##_size = (size);                                                                                                    \
    void *name = name##_size <= ON_STACK ? alloca(name##_size)                                                                      \
                                         : sys_mmap(name##_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);          \
    if (sys_failed(name)) name = NULL
#define RELEASE(name)                                                                                                               \
    do {                                                                                                                            \
        if (name##_size > ON_STACK && name != NULL) sys_munmap(name, name##_size);                                                  \
    } while (0)

// What one of the functions that start programs was called with; go calls the original.
struct launch {
    int (*go)(const struct launch *);
    const char *path;
    int search; // path is looked up in PATH
    char *const *argv;
    char *const *envp;
    const char *directory; // where a relative path starts; NULL: the working directory
    // Of posix_spawn.
    pid_t *pid;
    const posix_spawn_file_actions_t *actions;
    const posix_spawnattr_t *attributes;
};

#undef p_type // of resolv.h

// ---- does the layer work in it?

enum { SCRIPT_HEAD = 256, MAX_INTERPRETERS = 5 }; // what the kernel reads of a script, and how many scripts it follows (fs/exec.c)
enum { HEAD = 1024 };                             // bytes of a file that are looked at: nearly always with all program headers

static const char capability_attribute[] = "security.capability";

// interpreter ends the interpreter's name in the first bytes of a script and returns it; NULL when they are of none.
static const char *interpreter(char head[HEAD + 1], long size) {
    if (size < 3 || head[0] != '#' || head[1] != '!') return NULL;
    if (size > SCRIPT_HEAD) size = SCRIPT_HEAD;
    head[size] = 0;
    char *name = head + 2 + strspn(head + 2, " \t");
    name[strcspn(name, " \t\n")] = 0;
    return name;
}

#if defined(__x86_64__)
enum { OWN_MACHINE = EM_X86_64 };
#else
enum { OWN_MACHINE = EM_AARCH64 };
#endif

// go_note says whether a note segment holds Go's, which survives strip.
static int go_note(int fd, const Elf64_Phdr *p) {
    char notes[512];
    long size = sys_pread(fd, notes, p->p_filesz < sizeof notes ? p->p_filesz : sizeof notes, (long)p->p_offset);
    for (long at = 0; at + 16 <= size;) {
        Elf64_Nhdr n;
        memcpy(&n, notes + at, sizeof n);
        if (n.n_type == 4 && n.n_namesz == 4 && memcmp(notes + at + sizeof n, "Go\0", 4) == 0) return 1;
        if (n.n_namesz > sizeof notes || n.n_descsz > sizeof notes) return 0;
        at += (long)(sizeof n + ((n.n_namesz + 3) & ~3U) + ((n.n_descsz + 3) & ~3U));
    }
    return 0;
}

// go_section looks for the section of Go's that is there without a note, too.
static int go_section(int fd, const Elf64_Ehdr *e) {
    static const char name[] = "\0.go.buildinfo";
    Elf64_Shdr names;
    char text[4096];
    if (e->e_shentsize != sizeof names || sys_pread(fd, &names, sizeof names, (long)(e->e_shoff + e->e_shstrndx * sizeof names)) != sizeof names) return 0;
    long size = sys_pread(fd, text, names.sh_size < sizeof text ? names.sh_size : sizeof text, (long)names.sh_offset);
    return size > 0 && memmem(text, (size_t)size, name, sizeof name) != NULL;
}

// makes_own_calls says whether a program may make its own system calls: it names no loader, or Go has made it. Whether it does is for the broker to say.
static int makes_own_calls(int fd, const char *head, long size) {
    Elf64_Ehdr e;
    Elf64_Phdr list[HEAD / sizeof(Elf64_Phdr)];
    if (size < (long)sizeof e || memcmp(head, ELFMAG "\2\1", 6) != 0) return 0;
    memcpy(&e, head, sizeof e);
    if (e.e_machine != OWN_MACHINE || e.e_phentsize != sizeof *list) return 0;
    size_t count = e.e_phnum < sizeof list / sizeof *list ? e.e_phnum : sizeof list / sizeof *list;
    if (e.e_phoff < HEAD && e.e_phoff + count * sizeof *list <= (size_t)size)
        memcpy(list, head + e.e_phoff, count * sizeof *list);
    else if (sys_pread(fd, list, count * sizeof *list, (long)e.e_phoff) != (long)(count * sizeof *list))
        return 0;
    int loader = 0;
    for (size_t i = 0; i < count; i++) {
        loader |= list[i].p_type == PT_INTERP;
        if (list[i].p_type == PT_NOTE && go_note(fd, &list[i])) return 1;
    }
    return !loader || go_section(fd, &e);
}

// special says whether the layer may not work in the program that path leads to, for it has rights of its own or makes its own system calls. What that comes
// to is for the broker to say.
static int special(const char *path) {
    char head[HEAD + 1];
    for (int depth = 0; depth <= MAX_INTERPRETERS; depth++) {
        struct stat st;
        if (sys_stat(path, &st) < 0 || !S_ISREG(st.st_mode)) return 0;
        if ((st.st_mode & S_ISUID) || (st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP)) return 1;
        int fd = (int)sys(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0, 0, 0);
        if (fd < 0) return sys(SYS_getxattr, (long)path, (long)capability_attribute, 0, 0, 0, 0) > 0; // it may only be executed
        long size = sys_pread(fd, head, HEAD, 0);
        const char *next = interpreter(head, size);
        int found = next == NULL && (sys(SYS_fgetxattr, fd, (long)capability_attribute, 0, 0, 0, 0) > 0 || makes_own_calls(fd, head, size));
        sys_close(fd);
        if (next == NULL) return found;
        path = next;
    }
    return 0;
}

// special_below is special for a path that starts in a directory.
static NOINLINE int special_below(const char *directory, const char *path) {
    char whole[2 * PATH_MAX];
    if (strlen(path) >= PATH_MAX) return 0;
    return special(strcat(strcat(strcpy(whole, directory), "/"), path));
}

// found_special is special for the file that execvp finds.
static int found_special(const char *name) {
    const char *list = getenv("PATH");
    if (list == NULL) list = "/bin:/usr/bin";
    size_t n = strlen(name);
    for (char path[PATH_MAX];; list++) {
        size_t length = strcspn(list, ":");
        if (length + n + 2 <= sizeof path) {
            memcpy(path, list, length);
            memcpy(path + length, length > 0 ? "/" : "./", 3);
            strcat(path, name);
            struct stat st;
            if (sys_stat(path, &st) == 0 && S_ISREG(st.st_mode) && sys(SYS_faccessat, AT_FDCWD, (long)path, X_OK, 0, 0, 0) == 0)
                return special(path);
        }
        list += length;
        if (*list == 0) return 0;
    }
}

// ---- telling and asking

// exec_frame writes what is about to be executed into buffer, for which exec_frame_size bytes are enough.
static size_t exec_frame_size(const struct launch *l, const char *cwd, const char *list) {
    const char *argv0 = l->argv != NULL ? l->argv[0] : NULL;
    return 256 + strlen(l->path) + strlen(cwd) + (argv0 != NULL ? strlen(argv0) : 0) + (list != NULL ? strlen(list) : 0);
}

static struct frame exec_frame(const struct launch *l, const char *cwd, const char *list, int flags, uint8_t *buffer, size_t size) {
    struct frame f = frame_begin(buffer, (uint32_t)size, FRAME_EXEC, session.token);
    put_u8(&f, (uint8_t)(flags | (l->search ? EXEC_SEARCH : 0)));
    put_str(&f, l->path);
    put_str(&f, cwd);
    put_str(&f, l->argv != NULL ? l->argv[0] : NULL);
    put_str(&f, list);
    put_str(&f, NULL); // DEVELOPER_DIR, of macOS
    return f;
}

// named is l for the broker, of whom /proc/self is another. exe is room for a path.
static struct launch named(const struct launch *l, char exe[PATH_MAX]) {
    struct launch n = *l;
    long length = names_own_link(l->path) ? sys_readlink(l->path, exe, PATH_MAX - 1) : 0;
    if (length > 0) {
        exe[length] = 0;
        n.path = exe;
    }
    return n;
}

static void directory_of(const struct launch *l, char cwd[PATH_MAX]) {
    if (l->directory != NULL)
        strcpy(cwd, l->directory);
    else if (l->path[0] == '/' || sys(SYS_getcwd, (long)cwd, PATH_MAX, 0, 0, 0, 0) <= 0) cwd[0] = 0;
}

// announce tells the broker what is about to be executed.
static NOINLINE void announce(const struct launch *l) {
    char cwd[PATH_MAX], exe[PATH_MAX];
    const struct launch n = named(l, exe);
    directory_of(&n, cwd);
    const char *list = n.search ? getenv("PATH") : NULL;
    size_t size = exec_frame_size(&n, cwd, list);
    if (size > ON_STACK) return;
    struct frame f = exec_frame(&n, cwd, list, 0, alloca(size), size);
    tell(&f);
}

// get_text reads a string and ends it with a zero, for which the length before it leaves room.
static char *get_text(struct frame *f) {
    uint16_t n;
    const char *s = get_str(f, &n);
    if (f->broken) return NULL;
    char *text = (char *)f->data + (s - (const char *)f->data) - 1;
    memmove(text, s, n);
    text[n] = 0;
    return text;
}

static size_t count(char *const list[]) {
    size_t n = 0;
    while (list != NULL && list[n] != NULL) n++;
    return n;
}

// edited says whether the variable that entry sets is one that the edits name.
static int edited(const char *entry, char *const edits[], size_t n) {
    size_t name = strcspn(entry, "=");
    for (size_t i = 0; i < n; i++)
        if (strcspn(edits[i], "=") == name && memcmp(entry, edits[i], name) == 0) return 1;
    return 0;
}

// edit writes envp to out, changed as the edits say.
static void edit(char *const envp[], char *const edits[], size_t n, char **out) {
    for (; envp != NULL && *envp != NULL; envp++)
        if (!edited(*envp, edits, n)) *out++ = *envp;
    for (size_t i = 0; i < n; i++)
        if (strchr(edits[i], '=') != NULL) *out++ = edits[i];
    *out = NULL;
}

// launch_answered starts what the answer in f names; 1 when that cannot be done, and the caller's own is to be started.
static NOINLINE int launch_answered(const struct launch *l, struct frame *f, int *result) {
    struct launch to = *l;
    uint8_t verdict = get_u8(f);
    get_u8(f); // flags, of macOS
    to.path = get_text(f);
    size_t skip = get_u16(f), words = get_u16(f), given = count(l->argv);
    if (f->broken || (verdict != VERDICT_COPY && verdict != VERDICT_SUPERVISE) || to.path[0] == 0) return 1;
    if (skip > given) skip = given;
    SCRATCH(argv, (words + given - skip + 1) * sizeof(char *));
    if (argv == NULL) return 1;
    char **word = argv;
    for (size_t i = 0; i < words && !f->broken; i++) *word++ = get_text(f);
    for (size_t i = skip; i < given; i++) *word++ = l->argv[i];
    *word = NULL;
    to.argv = argv;

    size_t edits_n = get_u16(f);
    SCRATCH(space, (2 * edits_n + count(l->envp) + 1) * sizeof(char *));
    char **edits = space;
    for (size_t i = 0; i < edits_n && !f->broken && edits != NULL; i++) edits[i] = get_text(f);
    int failed = f->broken || edits == NULL;
    if (!failed) {
        to.envp = edits + edits_n;
        edit(l->envp, edits, edits_n, edits + edits_n);
        to.search = 0;
        *result = to.go(&to);
        failed = *result != 0;
    }
    RELEASE(space);
    RELEASE(argv);
    return failed;
}

// launch_asking waits for the broker's word. Without one, or with one that cannot be carried out, the program is started as it is.
static NOINLINE int launch_asking(const struct launch *l) {
    uint8_t buffer[ON_STACK];
    char cwd[PATH_MAX], exe[PATH_MAX];
    const struct launch n = named(l, exe);
    directory_of(&n, cwd);
    struct frame f = exec_frame(&n, cwd, n.search ? getenv("PATH") : NULL, EXEC_ASK, buffer, sizeof buffer);
    int result;
    if (ask_exec(&f, l->argv) == STATUS_OK && !launch_answered(l, &f, &result)) return result;
    return l->go(l);
}

static int may_be_special(const struct launch *l) {
    if (l->search) return found_special(l->path);
    return l->directory != NULL && l->path[0] != '/' ? special_below(l->directory, l->path) : special(l->path);
}

static int launch(const struct launch *l) {
    if (session.active && l->path != NULL) {
        if (unlikely(may_be_special(l))) return launch_asking(l);
        announce(l);
    }
    return l->go(l);
}
