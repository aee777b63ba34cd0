// The stat family in all its forms agrees, and changes are refused with the right errno.
#define _GNU_SOURCE
#include "testprog.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

static int same(const struct stat *a, const struct stat *b) {
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_mode == b->st_mode && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_uid == b->st_uid;
}

static int agrees(const struct statx *x, const struct stat *st) {
    return (x->stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS && x->stx_ino == st->st_ino && x->stx_mode == st->st_mode &&
           x->stx_size == (uint64_t)st->st_size && x->stx_mtime.tv_nsec == st->st_mtim.tv_nsec && x->stx_nlink == st->st_nlink;
}

int main(void) {
    struct stat st, other;
    struct statx x;
    CHECK(stat(MOTD, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 07777) == 0640, "stat: mode %o", st.st_mode);
    CHECK(lstat(MOTD, &other) == 0 && same(&st, &other), "lstat");
    int fd = open(MOTD, O_RDONLY);
    CHECK(fd >= 0 && fstat(fd, &other) == 0 && same(&st, &other), "fstat");
    CHECK(fstatat(AT_FDCWD, MOTD, &other, 0) == 0 && same(&st, &other), "fstatat");
    CHECK(fstatat(fd, "", &other, AT_EMPTY_PATH) == 0 && same(&st, &other), "fstatat with AT_EMPTY_PATH");
    CHECK(statx(AT_FDCWD, MOTD, 0, STATX_BASIC_STATS, &x) == 0 && agrees(&x, &st), "statx");
    CHECK(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x) == 0 && agrees(&x, &st), "statx with AT_EMPTY_PATH");

    // Without libc's functions, as libuv and others do it.
    CHECK(syscall(SYS_statx, AT_FDCWD, MOTD, 0, STATX_BASIC_STATS, &x) == 0 && agrees(&x, &st), "SYS_statx");
    CHECK(syscall(SYS_newfstatat, AT_FDCWD, MOTD, &other, 0) == 0 && same(&st, &other), "SYS_newfstatat");
    long raw = syscall(SYS_openat, AT_FDCWD, MOTD, O_RDONLY | O_CLOEXEC);
    CHECK(raw >= 0 && is_motd((int)raw), "SYS_openat");
    CHECK((fcntl((int)raw, F_GETFD) & FD_CLOEXEC) != 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0, "close-on-exec");
    CHECK(syscall(SYS_openat, AT_FDCWD, "/srv/data/none", O_RDONLY) == -1 && errno == ENOENT, "SYS_openat of nothing");
    CHECK(syscall(SYS_io_uring_setup, 8, raw) == -1 && errno == ENOSYS, "SYS_io_uring_setup");
    CHECK(syscall(SYS_getpid) == getpid(), "another call");

    // Symbolic links.
    char target[64] = "";
    CHECK(lstat("/srv/link", &other) == 0 && S_ISLNK(other.st_mode), "lstat of a link");
    CHECK(stat("/srv/link", &other) == 0 && same(&st, &other), "stat through a link");
    CHECK(readlink("/srv/link", target, sizeof target) == 9 && strncmp(target, "data/motd", 9) == 0, "readlink: %s", target);
    CHECK(readlink("/srv/link", target, 4) == 4, "readlink without room");
    CHECK(readlink(MOTD, target, sizeof target) < 0 && errno == EINVAL, "readlink of a file");
    char *real = realpath("/srv/absolute/../link", NULL);
    CHECK(real != NULL && strcmp(real, MOTD) == 0, "realpath: %s", real);
    CHECK(open("/srv/link", O_RDONLY | O_NOFOLLOW) < 0 && errno == ELOOP, "O_NOFOLLOW");

    // What cannot be had. A success does not touch errno.
    CHECK(open("/srv/data/motd/x", O_RDONLY) < 0 && errno == ENOTDIR, "below a file");
    CHECK(open("/srv/data", O_WRONLY) < 0 && errno == EISDIR, "a directory for writing");
    CHECK(open(MOTD, O_RDWR) < 0 && errno == EROFS, "O_RDWR");
    CHECK(unlink(MOTD) < 0 && errno == EROFS, "unlink");
    CHECK(rename(MOTD, "/srv/data/other") < 0 && errno == EROFS, "rename");
    CHECK(chmod(MOTD, 0600) < 0 && errno == EROFS, "chmod");
    CHECK(truncate(MOTD, 0) < 0 && errno == EROFS, "truncate");
    CHECK(rmdir("/srv/data/sub") < 0 && errno == EROFS, "rmdir");
    CHECK(write(fd, "x", 1) < 0 && errno == EBADF, "write");
    errno = 4711;
    CHECK(stat(MOTD, &other) == 0 && access(MOTD, R_OK) == 0 && is_motd(fd) && errno == 4711, "errno was changed");
    puts("ok");
    return 0;
}
