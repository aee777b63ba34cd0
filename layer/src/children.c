// Programs that this one starts. They join the session through their environment: what the caller dropped from it is put back, and the broker is
// told what is about to be executed so that a program that never says hello can be reported.
//
// Everything here may run between vfork and exec, where memory is the parent's: nothing is allocated on the heap, no lock is taken.
#define _GNU_SOURCE
#include "layer.h"

#include <errno.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <wordexp.h>

extern char **environ;

static const char preload_name[] = "LD_PRELOAD=", broker_name[] = "MIRRORD_BROKER=", cwd_name[] = "MIRRORD_CWD=";

static const char *value_of(const char *entry, const char *name) {
    size_t n = strlen(name);
    return strncmp(entry, name, n) == 0 ? entry + n : NULL;
}

// next_element finds the next path in LD_PRELOAD's list, which colons or spaces separate; NULL at the end.
static const char *next_element(const char **at, size_t *length) {
    *at += strspn(*at, ": ");
    const char *element = *at;
    *length = strcspn(element, ": ");
    *at += *length;
    return *length > 0 ? element : NULL;
}

static int names_library(const char *list) {
    size_t n, own = strlen(session.library);
    for (const char *element; (element = next_element(&list, &n)) != NULL;)
        if (n == own && memcmp(element, session.library, n) == 0) return 1;
    return 0;
}

// needed returns the bytes that a corrected copy of envp takes for a child in directory (of the pod, or empty), 0 when envp is right as it is.
static size_t needed(char *const envp[], const char *directory) {
    size_t n = 0, list = 0;
    int preload = 0, broker = 0, cwd = directory[0] == 0;
    for (const char *v; envp != NULL && envp[n] != NULL; n++) {
        if ((v = value_of(envp[n], preload_name)) != NULL) {
            list += strlen(v) + 1;
            preload |= names_library(v);
        } else if (value_of(envp[n], broker_name) != NULL) {
            broker |= strcmp(envp[n], session.variable) == 0;
        } else if ((v = value_of(envp[n], cwd_name)) != NULL) {
            cwd = directory[0] != 0 && strcmp(v, directory) == 0;
        }
    }
    if (preload && broker && cwd) return 0;
    return (n + 4) * sizeof(char *) + sizeof preload_name + strlen(session.library) + 1 + list + sizeof cwd_name + strlen(directory);
}

// correct writes envp, with our variables put back, to space (of needed bytes).
static char **correct(char *const envp[], const char *directory, char *space) {
    size_t count = 0, length;
    while (envp != NULL && envp[count] != NULL) count++;
    char **out = (char **)space, *text = space + (count + 4) * sizeof(char *);
    size_t n = 0;
    out[n++] = text;
    text = stpcpy(stpcpy(text, preload_name), session.library);
    for (size_t i = 0; i < count; i++) {
        const char *list = value_of(envp[i], preload_name);
        if (list == NULL) {
            if (value_of(envp[i], broker_name) == NULL && value_of(envp[i], cwd_name) == NULL) out[n++] = envp[i];
            continue;
        }
        for (const char *element; (element = next_element(&list, &length)) != NULL;) {
            if (length == strlen(session.library) && memcmp(element, session.library, length) == 0) continue;
            *text++ = ':';
            memcpy(text, element, length);
            text += length;
        }
    }
    *text++ = 0;
    out[n++] = session.variable;
    if (directory[0] != 0) {
        out[n++] = text;
        stpcpy(stpcpy(text, cwd_name), directory);
    }
    out[n] = NULL;
    return out;
}

// ENVIRONMENT declares envp as the caller's environment, corrected where that is needed, and its mapping, if it needed one.
#define ENVIRONMENT(envp, callers) ENVIRONMENT_IN(envp, callers, remote_cwd)
#define ENVIRONMENT_IN(envp, callers, directory)                                                                                    \
    SCRATCH(envp##_space, session.active ? needed(callers, directory) : 0);                                                        \
    char **envp = envp##_space_size == 0 || envp##_space == NULL ? (char **)(callers) : correct(callers, directory, envp##_space)
#define DROP(envp) RELEASE(envp##_space)

// program_path says what a program is really to be looked for at. A relative one below a directory of the pod is at the same path of this machine:
// programs are never taken from the pod. A copy that executes itself anew means its original.
static const char *program_path(const char *path, char buffer[PATH_MAX]) {
    if (unlikely(names_own_program(path))) return session.original;
    if (likely(remote_cwd[0] == 0) || path == NULL || path[0] == '/' || strlen(remote_cwd) + strlen(path) + 2 > PATH_MAX) return path;
    return strcat(strcat(strcpy(buffer, remote_cwd), "/"), path);
}

static int go_execve(const struct launch *l) { return ORIGINAL(execve)(l->path, l->argv, l->envp); }

EXPORT int execve(const char *path, char *const argv[], char *const callers[]) {
    char buffer[PATH_MAX];
    ENVIRONMENT(envp, callers);
    struct launch l = {.go = go_execve, .path = program_path(path, buffer), .argv = argv, .envp = envp};
    int result = launch(&l);
    if (errno == E2BIG && envp != callers) result = ORIGINAL(execve)(l.path, argv, callers);
    DROP(envp);
    return result;
}

static int go_execvpe(const struct launch *l) { return ORIGINAL(execvpe)(l->path, l->argv, l->envp); }

EXPORT int execvpe(const char *file, char *const argv[], char *const callers[]) {
    int named = file != NULL && strchr(file, '/') != NULL;
    if (named && (remote_cwd[0] != 0 || names_own_program(file))) return execve(file, argv, callers);
    ENVIRONMENT(envp, callers);
    struct launch l = {.go = go_execvpe, .path = file, .search = !named, .argv = argv, .envp = envp};
    int result = launch(&l);
    DROP(envp);
    return result;
}

EXPORT int execv(const char *path, char *const argv[]) { return execve(path, argv, environ); }
EXPORT int execvp(const char *file, char *const argv[]) { return execvpe(file, argv, environ); }

// What is named by a descriptor is told of, and started as it is.

EXPORT int fexecve(int fd, char *const argv[], char *const callers[]) {
    ENVIRONMENT(envp, callers);
    char path[PATH_MAX];
    struct stat st;
    // The descriptor may be closed by the exec: the broker is told of the file, if that has a name.
    if (session.active && (local_path(fd, path) <= 0 || sys_stat(path, &st) < 0)) snprintf(path, sizeof path, "/proc/%d/fd/%d", sys_getpid(), fd);
    if (session.active) announce(&(struct launch){.path = path, .argv = argv});
    int result = ORIGINAL(fexecve)(fd, argv, envp);
    DROP(envp);
    return result;
}

EXPORT int execveat(int dirfd, const char *path, char *const argv[], char *const callers[], int flags) {
    ENVIRONMENT(envp, callers);
    if (session.active && path != NULL && path[0] == '/') announce(&(struct launch){.path = path, .argv = argv});
    int result = ORIGINAL(execveat)(dirfd, path, argv, envp, flags);
    DROP(envp);
    return result;
}

EXPORT int execl(const char *path, const char *first, ...) {
    ARGUMENTS(argv, list, first);
    va_end(list);
    return execve(path, argv, environ);
}

EXPORT int execlp(const char *file, const char *first, ...) {
    ARGUMENTS(argv, list, first);
    va_end(list);
    return execvpe(file, argv, environ);
}

EXPORT int execle(const char *path, const char *first, ...) {
    ARGUMENTS(argv, list, first);
    char **callers = va_arg(list, char **);
    va_end(list);
    return execve(path, argv, callers);
}

static int go_spawn(const struct launch *l) {
    return ORIGINAL(posix_spawn)(l->pid, l->path, l->actions, l->attributes, l->argv, l->envp);
}

EXPORT int posix_spawn(pid_t *restrict pid, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *restrict attributes, char *const argv[restrict], char *const callers[restrict]) {
    char buffer[PATH_MAX], directory[PATH_MAX];
    struct spawn_plan *plan;
    int err = plan_spawn(actions, &plan);
    if (err != 0) return err;
    if (plan != NULL) actions = &plan->actions;
    ENVIRONMENT_IN(envp, callers, plan != NULL ? plan->cwd : remote_cwd);
    struct launch l = {.go = go_spawn, .path = program_path(path, buffer), .argv = argv, .envp = envp,
                       .directory = spawn_directory(actions, directory) ? directory : NULL,
                       .pid = pid, .actions = actions, .attributes = attributes};
    err = launch(&l);
    if (err == E2BIG && envp != callers) err = ORIGINAL(posix_spawn)(pid, l.path, actions, attributes, argv, callers);
    DROP(envp);
    plan_end(plan);
    return err;
}

static int go_spawnp(const struct launch *l) {
    return ORIGINAL(posix_spawnp)(l->pid, l->path, l->actions, l->attributes, l->argv, l->envp);
}

EXPORT int posix_spawnp(pid_t *restrict pid, const char *restrict file, const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *restrict attributes, char *const argv[restrict], char *const callers[restrict]) {
    if (names_own_program(file)) return posix_spawn(pid, file, actions, attributes, argv, callers);
    char directory[PATH_MAX];
    struct spawn_plan *plan;
    int err = plan_spawn(actions, &plan);
    if (err != 0) return err;
    if (plan != NULL) actions = &plan->actions;
    ENVIRONMENT_IN(envp, callers, plan != NULL ? plan->cwd : remote_cwd);
    struct launch l = {.go = go_spawnp, .path = file, .search = file != NULL && strchr(file, '/') == NULL, .argv = argv, .envp = envp,
                       .directory = spawn_directory(actions, directory) ? directory : NULL,
                       .pid = pid, .actions = actions, .attributes = attributes};
    err = launch(&l);
    DROP(envp);
    plan_end(plan);
    return err;
}

// ---- libc functions that start a shell by themselves, with this process's environment

void put_back(void) {
    if (!session.active) return;
    const char *list = getenv("LD_PRELOAD"), *broker = getenv("MIRRORD_BROKER");
    if (list == NULL)
        setenv("LD_PRELOAD", session.library, 1);
    else if (!names_library(list)) {
        size_t size = strlen(session.library) + strlen(list) + 2;
        char *both = malloc(size);
        if (both == NULL) return;
        snprintf(both, size, "%s:%s", session.library, list);
        setenv("LD_PRELOAD", both, 1);
        free(both);
    }
    if (broker == NULL || strcmp(broker, session.variable + sizeof broker_name - 1) != 0)
        setenv("MIRRORD_BROKER", session.variable + sizeof broker_name - 1, 1);
    if (remote_cwd[0] != 0)
        setenv("MIRRORD_CWD", remote_cwd, 1);
    else
        unsetenv("MIRRORD_CWD");
}

EXPORT int system(const char *command) {
    put_back();
    return ORIGINAL(system)(command);
}

EXPORT FILE *popen(const char *command, const char *mode) {
    put_back();
    return ORIGINAL(popen)(command, mode);
}

EXPORT int wordexp(const char *restrict words, wordexp_t *restrict out, int flags) {
    put_back();
    return ORIGINAL(wordexp)(words, out, flags);
}
