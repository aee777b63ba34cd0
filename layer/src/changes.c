// Whatever would change the pod's files. The broker decides: refused, made in the pod or over it, or given to this machine.
#define _GNU_SOURCE
#include "layer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

// What a Change request says beside its paths; see layer/frame.
struct change {
    enum frame_change op;
    uint32_t flags, mode, uid, gid;
    uint64_t size;
    struct timespec atime, mtime;
};

// ask_change has the change made: 0, -1 with errno, or NOT_OURS when this machine is to make it.
static NOINLINE int ask_change(const struct change *c, const char *path, const char *other) {
    uint8_t buffer[2 * PATH_MAX + 256];
    struct frame f = frame_begin(buffer, sizeof buffer, FRAME_CHANGE, session.token);
    put_u16(&f, (uint16_t)c->op);
    put_u32(&f, c->flags);
    put_u32(&f, c->mode);
    put_u32(&f, c->uid);
    put_u32(&f, c->gid);
    put_u64(&f, c->size);
    put_u64(&f, (uint64_t)c->atime.tv_sec * 1000000000 + (uint64_t)c->atime.tv_nsec);
    put_u64(&f, (uint64_t)c->mtime.tv_sec * 1000000000 + (uint64_t)c->mtime.tv_nsec);
    put_str(&f, path);
    put_str(&f, other);
    return f.broken ? fail(ENAMETOOLONG) : settle(ask(&f, NULL, 0));
}

// elsewhere has a change made that is not this machine's, with *result; else 0, and the original is called with *path.
static NOINLINE int elsewhere(const struct change *c, int dirfd, const char **path, char buffer[PATH_MAX], const char *other, int *result) {
    switch (locate(dirfd, path, 1, buffer)) {
    case ACTION_LOCAL: return 0;
    case ACTION_MISSING: *result = fail(ENOENT); return 1;
    case ACTION_REMOTE: break;
    }
    *result = ask_change(c, *path, other);
    return *result != NOT_OURS;
}

#define LINKING(dirfd, path, other, ...)                                                                                            \
    char path##_buffer[PATH_MAX];                                                                                                   \
    int result;                                                                                                                     \
    if (unlikely(elsewhere(&(struct change){__VA_ARGS__}, dirfd, &path, path##_buffer, other, &result))) return result
#define CHANGE(dirfd, path, ...) LINKING(dirfd, path, "", __VA_ARGS__)

// pair_elsewhere is elsewhere for changes that name two paths. One of this machine is not told to the broker, which knows nothing of it.
static NOINLINE int pair_elsewhere(const struct change *c, int from_dirfd, const char **from, char from_buffer[PATH_MAX], int to_dirfd, const char **to,
                          char to_buffer[PATH_MAX], int *result) {
    enum action a = locate(from_dirfd, from, 1, from_buffer), b = locate(to_dirfd, to, 1, to_buffer);
    if (likely(a == ACTION_LOCAL && b == ACTION_LOCAL)) return 0;
    if (a == ACTION_MISSING || b == ACTION_MISSING)
        *result = fail(ENOENT);
    else
        *result = ask_change(c, a == ACTION_LOCAL ? "" : *from, b == ACTION_LOCAL ? "" : *to);
    return *result != NOT_OURS;
}

#define CHANGE_PAIR(from_dirfd, from, to_dirfd, to, ...)                                                                            \
    char from##_buffer[PATH_MAX], to##_buffer[PATH_MAX];                                                                            \
    int result;                                                                                                                     \
    if (unlikely(pair_elsewhere(&(struct change){__VA_ARGS__}, from_dirfd, &from, from##_buffer, to_dirfd, &to, to##_buffer, &result))) return result

// held_elsewhere has a change made of what a descriptor holds, of a directory or the copy of a file of the pod: either would take it for itself, and the pod would
// never know. What is no copy knows by itself.
static NOINLINE int held_elsewhere(const struct change *c, int fd, int *result) {
    struct stat st;
    char path[PATH_MAX], label[LABEL];
    if (!session.active || sys_fstat(fd, &st) < 0 || st.st_nlink != 0 || !S_ISREG(st.st_mode)) return 0;
    int kind = read_tag(fd, NULL);
    if (kind == 0 || kind == 'l' || kind == 'p') return 0;
    struct change held = *c;
    held.flags |= CHANGE_HELD_FILE;
    if (kind == 'd')
        *result = tagged_directory(fd, path) ? ask_change(c, path, "") : fail(EROFS);
    else
        *result = read_label(fd, label) ? ask_change(&held, label + 10, "") : fail(EROFS);
    if (*result == NOT_OURS) *result = fail(EROFS);
    return 1;
}

#define CHANGE_HELD(fd, ...)                                                                                                        \
    int result;                                                                                                                     \
    if (unlikely(held_elsewhere(&(struct change){__VA_ARGS__}, fd, &result))) return result

EXPORT int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
EXPORT int unlinkat(int dirfd, const char *path, int flags) {
    CHANGE(dirfd, path, .op = flags & AT_REMOVEDIR ? CHANGE_RMDIR : CHANGE_UNLINK);
    return ORIGINAL(unlinkat)(dirfd, path, flags);
}
EXPORT int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
EXPORT int remove(const char *path) {
    char buffer[PATH_MAX];
    int result, saved = errno;
    if (likely(!elsewhere(&(struct change){.op = CHANGE_UNLINK}, AT_FDCWD, &path, buffer, "", &result))) return ORIGINAL(remove)(path);
    if (result == 0 || (errno != EISDIR && errno != EPERM)) return result;
    errno = saved;
    return rmdir(path);
}
EXPORT int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }
EXPORT int renameat(int from_dirfd, const char *from, int to_dirfd, const char *to) {
    CHANGE_PAIR(from_dirfd, from, to_dirfd, to, .op = CHANGE_RENAME);
    return ORIGINAL(renameat)(from_dirfd, from, to_dirfd, to);
}
#if defined(__APPLE__)
enum { SWAP = 2, EXCLUSIVE = 4 }; // RENAME_SWAP and RENAME_EXCL
#else
enum { SWAP = RENAME_EXCHANGE, EXCLUSIVE = RENAME_NOREPLACE };
#endif
static uint32_t rename_flags(unsigned flags) { return (flags & SWAP ? CHANGE_EXCHANGE : 0) | (flags & EXCLUSIVE ? CHANGE_NOREPLACE : 0); }
#if defined(__APPLE__)
EXPORT int renamex_np(const char *from, const char *to, unsigned flags) {
    CHANGE_PAIR(AT_FDCWD, from, AT_FDCWD, to, .op = CHANGE_RENAME, .flags = rename_flags(flags));
    return ORIGINAL(renamex_np)(from, to, flags);
}
EXPORT int renameatx_np(int from_dirfd, const char *from, int to_dirfd, const char *to, unsigned flags) {
    CHANGE_PAIR(from_dirfd, from, to_dirfd, to, .op = CHANGE_RENAME, .flags = rename_flags(flags));
    return ORIGINAL(renameatx_np)(from_dirfd, from, to_dirfd, to, flags);
}
#else
EXPORT int renameat2(int from_dirfd, const char *from, int to_dirfd, const char *to, unsigned flags) {
    CHANGE_PAIR(from_dirfd, from, to_dirfd, to, .op = CHANGE_RENAME, .flags = rename_flags(flags));
    return ORIGINAL(renameat2)(from_dirfd, from, to_dirfd, to, flags);
}
#endif
EXPORT int link(const char *from, const char *to) {
    CHANGE_PAIR(AT_FDCWD, from, AT_FDCWD, to, .op = CHANGE_LINK);
    return ORIGINAL(link)(from, to);
}
EXPORT int linkat(int from_dirfd, const char *from, int to_dirfd, const char *to, int flags) {
    CHANGE_PAIR(from_dirfd, from, to_dirfd, to, .op = CHANGE_LINK, .flags = flags & AT_SYMLINK_FOLLOW ? CHANGE_FOLLOW : 0);
    return ORIGINAL(linkat)(from_dirfd, from, to_dirfd, to, flags);
}
EXPORT int symlink(const char *content, const char *path) { return symlinkat(content, AT_FDCWD, path); }
EXPORT int symlinkat(const char *content, int dirfd, const char *path) {
    LINKING(dirfd, path, content, .op = CHANGE_SYMLINK);
    return ORIGINAL(symlinkat)(content, dirfd, path);
}
EXPORT int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
EXPORT int mkdirat(int dirfd, const char *path, mode_t mode) {
    CHANGE(dirfd, path, .op = CHANGE_MKDIR, .mode = mode);
    return ORIGINAL(mkdirat)(dirfd, path, mode);
}
EXPORT int mkfifo(const char *path, mode_t mode) {
    CHANGE(AT_FDCWD, path, .op = CHANGE_MKNOD, .mode = S_IFIFO | (mode & 07777));
    return ORIGINAL(mkfifo)(path, mode);
}
EXPORT int mknod(const char *path, mode_t mode, dev_t dev) {
    CHANGE(AT_FDCWD, path, .op = CHANGE_MKNOD, .mode = mode, .size = (uint64_t)dev);
    return ORIGINAL(mknod)(path, mode, dev);
}
#if !defined(__APPLE__)
EXPORT int mkfifoat(int dirfd, const char *path, mode_t mode) {
    CHANGE(dirfd, path, .op = CHANGE_MKNOD, .mode = S_IFIFO | (mode & 07777));
    return ORIGINAL(mkfifoat)(dirfd, path, mode);
}
EXPORT int mknodat(int dirfd, const char *path, mode_t mode, dev_t dev) {
    CHANGE(dirfd, path, .op = CHANGE_MKNOD, .mode = mode, .size = (uint64_t)dev);
    return ORIGINAL(mknodat)(dirfd, path, mode, dev);
}
#endif
static uint32_t follow_flags(int flags) { return flags & AT_SYMLINK_NOFOLLOW ? CHANGE_NOFOLLOW : 0; }
EXPORT int chmod(const char *path, mode_t mode) { return fchmodat(AT_FDCWD, path, mode, 0); }
EXPORT int lchmod(const char *path, mode_t mode) {
    CHANGE(AT_FDCWD, path, .op = CHANGE_CHMOD, .mode = mode, .flags = CHANGE_NOFOLLOW);
    return ORIGINAL(lchmod)(path, mode);
}
EXPORT int fchmodat(int dirfd, const char *path, mode_t mode, int flags) {
    CHANGE(dirfd, path, .op = CHANGE_CHMOD, .mode = mode, .flags = follow_flags(flags));
    return ORIGINAL(fchmodat)(dirfd, path, mode, flags);
}
EXPORT int chown(const char *path, uid_t uid, gid_t gid) { return fchownat(AT_FDCWD, path, uid, gid, 0); }
EXPORT int lchown(const char *path, uid_t uid, gid_t gid) { return fchownat(AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW); }
EXPORT int fchownat(int dirfd, const char *path, uid_t uid, gid_t gid, int flags) {
    CHANGE(dirfd, path, .op = CHANGE_CHOWN, .uid = uid, .gid = gid, .flags = follow_flags(flags));
    return ORIGINAL(fchownat)(dirfd, path, uid, gid, flags);
}
EXPORT int truncate(const char *path, off_t length) {
    CHANGE(AT_FDCWD, path, .op = CHANGE_TRUNCATE, .size = (uint64_t)length);
    return ORIGINAL(truncate)(path, length);
}

// ---- times

// set_times is a change of times to those given, of which NULL means now.
static NOINLINE struct change set_times(const struct timespec times[2], uint32_t flags) {
    struct change c = {.op = CHANGE_UTIMES, .flags = flags};
    if (times == NULL || times[0].tv_nsec == UTIME_NOW) c.flags |= CHANGE_ATIME_NOW;
    else if (times[0].tv_nsec == UTIME_OMIT) c.flags |= CHANGE_ATIME_OMIT;
    else c.atime = times[0];
    if (times == NULL || times[1].tv_nsec == UTIME_NOW) c.flags |= CHANGE_MTIME_NOW;
    else if (times[1].tv_nsec == UTIME_OMIT) c.flags |= CHANGE_MTIME_OMIT;
    else c.mtime = times[1];
    return c;
}
EXPORT int utimensat(int dirfd, const char *path, const struct timespec times[2], int flags) {
    char buffer[PATH_MAX];
    struct change c = set_times(times, follow_flags(flags));
    int result;
    if (unlikely(path == NULL ? held_elsewhere(&c, dirfd, &result) : elsewhere(&c, dirfd, &path, buffer, "", &result))) return result;
    return ORIGINAL(utimensat)(dirfd, path, times, flags);
}
EXPORT int futimens(int fd, const struct timespec times[2]) {
    struct change c = set_times(times, 0);
    int result;
    return held_elsewhere(&c, fd, &result) ? result : ORIGINAL(futimens)(fd, times);
}

// The older functions are less precise. What is no microsecond is no nanosecond either.
static const struct timespec *precisely(const struct timeval times[2], struct timespec precise[2]) {
    if (times == NULL) return NULL;
    for (int i = 0; i < 2; i++) precise[i] = (struct timespec){times[i].tv_sec, times[i].tv_usec * 1000};
    return precise;
}
EXPORT int utime(const char *path, const struct utimbuf *times) {
    struct timespec both[2] = {{0}};
    if (times != NULL) both[0].tv_sec = times->actime, both[1].tv_sec = times->modtime;
    return utimensat(AT_FDCWD, path, times != NULL ? both : NULL, 0);
}
EXPORT int utimes(const char *path, const struct timeval times[2]) {
    struct timespec precise[2];
    return utimensat(AT_FDCWD, path, precisely(times, precise), 0);
}
EXPORT int lutimes(const char *path, const struct timeval times[2]) {
    struct timespec precise[2];
    return utimensat(AT_FDCWD, path, precisely(times, precise), AT_SYMLINK_NOFOLLOW);
}
EXPORT int futimes(int fd, const struct timeval times[2]) {
    struct timespec precise[2];
    return futimens(fd, precisely(times, precise));
}
#if !defined(__APPLE__)
EXPORT int futimesat(int dirfd, const char *path, const struct timeval times[2]) {
    if (path == NULL) return futimes(dirfd, times); // as Java does; utimensat would refuse it
    struct timespec precise[2];
    return utimensat(dirfd, path, precisely(times, precise), 0);
}
#endif

// ---- attributes

EXPORT int fchmod(int fd, mode_t mode) {
    CHANGE_HELD(fd, .op = CHANGE_CHMOD, .mode = mode);
    return ORIGINAL(fchmod)(fd, mode);
}
EXPORT int fchown(int fd, uid_t uid, gid_t gid) {
    CHANGE_HELD(fd, .op = CHANGE_CHOWN, .uid = uid, .gid = gid);
    return ORIGINAL(fchown)(fd, uid, gid);
}
#if defined(__APPLE__)
EXPORT int chflags(const char *path, uint32_t flags) {
    CHANGE(AT_FDCWD, path, .op = CHANGE_SETATTR);
    return ORIGINAL(chflags)(path, flags);
}
EXPORT int lchflags(const char *path, uint32_t flags) {
    CHANGE(AT_FDCWD, path, .op = CHANGE_SETATTR);
    return ORIGINAL(lchflags)(path, flags);
}
EXPORT int setxattr(const char *path, const char *name, const void *value, size_t size, uint32_t position, int options) {
    CHANGE(AT_FDCWD, path, .op = CHANGE_SETATTR);
    return ORIGINAL(setxattr)(path, name, value, size, position, options);
}
EXPORT int removexattr(const char *path, const char *name, int options) {
    CHANGE(AT_FDCWD, path, .op = CHANGE_SETATTR);
    return ORIGINAL(removexattr)(path, name, options);
}
#else
EXPORT int setxattr(const char *path, const char *name, const void *value, size_t size, int flags) {
    CHANGE(AT_FDCWD, path, .op = CHANGE_SETATTR);
    return ORIGINAL(setxattr)(path, name, value, size, flags);
}
EXPORT int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags) {
    CHANGE(AT_FDCWD, path, .op = CHANGE_SETATTR);
    return ORIGINAL(lsetxattr)(path, name, value, size, flags);
}
EXPORT int removexattr(const char *path, const char *name) {
    CHANGE(AT_FDCWD, path, .op = CHANGE_SETATTR);
    return ORIGINAL(removexattr)(path, name);
}
EXPORT int lremovexattr(const char *path, const char *name) {
    CHANGE(AT_FDCWD, path, .op = CHANGE_SETATTR);
    return ORIGINAL(lremovexattr)(path, name);
}
#endif

#if defined(__APPLE__)
EXPORT int fchflags(int fd, uint32_t flags) {
    CHANGE_HELD(fd, .op = CHANGE_SETATTR);
    return ORIGINAL(fchflags)(fd, flags);
}
EXPORT int fsetxattr(int fd, const char *name, const void *value, size_t size, uint32_t position, int options) {
    CHANGE_HELD(fd, .op = CHANGE_SETATTR);
    return ORIGINAL(fsetxattr)(fd, name, value, size, position, options);
}
#else
EXPORT int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags) {
    CHANGE_HELD(fd, .op = CHANGE_SETATTR);
    return ORIGINAL(fsetxattr)(fd, name, value, size, flags);
}
#endif

// ---- temporary files

// unique makes something under a name that nothing has, in place of the six X before the last suffix bytes of path: a file, opened with flags, or with -1 a
// directory. libc's own is made by calls that cannot be interposed.
static NOINLINE int unique(char *path, int suffix, int flags) {
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    static _Atomic uint64_t count;
    size_t length = strlen(path);
    if (suffix < 0 || length < 6 + (size_t)suffix || memcmp(path + length - suffix - 6, "XXXXXX", 6) != 0) return fail(EINVAL);
    int saved = errno;
    for (int tries = 0; tries < 1000; tries++) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        uint64_t chance = ((uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 20 ^ (uint64_t)getpid() << 32) + atomic_fetch_add(&count, 1);
        for (int i = 0; i < 6; i++) {
            chance = chance * 6364136223846793005u + 1442695040888963407u;
            path[length - suffix - 6 + i] = letters[(chance >> 33) % (sizeof letters - 1)];
        }
        int result = flags < 0 ? mkdir(path, 0700) : open(path, (flags & ~O_ACCMODE) | O_RDWR | O_CREAT | O_EXCL, 0600);
        if (result >= 0) errno = saved;
        if (result >= 0 || errno != EEXIST) return result;
    }
    return -1;
}

// remote_name says whether what would be made at path is the pod's.
static int remote_name(const char *path) {
    char buffer[PATH_MAX];
    return locate(AT_FDCWD, &path, 1, buffer) == ACTION_REMOTE;
}

EXPORT int mkstemp(char *path) { return remote_name(path) ? unique(path, 0, 0) : ORIGINAL(mkstemp)(path); }
EXPORT int mkostemp(char *path, int flags) { return remote_name(path) ? unique(path, 0, flags) : ORIGINAL(mkostemp)(path, flags); }
EXPORT int mkstemps(char *path, int suffix) { return remote_name(path) ? unique(path, suffix, 0) : ORIGINAL(mkstemps)(path, suffix); }
EXPORT int mkostemps(char *path, int suffix, int flags) {
    return remote_name(path) ? unique(path, suffix, flags) : ORIGINAL(mkostemps)(path, suffix, flags);
}
EXPORT char *mkdtemp(char *path) {
    if (!remote_name(path)) return ORIGINAL(mkdtemp)(path);
    return unique(path, 0, -1) == 0 ? path : NULL;
}
