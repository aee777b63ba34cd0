// The file actions of posix_spawn are carried out by the kernel, which knows nothing of the pod. So those that name its paths are changed when they are
// added: a file is opened then, and its descriptor duplicated into the child; a directory becomes the child's working directory by its environment.
#include "layer.h"

#include <errno.h>
#include <spawn.h>
#include <unistd.h>

// What is noted of one posix_spawn_file_actions_t, by the pointer in it, until it is destroyed.
enum { NOTED = 32, NOTED_FILES = 8 };
static struct noted {
    void *_Atomic actions; // NULL: free
    int changes;           // the child's working directory is another: cwd
    int remote;            // and one of the pod
    int files;
    int fds[NOTED_FILES];
    char cwd[PATH_MAX];
} noted[NOTED];

static struct noted *noted_of(const posix_spawn_file_actions_t *actions) {
    for (int i = 0; actions != NULL && *actions != NULL && i < NOTED; i++)
        if (atomic_load(&noted[i].actions) == *actions) return &noted[i];
    return NULL;
}

static struct noted *note_actions(const posix_spawn_file_actions_t *actions) {
    struct noted *n = noted_of(actions);
    for (int i = 0; n == NULL && actions != NULL && *actions != NULL && i < NOTED; i++) {
        void *none = NULL;
        if (!atomic_compare_exchange_strong(&noted[i].actions, &none, *actions)) continue;
        n = &noted[i];
        n->changes = n->remote = n->files = 0;
    }
    return n;
}

// place_in says whose a path of an action is, and makes one that is relative to a directory of the pod absolute, in buffer.
static enum action place_in(const struct noted *n, const char **path, int writing, char buffer[PATH_MAX]) {
    if ((*path)[0] == '/' || n == NULL || !n->changes) return locate(AT_FDCWD, path, writing, buffer);
    if (!n->remote) return ACTION_LOCAL;
    strcpy(buffer, n->cwd);
    if (!join_path(buffer, *path)) return ACTION_LOCAL;
    *path = buffer;
    return classify(rules(), buffer, writing);
}

EXPORT int posix_spawn_file_actions_addopen(posix_spawn_file_actions_t *actions, int fd, const char *path, int flags, mode_t mode) {
    char buffer[PATH_MAX];
    int saved = errno;
    enum action action = path != NULL && session.active ? place_in(noted_of(actions), &path, (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT), buffer) : ACTION_LOCAL;
    if (action == ACTION_MISSING) return ENOENT;
    int opened = action == ACTION_REMOTE ? remote_open(path, flags | O_CLOEXEC, mode) : NOT_OURS, err = errno;
    errno = saved;
    if (opened == NOT_OURS) return ORIGINAL(posix_spawn_file_actions_addopen)(actions, fd, path, flags, mode);
    if (opened < 0) return err;
    struct noted *n = note_actions(actions);
    err = n == NULL || n->files == NOTED_FILES ? ENOMEM : posix_spawn_file_actions_adddup2(actions, opened, fd);
    if (err == 0)
        n->fds[n->files++] = opened;
    else
        sys_close(opened);
    return err;
}

EXPORT int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t *actions, const char *path) {
    char buffer[PATH_MAX], resolved[PATH_MAX];
    const char *place = path;
    int saved = errno;
    enum action action = path != NULL && session.active ? place_in(noted_of(actions), &place, 0, buffer) : ACTION_LOCAL;
    if (action == ACTION_MISSING) return ENOENT;
    struct stat st;
    int result = action == ACTION_REMOTE ? remote_stat(place, &st, 0) : NOT_OURS;
    if (result == 0 && !S_ISDIR(st.st_mode)) result = fail(ENOTDIR);
    if (result == 0 && realpath(place, resolved) == NULL) result = -1;
    int err = errno;
    errno = saved;
    if (result < 0 && result != NOT_OURS) return err;
    struct noted *n = session.active && path != NULL && strlen(place) < PATH_MAX ? note_actions(actions) : NULL;
    if (result == 0 && n == NULL) return ENOMEM;
    if (n != NULL) {
        n->changes = 1;
        n->remote = result == 0;
        strcpy(n->cwd, result == 0 ? resolved : place);
    }
    return result == 0 ? 0 : ORIGINAL(posix_spawn_file_actions_addchdir_np)(actions, place);
}

EXPORT int posix_spawn_file_actions_addfchdir_np(posix_spawn_file_actions_t *actions, int fd) {
    char path[PATH_MAX];
    int remote = session.active && tagged_directory(fd, path);
    struct noted *n = session.active && (remote || local_path(fd, path) > 0) ? note_actions(actions) : NULL;
    if (remote && n == NULL) return ENOMEM;
    if (n != NULL) {
        n->changes = 1;
        n->remote = remote;
        strcpy(n->cwd, path);
    }
    return remote ? 0 : ORIGINAL(posix_spawn_file_actions_addfchdir_np)(actions, fd);
}

EXPORT int posix_spawn_file_actions_destroy(posix_spawn_file_actions_t *actions) {
    struct noted *n = noted_of(actions);
    if (n != NULL) {
        for (int i = 0; i < n->files; i++) sys_close(n->fds[i]);
        atomic_store(&n->actions, NULL);
    }
    return ORIGINAL(posix_spawn_file_actions_destroy)(actions);
}
