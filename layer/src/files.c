// Opening, looking at and naming files. A file of the pod opens as a real descriptor that the broker filled, so reading, mapping, duplicating and
// passing it on need no hooks.
#define _GNU_SOURCE
#include "layer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#if !defined(__APPLE__)
#include <linux/openat2.h>
#include <sys/sysmacros.h>
#endif

int fail(int err) {
    errno = err;
    return -1;
}

// lost is the errno when the broker could not be asked: it is gone, or this process has no descriptor left to ask it with.
static int lost(void) {
    int fd = sys_socket(AF_UNIX, SOCK_STREAM);
    if (fd >= 0) sys_close(fd);
    return fd == -EMFILE || fd == -ENFILE ? -fd : EIO;
}

int settle(int status) {
    if (status == STATUS_OK) return 0;
    if (status == STATUS_LOCAL) return NOT_OURS;
    return fail(status == ASK_LOST ? lost() : host_errno(status));
}

// frame_flags are flags of open in a frame.
static uint32_t frame_flags(int flags) {
    static const struct {
        int host;
        uint32_t frame;
    } known[] = {
        {O_CREAT, 0100},        {O_EXCL, 0200},        {O_TRUNC, 01000},      {O_APPEND, 02000}, {O_NONBLOCK, 04000},
        {O_DIRECTORY, 0200000}, {O_NOFOLLOW, 0400000}, {O_CLOEXEC, 02000000},
#if !defined(__APPLE__)
        {O_PATH, 010000000},    {O_TMPFILE & ~O_DIRECTORY, 020000000},
#endif
    };
    uint32_t out = (uint32_t)flags & O_ACCMODE;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (flags & known[i].host) out |= known[i].frame;
    return out;
}

// as_opened makes a descriptor that has come what was asked for.
static int as_opened(int fd, int flags) {
    if (fd < 0) return fail(EMFILE); // the kernel drops a descriptor for which the process has no room
    if (unlikely(flags & (O_APPEND | O_NONBLOCK))) sys_fcntl(fd, F_SETFL, flags & (O_APPEND | O_NONBLOCK));
    return fd;
}

NOINLINE int remote_open(const char *path, int flags, mode_t mode) {
    uint8_t buffer[PATH_FRAME];
    struct frame f = frame_begin(buffer, sizeof buffer, FRAME_OPEN, session.token);
    put_u32(&f, frame_flags(flags));
    put_u32(&f, mode);
    put_str(&f, path);
    int fd, result = settle(ask(&f, &fd, flags & O_CLOEXEC));
    return result != 0 ? result : as_opened(fd, flags);
}

NOINLINE int remote_stat(const char *path, struct stat *st, int nofollow) {
    int answered;
    if (neighbour(path, st, nofollow)) return 0;
    if (ask_with_neighbours(path, st, nofollow, &answered)) return answered;
    uint8_t buffer[PATH_FRAME];
    struct frame f = frame_begin(buffer, sizeof buffer, FRAME_STAT, session.token);
    put_u8(&f, nofollow != 0);
    put_str(&f, path);
    int result = settle(ask(&f, NULL, 0));
    if (result == 0) {
        read_stat(&f, st);
        if (f.broken) return fail(EIO);
    }
    return result;
}

static NOINLINE int remote_access(const char *path, int mode) {
    uint8_t buffer[PATH_FRAME];
    struct frame f = frame_begin(buffer, sizeof buffer, FRAME_ACCESS, session.token);
    put_u32(&f, (uint32_t)mode);
    put_str(&f, path);
    return settle(ask(&f, NULL, 0));
}

// remote_path asks a question whose answer is a path, for readlink and realpath. *length is the answer's.
static NOINLINE int remote_path(enum frame_kind kind, const char *path, char answer[PATH_MAX], uint16_t *length) {
    uint8_t buffer[PATH_FRAME];
    struct frame f = frame_begin(buffer, sizeof buffer, kind, session.token);
    put_str(&f, path);
    int result = settle(ask(&f, NULL, 0));
    if (result != 0) return result;
    const char *s = get_str(&f, length);
    if (f.broken || *length >= PATH_MAX) return fail(EIO);
    memcpy(answer, s, *length);
    answer[*length] = 0;
    return 0;
}

// ---- open

static NOINLINE int open_elsewhere(enum action action, int dirfd, const char *path, int flags, mode_t mode) {
    if (action == ACTION_MISSING) return fail(ENOENT);
    int fd = remote_open(path, flags, mode);
    return fd == NOT_OURS ? ORIGINAL(openat)(dirfd, path, flags, mode) : fd;
}

static int open_any(int dirfd, const char *path, int flags, mode_t mode) {
    char buffer[PATH_MAX];
    enum action action = locate(dirfd, &path, ((flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT)) | (flags & O_NOFOLLOW ? 0 : FOLLOWED), buffer);
    if (likely(action == ACTION_LOCAL)) {
        if (path != NULL) note_open(path);
        return ORIGINAL(openat)(dirfd, path, flags, mode);
    }
    return open_elsewhere(action, dirfd, path, flags, mode);
}

// The mode is there only when the flags say so; O_TMPFILE is more than one bit.
#if defined(__APPLE__)
#define MAKES_FILE(flags) ((flags)&O_CREAT)
#else
#define MAKES_FILE(flags) (((flags)&O_CREAT) || ((flags)&O_TMPFILE) == O_TMPFILE)
#endif
#define OPTIONAL_MODE(flags, mode)                                                                                                  \
    mode_t mode = 0;                                                                                                                \
    if (MAKES_FILE(flags)) {                                                                                                        \
        va_list list;                                                                                                               \
        va_start(list, flags);                                                                                                      \
        mode = (mode_t)va_arg(list, unsigned);                                                                                      \
        va_end(list);                                                                                                               \
    }

EXPORT int open(const char *path, int flags, ...) {
    OPTIONAL_MODE(flags, mode)
    return open_any(AT_FDCWD, path, flags, mode);
}

EXPORT int openat(int dirfd, const char *path, int flags, ...) {
    OPTIONAL_MODE(flags, mode)
    return open_any(dirfd, path, flags, mode);
}

#if !defined(__APPLE__)
// remote_open_how asks for a path relative to the pod's folder from.
static NOINLINE int remote_open_how(const char *from, const char *path, const struct open_how *how) {
    uint8_t buffer[2 * PATH_MAX + 256];
    struct frame f = frame_begin(buffer, sizeof buffer, FRAME_OPEN_HOW, session.token);
    put_u32(&f, frame_flags((int)how->flags));
    put_u32(&f, (uint32_t)how->mode);
    put_u32(&f, (uint32_t)how->resolve);
    put_str(&f, from);
    put_str(&f, path);
    int fd, result = settle(ask(&f, &fd, how->flags & O_CLOEXEC));
    return result != 0 ? result : as_opened(fd, (int)how->flags);
}

int open_how(int dirfd, const char *path, const struct open_how *how, size_t size) {
    // What makes no sense is for the kernel to refuse.
    int sensible = is_address(path) && is_address(how) && size >= sizeof *how && how->flags >> 31 == 0 && (how->resolve & ~0x3fULL) == 0 &&
                   (how->resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) != (RESOLVE_BENEATH | RESOLVE_IN_ROOT) &&
                   ((how->mode & ~07777ULL) == 0 && (how->mode == 0 || MAKES_FILE((int)how->flags)));
    if (sensible && how->resolve == 0) return open_any(dirfd, path, (int)how->flags, (mode_t)how->mode);
    char buffer[PATH_MAX], from[PATH_MAX], inside[PATH_MAX];
    const char *located = sensible && path[0] != 0 ? path : NULL;
    // These never leave the folder, whatever stands in the path.
    if (located != NULL && how->resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT) && (path[0] != '/' || how->resolve & RESOLVE_IN_ROOT))
        located = !clean(path, inside) ? NULL : inside[1] != 0 ? inside + 1 : ".";
    int absolute = located != NULL && *located == '/';
    enum action action = ACTION_LOCAL;
    if (located != NULL && !(absolute && how->resolve & RESOLVE_BENEATH))
        action = locate(dirfd, &located, (how->flags & O_ACCMODE) != O_RDONLY || how->flags & O_CREAT, buffer);
    if (action == ACTION_MISSING) return fail(ENOENT);
    if (action == ACTION_LOCAL && located != buffer) return (int)ORIGINAL(syscall)(SYS_openat2, dirfd, path, how, size);
    if (action == ACTION_LOCAL) // from the pod's folder to this machine's
        return how->resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT) ? fail(ENOSYS) : (int)ORIGINAL(syscall)(SYS_openat2, AT_FDCWD, buffer, how, size);
    if (absolute)
        strcpy(from, "/");
    else if (!folder(dirfd, from))
        return fail(ENOSYS);
    int fd = remote_open_how(from, path, how);
    return fd == NOT_OURS ? fail(ENOSYS) : fd;
}
#endif

EXPORT int creat(const char *path, mode_t mode) { return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

#if !defined(__APPLE__)
int __open_2(const char *path, int flags);
EXPORT int __open_2(const char *path, int flags) { return open_any(AT_FDCWD, path, flags, 0); }

int __openat_2(int dirfd, const char *path, int flags);
EXPORT int __openat_2(int dirfd, const char *path, int flags) { return open_any(dirfd, path, flags, 0); }
#endif

// ---- stdio

// stdio_flags reads fopen's mode; -1 when it makes no sense (the original then says so).
static int stdio_flags(const char *mode) {
    int flags;
    switch (mode != NULL ? mode[0] : 0) {
    case 'r': flags = O_RDONLY; break;
    case 'w': flags = O_WRONLY | O_CREAT | O_TRUNC; break;
    case 'a': flags = O_WRONLY | O_CREAT | O_APPEND; break;
    default: return -1;
    }
    for (mode++; *mode != 0 && *mode != ','; mode++) {
        if (*mode == '+') flags = (flags & ~O_ACCMODE) | O_RDWR;
        if (*mode == 'e') flags |= O_CLOEXEC;
        if (*mode == 'x') flags |= O_EXCL;
    }
    return flags;
}

// stdio_open opens the pod's file for a stream: a descriptor, -1 with errno, or NOT_OURS.
static int stdio_open(const char **path, const char *mode, char buffer[PATH_MAX]) {
    int flags = stdio_flags(mode);
    if (flags < 0) return NOT_OURS;
    switch (locate(AT_FDCWD, path, ((flags & O_ACCMODE) != O_RDONLY) | FOLLOWED, buffer)) {
    case ACTION_LOCAL: return NOT_OURS;
    case ACTION_MISSING: return fail(ENOENT);
    case ACTION_REMOTE: break;
    }
    return remote_open(*path, flags, 0666);
}

EXPORT FILE *fopen(const char *path, const char *mode) {
    char buffer[PATH_MAX];
    int fd = stdio_open(&path, mode, buffer);
    if (fd == NOT_OURS) return ORIGINAL(fopen)(path, mode);
    if (fd < 0) return NULL;
    FILE *stream = fdopen(fd, mode);
    if (stream == NULL) sys_close(fd);
    return stream;
}

EXPORT FILE *freopen(const char *path, const char *mode, FILE *stream) {
    char buffer[PATH_MAX];
    int fd = path != NULL ? stdio_open(&path, mode, buffer) : NOT_OURS;
    if (fd == NOT_OURS) return ORIGINAL(freopen)(path, mode, stream);
    if (fd < 0) {
        fclose(stream); // freopen closes the stream also when it fails
        return NULL;
    }
    // The original opens our descriptor by its name: same file, same tag.
    char name[32];
    snprintf(name, sizeof name, "%s%d", descriptors, fd);
    FILE *result = ORIGINAL(freopen)(name, mode, stream);
    sys_close(fd);
    return result;
}

// ---- stat

// describe corrects what the kernel says of a descriptor that holds a file of the pod.
static inline void describe(int fd, struct stat *st) {
    struct stat tagged;
    if (unlikely(st->st_nlink == 0) && S_ISREG(st->st_mode) && session.active && read_tag(fd, &tagged)) *st = tagged;
}

static NOINLINE int stat_elsewhere(enum action action, const char *path, struct stat *st, int nofollow) {
    if (action == ACTION_MISSING) return fail(ENOENT);
    return remote_stat(path, st, nofollow);
}

static int stat_any(int dirfd, const char *path, struct stat *st, int flags) {
    char buffer[PATH_MAX];
    enum action action = locate(dirfd, &path, flags & AT_SYMLINK_NOFOLLOW ? 0 : FOLLOWED, buffer);
    if (unlikely(action != ACTION_LOCAL)) {
        int result = stat_elsewhere(action, path, st, flags & AT_SYMLINK_NOFOLLOW);
        if (result != NOT_OURS) return result;
    }
    int result = ORIGINAL(fstatat)(dirfd, path, st, flags);
#if !defined(__APPLE__)
    if (result == 0 && (flags & AT_EMPTY_PATH) && (path == NULL || path[0] == 0)) describe(dirfd, st);
    if (result == 0 && unlikely(st->st_nlink == 0) && !(flags & AT_SYMLINK_NOFOLLOW)) describe(linked_descriptor(path), st);
#endif
    return result;
}

EXPORT int stat(const char *path, struct stat *st) { return stat_any(AT_FDCWD, path, st, 0); }
EXPORT int lstat(const char *path, struct stat *st) { return stat_any(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW); }
EXPORT int fstatat(int dirfd, const char *path, struct stat *st, int flags) { return stat_any(dirfd, path, st, flags); }

EXPORT int fstat(int fd, struct stat *st) {
    int result = ORIGINAL(fstat)(fd, st);
    if (result == 0) describe(fd, st);
    return result;
}

#if !defined(__APPLE__)
// Programs linked before glibc 2.33 (node's own builds) call these; the version is always that of struct stat.
int __xstat(int version, const char *path, struct stat *st);
EXPORT int __xstat(int version, const char *path, struct stat *st) {
    (void)version;
    return stat_any(AT_FDCWD, path, st, 0);
}
int __lxstat(int version, const char *path, struct stat *st);
EXPORT int __lxstat(int version, const char *path, struct stat *st) {
    (void)version;
    return stat_any(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}
int __fxstat(int version, int fd, struct stat *st);
EXPORT int __fxstat(int version, int fd, struct stat *st) {
    (void)version;
    return fstat(fd, st);
}
int __fxstatat(int version, int dirfd, const char *path, struct stat *st, int flags);
EXPORT int __fxstatat(int version, int dirfd, const char *path, struct stat *st, int flags) {
    (void)version;
    return stat_any(dirfd, path, st, flags);
}

static struct statx_timestamp statx_time(struct timespec t) {
    return (struct statx_timestamp){.tv_sec = t.tv_sec, .tv_nsec = (uint32_t)t.tv_nsec};
}

static void fill_statx(struct statx *out, const struct stat *st) {
    memset(out, 0, sizeof *out);
    out->stx_mask = STATX_BASIC_STATS;
    out->stx_blksize = (uint32_t)st->st_blksize;
    out->stx_nlink = (uint32_t)st->st_nlink;
    out->stx_uid = st->st_uid;
    out->stx_gid = st->st_gid;
    out->stx_mode = (uint16_t)st->st_mode;
    out->stx_ino = st->st_ino;
    out->stx_size = (uint64_t)st->st_size;
    out->stx_blocks = (uint64_t)st->st_blocks;
    out->stx_atime = statx_time(st->st_atim);
    out->stx_mtime = statx_time(st->st_mtim);
    out->stx_ctime = statx_time(st->st_ctim);
    out->stx_rdev_major = major(st->st_rdev);
    out->stx_rdev_minor = minor(st->st_rdev);
    out->stx_dev_major = major(st->st_dev);
    out->stx_dev_minor = minor(st->st_dev);
}

EXPORT int statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *restrict out) {
    char buffer[PATH_MAX];
    struct stat st;
    enum action action = locate(dirfd, &path, flags & AT_SYMLINK_NOFOLLOW ? 0 : FOLLOWED, buffer);
    if (unlikely(action != ACTION_LOCAL)) {
        int result = stat_elsewhere(action, path, &st, flags & AT_SYMLINK_NOFOLLOW);
        if (result == 0) fill_statx(out, &st);
        if (result != NOT_OURS) return result;
    }
    int result = ORIGINAL(statx)(dirfd, path, flags, mask, out);
    if (unlikely(result == 0 && out->stx_nlink == 0) && S_ISREG(out->stx_mode) && session.active &&
        read_tag(path == NULL || path[0] == 0 ? dirfd : flags & AT_SYMLINK_NOFOLLOW ? -1 : linked_descriptor(path), &st))
        fill_statx(out, &st);
    return result;
}
#endif

// ---- access, links, real paths

static int access_any(int dirfd, const char **path, int mode, char buffer[PATH_MAX], int *result) {
    switch (locate(dirfd, path, (mode & W_OK) | FOLLOWED, buffer)) {
    case ACTION_LOCAL: return 0;
    case ACTION_MISSING: *result = fail(ENOENT); return 1;
    case ACTION_REMOTE: break;
    }
    *result = remote_access(*path, mode);
    return *result != NOT_OURS;
}

// access_link is access_any for AT_SYMLINK_NOFOLLOW: a link may always be used.
static int access_link(int dirfd, const char **path, int mode, char buffer[PATH_MAX], int *result) {
    struct stat st;
    enum action action = locate(dirfd, path, mode & W_OK, buffer);
    if (action == ACTION_LOCAL) return 0;
    *result = action == ACTION_MISSING ? fail(ENOENT) : remote_stat(*path, &st, 1);
    if (*result == 0 && !S_ISLNK(st.st_mode)) *result = remote_access(*path, mode);
    return *result != NOT_OURS;
}

EXPORT int access(const char *path, int mode) {
    char buffer[PATH_MAX];
    int result;
    return access_any(AT_FDCWD, &path, mode, buffer, &result) ? result : ORIGINAL(access)(path, mode);
}
EXPORT int faccessat(int dirfd, const char *path, int mode, int flags) {
    char buffer[PATH_MAX];
    int result;
    int answered = (flags & AT_SYMLINK_NOFOLLOW ? access_link : access_any)(dirfd, &path, mode, buffer, &result);
    return answered ? result : ORIGINAL(faccessat)(dirfd, path, mode, flags);
}
#if !defined(__APPLE__)
EXPORT int eaccess(const char *path, int mode) {
    char buffer[PATH_MAX];
    int result;
    return access_any(AT_FDCWD, &path, mode, buffer, &result) ? result : ORIGINAL(eaccess)(path, mode);
}
EXPORT int euidaccess(const char *path, int mode) {
    char buffer[PATH_MAX];
    int result;
    return access_any(AT_FDCWD, &path, mode, buffer, &result) ? result : ORIGINAL(euidaccess)(path, mode);
}
#endif

// path_elsewhere answers readlink and realpath for paths that are not local; 0 means call the original.
static int path_elsewhere(enum frame_kind kind, int dirfd, const char **path, char buffer[PATH_MAX], char answer[PATH_MAX],
                          uint16_t *length, int *result) {
    switch (locate(dirfd, path, kind == FRAME_REALPATH ? FOLLOWED : 0, buffer)) {
    case ACTION_LOCAL: return 0;
    case ACTION_MISSING: *result = fail(ENOENT); return 1;
    case ACTION_REMOTE: break;
    }
    *result = remote_path(kind, *path, answer, length);
    return *result != NOT_OURS;
}

EXPORT ssize_t readlinkat(int dirfd, const char *path, char *restrict out, size_t size) {
    char buffer[PATH_MAX], answer[PATH_MAX];
    uint16_t length;
    int result;
    if (unlikely(names_own_program(path))) {
        size_t n = strlen(session.original);
        memcpy(out, session.original, n < size ? n : size);
        return (ssize_t)(n < size ? n : size);
    }
#if !defined(__APPLE__)
    int whole;
    if (unlikely(through_link(path, answer, &whole)) && whole) {
        size_t n = strlen(answer);
        memcpy(out, answer, n < size ? n : size);
        return (ssize_t)(n < size ? n : size);
    }
#endif
    if (unlikely(is_address(path) && path[0] == 0) && tagged_place(dirfd, buffer)) path = buffer, dirfd = AT_FDCWD;
    char absolute[PATH_MAX];
    if (likely(!path_elsewhere(FRAME_READLINK, dirfd, &path, absolute, answer, &length, &result)))
        return ORIGINAL(readlinkat)(dirfd, path, out, size);
    if (result < 0) return -1;
    if (length > size) length = (uint16_t)size;
    memcpy(out, answer, length);
    return length;
}
EXPORT ssize_t readlink(const char *path, char *restrict out, size_t size) { return readlinkat(AT_FDCWD, path, out, size); }
#if !defined(__APPLE__)
ssize_t __readlink_chk(const char *path, char *out, size_t size, size_t room);
EXPORT ssize_t __readlink_chk(const char *path, char *out, size_t size, size_t room) {
    // The original ends the process when the caller's buffer is too small; that stays its business.
    return size > room ? ORIGINAL(__readlink_chk)(path, out, size, room) : readlinkat(AT_FDCWD, path, out, size);
}
ssize_t __readlinkat_chk(int dirfd, const char *path, char *out, size_t size, size_t room);
EXPORT ssize_t __readlinkat_chk(int dirfd, const char *path, char *out, size_t size, size_t room) {
    return size > room ? ORIGINAL(__readlinkat_chk)(dirfd, path, out, size, room) : readlinkat(dirfd, path, out, size);
}
#endif

EXPORT char *realpath(const char *path, char *restrict resolved) {
    char buffer[PATH_MAX], answer[PATH_MAX];
    uint16_t length;
    int result;
    if (unlikely(names_own_program(path))) return resolved != NULL ? strcpy(resolved, session.original) : strdup(session.original);
    if (likely(!path_elsewhere(FRAME_REALPATH, AT_FDCWD, &path, buffer, answer, &length, &result)))
        return ORIGINAL(realpath)(path, resolved);
    if (result < 0) return NULL;
    return resolved != NULL ? strcpy(resolved, answer) : strdup(answer);
}
#if !defined(__APPLE__)
char *__realpath_chk(const char *path, char *resolved, size_t room);
EXPORT char *__realpath_chk(const char *path, char *resolved, size_t room) {
    return resolved != NULL && room < PATH_MAX ? ORIGINAL(__realpath_chk)(path, resolved, room) : realpath(path, resolved);
}
EXPORT char *canonicalize_file_name(const char *path) { return realpath(path, NULL); }
#endif
