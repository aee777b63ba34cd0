// The file actions of posix_spawn are carried out inside libc, by calls that cannot be interposed. Those that name paths of the pod are done here,
// before: a file is opened and the action becomes a dup2, a directory becomes the child's working directory by its environment.
#define _GNU_SOURCE
#include "layer.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <unistd.h>

// glibc's own record of an action (struct __spawn_action in posix/spawn_int.h), of which the header shows only a pointer. layout_known compares it
// with what libc writes.
struct action_record {
    int tag;
    union {
        struct {
            int fd, newfd;
        } dup2;
        struct {
            int fd;
            char *path;
            int flags;
            mode_t mode;
        } open;
        char *chdir;
        int fchdir;
    };
};
enum { ACTION_DUP2 = 1, ACTION_OPEN = 2, ACTION_CHDIR = 3, ACTION_FCHDIR = 4, MAX_ACTIONS = 64 };

static struct action_record *records(const posix_spawn_file_actions_t *actions) {
    return (struct action_record *)(void *)actions->__actions;
}

static int layout_known(void) {
    static _Atomic int known; // 0: not looked yet
    if (atomic_load(&known) != 0) return atomic_load(&known) > 0;
    posix_spawn_file_actions_t probe;
    int right = 0;
    if (posix_spawn_file_actions_init(&probe) != 0) return 0;
    if (posix_spawn_file_actions_addopen(&probe, 71, "/o", 0x123, 0640) == 0 && posix_spawn_file_actions_adddup2(&probe, 73, 74) == 0 &&
        probe.__used == 2) {
        struct action_record *r = records(&probe);
        right = r[0].tag == ACTION_OPEN && r[0].open.fd == 71 && strcmp(r[0].open.path, "/o") == 0 && r[0].open.flags == 0x123 &&
                r[0].open.mode == 0640 && r[1].tag == ACTION_DUP2 && r[1].dup2.fd == 73 && r[1].dup2.newfd == 74;
    }
    posix_spawn_file_actions_destroy(&probe);
    atomic_store(&known, right ? 1 : -1);
    return right;
}

struct spawn_plan {
    posix_spawn_file_actions_t actions;
    struct action_record records[MAX_ACTIONS];
    char *paths[MAX_ACTIONS]; // made absolute; freed at the end
    int opened[MAX_ACTIONS];
    int used, paths_n, opened_n;
    char cwd[PATH_MAX]; // of the child while it is one of the pod, else empty
};

static void plan_end(struct spawn_plan *p) {
    if (p == NULL) return;
    for (int i = 0; i < p->opened_n; i++) sys_close(p->opened[i]);
    for (int i = 0; i < p->paths_n; i++) free(p->paths[i]);
    free(p);
}

// spawn_directory puts the directory in which the child of posix_spawn executes into out, when its actions change that; 0 if they do not. Of a relative
// one it is relative to the last before, or to this process's.
static int spawn_directory(const posix_spawn_file_actions_t *actions, char out[PATH_MAX]) {
    out[0] = 0;
    if (actions == NULL || actions->__used == 0 || actions->__used > MAX_ACTIONS || !layout_known()) return 0;
    const struct action_record *a = records(actions);
    for (int i = 0; i < actions->__used; i++) {
        char link[32];
        if (a[i].tag == ACTION_FCHDIR) {
            descriptor_path(a[i].fchdir, link);
            long n = sys_readlink(link, out, PATH_MAX - 1);
            out[n > 0 ? n : 0] = 0;
        } else if (a[i].tag == ACTION_CHDIR) {
            if (a[i].chdir[0] == '/' || (out[0] == 0 && sys(SYS_getcwd, (long)out, PATH_MAX, 0, 0, 0, 0) <= 0)) out[0] = 0;
            if (out[0] == 0 ? strlen(a[i].chdir) >= PATH_MAX : !join_path(out, a[i].chdir)) return 0;
            if (out[0] == 0) strcpy(out, a[i].chdir);
        }
    }
    return out[0] == '/';
}

// place_of says whose the path of an action is, and makes one that is relative to a directory of the pod absolute, in buffer.
static enum action place_of(const struct spawn_plan *p, const char **path, int writing, char buffer[PATH_MAX]) {
    const struct rules *r = rules();
    if ((*path)[0] != '/') {
        if (p->cwd[0] == 0) return ACTION_LOCAL;
        strcpy(buffer, p->cwd);
        if (!join_path(buffer, *path)) return ACTION_LOCAL;
        *path = buffer;
    }
    return classify(r, *path, writing);
}

// keep takes over an action, with its path in place of its own if that has become another one. An errno.
static int keep(struct spawn_plan *p, const struct action_record *from, const char *path) {
    struct action_record *to = &p->records[p->used++];
    *to = *from;
    if (path == NULL || path == (from->tag == ACTION_OPEN ? from->open.path : from->chdir)) return 0;
    char *copy = strdup(path);
    if (copy == NULL) return ENOMEM;
    p->paths[p->paths_n++] = copy;
    if (from->tag == ACTION_OPEN)
        to->open.path = copy;
    else
        to->chdir = copy;
    return 0;
}

static int plan_open(struct spawn_plan *p, const struct action_record *a) {
    char buffer[PATH_MAX];
    const char *path = a->open.path;
    enum action action = place_of(p, &path, (a->open.flags & O_ACCMODE) != O_RDONLY || (a->open.flags & O_CREAT), buffer);
    if (action == ACTION_MISSING) return ENOENT;
    int fd = action == ACTION_REMOTE ? remote_open(path, a->open.flags | O_CLOEXEC, a->open.mode) : NOT_OURS;
    if (fd == NOT_OURS) return keep(p, a, path);
    if (fd < 0) return errno;
    p->opened[p->opened_n++] = fd;
    struct action_record to = {.tag = ACTION_DUP2, .dup2 = {fd, a->open.fd}};
    return keep(p, &to, NULL);
}

static int plan_chdir(struct spawn_plan *p, const struct action_record *a) {
    char buffer[PATH_MAX], resolved[PATH_MAX];
    const char *path = a->chdir;
    struct stat st;
    enum action action = place_of(p, &path, 0, buffer);
    if (action == ACTION_MISSING) return ENOENT;
    int result = action == ACTION_REMOTE ? remote_stat(path, &st, 0) : NOT_OURS;
    if (result == NOT_OURS) {
        p->cwd[0] = 0;
        return keep(p, a, path);
    }
    if (result < 0) return errno;
    if (!S_ISDIR(st.st_mode)) return ENOTDIR;
    if (realpath(path, resolved) == NULL) return errno;
    strcpy(p->cwd, resolved);
    return 0;
}

// plan_spawn makes *plan of a caller's actions, NULL when libc can carry them out as they are. An errno.
static int plan_spawn(const posix_spawn_file_actions_t *actions, struct spawn_plan **plan) {
    *plan = NULL;
    if (actions == NULL || actions->__used == 0 || actions->__used > MAX_ACTIONS || !walks() || !layout_known()) return 0;
    const struct action_record *a = records(actions);
    int named = 0;
    for (int i = 0; i < actions->__used; i++) named |= a[i].tag == ACTION_OPEN || a[i].tag == ACTION_CHDIR || a[i].tag == ACTION_FCHDIR;
    if (!named) return 0;
    struct spawn_plan *p = calloc(1, sizeof *p);
    if (p == NULL) return ENOMEM;
    strcpy(p->cwd, remote_cwd);
    int err = 0;
    for (int i = 0; i < actions->__used && err == 0; i++) switch (a[i].tag) {
        case ACTION_OPEN: err = plan_open(p, &a[i]); break;
        case ACTION_CHDIR: err = plan_chdir(p, &a[i]); break;
        case ACTION_FCHDIR:
            if (tagged_directory(a[i].fchdir, p->cwd)) break;
            p->cwd[0] = 0;
            /* fallthrough */
        default: err = keep(p, &a[i], NULL);
        }
    if (err != 0) {
        plan_end(p);
        return err;
    }
    p->actions = *actions;
    p->actions.__actions = (void *)p->records;
    p->actions.__used = p->actions.__allocated = p->used;
    *plan = p;
    return 0;
}
