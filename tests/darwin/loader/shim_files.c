// Files: open and its relatives, stat, descriptors, paths.
#include "shim.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <utime.h>

enum { D_AT_FDCWD = -2, D_AT_SYMLINK_NOFOLLOW = 0x20, D_AT_SYMLINK_FOLLOW = 0x40, D_AT_REMOVEDIR = 0x80, D_AT_EACCESS = 0x10 };

static int at_fd(int fd) { return fd == D_AT_FDCWD ? AT_FDCWD : fd; }
static int at_flags(int flags) {
    return (flags & D_AT_SYMLINK_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0) | (flags & D_AT_SYMLINK_FOLLOW ? AT_SYMLINK_FOLLOW : 0) |
           (flags & D_AT_REMOVEDIR ? AT_REMOVEDIR : 0) | (flags & D_AT_EACCESS ? AT_EACCESS : 0);
}

static long d_open(const char *path, int flags, VARIADIC) {
    REAL(path);
    VA_BEGIN(ap, flags);
    int mode = (flags & 0x200) != 0 ? va_arg(ap, int) : 0;
    VA_DONE(ap);
    return (int)ret(open(path, open_flags_to_linux(flags), mode));
}

static long d_openat(int fd, const char *path, int flags, VARIADIC) {
    VA_BEGIN(ap, flags);
    int mode = (flags & 0x200) != 0 ? va_arg(ap, int) : 0;
    VA_DONE(ap);
    if (fd == D_AT_FDCWD || path[0] == '/') {
        REAL(path);
        return (int)ret(open(path, open_flags_to_linux(flags), mode));
    }
    return (int)ret(openat(fd, path, open_flags_to_linux(flags), mode));
}

static long d_creat(const char *path, mode_t mode) { return (int)ret(creat(path, mode)); }
static long d_close(int fd) {
    set_no_sigpipe(fd, false); // the number will be another file's
    return (int)ret(close(fd));
}
static ssize_t d_read(int fd, void *to, size_t n) { return ret(read(fd, to, n)); }
static ssize_t d_pread(int fd, void *to, size_t n, off_t at) { return ret(pread(fd, to, n, at)); }
static ssize_t d_pwrite(int fd, const void *from, size_t n, off_t at) { return ret(pwrite(fd, from, n, at)); }
static ssize_t d_readv(int fd, const struct iovec *v, int n) { return ret(readv(fd, v, n)); }
static ssize_t d_preadv(int fd, const struct iovec *v, int n, off_t at) { return ret(preadv(fd, v, n, at)); }
static ssize_t d_pwritev(int fd, const struct iovec *v, int n, off_t at) { return ret(pwritev(fd, v, n, at)); }

static ssize_t d_write(int fd, const void *from, size_t n) { return ret(has_no_sigpipe(fd) ? send(fd, from, n, MSG_NOSIGNAL) : write(fd, from, n)); }
static ssize_t d_writev(int fd, const struct iovec *v, int n) {
    struct msghdr message = {.msg_iov = (struct iovec *)v, .msg_iovlen = (size_t)n};
    return ret(has_no_sigpipe(fd) ? sendmsg(fd, &message, MSG_NOSIGNAL) : writev(fd, v, n));
}

static off_t d_lseek(int fd, off_t at, int whence) {
    if (whence == 3 || whence == 4) whence = whence == 3 ? SEEK_HOLE : SEEK_DATA; // the other way round there
    return ret(lseek(fd, at, whence));
}
static int copied(int from, int to) { // SO_NOSIGPIPE belongs to the socket
    if (to >= 0) set_no_sigpipe(to, has_no_sigpipe(from));
    return (int)ret(to);
}
static long d_dup(int fd) { return copied(fd, dup(fd)); }
static long d_dup2(int from, int to) { return copied(from, dup2(from, to)); }
static long d_pipe(int fds[2]) { return (int)ret(pipe(fds)); }
static long d_fsync(int fd) { return (int)ret(fsync(fd)); }
static long d_ftruncate(int fd, off_t size) { return (int)ret(ftruncate(fd, size)); }
static long d_truncate(const char *path, off_t size) {
    REAL(path);
    return (int)ret(truncate(path, size));
}
static long d_flock(int fd, int operation) { return (int)ret(flock(fd, operation)); }

// ---- fcntl and ioctl

enum {
    D_F_DUPFD, D_F_GETFD, D_F_SETFD, D_F_GETFL, D_F_SETFL, D_F_GETOWN, D_F_SETOWN, D_F_GETLK, D_F_SETLK, D_F_SETLKW, D_F_PREALLOCATE = 42, D_F_RDADVISE = 44,
    D_F_RDAHEAD = 45, D_F_NOCACHE = 48, D_F_GETPATH = 50, D_F_FULLFSYNC = 51, D_F_DUPFD_CLOEXEC = 67, D_F_SETNOSIGPIPE = 73, D_F_GETNOSIGPIPE = 74,
    D_F_BARRIERFSYNC = 85, D_F_GETPATH_NOFIRMLINK = 102
};

struct darwin_flock {
    int64_t start, length;
    int32_t pid;
    int16_t type, whence;
};

static int lock(int fd, int command, struct darwin_flock *lock) {
    static const short to_linux[] = {0, F_RDLCK, F_UNLCK, F_WRLCK};
    if (lock->type < 1 || lock->type > 3) return fail(D_EINVAL);
    struct flock own = {.l_type = to_linux[lock->type], .l_whence = lock->whence, .l_start = lock->start, .l_len = lock->length};
    int result = (int)ret(fcntl(fd, command == D_F_GETLK ? F_GETLK : command == D_F_SETLK ? F_SETLK : F_SETLKW, &own));
    if (result == 0 && command == D_F_GETLK)
        *lock = (struct darwin_flock){own.l_start, own.l_len, own.l_pid, own.l_type == F_RDLCK ? 1 : own.l_type == F_UNLCK ? 2 : 3, own.l_whence};
    return result;
}

static int path_of_fd(int fd, char *to) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, to, 1023);
    if (length < 0) return fail(D_EBADF);
    to[length] = 0;
    return 0;
}

static long d_fcntl(int fd, int command, VARIADIC) {
    VA_BEGIN(ap, command);
    long argument = va_arg(ap, long);
    VA_DONE(ap);
    int result;
    switch (command) {
    case D_F_DUPFD: return copied(fd, fcntl(fd, F_DUPFD, (int)argument));
    case D_F_DUPFD_CLOEXEC: return copied(fd, fcntl(fd, F_DUPFD_CLOEXEC, (int)argument));
    case D_F_GETFD: return (int)ret(fcntl(fd, F_GETFD));
    case D_F_SETFD: return (int)ret(fcntl(fd, F_SETFD, (int)argument & 1));
    case D_F_GETFL:
        result = (int)ret(fcntl(fd, F_GETFL));
        return result < 0 ? result : open_flags_to_darwin(result) & ~0x1000000;
    case D_F_SETFL: return (int)ret(fcntl(fd, F_SETFL, open_flags_to_linux((int)argument & 0xcc)));
    case D_F_GETOWN: return (int)ret(fcntl(fd, F_GETOWN));
    case D_F_SETOWN: return (int)ret(fcntl(fd, F_SETOWN, (int)argument));
    case D_F_GETLK:
    case D_F_SETLK:
    case D_F_SETLKW: return lock(fd, command, (void *)argument);
    case D_F_GETPATH:
    case D_F_GETPATH_NOFIRMLINK: return path_of_fd(fd, (char *)argument);
    case D_F_FULLFSYNC:
    case D_F_BARRIERFSYNC: return (int)ret(fsync(fd));
    case D_F_PREALLOCATE:
    case D_F_RDADVISE:
    case D_F_RDAHEAD:
    case D_F_NOCACHE: return (int)ret(fcntl(fd, F_GETFD)) < 0 ? -1 : 0;
    case D_F_SETNOSIGPIPE:
        if ((int)ret(fcntl(fd, F_GETFD)) < 0) return -1;
        set_no_sigpipe(fd, argument != 0);
        return 0;
    case D_F_GETNOSIGPIPE: return has_no_sigpipe(fd);
    }
    unmodelled("fcntl command %d", command);
}

static long d_ioctl(int fd, unsigned long request, VARIADIC) {
    VA_BEGIN(ap, request);
    void *argument = va_arg(ap, void *);
    VA_DONE(ap);
    switch (request & 0xffffffff) {
    case 0x4004667f: return (int)ret(ioctl(fd, FIONREAD, argument));
    case 0x8004667e: return (int)ret(ioctl(fd, FIONBIO, argument));
    case 0x20006601: return (int)ret(ioctl(fd, FIOCLEX));
    case 0x20006602: return (int)ret(ioctl(fd, FIONCLEX));
    case 0x40087468: return (int)ret(ioctl(fd, TIOCGWINSZ, argument));
    case 0x40047477: return (int)ret(ioctl(fd, TIOCGPGRP, argument));
    case 0x80047476: return (int)ret(ioctl(fd, TIOCSPGRP, argument));
    case 0x40487413: // TIOCGETA, by which isatty asks
        if (!isatty(fd)) return (int)ret(-1);
    }
    unmodelled("ioctl %#lx", request);
}

// ---- stat

void stat_to_darwin(const struct stat *from, const char *path, struct darwin_stat *to) {
    const struct file_entry *entry = path == NULL ? NULL : files_find(path);
    *to = (struct darwin_stat){.dev = (int32_t)from->st_dev,
                               .mode = (uint16_t)from->st_mode,
                               .nlink = (uint16_t)from->st_nlink,
                               .ino = from->st_ino,
                               .uid = from->st_uid,
                               .gid = from->st_gid,
                               .rdev = (int32_t)from->st_rdev,
                               .accessed = {from->st_atim.tv_sec, from->st_atim.tv_nsec},
                               .modified = {from->st_mtim.tv_sec, from->st_mtim.tv_nsec},
                               .changed = {from->st_ctim.tv_sec, from->st_ctim.tv_nsec},
                               .born = {from->st_mtim.tv_sec, from->st_mtim.tv_nsec},
                               .size = from->st_size,
                               .blocks = from->st_blocks,
                               .blksize = (int32_t)from->st_blksize,
                               .flags = entry == NULL ? 0 : entry->flags};
    if (entry != NULL && entry->setuid) to->mode |= S_ISUID;
}

static long d_stat(const char *path, struct darwin_stat *to) {
    struct stat own;
    char buffer[PATH_MAX];
    int result = (int)ret(stat(files_real(path, buffer), &own));
    if (result == 0) stat_to_darwin(&own, path, to);
    return result;
}
static long d_lstat(const char *path, struct darwin_stat *to) {
    struct stat own;
    char buffer[PATH_MAX];
    int result = (int)ret(lstat(files_real(path, buffer), &own));
    if (result == 0) stat_to_darwin(&own, path, to);
    return result;
}
static long d_fstat(int fd, struct darwin_stat *to) {
    struct stat own;
    int result = (int)ret(fstat(fd, &own));
    if (result == 0) stat_to_darwin(&own, NULL, to);
    return result;
}
static long d_fstatat(int fd, const char *path, struct darwin_stat *to, int flags) {
    struct stat own;
    char buffer[PATH_MAX];
    bool whole = fd == D_AT_FDCWD || path[0] == '/';
    int result = (int)ret(fstatat(at_fd(fd), whole ? files_real(path, buffer) : path, &own, at_flags(flags)));
    if (result == 0) stat_to_darwin(&own, whole ? path : NULL, to);
    return result;
}

struct darwin_statfs {
    uint32_t bsize;
    int32_t iosize;
    uint64_t blocks, bfree, bavail, files, ffree;
    int32_t fsid[2];
    uint32_t owner, type, flags, subtype;
    char type_name[16], mounted_on[1024], mounted_from[1024];
    uint32_t flags_ext, reserved[7];
};

static void statfs_to_darwin(const struct statfs *from, struct darwin_statfs *to) {
    *to = (struct darwin_statfs){.bsize = (uint32_t)from->f_bsize,
                                 .iosize = (int32_t)from->f_bsize,
                                 .blocks = from->f_blocks,
                                 .bfree = from->f_bfree,
                                 .bavail = from->f_bavail,
                                 .files = from->f_files,
                                 .ffree = from->f_ffree,
                                 .type_name = "apfs",
                                 .mounted_on = "/",
                                 .mounted_from = "/dev/disk1s1"};
}
static long d_statfs(const char *path, struct darwin_statfs *to) {
    REAL(path);
    struct statfs own;
    int result = (int)ret(statfs(path, &own));
    if (result == 0) statfs_to_darwin(&own, to);
    return result;
}
static long d_fstatfs(int fd, struct darwin_statfs *to) {
    struct statfs own;
    int result = (int)ret(fstatfs(fd, &own));
    if (result == 0) statfs_to_darwin(&own, to);
    return result;
}

struct darwin_statvfs {
    uint64_t bsize, frsize;
    uint32_t blocks, bfree, bavail, files, ffree, favail; // fsblkcnt_t has 32 bits there
    uint64_t fsid, flag, namemax;
};
static void statvfs_to_darwin(const struct statvfs *from, struct darwin_statvfs *to) {
    *to = (struct darwin_statvfs){from->f_bsize,           from->f_frsize,           (uint32_t)from->f_blocks,
                                  (uint32_t)from->f_bfree, (uint32_t)from->f_bavail, (uint32_t)from->f_files,
                                  (uint32_t)from->f_ffree, (uint32_t)from->f_favail, from->f_fsid,
                                  from->f_flag & 3,        from->f_namemax};
}
static long d_statvfs(const char *path, struct darwin_statvfs *to) {
    REAL(path);
    struct statvfs own;
    int result = (int)ret(statvfs(path, &own));
    if (result == 0) statvfs_to_darwin(&own, to);
    return result;
}
static long d_fstatvfs(int fd, struct darwin_statvfs *to) {
    struct statvfs own;
    int result = (int)ret(fstatvfs(fd, &own));
    if (result == 0) statvfs_to_darwin(&own, to);
    return result;
}

// ---- paths

#define PATH_CALL(name)                    \
    static long d_##name(const char *path) { \
        REAL(path);                        \
        return (int)ret(name(path));       \
    }
#define PATH_MODE_CALL(name)                          \
    static long d_##name(const char *path, mode_t mode) { \
        REAL(path);                                   \
        return (int)ret(name(path, mode));            \
    }
PATH_CALL(unlink)
PATH_CALL(rmdir)
PATH_CALL(remove)
PATH_CALL(chdir)
PATH_CALL(chroot)
PATH_MODE_CALL(mkdir)
PATH_MODE_CALL(mkfifo)
PATH_MODE_CALL(chmod)
PATH_MODE_CALL(access)

static long d_faccessat(int fd, const char *path, int mode, int flags) {
    REAL(path);
    return (int)ret(faccessat(at_fd(fd), path, mode, at_flags(flags)));
}
static long d_lchmod(const char *path, mode_t mode) { return (int)ret(fchmodat(AT_FDCWD, path, mode, AT_SYMLINK_NOFOLLOW)); }
static long d_mknod(const char *path, mode_t mode, int32_t device) { return (int)ret(mknod(path, mode, (dev_t)device)); }
static long d_fchdir(int fd) { return (int)ret(fchdir(fd)); }
static long d_fchmod(int fd, mode_t mode) { return (int)ret(fchmod(fd, mode)); }
static long d_fchmodat(int fd, const char *path, mode_t mode, int flags) { return (int)ret(fchmodat(at_fd(fd), path, mode, at_flags(flags))); }
static long d_chown(const char *path, uid_t uid, gid_t gid) { return (int)ret(chown(path, uid, gid)); }
static long d_lchown(const char *path, uid_t uid, gid_t gid) { return (int)ret(lchown(path, uid, gid)); }
static long d_fchown(int fd, uid_t uid, gid_t gid) { return (int)ret(fchown(fd, uid, gid)); }
static long d_fchownat(int fd, const char *path, uid_t uid, gid_t gid, int flags) { return (int)ret(fchownat(at_fd(fd), path, uid, gid, at_flags(flags))); }
static long d_unlinkat(int fd, const char *path, int flags) { return (int)ret(unlinkat(at_fd(fd), path, at_flags(flags))); }
static long d_mkdirat(int fd, const char *path, mode_t mode) { return (int)ret(mkdirat(at_fd(fd), path, mode)); }
static long d_rename(const char *from, const char *to) { return (int)ret(rename(from, to)); }
static long d_renameat(int a, const char *from, int b, const char *to) { return (int)ret(renameat(at_fd(a), from, at_fd(b), to)); }
enum { D_RENAME_SWAP = 2, D_RENAME_EXCL = 4 };
static long d_renameatx_np(int a, const char *from, int b, const char *to, unsigned flags) {
    return (int)ret(renameat2(at_fd(a), from, at_fd(b), to, (flags & D_RENAME_SWAP ? RENAME_EXCHANGE : 0) | (flags & D_RENAME_EXCL ? RENAME_NOREPLACE : 0)));
}
static long d_renamex_np(const char *from, const char *to, unsigned flags) { return d_renameatx_np(D_AT_FDCWD, from, D_AT_FDCWD, to, flags); }
static long d_link(const char *from, const char *to) { return (int)ret(link(from, to)); }
static long d_linkat(int a, const char *from, int b, const char *to, int flags) { return (int)ret(linkat(at_fd(a), from, at_fd(b), to, at_flags(flags))); }
static long d_symlink(const char *text, const char *path) { return (int)ret(symlink(text, path)); }
static long d_symlinkat(const char *text, int fd, const char *path) { return (int)ret(symlinkat(text, at_fd(fd), path)); }
static ssize_t d_readlink(const char *path, char *to, size_t room) {
    REAL(path);
    return ret(readlink(path, to, room));
}
static ssize_t d_readlinkat(int fd, const char *path, char *to, size_t room) { return ret(readlinkat(at_fd(fd), path, to, room)); }
static char *d_getcwd(char *to, size_t room) { return retp(getcwd(to, room)); }

static char *d_realpath(const char *path, char *to) {
    const struct file_entry *entry = files_find(path);
    if (entry == NULL || entry->backing == NULL) return retp(realpath(path, to));
    if (to == NULL) to = malloc(PATH_MAX);
    files_clean(path, to);
    return to;
}

static long d_mkstemp(char *path) { return (int)ret(mkstemp(path)); }
static long d_mkostemp(char *path, int flags) { return (int)ret(mkostemp(path, open_flags_to_linux(flags))); }
static long d_mkstemps(char *path, int suffix) { return (int)ret(mkstemps(path, suffix)); }
static long d_mkostemps(char *path, int suffix, int flags) { return (int)ret(mkostemps(path, suffix, open_flags_to_linux(flags))); }
static char *d_mkdtemp(char *path) { return retp(mkdtemp(path)); }
static long d_utimes(const char *path, const struct timeval times[2]) { return (int)ret(utimes(path, times)); }
static long d_utime(const char *path, const struct utimbuf *times) { return (int)ret(utime(path, times)); }
static long d_lutimes(const char *path, const struct timeval times[2]) { return (int)ret(lutimes(path, times)); }
static long d_futimes(int fd, const struct timeval times[2]) { return (int)ret(futimes(fd, times)); }
static const struct timespec *times_to_linux(const struct timespec from[2], struct timespec to[2]) {
    if (from == NULL) return NULL;
    for (int i = 0; i < 2; i++)
        to[i] = (struct timespec){from[i].tv_sec, from[i].tv_nsec == -1 ? UTIME_NOW : from[i].tv_nsec == -2 ? UTIME_OMIT : from[i].tv_nsec};
    return to;
}
static long d_utimensat(int fd, const char *path, const struct timespec times[2], int flags) {
    struct timespec own[2];
    return (int)ret(utimensat(at_fd(fd), path, times_to_linux(times, own), at_flags(flags)));
}
static long d_futimens(int fd, const struct timespec times[2]) {
    struct timespec own[2];
    return (int)ret(futimens(fd, times_to_linux(times, own)));
}
static int no_flags(void) { return fail(D_ENOTSUP); } // nobody may set st_flags of a Linux file

// ---- extended attributes: of another shape, and only for users' names

enum { D_XATTR_NOFOLLOW = 1, D_XATTR_CREATE = 2, D_XATTR_REPLACE = 4 };
static const char *attribute(const char *name, char to[256]) {
    snprintf(to, 256, "user.%s", name);
    return to;
}
static ssize_t d_getxattr(const char *path, const char *name, void *to, size_t room, uint32_t position, int options) {
    (void)position;
    char own[256];
    return ret(((options & D_XATTR_NOFOLLOW) != 0 ? lgetxattr : getxattr)(path, attribute(name, own), to, room));
}
static ssize_t d_fgetxattr(int fd, const char *name, void *to, size_t room, uint32_t position, int options) {
    (void)position, (void)options;
    char own[256];
    return ret(fgetxattr(fd, attribute(name, own), to, room));
}
static ssize_t names_to_darwin(ssize_t length, const char *from, char *to, size_t room) {
    ssize_t used = 0;
    for (const char *at = from; at < from + length; at += strlen(at) + 1) {
        if (strncmp(at, "user.", 5) != 0) continue;
        size_t n = strlen(at + 5) + 1;
        if (to != NULL && (size_t)used + n > room) return fail(D_ERANGE);
        if (to != NULL) memcpy(to + used, at + 5, n);
        used += (ssize_t)n;
    }
    return used;
}
static ssize_t d_listxattr(const char *path, char *to, size_t room, int options) {
    char own[65536];
    ssize_t length = ret(((options & D_XATTR_NOFOLLOW) != 0 ? llistxattr : listxattr)(path, own, sizeof own));
    return length < 0 ? length : names_to_darwin(length, own, room == 0 ? NULL : to, room);
}
static ssize_t d_flistxattr(int fd, char *to, size_t room, int options) {
    (void)options;
    char own[65536];
    ssize_t length = ret(flistxattr(fd, own, sizeof own));
    return length < 0 ? length : names_to_darwin(length, own, room == 0 ? NULL : to, room);
}
static long d_setxattr(const char *path, const char *name, const void *from, size_t n, uint32_t position, int options) {
    (void)position;
    char own[256];
    int flags = (options & D_XATTR_CREATE ? XATTR_CREATE : 0) | (options & D_XATTR_REPLACE ? XATTR_REPLACE : 0);
    return (int)ret(((options & D_XATTR_NOFOLLOW) != 0 ? lsetxattr : setxattr)(path, attribute(name, own), from, n, flags));
}
static long d_fsetxattr(int fd, const char *name, const void *from, size_t n, uint32_t position, int options) {
    (void)position;
    char own[256];
    return (int)ret(
        fsetxattr(fd, attribute(name, own), from, n, (options & D_XATTR_CREATE ? XATTR_CREATE : 0) | (options & D_XATTR_REPLACE ? XATTR_REPLACE : 0)));
}
static long d_fremovexattr(int fd, const char *name, int options) {
    (void)options;
    char own[256];
    return (int)ret(fremovexattr(fd, attribute(name, own)));
}
static long d_removexattr(const char *path, const char *name, int options) {
    char own[256];
    return (int)ret(((options & D_XATTR_NOFOLLOW) != 0 ? lremovexattr : removexattr)(path, attribute(name, own)));
}

static long d_sendfile(int from, int to, off_t at, off_t *n, void *headers, int flags) {
    if (headers != NULL || flags != 0) unmodelled("sendfile with headers or flags");
    ssize_t sent = sendfile(to, from, &at, *n == 0 ? 0x7ffff000 : (size_t)*n);
    *n = sent < 0 ? 0 : sent;
    return sent < 0 ? (int)ret(-1) : 0;
}

static long limit(int name) { return name == 4 ? 255 : name == 5 ? 1024 : fail(D_EINVAL); } // _PC_NAME_MAX, _PC_PATH_MAX
static long d_pathconf(const char *path, int name) {
    REAL(path);
    return access(path, F_OK) != 0 ? ret(-1) : limit(name);
}
static long d_fpathconf(int fd, int name) { return fcntl(fd, F_GETFD) < 0 ? ret(-1) : limit(name); }

// There are no clones here, so who wants one copies.
static long d_clonefileat(int from_fd, const char *from, int to_fd, const char *to, uint32_t flags) {
    (void)to_fd, (void)to, (void)flags;
    return faccessat(at_fd(from_fd), from, F_OK, AT_SYMLINK_NOFOLLOW) != 0 ? (int)ret(-1) : fail(D_ENOTSUP);
}
static long d_clonefile(const char *from, const char *to, uint32_t flags) { return d_clonefileat(D_AT_FDCWD, from, D_AT_FDCWD, to, flags); }
enum { COPYFILE_EXCL = 1 << 17 };
static long d_copyfile(const char *from, const char *to, void *state, uint32_t flags) {
    (void)state;
    int source = open(from, O_RDONLY | O_CLOEXEC), copy = -1;
    struct stat st;
    if (source >= 0 && fstat(source, &st) == 0)
        copy = open(to, O_WRONLY | O_CREAT | O_CLOEXEC | ((flags & COPYFILE_EXCL) != 0 ? O_EXCL : O_TRUNC), st.st_mode & 0777);
    ssize_t n = copy < 0 ? -1 : 1;
    while (n > 0) n = sendfile(copy, source, NULL, 1 << 20);
    ret(n);
    if (copy >= 0) close(copy);
    if (source >= 0) close(source);
    return n;
}

const struct shim file_shims[] = {
    VARIADIC_ROW("open", open, PLAIN, 2), VARIADIC_ROW("open$NOCANCEL", open, PLAIN, 2), VARIADIC_ROW("openat", openat, PLAIN, 3),
    VARIADIC_ROW("openat$NOCANCEL", openat, PLAIN, 3), VARIADIC_ROW("fcntl", fcntl, PLAIN, 2), VARIADIC_ROW("fcntl$NOCANCEL", fcntl, PLAIN, 2),
    VARIADIC_ROW("ioctl", ioctl, PLAIN, 2), OWN_PLAIN(creat), CANCEL(close), CANCEL(read), CANCEL(write), CANCEL(readv), CANCEL(writev), CANCEL(pread),
    CANCEL(pwrite), CANCEL(preadv), CANCEL(pwritev), CANCEL(fsync), OWN_PLAIN(lseek), OWN_PLAIN(dup), OWN_PLAIN(dup2), OWN_PLAIN(pipe), OWN_PLAIN(ftruncate),
    OWN_PLAIN(truncate), OWN_PLAIN(flock), OWN_AS(INODE64("stat"), stat, PLAIN), OWN_AS(INODE64("lstat"), lstat, PLAIN), OWN_AS(INODE64("fstat"), fstat, PLAIN),
    OWN_AS(INODE64("fstatat"), fstatat, PLAIN), OWN_AS(INODE64("statfs"), statfs, PLAIN), OWN_AS(INODE64("fstatfs"), fstatfs, PLAIN),
#ifdef __x86_64__ // Go's names for them
    OWN_AS("stat64", stat, PLAIN), OWN_AS("lstat64", lstat, PLAIN), OWN_AS("fstat64", fstat, PLAIN), OWN_AS("fstatat64", fstatat, PLAIN),
    OWN_AS("statfs64", statfs, PLAIN), OWN_AS("fstatfs64", fstatfs, PLAIN),
#endif
    OWN_PLAIN(unlink), OWN_PLAIN(rmdir), OWN(remove), OWN_PLAIN(chdir), OWN_PLAIN(chroot), OWN_PLAIN(mkdir), OWN_PLAIN(mkfifo), OWN_PLAIN(chmod),
    OWN_PLAIN(access), OWN_PLAIN(faccessat), OWN_PLAIN(fchdir), OWN_PLAIN(fchmod), OWN_PLAIN(fchmodat), OWN_PLAIN(chown), OWN_PLAIN(lchown), OWN_PLAIN(fchown),
    OWN_PLAIN(fchownat), OWN_PLAIN(unlinkat), OWN_PLAIN(mkdirat), OWN_PLAIN(rename), OWN_PLAIN(renameat), OWN_PLAIN(renameatx_np), OWN_PLAIN(renamex_np),
    OWN_PLAIN(link), OWN_PLAIN(linkat), OWN_PLAIN(symlink), OWN_PLAIN(symlinkat), OWN_PLAIN(readlink), OWN_PLAIN(readlinkat), OWN(getcwd), OWN(realpath),
    OWN_AS("realpath$DARWIN_EXTSN", realpath, 0), OWN(mkstemp), OWN(mkostemp), OWN(mkstemps), OWN(mkostemps), OWN(mkdtemp), OWN_PLAIN(utimes),
    OWN_PLAIN(lutimes), OWN_PLAIN(futimes), OWN_PLAIN(utimensat), OWN_PLAIN(futimens), {"_chflags", (const void *)no_flags, PLAIN, 0},
    {"_fchflags", (const void *)no_flags, PLAIN, 0}, {"_lchflags", (const void *)no_flags, PLAIN, 0}, OWN_PLAIN(getxattr), OWN_PLAIN(fgetxattr),
    OWN_PLAIN(listxattr), OWN_PLAIN(flistxattr), OWN_PLAIN(setxattr), OWN_PLAIN(removexattr), OWN_PLAIN(fsetxattr), OWN_PLAIN(fremovexattr), OWN(pathconf),
    OWN(fpathconf), OWN(statvfs), OWN(fstatvfs), OWN_PLAIN(lchmod), OWN_PLAIN(mknod), OWN_PLAIN(utime), OWN_PLAIN(sendfile), OWN_PLAIN(clonefile),
    OWN_PLAIN(clonefileat), OWN(copyfile), END
};
