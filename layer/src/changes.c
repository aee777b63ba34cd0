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
    int result = settle(ask(&f, NULL, 0));
    if (result == NOT_OURS) return 0;
    if (result == 0) errno = EROFS;
    return 1;
}

// permitted returns the path under which the original makes the change on this machine (which is its own, or absolute in buffer), or NULL with
// errno when the change may not be made.
static const char *permitted(enum frame_change op, int dirfd, const char *path, char buffer[PATH_MAX]) {
    switch (locate(dirfd, &path, 1, buffer)) {
    case ACTION_LOCAL:
        if (path == NULL) errno = EFAULT;
        return path;
    case ACTION_MISSING: errno = ENOENT; return NULL;
    case ACTION_REMOTE: break;
    }
    return ask_change(op, path, "") ? NULL : path;
}

#define PERMITTED(op, dirfd, path)                                                                                                  \
    char path##_buffer[PATH_MAX];                                                                                                   \
    if ((path = permitted(op, dirfd, path, path##_buffer)) == NULL) return -1

// permitted_pair is for changes that name two paths: both must be of this machine.
static int permitted_pair(enum frame_change op, int from_dirfd, const char **from, char from_buffer[PATH_MAX], int to_dirfd,
                          const char **to, char to_buffer[PATH_MAX]) {
    enum action a = locate(from_dirfd, from, 1, from_buffer), b = locate(to_dirfd, to, 1, to_buffer);
    if (likely(a == ACTION_LOCAL && b == ACTION_LOCAL)) return 1;
    if (a == ACTION_MISSING) {
        errno = ENOENT;
        return 0;
    }
    // A file of this machine that is moved or linked to a path of the pod: that path is a creation.
    if (a == ACTION_LOCAL) return !ask_change(CHANGE_MKNOD, *to, "");
    return !ask_change(op, *from, *to);
}

#define PERMITTED_PAIR(op, from_dirfd, from, to_dirfd, to)                                                                          \
    char from##_buffer[PATH_MAX], to##_buffer[PATH_MAX];                                                                            \
    if (!permitted_pair(op, from_dirfd, &from, from##_buffer, to_dirfd, &to, to##_buffer)) return -1

// is_read_only says whether fd holds a copy of a file of the pod, with errno set. What is no copy knows by itself.
static int is_read_only(int fd) {
    struct stat st;
    if (!session.active || sys_fstat(fd, &st) < 0 || st.st_nlink != 0 || !S_ISREG(st.st_mode)) return 0;
    int kind = read_tag(fd, NULL);
    if (kind == 0 || kind == 'l') return 0;
    errno = EROFS;
    return 1;
}

EXPORT int unlink(const char *path) {
    PERMITTED(CHANGE_UNLINK, AT_FDCWD, path);
    return ORIGINAL(unlink)(path);
}
EXPORT int unlinkat(int dirfd, const char *path, int flags) {
    PERMITTED(flags & AT_REMOVEDIR ? CHANGE_RMDIR : CHANGE_UNLINK, dirfd, path);
    return ORIGINAL(unlinkat)(dirfd, path, flags);
}
EXPORT int rmdir(const char *path) {
    PERMITTED(CHANGE_RMDIR, AT_FDCWD, path);
    return ORIGINAL(rmdir)(path);
}
EXPORT int remove(const char *path) {
    PERMITTED(CHANGE_UNLINK, AT_FDCWD, path);
    return ORIGINAL(remove)(path);
}
EXPORT int rename(const char *from, const char *to) {
    PERMITTED_PAIR(CHANGE_RENAME, AT_FDCWD, from, AT_FDCWD, to);
    return ORIGINAL(rename)(from, to);
}
EXPORT int renameat(int from_dirfd, const char *from, int to_dirfd, const char *to) {
    PERMITTED_PAIR(CHANGE_RENAME, from_dirfd, from, to_dirfd, to);
    return ORIGINAL(renameat)(from_dirfd, from, to_dirfd, to);
}
#if defined(__APPLE__)
EXPORT int renamex_np(const char *from, const char *to, unsigned flags) {
    PERMITTED_PAIR(CHANGE_RENAME, AT_FDCWD, from, AT_FDCWD, to);
    return ORIGINAL(renamex_np)(from, to, flags);
}
EXPORT int renameatx_np(int from_dirfd, const char *from, int to_dirfd, const char *to, unsigned flags) {
    PERMITTED_PAIR(CHANGE_RENAME, from_dirfd, from, to_dirfd, to);
    return ORIGINAL(renameatx_np)(from_dirfd, from, to_dirfd, to, flags);
}
#else
EXPORT int renameat2(int from_dirfd, const char *from, int to_dirfd, const char *to, unsigned flags) {
    PERMITTED_PAIR(CHANGE_RENAME, from_dirfd, from, to_dirfd, to);
    return ORIGINAL(renameat2)(from_dirfd, from, to_dirfd, to, flags);
}
#endif
EXPORT int link(const char *from, const char *to) {
    PERMITTED_PAIR(CHANGE_LINK, AT_FDCWD, from, AT_FDCWD, to);
    return ORIGINAL(link)(from, to);
}
EXPORT int linkat(int from_dirfd, const char *from, int to_dirfd, const char *to, int flags) {
    PERMITTED_PAIR(CHANGE_LINK, from_dirfd, from, to_dirfd, to);
    return ORIGINAL(linkat)(from_dirfd, from, to_dirfd, to, flags);
}
EXPORT int symlink(const char *content, const char *path) {
    PERMITTED(CHANGE_SYMLINK, AT_FDCWD, path);
    return ORIGINAL(symlink)(content, path);
}
EXPORT int symlinkat(const char *content, int dirfd, const char *path) {
    PERMITTED(CHANGE_SYMLINK, dirfd, path);
    return ORIGINAL(symlinkat)(content, dirfd, path);
}
EXPORT int mkdir(const char *path, mode_t mode) {
    PERMITTED(CHANGE_MKDIR, AT_FDCWD, path);
    return ORIGINAL(mkdir)(path, mode);
}
EXPORT int mkdirat(int dirfd, const char *path, mode_t mode) {
    PERMITTED(CHANGE_MKDIR, dirfd, path);
    return ORIGINAL(mkdirat)(dirfd, path, mode);
}
EXPORT int mkfifo(const char *path, mode_t mode) {
    PERMITTED(CHANGE_MKNOD, AT_FDCWD, path);
    return ORIGINAL(mkfifo)(path, mode);
}
EXPORT int mknod(const char *path, mode_t mode, dev_t dev) {
    PERMITTED(CHANGE_MKNOD, AT_FDCWD, path);
    return ORIGINAL(mknod)(path, mode, dev);
}
EXPORT int chmod(const char *path, mode_t mode) {
    PERMITTED(CHANGE_CHMOD, AT_FDCWD, path);
    return ORIGINAL(chmod)(path, mode);
}
EXPORT int fchmodat(int dirfd, const char *path, mode_t mode, int flags) {
    PERMITTED(CHANGE_CHMOD, dirfd, path);
    return ORIGINAL(fchmodat)(dirfd, path, mode, flags);
}
EXPORT int chown(const char *path, uid_t uid, gid_t gid) {
    PERMITTED(CHANGE_CHOWN, AT_FDCWD, path);
    return ORIGINAL(chown)(path, uid, gid);
}
EXPORT int lchown(const char *path, uid_t uid, gid_t gid) {
    PERMITTED(CHANGE_CHOWN, AT_FDCWD, path);
    return ORIGINAL(lchown)(path, uid, gid);
}
EXPORT int fchownat(int dirfd, const char *path, uid_t uid, gid_t gid, int flags) {
    PERMITTED(CHANGE_CHOWN, dirfd, path);
    return ORIGINAL(fchownat)(dirfd, path, uid, gid, flags);
}
EXPORT int truncate(const char *path, off_t length) {
    PERMITTED(CHANGE_TRUNCATE, AT_FDCWD, path);
    return ORIGINAL(truncate)(path, length);
}
EXPORT int utime(const char *path, const struct utimbuf *times) {
    PERMITTED(CHANGE_UTIMES, AT_FDCWD, path);
    return ORIGINAL(utime)(path, times);
}
EXPORT int utimes(const char *path, const struct timeval times[2]) {
    PERMITTED(CHANGE_UTIMES, AT_FDCWD, path);
    return ORIGINAL(utimes)(path, times);
}
EXPORT int lutimes(const char *path, const struct timeval times[2]) {
    PERMITTED(CHANGE_UTIMES, AT_FDCWD, path);
    return ORIGINAL(lutimes)(path, times);
}
EXPORT int utimensat(int dirfd, const char *path, const struct timespec times[2], int flags) {
    if (path == NULL) return is_read_only(dirfd) ? -1 : ORIGINAL(utimensat)(dirfd, path, times, flags);
    PERMITTED(CHANGE_UTIMES, dirfd, path);
    return ORIGINAL(utimensat)(dirfd, path, times, flags);
}

#if defined(__APPLE__)
EXPORT int lchmod(const char *path, mode_t mode) {
    PERMITTED(CHANGE_CHMOD, AT_FDCWD, path);
    return ORIGINAL(lchmod)(path, mode);
}
EXPORT int chflags(const char *path, uint32_t flags) {
    PERMITTED(CHANGE_CHMOD, AT_FDCWD, path);
    return ORIGINAL(chflags)(path, flags);
}
EXPORT int lchflags(const char *path, uint32_t flags) {
    PERMITTED(CHANGE_CHMOD, AT_FDCWD, path);
    return ORIGINAL(lchflags)(path, flags);
}
EXPORT int setxattr(const char *path, const char *name, const void *value, size_t size, uint32_t position, int options) {
    PERMITTED(CHANGE_CHMOD, AT_FDCWD, path);
    return ORIGINAL(setxattr)(path, name, value, size, position, options);
}
EXPORT int removexattr(const char *path, const char *name, int options) {
    PERMITTED(CHANGE_CHMOD, AT_FDCWD, path);
    return ORIGINAL(removexattr)(path, name, options);
}
#else
EXPORT int setxattr(const char *path, const char *name, const void *value, size_t size, int flags) {
    PERMITTED(CHANGE_CHMOD, AT_FDCWD, path);
    return ORIGINAL(setxattr)(path, name, value, size, flags);
}
EXPORT int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags) {
    PERMITTED(CHANGE_CHMOD, AT_FDCWD, path);
    return ORIGINAL(lsetxattr)(path, name, value, size, flags);
}
EXPORT int removexattr(const char *path, const char *name) {
    PERMITTED(CHANGE_CHMOD, AT_FDCWD, path);
    return ORIGINAL(removexattr)(path, name);
}
EXPORT int lremovexattr(const char *path, const char *name) {
    PERMITTED(CHANGE_CHMOD, AT_FDCWD, path);
    return ORIGINAL(lremovexattr)(path, name);
}
#endif

// A descriptor of a file of the pod would take these for itself, and the pod would never know.
EXPORT int fchmod(int fd, mode_t mode) { return is_read_only(fd) ? -1 : ORIGINAL(fchmod)(fd, mode); }
EXPORT int fchown(int fd, uid_t uid, gid_t gid) { return is_read_only(fd) ? -1 : ORIGINAL(fchown)(fd, uid, gid); }
EXPORT int futimens(int fd, const struct timespec times[2]) { return is_read_only(fd) ? -1 : ORIGINAL(futimens)(fd, times); }
EXPORT int futimes(int fd, const struct timeval times[2]) { return is_read_only(fd) ? -1 : ORIGINAL(futimes)(fd, times); }
#if defined(__APPLE__)
EXPORT int fchflags(int fd, uint32_t flags) { return is_read_only(fd) ? -1 : ORIGINAL(fchflags)(fd, flags); }
EXPORT int fsetxattr(int fd, const char *name, const void *value, size_t size, uint32_t position, int options) {
    return is_read_only(fd) ? -1 : ORIGINAL(fsetxattr)(fd, name, value, size, position, options);
}
#else
EXPORT int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags) {
    return is_read_only(fd) ? -1 : ORIGINAL(fsetxattr)(fd, name, value, size, flags);
}
#endif

// Temporary files are made by libc under a name that it chooses; it is on this machine, and the broker is told so afterwards.
static int made(int result, enum frame_change op, const char *path) {
    int saved = errno;
    char buffer[PATH_MAX];
    if (result >= 0) permitted(op, AT_FDCWD, path, buffer);
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
