// The working and the root directory.
//
// The working directory may be one of the pod. The kernel's stays where it was; the layer keeps the pod's and reads relative paths from there.
#define _GNU_SOURCE
#include "layer.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int enter_remote(const char *absolute) {
    struct stat st;
    char resolved[PATH_MAX];
    int result = remote_stat(absolute, &st, 0);
    if (result != 0) return result;
    if (!S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        return -1;
    }
    if (realpath(absolute, resolved) == NULL) return -1;
    strcpy(remote_cwd, resolved);
    return 0;
}

EXPORT int chdir(const char *path) {
    char buffer[PATH_MAX];
    switch (locate(AT_FDCWD, &path, FOLLOWED, buffer)) {
    case ACTION_MISSING: errno = ENOENT; return -1;
    case ACTION_REMOTE: {
        int result = enter_remote(path);
        if (result != NOT_OURS) return result;
        break;
    }
    case ACTION_LOCAL: break;
    }
    int result = ORIGINAL(chdir)(path);
    if (result == 0) remote_cwd[0] = 0, note_chdir();
    return result;
}

EXPORT int fchdir(int fd) {
    const struct rules *r = session.active ? rules() : NULL;
    char path[PATH_MAX];
    if (unlikely(r != NULL && atomic_load(&r->live_dirs) > 0) && tagged_directory(fd, path)) {
        strcpy(remote_cwd, path);
        return 0;
    }
    int result = ORIGINAL(fchdir)(fd);
    if (result == 0) remote_cwd[0] = 0, note_chdir();
    return result;
}

EXPORT char *getcwd(char *out, size_t size) {
    if (likely(remote_cwd[0] == 0)) return ORIGINAL(getcwd)(out, size);
    if (out == NULL && size == 0) return strdup(remote_cwd);
    if (strlen(remote_cwd) + 1 > size) {
        errno = size == 0 ? EINVAL : ERANGE;
        return NULL;
    }
    if (out == NULL) out = malloc(size);
    return out != NULL ? strcpy(out, remote_cwd) : NULL;
}
#if !defined(__APPLE__)
char *__getcwd_chk(char *out, size_t size, size_t room);
EXPORT char *__getcwd_chk(char *out, size_t size, size_t room) {
    return size > room ? ORIGINAL(__getcwd_chk)(out, size, room) : getcwd(out, size);
}
EXPORT char *get_current_dir_name(void) { return remote_cwd[0] != 0 ? strdup(remote_cwd) : ORIGINAL(get_current_dir_name)(); }
#endif

// In a root directory of its own a program means the files below that, which are this machine's; a folder of the pod cannot be one.
EXPORT int chroot(const char *path) {
    char buffer[PATH_MAX];
    switch (locate(AT_FDCWD, &path, 0, buffer)) {
    case ACTION_MISSING: errno = ENOENT; return -1;
    case ACTION_REMOTE: errno = EPERM; return -1;
    case ACTION_LOCAL: break;
    }
    struct stat before, after;
    ORIGINAL(stat)("/", &before);
    int result = ORIGINAL(chroot)(path);
    if (result == 0 && ORIGINAL(stat)("/", &after) == 0 && (before.st_dev != after.st_dev || before.st_ino != after.st_ino))
        atomic_store(&own_root, 1);
    return result;
}
