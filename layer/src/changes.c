// Whatever would change the pod's files. The broker decides: refused, or given to this machine and then local for the rest of the session.
#define _GNU_SOURCE
#include "layer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

static NOINLINE int ask_change(enum frame_change op, const char *path, const char *other) {
    uint8_t buffer[2 * PATH_MAX + 256];
    struct frame f = frame_begin(buffer, sizeof buffer, FRAME_CHANGE, session.token);
    put_u16(&f, (uint16_t)op);
    put_str(&f, path);
    put_str(&f, other);
    int status = ask(&f, NULL, 0);
    if (status == STATUS_LOCAL) return 0;
    errno = status == ASK_LOST ? EIO : status == STATUS_OK ? EROFS : status;
    return 1;
}

// refused says whether the change may not be made, with errno set; if not, the original makes it on this machine.
static int refused(enum frame_change op, int dirfd, const char *path) {
    char buffer[PATH_MAX];
    const char *absolute;
    switch (locate(dirfd, path, 1, buffer, &absolute)) {
    case ACTION_LOCAL: return 0;
    case ACTION_MISSING: errno = ENOENT; return 1;
    case ACTION_REMOTE: break;
    }
    return ask_change(op, absolute, "");
}

// refused_pair is for changes that name two paths: both must be of this machine.
static int refused_pair(enum frame_change op, int from_dirfd, const char *from, int to_dirfd, const char *to) {
    char from_buffer[PATH_MAX], to_buffer[PATH_MAX];
    const char *from_absolute = from, *to_absolute = to;
    enum action a = locate(from_dirfd, from, 1, from_buffer, &from_absolute), b = locate(to_dirfd, to, 1, to_buffer, &to_absolute);
    if (likely(a == ACTION_LOCAL && b == ACTION_LOCAL)) return 0;
    if (a == ACTION_MISSING) {
        errno = ENOENT;
        return 1;
    }
    // A file of this machine that is moved or linked to a path of the pod: that path is a creation.
    if (a == ACTION_LOCAL) return ask_change(CHANGE_MKNOD, to_absolute, "");
    return ask_change(op, from_absolute, to_absolute);
}

EXPORT int unlink(const char *path) { return refused(CHANGE_UNLINK, AT_FDCWD, path) ? -1 : ORIGINAL(unlink)(path); }
EXPORT int unlinkat(int dirfd, const char *path, int flags) {
    return refused(flags & AT_REMOVEDIR ? CHANGE_RMDIR : CHANGE_UNLINK, dirfd, path) ? -1 : ORIGINAL(unlinkat)(dirfd, path, flags);
}
EXPORT int rmdir(const char *path) { return refused(CHANGE_RMDIR, AT_FDCWD, path) ? -1 : ORIGINAL(rmdir)(path); }
EXPORT int remove(const char *path) { return refused(CHANGE_UNLINK, AT_FDCWD, path) ? -1 : ORIGINAL(remove)(path); }
EXPORT int rename(const char *from, const char *to) {
    return refused_pair(CHANGE_RENAME, AT_FDCWD, from, AT_FDCWD, to) ? -1 : ORIGINAL(rename)(from, to);
}
EXPORT int renameat(int from_dirfd, const char *from, int to_dirfd, const char *to) {
    return refused_pair(CHANGE_RENAME, from_dirfd, from, to_dirfd, to) ? -1 : ORIGINAL(renameat)(from_dirfd, from, to_dirfd, to);
}
EXPORT int renameat2(int from_dirfd, const char *from, int to_dirfd, const char *to, unsigned flags) {
    return refused_pair(CHANGE_RENAME, from_dirfd, from, to_dirfd, to) ? -1
                                                                       : ORIGINAL(renameat2)(from_dirfd, from, to_dirfd, to, flags);
}
EXPORT int link(const char *from, const char *to) {
    return refused_pair(CHANGE_LINK, AT_FDCWD, from, AT_FDCWD, to) ? -1 : ORIGINAL(link)(from, to);
}
EXPORT int linkat(int from_dirfd, const char *from, int to_dirfd, const char *to, int flags) {
    return refused_pair(CHANGE_LINK, from_dirfd, from, to_dirfd, to) ? -1 : ORIGINAL(linkat)(from_dirfd, from, to_dirfd, to, flags);
}
EXPORT int symlink(const char *content, const char *path) {
    return refused(CHANGE_SYMLINK, AT_FDCWD, path) ? -1 : ORIGINAL(symlink)(content, path);
}
EXPORT int symlinkat(const char *content, int dirfd, const char *path) {
    return refused(CHANGE_SYMLINK, dirfd, path) ? -1 : ORIGINAL(symlinkat)(content, dirfd, path);
}
EXPORT int mkdir(const char *path, mode_t mode) { return refused(CHANGE_MKDIR, AT_FDCWD, path) ? -1 : ORIGINAL(mkdir)(path, mode); }
EXPORT int mkdirat(int dirfd, const char *path, mode_t mode) {
    return refused(CHANGE_MKDIR, dirfd, path) ? -1 : ORIGINAL(mkdirat)(dirfd, path, mode);
}
EXPORT int mkfifo(const char *path, mode_t mode) { return refused(CHANGE_MKNOD, AT_FDCWD, path) ? -1 : ORIGINAL(mkfifo)(path, mode); }
EXPORT int mknod(const char *path, mode_t mode, dev_t dev) {
    return refused(CHANGE_MKNOD, AT_FDCWD, path) ? -1 : ORIGINAL(mknod)(path, mode, dev);
}

// Temporary files are made by libc under a name that it chooses; it is on this machine, and the broker is told so afterwards.
static int made(int result, enum frame_change op, const char *path) {
    int saved = errno;
    if (result >= 0) refused(op, AT_FDCWD, path);
    errno = saved;
    return result;
}
EXPORT int mkstemp(char *path) { return made(ORIGINAL(mkstemp)(path), CHANGE_MKNOD, path); }
EXPORT int mkostemp(char *path, int flags) { return made(ORIGINAL(mkostemp)(path, flags), CHANGE_MKNOD, path); }
EXPORT int mkstemps(char *path, int suffix) { return made(ORIGINAL(mkstemps)(path, suffix), CHANGE_MKNOD, path); }
EXPORT int mkostemps(char *path, int suffix, int flags) {
    return made(ORIGINAL(mkostemps)(path, suffix, flags), CHANGE_MKNOD, path);
}
EXPORT char *mkdtemp(char *path) { return made(ORIGINAL(mkdtemp)(path) != NULL ? 0 : -1, CHANGE_MKDIR, path) == 0 ? path : NULL; }

EXPORT int chmod(const char *path, mode_t mode) { return refused(CHANGE_CHMOD, AT_FDCWD, path) ? -1 : ORIGINAL(chmod)(path, mode); }
EXPORT int fchmodat(int dirfd, const char *path, mode_t mode, int flags) {
    return refused(CHANGE_CHMOD, dirfd, path) ? -1 : ORIGINAL(fchmodat)(dirfd, path, mode, flags);
}
EXPORT int chown(const char *path, uid_t uid, gid_t gid) {
    return refused(CHANGE_CHOWN, AT_FDCWD, path) ? -1 : ORIGINAL(chown)(path, uid, gid);
}
EXPORT int lchown(const char *path, uid_t uid, gid_t gid) {
    return refused(CHANGE_CHOWN, AT_FDCWD, path) ? -1 : ORIGINAL(lchown)(path, uid, gid);
}
EXPORT int fchownat(int dirfd, const char *path, uid_t uid, gid_t gid, int flags) {
    return refused(CHANGE_CHOWN, dirfd, path) ? -1 : ORIGINAL(fchownat)(dirfd, path, uid, gid, flags);
}
EXPORT int truncate(const char *path, off_t length) {
    return refused(CHANGE_TRUNCATE, AT_FDCWD, path) ? -1 : ORIGINAL(truncate)(path, length);
}
EXPORT int utime(const char *path, const struct utimbuf *times) {
    return refused(CHANGE_UTIMES, AT_FDCWD, path) ? -1 : ORIGINAL(utime)(path, times);
}
EXPORT int utimes(const char *path, const struct timeval times[2]) {
    return refused(CHANGE_UTIMES, AT_FDCWD, path) ? -1 : ORIGINAL(utimes)(path, times);
}
EXPORT int lutimes(const char *path, const struct timeval times[2]) {
    return refused(CHANGE_UTIMES, AT_FDCWD, path) ? -1 : ORIGINAL(lutimes)(path, times);
}
EXPORT int utimensat(int dirfd, const char *path, const struct timespec times[2], int flags) {
    return refused(CHANGE_UTIMES, dirfd, path) ? -1 : ORIGINAL(utimensat)(dirfd, path, times, flags);
}
EXPORT int setxattr(const char *path, const char *name, const void *value, size_t size, int flags) {
    return refused(CHANGE_CHMOD, AT_FDCWD, path) ? -1 : ORIGINAL(setxattr)(path, name, value, size, flags);
}
EXPORT int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags) {
    return refused(CHANGE_CHMOD, AT_FDCWD, path) ? -1 : ORIGINAL(lsetxattr)(path, name, value, size, flags);
}
EXPORT int removexattr(const char *path, const char *name) {
    return refused(CHANGE_CHMOD, AT_FDCWD, path) ? -1 : ORIGINAL(removexattr)(path, name);
}
EXPORT int lremovexattr(const char *path, const char *name) {
    return refused(CHANGE_CHMOD, AT_FDCWD, path) ? -1 : ORIGINAL(lremovexattr)(path, name);
}
