// What else programs ask about a path or descriptor on Linux: extended attributes, the file system, and to be told of changes.
#define _GNU_SOURCE
#include "layer.h"

#include <errno.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

EXPORT ssize_t getxattr(const char *path, const char *name, void *value, size_t size) {
    WITHOUT_ATTRIBUTES(path, 0, fail(ENODATA));
    return ORIGINAL(getxattr)(path, name, value, size);
}
EXPORT ssize_t lgetxattr(const char *path, const char *name, void *value, size_t size) {
    WITHOUT_ATTRIBUTES(path, 1, fail(ENODATA));
    return ORIGINAL(lgetxattr)(path, name, value, size);
}
EXPORT ssize_t listxattr(const char *path, char *list, size_t size) {
    WITHOUT_ATTRIBUTES(path, 0, 0);
    return ORIGINAL(listxattr)(path, list, size);
}
EXPORT ssize_t llistxattr(const char *path, char *list, size_t size) {
    WITHOUT_ATTRIBUTES(path, 1, 0);
    return ORIGINAL(llistxattr)(path, list, size);
}

// ---- the file system

// read_statfs asks the request in f and reads the answer: 0, -1 with errno, or NOT_OURS.
static int read_statfs(struct frame *f, struct statfs *out) {
    int result = settle(ask(f, NULL, 0));
    if (result != 0) return result;
    memset(out, 0, sizeof *out);
    out->f_type = (__typeof__(out->f_type))get_u64(f);
    out->f_bsize = (__typeof__(out->f_bsize))get_u64(f);
    out->f_frsize = (__typeof__(out->f_frsize))get_u64(f);
    out->f_blocks = get_u64(f);
    out->f_bfree = get_u64(f);
    out->f_bavail = get_u64(f);
    out->f_files = get_u64(f);
    out->f_ffree = get_u64(f);
    uint64_t id = get_u64(f);
    memcpy(&out->f_fsid, &id, sizeof out->f_fsid);
    out->f_namelen = (__typeof__(out->f_namelen))get_u64(f);
    out->f_flags = (__typeof__(out->f_flags))get_u64(f);
    return f->broken ? fail(EIO) : 0;
}

// remote_statfs answers for a path that is not local: 0, -1 with errno, or NOT_OURS.
static NOINLINE int remote_statfs(const char *path, struct statfs *out) {
    uint8_t frame[PATH_FRAME];
    struct frame f = frame_begin(frame, sizeof frame, FRAME_STATFS, session.token);
    put_str(&f, path);
    return read_statfs(&f, out);
}

// held_statfs answers for a descriptor that holds a file of the pod; NOT_OURS for any other.
static int held_statfs(int fd, struct statfs *out) {
    struct stat st;
    uint8_t frame[FRAME_HEADER + 256];
    if (!session.active || sys_fstat(fd, &st) < 0 || st.st_nlink != 0 || !S_ISREG(st.st_mode) || !read_tag(fd, &st)) return NOT_OURS;
    struct frame f = frame_begin(frame, sizeof frame, FRAME_FSTATFS, session.token);
    put_u64(&f, st.st_dev);
    return read_statfs(&f, out);
}

// statfs_elsewhere is remote_statfs with the rules before it: NOT_OURS means the original.
static int statfs_elsewhere(const char **path, struct statfs *out, char buffer[PATH_MAX]) {
    enum action action = locate(AT_FDCWD, path, 0, buffer);
    if (likely(action == ACTION_LOCAL)) return NOT_OURS;
    return action == ACTION_MISSING ? fail(ENOENT) : remote_statfs(*path, out);
}

EXPORT int statfs(const char *path, struct statfs *out) {
    char buffer[PATH_MAX];
    int result = statfs_elsewhere(&path, out, buffer);
    return result == NOT_OURS ? ORIGINAL(statfs)(path, out) : result;
}

EXPORT int fstatfs(int fd, struct statfs *out) {
    int result = held_statfs(fd, out);
    return result == NOT_OURS ? ORIGINAL(fstatfs)(fd, out) : result;
}

static void fill_statvfs(struct statvfs *out, const struct statfs *st) {
    memset(out, 0, sizeof *out);
    out->f_bsize = (unsigned long)st->f_bsize;
    out->f_frsize = (unsigned long)st->f_frsize;
    out->f_blocks = st->f_blocks;
    out->f_bfree = st->f_bfree;
    out->f_bavail = st->f_bavail;
    out->f_files = st->f_files;
    out->f_ffree = st->f_ffree;
    out->f_favail = st->f_ffree;
    memcpy(&out->f_fsid, &st->f_fsid, sizeof out->f_fsid);
    // The kernel marks the flags of its statfs as valid by a bit that statvfs does not have (ST_VALID).
    out->f_flag = (unsigned long)st->f_flags & ~0x20UL;
    out->f_namemax = (unsigned long)st->f_namelen;
}

EXPORT int statvfs(const char *path, struct statvfs *restrict out) {
    char buffer[PATH_MAX];
    struct statfs st;
    int result = statfs_elsewhere(&path, &st, buffer);
    if (result == NOT_OURS) return ORIGINAL(statvfs)(path, out);
    if (result == 0) fill_statvfs(out, &st);
    return result;
}

EXPORT int fstatvfs(int fd, struct statvfs *out) {
    struct statfs st;
    int result = held_statfs(fd, &st);
    if (result == NOT_OURS) return ORIGINAL(fstatvfs)(fd, out);
    if (result == 0) fill_statvfs(out, &st);
    return result;
}

// ---- changes

// Nothing tells of changes in the pod. ENOSPC ("no more watches") is the answer after which programs go over to looking at the path again and again:
// tail and tsc do; others report it, and none takes it for a success, as watchdog does EACCES.
static int watch_elsewhere(int dirfd, const char **path, int nofollow, char buffer[PATH_MAX]) {
    struct stat st;
    enum action action = locate(dirfd, path, nofollow ? 0 : FOLLOWED, buffer);
    if (likely(action == ACTION_LOCAL)) return NOT_OURS;
    int result = action == ACTION_MISSING ? fail(ENOENT) : remote_stat(*path, &st, nofollow);
    return result == 0 ? fail(ENOSPC) : result;
}

EXPORT int inotify_add_watch(int fd, const char *path, uint32_t mask) {
    char buffer[PATH_MAX];
    int result = watch_elsewhere(AT_FDCWD, &path, (mask & IN_DONT_FOLLOW) != 0, buffer);
    return result == NOT_OURS ? ORIGINAL(inotify_add_watch)(fd, path, mask) : result;
}

EXPORT int fanotify_mark(int fd, unsigned flags, uint64_t mask, int dirfd, const char *path) {
    char buffer[PATH_MAX];
    int result = path == NULL && tagged_directory(dirfd, buffer) ? fail(ENOSPC) : watch_elsewhere(dirfd, &path, (flags & FAN_MARK_DONT_FOLLOW) != 0, buffer);
    return result == NOT_OURS ? ORIGINAL(fanotify_mark)(fd, flags, mask, dirfd, path) : result;
}
