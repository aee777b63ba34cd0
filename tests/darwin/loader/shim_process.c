// Processes: fork, exec, wait, ids, the environment, limits.
#include "shim.h"

#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <libgen.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

extern char **environ;

// ---- fork: the child is marked until its exec, and keeps the state of the program's own locks, which lie in the program's memory

static int after_fork(int pid) {
    if (pid == 0) {
        threads_forked();
        events_forked();
        forked_child = true;
        stubs_slow = 1;
    }
    return (int)ret(pid);
}
static long d_fork(void) { return after_fork(fork()); }
static long d___fork(void) { return after_fork(_Fork()); } // without the handlers of pthread_atfork
static long d_vfork(void) { return after_fork(_Fork()); }  // a copy, not a loan: what a child of vfork writes does not show in the parent

// ---- exec

static int run(const char *path, char *const argv[], char *const envp[]) { return fail(kernel_exec(path, argv, envp, NULL)); }
static long d_execve(const char *path, char *const argv[], char *const envp[]) { return run(path, argv, envp); }
static long d_execv(const char *path, char *const argv[]) { return run(path, argv, environ); }

bool search_goes_on(int fault) {
    return fault == D_ENOENT || fault == D_ENOTDIR || fault == D_ELOOP || fault == D_ENAMETOOLONG || fault == D_EACCES;
}

// search tries a name in the folders of a PATH, as execvP does, and hands what is not executable by itself to the shell.
static int search(const char *name, const char *folders, char *const argv[], char *const envp[]) {
    bool denied = false;
    if (name[0] == 0) return fail(D_ENOENT);
    for (const char *at = strchr(name, '/') != NULL ? "" : folders; at != NULL; at = strchr(at, ':') == NULL ? NULL : strchr(at, ':') + 1) {
        char path[PATH_MAX];
        int length = (int)strcspn(at, ":");
        if (strchr(name, '/') != NULL) snprintf(path, sizeof path, "%s", name);
        else snprintf(path, sizeof path, "%.*s/%s", length == 0 ? 1 : length, length == 0 ? "." : at, name);
        run(path, argv, envp);
        if (darwin_errno == D_ENOEXEC) {
            size_t count = 0;
            while (argv[count] != NULL) count++;
            char *words[count + 3];
            words[0] = "sh", words[1] = path;
            for (size_t i = 1; i <= count; i++) words[i + 1] = argv[i];
            if (count == 0) words[2] = NULL;
            return run("/bin/sh", words, envp);
        }
        if (darwin_errno == D_EACCES) denied = true;
        if (strchr(name, '/') != NULL || !search_goes_on(darwin_errno)) return -1;
    }
    return fail(denied ? D_EACCES : D_ENOENT);
}
static const char *path_variable(void) {
    const char *path = getenv("PATH");
    return path == NULL ? "/usr/bin:/bin" : path;
}
static long d_execvp(const char *name, char *const argv[]) { return search(name, path_variable(), argv, environ); }
static long d_execvP(const char *name, const char *folders, char *const argv[]) { return search(name, folders, argv, environ); }

#define COLLECT(first)                                                             \
    VA_BEGIN(ap, first);                                                           \
    char *argv[1024];                                                              \
    size_t n = 0;                                                                  \
    argv[n++] = (char *)first;                                                     \
    while (first != NULL && n < COUNT(argv) - 1 && (argv[n] = va_arg(ap, char *)) != NULL) n++; \
    argv[n] = NULL
static long d_execl(const char *path, const char *first, VARIADIC) {
    COLLECT(first);
    VA_DONE(ap);
    return run(path, argv, environ);
}
static long d_execlp(const char *name, const char *first, VARIADIC) {
    COLLECT(first);
    VA_DONE(ap);
    return search(name, path_variable(), argv, environ);
}
static long d_execle(const char *path, const char *first, VARIADIC) {
    COLLECT(first);
    char **envp = va_arg(ap, char **);
    VA_DONE(ap);
    return run(path, argv, envp);
}

// ---- wait

enum { D_WNOHANG = 1, D_WUNTRACED = 2, D_WCONTINUED = 0x10 };
static int wait_flags(int flags) { return (flags & D_WNOHANG ? WNOHANG : 0) | (flags & D_WUNTRACED ? WUNTRACED : 0) | (flags & D_WCONTINUED ? WCONTINUED : 0); }
static long d_wait4(int pid, int *status, int flags, struct rusage *usage) {
    int own = 0, result = (int)ret(wait4(pid, &own, wait_flags(flags), usage));
    if (result > 0 && status != NULL) *status = status_to_darwin(own);
    return result;
}
static long d_waitpid(int pid, int *status, int flags) { return d_wait4(pid, status, flags, NULL); }
static long d_wait(int *status) { return d_wait4(-1, status, 0, NULL); }

// ---- ids and limits

static long d_setpgid(int pid, int group) { return (int)ret(setpgid(pid, group)); }
static long d_getpgid(int pid) { return (int)ret(getpgid(pid)); }
static long d_setsid(void) { return (int)ret(setsid()); }
static long d_setuid(uid_t id) { return (int)ret(setuid(id)); }
static long d_setgid(gid_t id) { return (int)ret(setgid(id)); }
static long d_seteuid(uid_t id) { return (int)ret(seteuid(id)); }
static long d_setegid(gid_t id) { return (int)ret(setegid(id)); }
static long d_getgroups(int n, gid_t *to) { return (int)ret(getgroups(n, to)); }
static long d_setgroups(int n, const gid_t *from) { return (int)ret(setgroups((size_t)n, from)); }
static long d_issetugid(void) {
    const struct file_entry *entry = files_find(executable_path);
    return entry != NULL && entry->setuid;
}
static long d_tcgetpgrp(int fd) { return (int)ret(tcgetpgrp(fd)); }
static long d_tcsetpgrp(int fd, int group) { return (int)ret(tcsetpgrp(fd, group)); }
static long d_isatty(int fd) { return ret(isatty(fd) ? 0 : -1) == 0; }
static char *d_ttyname(int fd) { return retp(ttyname(fd)); }

static int resource_to_linux(int resource) { // RLIMIT_CPU to CORE are alike
    static const int others[] = {RLIMIT_AS, RLIMIT_MEMLOCK, RLIMIT_NPROC, RLIMIT_NOFILE};
    resource &= ~0x1000; // _RLIMIT_POSIX_FLAG
    return resource >= 5 && resource <= 8 ? others[resource - 5] : resource;
}
static uint64_t limit_to_darwin(rlim_t limit) { return limit > INT64_MAX ? INT64_MAX : limit; }
static long d_getrlimit(int resource, uint64_t to[2]) {
    struct rlimit own;
    int result = (int)ret(getrlimit(resource_to_linux(resource), &own));
    if (result == 0) to[0] = limit_to_darwin(own.rlim_cur), to[1] = limit_to_darwin(own.rlim_max);
    return result;
}
static long d_setrlimit(int resource, const uint64_t from[2]) {
    struct rlimit own = {from[0] == INT64_MAX ? RLIM_INFINITY : from[0], from[1] == INT64_MAX ? RLIM_INFINITY : from[1]};
    return (int)ret(setrlimit(resource_to_linux(resource), &own));
}
static long d_getrusage(int who, struct rusage *to) {
    int result = (int)ret(getrusage(who, to));
    if (result == 0) to->ru_maxrss *= 1024; // bytes there
    return result;
}
static long d_getdtablesize(void) { return getdtablesize(); }
static long d_nice(int by) { return (int)ret(nice(by)); }

// ---- the environment

static long d_setenv(const char *name, const char *value, int overwrite) { return (int)ret(setenv(name, value, overwrite)); }
static long d_unsetenv(const char *name) { return (int)ret(unsetenv(name)); }
static long d_putenv(char *entry) { return (int)ret(putenv(entry)); }

// ---- getopt: BSD's stops at the first word that is no option

static int optreset = 1; // the loader has used getopt itself
static long d_getopt(int argc, char *const *argv, const char *options_of) {
    char strict[256];
    snprintf(strict, sizeof strict, "%s%s", options_of[0] == '+' ? "" : "+", options_of);
    if (optreset != 0) optind = optreset = 0; // 0 begins anew here, 1 does there
    return getopt(argc, argv, strict);
}
static long d_getopt_long(int argc, char *const *argv, const char *options_of, const struct option *names, int *index) {
    return getopt_long(argc, argv, options_of, names, index);
}

const struct shim process_shims[] = {
    OWN_PLAIN(fork), OWN_PLAIN(__fork), OWN_PLAIN(vfork), OWN_PLAIN(execve), OWN_PLAIN(execv), OWN_PLAIN(execvp), OWN_PLAIN(execvP),
    VARIADIC_ROW("execl", execl, PLAIN, 2), VARIADIC_ROW("execlp", execlp, PLAIN, 2), VARIADIC_ROW("execle", execle, PLAIN, 2), CANCEL(wait4), CANCEL(waitpid),
    OWN_PLAIN(wait), SAME_PLAIN(_exit), SAME(exit), SAME(_Exit), SAME(abort), SAME(atexit), SAME_PLAIN(getpid), SAME_PLAIN(getppid), SAME_PLAIN(getuid),
    SAME_PLAIN(geteuid), SAME_PLAIN(getgid), SAME_PLAIN(getegid), SAME_PLAIN(getpgrp), OWN_PLAIN(getpgid), OWN_PLAIN(setpgid), OWN_PLAIN(setsid),
    OWN_PLAIN(setuid), OWN_PLAIN(setgid), OWN_PLAIN(seteuid), OWN_PLAIN(setegid), OWN_PLAIN(getgroups), OWN_PLAIN(setgroups), OWN_PLAIN(issetugid),
    OWN_PLAIN(tcgetpgrp), OWN_PLAIN(tcsetpgrp), OWN(isatty), OWN(ttyname), OWN_PLAIN(getrlimit), OWN_PLAIN(setrlimit), OWN_PLAIN(getrusage),
    OWN_PLAIN(getdtablesize), OWN(nice), SAME_PLAIN(umask), SAME_PLAIN(sched_yield), SAME(getenv), OWN(setenv), OWN(unsetenv), OWN(putenv), OWN(getopt),
    OWN(getopt_long), VARIABLE("optind", optind), VARIABLE("optarg", optarg), VARIABLE("opterr", opterr), VARIABLE("optopt", optopt),
    VARIABLE("optreset", optreset), SAME(basename), SAME(dirname), END
};
