// The functions that build on execve and posix_spawn. libSystem's own reach those by calls that cannot be interposed on Apple silicon, so all are written
// anew: as Libc's gen/FreeBSD/exec.c, sys/posix_spawn.c, stdlib/FreeBSD/system.c and gen/FreeBSD/popen.c behave.
#include "layer.h"

#include <crt_externs.h>
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const char shell[] = "/bin/sh";

// find_program looks for a name without a slash in the folders of search: 1, or 0 with errno.
static int find_program(const char *name, const char *search, char out[PATH_MAX]) {
    int err = ENOENT;
    size_t length = strlen(name);
    if (search == NULL) search = "/usr/bin:/bin";
    for (const char *at = search;; at++) {
        size_t n = strcspn(at, ":");
        struct stat st;
        if (n + length + 2 <= PATH_MAX) {
            memcpy(out, n > 0 ? at : ".", n > 0 ? n : 1);
            char *end = out + (n > 0 ? n : 1);
            *end++ = '/';
            memcpy(end, name, length + 1);
            if (ORIGINAL(stat)(out, &st) == 0 && S_ISREG(st.st_mode)) {
                if (ORIGINAL(access)(out, X_OK) == 0) return 1;
                err = EACCES;
            }
        }
        at += n;
        if (*at == 0) break;
    }
    errno = err;
    return 0;
}

// SCRIPT declares argv for the shell that runs a file which the kernel does not know how to.
#define SCRIPT(name, argv, path)                                                                                                    \
    size_t name##_n = length_of(argv);                                                                                              \
    char **name = __builtin_alloca((name##_n + 3) * sizeof *name);                                                                  \
    name[0] = "sh";                                                                                                                 \
    name[1] = (char *)(path);                                                                                                       \
    for (size_t i = 1; i <= name##_n; i++) name[i + 1] = (argv)[i]

static int exec_searching(const char *file, const char *search, char *const argv[], char *const envp[]) {
    char found[PATH_MAX];
    if (file == NULL || file[0] == 0) return fail(ENOENT);
    if (strchr(file, '/') == NULL) {
        if (!find_program(file, search, found)) return -1;
        file = found;
    }
    execve(file, argv, envp);
    if (errno != ENOEXEC || argv[0] == NULL) return -1;
    SCRIPT(script, argv, file);
    return execve(shell, script, envp);
}

EXPORT int execv(const char *path, char *const argv[]) { return execve(path, argv, *_NSGetEnviron()); }
EXPORT int execvp(const char *file, char *const argv[]) {
    char **envp = *_NSGetEnviron();
    return exec_searching(file, variable(envp, "PATH="), argv, envp);
}
EXPORT int execvP(const char *file, const char *search, char *const argv[]) { return exec_searching(file, search, argv, *_NSGetEnviron()); }

EXPORT int execl(const char *path, const char *first, ...) {
    ARGUMENTS(argv, list, first);
    va_end(list);
    return execv(path, argv);
}
EXPORT int execlp(const char *file, const char *first, ...) {
    ARGUMENTS(argv, list, first);
    va_end(list);
    return execvp(file, argv);
}
EXPORT int execle(const char *path, const char *first, ...) {
    ARGUMENTS(argv, list, first);
    char **envp = va_arg(list, char **);
    va_end(list);
    return execve(path, argv, envp);
}

EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes, char *const argv[],
                        char *const envp[]) {
    char found[PATH_MAX];
    if (file == NULL || file[0] == 0) return ENOENT;
    int saved = errno;
    if (strchr(file, '/') == NULL) {
        if (!find_program(file, variable(*_NSGetEnviron(), "PATH="), found)) {
            int err = errno;
            errno = saved;
            return err;
        }
        file = found;
    }
    errno = saved;
    int err = posix_spawn(pid, file, actions, attributes, argv, envp);
    if (err != ENOEXEC || argv[0] == NULL) return err;
    SCRIPT(script, argv, file);
    return posix_spawn(pid, shell, actions, attributes, script, envp);
}

// ---- system

EXPORT int system(const char *command) {
    if (command == NULL || !session.active) return ORIGINAL(system)(command);
    char *argv[] = {"sh", "-c", (char *)command, NULL};
    struct sigaction ignore = {.sa_handler = SIG_IGN}, on_interrupt, on_quit;
    sigset_t child = 0, before, reset = 0;
    posix_spawnattr_t attributes;
    pid_t pid;
    int status = -1;
    if (posix_spawnattr_init(&attributes) != 0) return -1;
    sigaddset(&child, SIGCHLD);
    sigaction(SIGINT, &ignore, &on_interrupt);
    sigaction(SIGQUIT, &ignore, &on_quit);
    pthread_sigmask(SIG_BLOCK, &child, &before);
    if (on_interrupt.sa_handler != SIG_IGN) sigaddset(&reset, SIGINT);
    if (on_quit.sa_handler != SIG_IGN) sigaddset(&reset, SIGQUIT);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigdefault(&attributes, &reset);
    posix_spawnattr_setsigmask(&attributes, &before);
    int err = posix_spawn(&pid, shell, NULL, &attributes, argv, *_NSGetEnviron());
    if (err == 0) {
        pid_t ended;
        do ended = waitpid(pid, &status, 0);
        while (ended < 0 && errno == EINTR);
        if (ended < 0) status = -1;
    } else {
        status = 127 << 8;
    }
    sigaction(SIGINT, &on_interrupt, NULL);
    sigaction(SIGQUIT, &on_quit, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    posix_spawnattr_destroy(&attributes);
    return status;
}

// ---- popen

// The streams that this popen made, with their children. When the table is full the original makes one more, whose child's files are this machine's.
static struct {
    FILE *_Atomic stream;
    pid_t pid;
} opened[64];
static FILE *const being_made = (FILE *)&opened;

EXPORT FILE *popen(const char *command, const char *mode) {
    int both = strchr(mode, '+') != NULL, reads = mode[0] == 'r', fds[2];
    size_t slot = 0;
    FILE *none = NULL;
    while (slot < sizeof opened / sizeof *opened && !atomic_compare_exchange_strong(&opened[slot].stream, &none, being_made)) none = NULL, slot++;
    if (!session.active || slot == sizeof opened / sizeof *opened || (!reads && mode[0] != 'w')) {
        if (slot < sizeof opened / sizeof *opened) atomic_store(&opened[slot].stream, NULL);
        return ORIGINAL(popen)(command, mode);
    }
    FILE *stream = NULL;
    if ((both ? socketpair(AF_UNIX, SOCK_STREAM, 0, fds) : pipe(fds)) == 0) {
        int mine = reads || both ? fds[0] : fds[1], theirs = mine == fds[0] ? fds[1] : fds[0];
        char *argv[] = {"sh", "-c", (char *)command, NULL};
        posix_spawn_file_actions_t actions;
        sys_fcntl(mine, F_SETFD, FD_CLOEXEC); // also from the children of later calls
        stream = fdopen(mine, both ? "r+" : reads ? "r" : "w");
        int err = stream == NULL ? errno : posix_spawn_file_actions_init(&actions);
        if (err == 0) {
            if (reads || both) err = posix_spawn_file_actions_adddup2(&actions, theirs, 1);
            if (err == 0 && (!reads || both)) err = posix_spawn_file_actions_adddup2(&actions, theirs, 0);
            if (err == 0 && theirs > 1) err = posix_spawn_file_actions_addclose(&actions, theirs);
            if (err == 0) err = posix_spawn(&opened[slot].pid, shell, &actions, NULL, argv, *_NSGetEnviron());
            posix_spawn_file_actions_destroy(&actions);
        }
        sys_close(theirs);
        if (err != 0) {
            if (stream != NULL)
                fclose(stream);
            else
                sys_close(mine);
            stream = NULL;
            errno = err;
        }
    }
    atomic_store(&opened[slot].stream, stream);
    return stream;
}

EXPORT int pclose(FILE *stream) {
    for (size_t i = 0; stream != NULL && i < sizeof opened / sizeof *opened; i++) {
        if (atomic_load(&opened[i].stream) != stream) continue;
        pid_t pid = opened[i].pid, ended;
        int status = -1;
        atomic_store(&opened[i].stream, NULL);
        fclose(stream);
        do ended = waitpid(pid, &status, 0);
        while (ended < 0 && errno == EINTR);
        return ended < 0 ? -1 : status;
    }
    return ORIGINAL(pclose)(stream);
}
