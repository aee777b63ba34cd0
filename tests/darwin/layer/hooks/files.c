// Files: what opens and looks at them, and the working directory.
#include <copyfile.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/clonefile.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

ALSO(open$NOCANCEL, open);
ALSO(openat$NOCANCEL, openat);
ALSO(fopen$DARWIN_EXTSN, fopen);
extern char *realpath_plain(const char *path, char *resolved) __asm__("_realpath");

static int motd(void) { return open(MOTD, O_RDONLY); }

STEP(open) { content(open(MOTD, O_RDONLY)); }
STEP(open$NOCANCEL) { content(open$NOCANCEL(MOTD, O_RDONLY)); }
STEP(openat) { content(openat(AT_FDCWD, MOTD, O_RDONLY)); }
STEP(openat$NOCANCEL) { content(openat$NOCANCEL(AT_FDCWD, MOTD, O_RDONLY)); }
RESULT(creat, creat("/srv/data/sub", 0600))

static void stream(FILE *f) {
    if (f == NULL)
        result(-1);
    else
        content(fileno(f));
}
STEP(fopen) { stream(fopen(MOTD, "r")); }
STEP(fopen$DARWIN_EXTSN) { stream(fopen$DARWIN_EXTSN(MOTD, "r")); }
STEP(freopen) { stream(freopen(MOTD, "r", fopen("/dev/null", "r"))); }

static void status(int n, const struct stat *st) {
    say("%d, errno %d, mode %o, size %lld, links %d", n, n < 0 ? errno : 0, n < 0 ? 0 : st->st_mode, n < 0 ? 0LL : (long long)st->st_size, n < 0 ? 0 : st->st_nlink);
}
#define STATUS(name, ...)                                                                                                           \
    STEP(name) {                                                                                                                    \
        struct stat st;                                                                                                             \
        status(__VA_ARGS__, &st);                                                                                                   \
    }
STATUS(stat, stat(MOTD, &st))
STATUS(lstat, lstat("/srv/link", &st))
STATUS(fstat, fstat(motd(), &st))
STATUS(fstatat, fstatat(AT_FDCWD, MOTD, &st, 0))
#if defined(__x86_64__)
ALSO(stat64, stat);
ALSO(lstat64, lstat);
ALSO(fstat64, fstat);
ALSO(fstatat64, fstatat);
ALSO(statfs64, statfs);
STATUS(stat64, stat64(MOTD, &st))
STATUS(lstat64, lstat64("/srv/link", &st))
STATUS(fstat64, fstat64(motd(), &st))
STATUS(fstatat64, fstatat64(AT_FDCWD, MOTD, &st, 0))
STEP(statfs64) {
    struct statfs fs;
    result(statfs64("/srv/data", &fs));
}
#endif
STEP(statfs) {
    struct statfs fs;
    result(statfs("/srv/data", &fs));
}
STEP(statvfs) {
    struct statvfs fs;
    result(statvfs("/srv/data", &fs));
}
RESULT(access, access(MOTD, R_OK))
RESULT(faccessat, faccessat(AT_FDCWD, MOTD, R_OK, 0))

static void text(long n, const char *value) { say("%ld %.*s, errno %d", n, n < 0 ? 0 : (int)n, value, n < 0 ? errno : 0); }
STEP(readlink) {
    char value[PATH_MAX];
    text(readlink("/srv/link", value, sizeof value), value);
}
STEP(readlinkat) {
    char value[PATH_MAX];
    text(readlinkat(AT_FDCWD, "/srv/link", value, sizeof value), value);
}
static void path(const char *value) { text(value == NULL ? -1 : (long)strlen(value), value); }
STEP(realpath$DARWIN_EXTSN) { path(realpath("/srv/link", NULL)); }
STEP(realpath) {
    char value[PATH_MAX];
    path(realpath_plain("/srv/link", value));
}
RESULT(getxattr, getxattr(MOTD, "user.x", answer, sizeof answer, 0, 0))
RESULT(listxattr, listxattr(MOTD, answer, sizeof answer, 0))
RESULT(pathconf, pathconf(MOTD, 4)) // _PC_NAME_MAX

RESULT(copyfile, copyfile(MOTD, "copied", NULL, 0))
RESULT(clonefile, clonefile(MOTD, "cloned", 0))
RESULT(clonefileat, clonefileat(AT_FDCWD, MOTD, AT_FDCWD, "cloned", 0))

RESULT(chdir, chdir("/srv/data"))
RESULT(fchdir, fchdir(open("/srv/data", O_RDONLY | O_DIRECTORY)))
STEP(getcwd) {
    char value[PATH_MAX];
    chdir("/srv/data");
    path(getcwd(value, sizeof value));
}
RESULT(chroot, chroot("/srv/data"))
