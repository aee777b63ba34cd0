// posix_spawn: attributes and file actions of darwin, which Linux's have no words for. The child is a fork, or, with SETEXEC, the process itself.
#include "shim.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern char **environ;

enum { RESETIDS = 1, SETPGROUP = 2, SETSIGDEF = 4, SETSIGMASK = 8, SETEXEC = 0x40, START_SUSPENDED = 0x80, SETSID = 0x400, CLOEXEC_DEFAULT = 0x4000 };

struct attributes {
    short flags;
    int group;
    uint32_t defaults, mask;
    struct preference preference;
};

enum kind { OPEN, CLOSE, DUP2, INHERIT, CHDIR, FCHDIR };
struct action {
    enum kind kind;
    int fd, to, flags;
    mode_t mode;
    char *path;
};
struct actions {
    int count, room;
    struct action *list;
};

static long d_posix_spawnattr_init(struct attributes **a) { return (*a = calloc(1, sizeof **a)) == NULL ? D_ENOMEM : 0; }
static long d_posix_spawnattr_destroy(struct attributes **a) { return free(*a), *a = NULL, 0; }
static long d_posix_spawnattr_setflags(struct attributes **a, short flags) { return (*a)->flags = flags, 0; }
static long d_posix_spawnattr_getflags(struct attributes **a, short *flags) { return *flags = (*a)->flags, 0; }
static long d_posix_spawnattr_setpgroup(struct attributes **a, int group) { return (*a)->group = group, 0; }
static long d_posix_spawnattr_getpgroup(struct attributes **a, int *group) { return *group = (*a)->group, 0; }
static long d_posix_spawnattr_setsigdefault(struct attributes **a, const uint32_t *set) { return (*a)->defaults = *set, 0; }
static long d_posix_spawnattr_getsigdefault(struct attributes **a, uint32_t *set) { return *set = (*a)->defaults, 0; }
static long d_posix_spawnattr_setsigmask(struct attributes **a, const uint32_t *set) { return (*a)->mask = *set, 0; }
static long d_posix_spawnattr_getsigmask(struct attributes **a, uint32_t *set) { return *set = (*a)->mask, 0; }
// Mach ports are not modelled, and so not missed.
static long d_posix_spawnattr_setspecialport_np(struct attributes **a, unsigned port, int which) { return (void)a, (void)port, (void)which, 0; }
static long d_posix_spawnattr_set_qos_class_np(struct attributes **a, unsigned class) { return (void)a, (void)class, 0; }

static long d_posix_spawnattr_setarchpref_np(struct attributes **a, size_t count, const uint32_t *types, const uint32_t *subtypes, size_t *done) {
    struct preference *p = &(*a)->preference;
    size_t n = count < COUNT(p->types) ? count : COUNT(p->types);
    for (size_t i = 0; i < n; i++) p->types[i] = types[i], p->subtypes[i] = subtypes == NULL ? (uint32_t)CPU_ANY : subtypes[i];
    p->count = (int)n;
    if (done != NULL) *done = n;
    return 0;
}
static long d_posix_spawnattr_setbinpref_np(struct attributes **a, size_t count, const uint32_t *types, size_t *done) {
    return d_posix_spawnattr_setarchpref_np(a, count, types, NULL, done);
}
static long d_posix_spawnattr_getarchpref_np(struct attributes **a, size_t count, uint32_t *types, uint32_t *subtypes, size_t *done) {
    const struct preference *p = &(*a)->preference;
    for (size_t i = 0; i < count; i++) {
        bool set = i < (size_t)p->count;
        types[i] = set ? p->types[i] : 0; // CPU_TYPE_ANY is -1, an empty place is 0
        if (subtypes != NULL) subtypes[i] = set ? p->subtypes[i] : (uint32_t)CPU_ANY;
    }
    if (done != NULL) *done = count < (size_t)p->count ? count : (size_t)p->count;
    return 0;
}
static long d_posix_spawnattr_getbinpref_np(struct attributes **a, size_t count, uint32_t *types, size_t *done) {
    return d_posix_spawnattr_getarchpref_np(a, count, types, NULL, done);
}

static long d_posix_spawn_file_actions_init(struct actions **f) { return (*f = calloc(1, sizeof **f)) == NULL ? D_ENOMEM : 0; }
static long d_posix_spawn_file_actions_destroy(struct actions **f) {
    for (int i = 0; i < (*f)->count; i++) free((*f)->list[i].path);
    free((*f)->list);
    free(*f);
    *f = NULL;
    return 0;
}
static int add(struct actions **f, struct action action) {
    if ((*f)->count == (*f)->room) {
        (*f)->room = (*f)->room * 2 + 8;
        (*f)->list = realloc((*f)->list, (size_t)(*f)->room * sizeof *(*f)->list);
    }
    (*f)->list[(*f)->count++] = action;
    return 0;
}
static long d_posix_spawn_file_actions_addopen(struct actions **f, int fd, const char *path, int flags, mode_t mode) {
    return add(f, (struct action){.kind = OPEN, .fd = fd, .path = strdup(path), .flags = flags, .mode = mode});
}
static long d_posix_spawn_file_actions_addclose(struct actions **f, int fd) { return add(f, (struct action){.kind = CLOSE, .fd = fd}); }
static long d_posix_spawn_file_actions_adddup2(struct actions **f, int fd, int to) { return add(f, (struct action){.kind = DUP2, .fd = fd, .to = to}); }
static long d_posix_spawn_file_actions_addinherit_np(struct actions **f, int fd) { return add(f, (struct action){.kind = INHERIT, .fd = fd}); }
static long d_posix_spawn_file_actions_addchdir_np(struct actions **f, const char *path) {
    return add(f, (struct action){.kind = CHDIR, .path = strdup(path)});
}
static long d_posix_spawn_file_actions_addfchdir_np(struct actions **f, int fd) { return add(f, (struct action){.kind = FCHDIR, .fd = fd}); }

static void inherit(int fd) { fcntl(fd, F_SETFD, 0); }

// carry_out does one file action. A darwin errno. What an action made stays open even with CLOEXEC_DEFAULT.
static int carry_out(const struct action *a) {
    char real[PATH_MAX];
    int fd, result = 0;
    switch (a->kind) {
    case OPEN:
        fd = open(files_real(a->path, real), open_flags_to_linux(a->flags) & ~O_CLOEXEC, a->mode);
        if (fd < 0) return errno_to_darwin(errno);
        if (fd != a->fd) {
            result = dup2(fd, a->fd);
            close(fd);
        }
        inherit(a->fd);
        break;
    case CLOSE: result = close(a->fd); break;
    case DUP2:
        result = dup2(a->fd, a->to);
        if (result >= 0) inherit(a->to);
        break;
    case INHERIT: result = fcntl(a->fd, F_SETFD, 0); break;
    case CHDIR: result = chdir(a->path); break;
    case FCHDIR: result = fchdir(a->fd); break;
    }
    return result < 0 ? errno_to_darwin(errno) : 0;
}

static void close_all_on_exec(void) {
    struct rlimit limit = {.rlim_cur = 1024};
    getrlimit(RLIMIT_NOFILE, &limit);
    for (int fd = 0; fd < (int)(limit.rlim_cur < 65536 ? limit.rlim_cur : 65536); fd++) {
        int flags = fcntl(fd, F_GETFD);
        if (flags >= 0) fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
    }
}

// become turns this process into the program. A darwin errno if it cannot.
static int become(const char *path, const struct actions *f, const struct attributes *a, char *const argv[], char *const envp[]) {
    int flags = a == NULL ? 0 : a->flags, known = RESETIDS | SETPGROUP | SETSIGDEF | SETSIGMASK | SETEXEC | START_SUSPENDED | SETSID | CLOEXEC_DEFAULT;
    if ((flags & ~known) != 0) unmodelled("posix_spawn with flags %#x", flags);
    if ((flags & SETSID) != 0 && setsid() < 0) return errno_to_darwin(errno);
    if ((flags & SETPGROUP) != 0 && setpgid(0, a->group) != 0) return errno_to_darwin(errno);
    if ((flags & RESETIDS) != 0 && (setegid(getgid()) != 0 || seteuid(getuid()) != 0)) return errno_to_darwin(errno);
    if ((flags & CLOEXEC_DEFAULT) != 0) close_all_on_exec();
    for (int i = 0; f != NULL && i < f->count; i++) {
        int fault = carry_out(&f->list[i]);
        if (fault != 0) return fault;
    }
    for (int i = 1; i < 32; i++)
        if ((flags & SETSIGDEF) != 0 && (a->defaults >> (i - 1) & 1) != 0 && signal_to_linux(i) > 0) signal(signal_to_linux(i), SIG_DFL);
    if ((flags & SETSIGMASK) != 0) {
        sigset_t set;
        sigemptyset(&set);
        for (int i = 1; i < 32; i++)
            if ((a->mask >> (i - 1) & 1) != 0 && signal_to_linux(i) > 0) sigaddset(&set, signal_to_linux(i));
        sigprocmask(SIG_SETMASK, &set, NULL);
    }
    if ((flags & START_SUSPENDED) != 0) raise(SIGSTOP);
    return kernel_exec(path, argv, envp, a == NULL ? NULL : &a->preference);
}

static long d_posix_spawn(int *pid, const char *path, struct actions *const *f, struct attributes *const *a, char *const argv[], char *const envp[]) {
    const struct actions *actions = f == NULL ? NULL : *f;
    const struct attributes *attributes = a == NULL ? NULL : *a;
    if (attributes != NULL && (attributes->flags & SETEXEC) != 0) return become(path, actions, attributes, argv, envp);
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0) return errno_to_darwin(errno);
    int high = fcntl(report[1], F_DUPFD_CLOEXEC, 700); // out of the way of the file actions
    if (high >= 0) close(report[1]), report[1] = high;
    int child = fork();
    if (child == 0) {
        int fault = become(path, actions, attributes, argv, envp);
        _exit(write(report[1], &fault, sizeof fault) == sizeof fault ? 127 : 126);
    }
    int fault = 0;
    if (child < 0) fault = errno_to_darwin(errno);
    close(report[1]);
    if (child > 0) {
        bool suspended = attributes != NULL && (attributes->flags & START_SUSPENDED) != 0;
        ssize_t told = -1;
        while (!suspended && (told = read(report[0], &fault, sizeof fault)) < 0 && errno == EINTR) continue;
        if (told == sizeof fault) waitpid(child, NULL, 0);
        else if (pid != NULL) *pid = child;
    }
    close(report[0]);
    return fault;
}

static long d_posix_spawnp(int *pid, const char *name, struct actions *const *f, struct attributes *const *a, char *const argv[], char *const envp[]) {
    if (name[0] == 0) return D_ENOENT;
    if (strchr(name, '/') != NULL) return d_posix_spawn(pid, name, f, a, argv, envp);
    const char *folders = getenv("PATH");
    int fault = D_ENOENT;
    for (const char *at = folders == NULL ? "/usr/bin:/bin" : folders; at != NULL; at = strchr(at, ':') == NULL ? NULL : strchr(at, ':') + 1) {
        char path[PATH_MAX];
        int length = (int)strcspn(at, ":");
        snprintf(path, sizeof path, "%.*s/%s", length == 0 ? 1 : length, length == 0 ? "." : at, name);
        int result = d_posix_spawn(pid, path, f, a, argv, envp);
        if (result == D_ENOEXEC) {
            size_t count = 0;
            while (argv[count] != NULL) count++;
            char *words[count + 3];
            words[0] = "sh", words[1] = path, words[2] = NULL;
            for (size_t i = 1; i <= count; i++) words[i + 1] = argv[i];
            return d_posix_spawn(pid, "/bin/sh", f, a, words, envp);
        }
        if (!search_goes_on(result)) return result;
        if (result == D_EACCES) fault = D_EACCES;
    }
    return fault;
}

static long d_system(const char *command) {
    if (command == NULL) return 1;
    char *argv[] = {"sh", "-c", (char *)command, NULL};
    int pid, own = 0, fault = d_posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ);
    if (fault != 0) return 127 << 8;
    return waitpid(pid, &own, 0) < 0 ? (int)ret(-1) : status_to_darwin(own);
}

static struct stream { // of popen
    FILE *file;
    int pid;
    struct stream *next;
} *streams;

static FILE *d_popen(const char *command, const char *mode) {
    bool reads = mode[0] == 'r';
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return retp(NULL);
    struct action action = {.kind = DUP2, .fd = ends[reads], .to = reads};
    struct actions list = {.count = 1, .list = &action}, *f = &list;
    char *argv[] = {"sh", "-c", (char *)command, NULL};
    struct stream *stream = calloc(1, sizeof *stream);
    int fault = d_posix_spawn(&stream->pid, "/bin/sh", &f, NULL, argv, environ);
    close(ends[reads]);
    if (fault != 0) {
        close(ends[!reads]);
        free(stream);
        fail(fault);
        return NULL;
    }
    stream->file = fdopen(ends[!reads], reads ? "r" : "w");
    stream->next = streams;
    streams = stream;
    return stream->file;
}
static long d_pclose(FILE *file) {
    for (struct stream **at = &streams; *at != NULL; at = &(*at)->next) {
        struct stream *stream = *at;
        if (stream->file != file) continue;
        *at = stream->next;
        fclose(file);
        int own = 0, got = waitpid(stream->pid, &own, 0);
        free(stream);
        return got < 0 ? (int)ret(-1) : status_to_darwin(own);
    }
    return fail(D_EINVAL);
}

const struct shim spawn_shims[] = {
    OWN_PLAIN(posix_spawn), OWN(posix_spawnp), OWN(system), OWN(popen), OWN_AS("popen$DARWIN_EXTSN", popen, 0), OWN(pclose), OWN(posix_spawnattr_init),
    OWN(posix_spawnattr_destroy), OWN_PLAIN(posix_spawnattr_setflags), OWN_PLAIN(posix_spawnattr_getflags), OWN_PLAIN(posix_spawnattr_setpgroup),
    OWN_PLAIN(posix_spawnattr_getpgroup), OWN_PLAIN(posix_spawnattr_setsigdefault), OWN_PLAIN(posix_spawnattr_getsigdefault),
    OWN_PLAIN(posix_spawnattr_setsigmask), OWN_PLAIN(posix_spawnattr_getsigmask), OWN_PLAIN(posix_spawnattr_setspecialport_np),
    OWN_PLAIN(posix_spawnattr_set_qos_class_np), OWN_PLAIN(posix_spawnattr_setarchpref_np), OWN_PLAIN(posix_spawnattr_setbinpref_np),
    OWN_PLAIN(posix_spawnattr_getarchpref_np), OWN_PLAIN(posix_spawnattr_getbinpref_np), OWN(posix_spawn_file_actions_init),
    OWN(posix_spawn_file_actions_destroy), OWN(posix_spawn_file_actions_addopen), OWN(posix_spawn_file_actions_addclose), OWN(posix_spawn_file_actions_adddup2),
    OWN(posix_spawn_file_actions_addinherit_np), OWN(posix_spawn_file_actions_addchdir_np), OWN(posix_spawn_file_actions_addfchdir_np),
    {"_posix_spawn_file_actions_addchdir", (const void *)d_posix_spawn_file_actions_addchdir_np, 0, 0},
    {"_posix_spawn_file_actions_addfchdir", (const void *)d_posix_spawn_file_actions_addfchdir_np, 0, 0}, END
};
