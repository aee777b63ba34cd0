// Files and directories of the pod, as a program for macOS sees them: every function of the hook table that opens, looks at or lists. /srv/data is the pod's.
#include "testprog.h"

#include <copyfile.h>
#include <dirent.h>
#include <fcntl.h>
#include <fts.h>
#include <ftw.h>
#include <glob.h>
#include <limits.h>
#include <sys/clonefile.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

static int same(const struct stat *a, const struct stat *b) {
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_mode == b->st_mode && a->st_size == b->st_size && a->st_nlink == b->st_nlink &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_uid == b->st_uid;
}

static void stats(void) {
    struct stat st, other;
    char text[PATH_MAX];
    CHECK(stat(MOTD, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 07777) == 0640 && st.st_size == sizeof MOTD_TEXT - 1, "stat: %o", st.st_mode);
    CHECK(lstat(MOTD, &other) == 0 && same(&st, &other), "lstat");
    int fd = open(MOTD, O_RDONLY);
    CHECK(fd >= 0 && fstat(fd, &other) == 0 && same(&st, &other), "fstat: %o %d", other.st_mode, other.st_nlink);
    CHECK(fstatat(AT_FDCWD, MOTD, &other, 0) == 0 && same(&st, &other), "fstatat");
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0 && is_motd(fd), "content");
    CHECK(write(fd, "x", 1) < 0 && errno == EBADF, "write");
    int copy = dup(fd);
    CHECK(fstat(copy, &other) == 0 && same(&st, &other), "a dup");
    fd = openat(AT_FDCWD, MOTD, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0, "O_CLOEXEC");

    CHECK(lstat("/srv/link", &other) == 0 && S_ISLNK(other.st_mode), "lstat of a link");
    CHECK(stat("/srv/link", &other) == 0 && same(&st, &other), "stat through a link");
    CHECK(readlink("/srv/link", text, sizeof text) == 9 && strncmp(text, "data/motd", 9) == 0, "readlink");
    CHECK(readlink(MOTD, text, sizeof text) < 0 && errno == EINVAL, "readlink of a file");
    char *real = realpath("/srv/data/../link", NULL);
    CHECK(real != NULL && strcmp(real, MOTD) == 0, "realpath: %s", real);
    CHECK(access(MOTD, R_OK) == 0 && faccessat(AT_FDCWD, MOTD, R_OK, 0) == 0, "access");

    // The pod's errnos, by this system's numbers.
    CHECK(open("/srv/link", O_RDONLY | O_NOFOLLOW) < 0 && errno == ELOOP, "O_NOFOLLOW");
    CHECK(open("/srv/data/none", O_RDONLY) < 0 && errno == ENOENT, "nothing");
    CHECK(open("/srv/data/motd/x", O_RDONLY) < 0 && errno == ENOTDIR, "below a file");
    CHECK(open("/srv/data", O_WRONLY) < 0 && errno == EISDIR, "a directory for writing");
    CHECK(open(MOTD, O_RDWR) < 0 && errno == EROFS, "O_RDWR");
    CHECK(unlink(MOTD) < 0 && errno == EROFS, "unlink");
    CHECK(rename(MOTD, "/srv/data/other") < 0 && errno == EROFS, "rename");
    CHECK(chmod(MOTD, 0600) < 0 && errno == EROFS, "chmod");
    CHECK(fchmod(fd, 0600) < 0 && errno == EROFS, "fchmod");
    CHECK(chflags(MOTD, 1) < 0 && errno == EROFS, "chflags");
    CHECK(mkdir("/srv/data", 0755) < 0 && errno == EEXIST, "mkdir");
    CHECK(getxattr(MOTD, "user.x", text, sizeof text, 0, 0) < 0 && errno == ENOATTR, "getxattr");
    CHECK(listxattr(MOTD, text, sizeof text, 0) == 0, "listxattr");
    struct statfs fs;
    struct statvfs vfs;
    CHECK(statfs("/srv/data", &fs) == 0 && fs.f_blocks > 0 && strcmp(fs.f_mntfromname, "pod") == 0, "statfs");
    CHECK(statvfs("/srv/data", &vfs) == 0 && vfs.f_blocks > 0, "statvfs");
    errno = 4711;
    CHECK(stat(MOTD, &other) == 0 && access(MOTD, R_OK) == 0 && errno == 4711, "errno was changed");
}

static void streams(void) {
    char line[64];
    FILE *f = fopen(MOTD, "r");
    CHECK(f != NULL && fgets(line, sizeof line, f) != NULL && strcmp(line, MOTD_TEXT) == 0, "fopen");
    f = freopen("/srv/data/b.txt", "r", f);
    CHECK(f != NULL && fgets(line, sizeof line, f) != NULL && strcmp(line, "b\n") == 0, "freopen");
    struct stat st;
    CHECK(fstat(fileno(f), &st) == 0 && st.st_nlink == 1, "fstat of a stream");
    fclose(f);
    CHECK(fopen("/srv/data/none", "r") == NULL && errno == ENOENT, "a missing file");
    CHECK(fopen(MOTD, "r+") == NULL && errno == EROFS, "for writing");
}

static int count(DIR *dir) {
    int n = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL; n++) {
        CHECK(e->d_namlen == strlen(e->d_name) && e->d_reclen >= e->d_namlen, "%s: lengths %d, %d", e->d_name, e->d_namlen, e->d_reclen);
        if (strcmp(e->d_name, "sub") == 0) CHECK(e->d_type == DT_DIR, "type of a directory: %d", e->d_type);
        if (strcmp(e->d_name, "motd") == 0) {
            struct stat st;
            CHECK(e->d_type == DT_REG && stat(MOTD, &st) == 0 && st.st_ino == e->d_ino, "type of a file: %d", e->d_type);
        }
    }
    return n;
}

static int is_txt(const struct dirent *e) { return strstr(e->d_name, ".txt") != NULL; }

static int visited;
static int visit(const char *path, const struct stat *st, int type, struct FTW *at) {
    if (type == FTW_F) CHECK(S_ISREG(st->st_mode) && path[at->base - 1] == '/', "%s", path);
    visited++;
    return 0;
}

static void directories(void) {
    errno = 0;
    DIR *dir = opendir("/srv/data");
    CHECK(dir != NULL && count(dir) == 8 && errno == 0, "opendir");
    rewinddir(dir);
    readdir(dir);
    long second = telldir(dir);
    char name[256];
    strcpy(name, readdir(dir)->d_name);
    seekdir(dir, second);
    CHECK(strcmp(readdir(dir)->d_name, name) == 0, "seekdir");
    struct stat st, other;
    int fd = dirfd(dir);
    CHECK(fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) && stat("/srv/data", &other) == 0 && same(&st, &other), "fstat of a directory");
    CHECK(fstatat(fd, "motd", &st, 0) == 0 && st.st_size == sizeof MOTD_TEXT - 1, "fstatat");
    int file = openat(fd, "sub/deep", O_RDONLY), sub = openat(fd, "sub", O_RDONLY | O_DIRECTORY);
    CHECK(file >= 0 && sub >= 0, "openat");
    CHECK(openat(fd, "motd", O_RDONLY | O_DIRECTORY) < 0 && errno == ENOTDIR, "a file as a directory");
    closedir(dir);
    dir = fdopendir(sub);
    CHECK(dir != NULL && count(dir) == 3, "fdopendir");
    closedir(dir);

    struct dirent **list;
    int n = scandir("/srv/data", &list, is_txt, alphasort);
    CHECK(n == 2 && strcmp(list[0]->d_name, "a.txt") == 0 && strcmp(list[1]->d_name, "b.txt") == 0, "scandir: %d", n);
    glob_t found;
    CHECK(glob("/srv/data/*.txt", 0, NULL, &found) == 0 && found.gl_pathc == 2 && strcmp(found.gl_pathv[1], "/srv/data/b.txt") == 0, "glob");

    CHECK(nftw("/srv/data", visit, 8, FTW_PHYS) == 0 && visited == 8, "nftw: %d", visited);
    char *paths[] = {"/srv/data", NULL};
    FTS *fts = fts_open(paths, FTS_PHYSICAL, NULL);
    int files = 0, dirs = 0;
    CHECK(fts != NULL, "fts_open");
    for (FTSENT *e; (e = fts_read(fts)) != NULL;) files += e->fts_info == FTS_F, dirs += e->fts_info == FTS_D;
    CHECK(fts_close(fts) == 0 && files == 6 && dirs == 2, "fts: %d files, %d directories", files, dirs);

    // The working directory.
    char cwd[PATH_MAX];
    CHECK(chdir("/srv/data") == 0 && getcwd(cwd, sizeof cwd) != NULL && strcmp(cwd, "/srv/data") == 0, "getcwd: %s", cwd);
    CHECK(stat("sub/deep", &st) == 0 && open("motd", O_RDONLY) >= 0 && access("../link", R_OK) == 0, "relative paths");
}

static void copies(const char *folder) {
    char path[PATH_MAX];
    struct stat st;
    snprintf(path, sizeof path, "%s/copy", folder);
    CHECK(clonefile(MOTD, path, 0) < 0 && errno == ENOTSUP, "clonefile");
    CHECK(copyfile(MOTD, path, NULL, COPYFILE_EXCL) == 0 && is_motd(open(path, O_RDONLY)), "copyfile");
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0640, "its mode: %o", st.st_mode);
    CHECK(copyfile(MOTD, path, NULL, COPYFILE_EXCL) < 0 && errno == EEXIST, "COPYFILE_EXCL");
    CHECK(copyfile("/srv/data/none", path, NULL, 0) < 0 && errno == ENOENT, "nothing to copy");
    char other[PATH_MAX + 8];
    snprintf(other, sizeof other, "%s.2", path);
    CHECK(copyfile(path, other, NULL, 0) == 0 && is_motd(open(other, O_RDONLY)), "copyfile on this machine");
    CHECK(unlink(path) == 0 && unlink(other) == 0, "unlink");
}

// A file of this machine beside, in the folder that is given.
static void local(const char *folder) {
    char path[PATH_MAX], text[8];
    snprintf(path, sizeof path, "%s/file", folder);
    struct stat st;
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0640);
    CHECK(fd >= 0 && write(fd, "here", 4) == 4 && pread(fd, text, sizeof text, 0) == 4, "a local file");
    CHECK(fstat(fd, &st) == 0 && (st.st_mode & 0777) == 0640 && st.st_size == 4, "its metadata: %o", st.st_mode);
    CHECK(unlink(path) == 0 && fstat(fd, &st) == 0 && st.st_nlink == 0, "unlinked");
}

int main(int argc, char **argv) {
    CHECK(argc == 2, "a folder of this machine is needed");
    stats();
    streams();
    copies(argv[1]);
    directories();
    local(argv[1]);
    puts("ok");
    return 0;
}
