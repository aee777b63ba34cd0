// Directories of the pod: streams, positions, and everything that libc builds on them.
#define _GNU_SOURCE
#include "testprog.h"

#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// The names in /srv/data, sorted.
static const char *const names[] = {".", "..", "a.txt", "b.txt", "c.log", "empty", "motd", "sub", NULL};

static int count(DIR *dir) {
    int n = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL; n++) {
        int known = 0;
        for (int i = 0; names[i] != NULL; i++) known |= strcmp(e->d_name, names[i]) == 0;
        CHECK(known, "an unexpected name: %s", e->d_name);
        if (strcmp(e->d_name, "sub") == 0) CHECK(e->d_type == DT_DIR, "type of a directory: %d", e->d_type);
        if (strcmp(e->d_name, "motd") == 0) {
            struct stat st;
            CHECK(e->d_type == DT_REG, "type of a file: %d", e->d_type);
            CHECK(stat(MOTD, &st) == 0 && st.st_ino == e->d_ino, "inode number");
        }
    }
    return n;
}

static int is_txt(const struct dirent *e) { return strstr(e->d_name, ".txt") != NULL; }

int main(void) {
    errno = 0;
    DIR *dir = opendir("/srv/data");
    CHECK(dir != NULL, "opendir");
    CHECK(count(dir) == 8 && errno == 0, "readdir");
    rewinddir(dir);
    CHECK(count(dir) == 8, "after rewinddir");
    rewinddir(dir);
    readdir(dir);
    readdir(dir);
    long third = telldir(dir);
    char name[256];
    strcpy(name, readdir(dir)->d_name);
    readdir(dir);
    seekdir(dir, third);
    CHECK(strcmp(readdir(dir)->d_name, name) == 0, "seekdir");

    // Relative to a directory's descriptor, which looks like a directory.
    struct stat st, other;
    int fd = dirfd(dir);
    CHECK(fstat(fd, &st) == 0 && S_ISDIR(st.st_mode), "fstat of a directory");
    CHECK(stat("/srv/data", &other) == 0 && other.st_ino == st.st_ino && other.st_dev == st.st_dev, "the same directory");
    CHECK(fstatat(fd, "motd", &st, 0) == 0 && st.st_size == sizeof MOTD_TEXT - 1, "fstatat");
    CHECK(fstatat(fd, "../data/./motd", &st, 0) == 0, "fstatat with dots");
    CHECK(faccessat(fd, "motd", R_OK, 0) == 0, "faccessat");
    int file = openat(fd, "sub/deep", O_RDONLY), sub = openat(fd, "sub", O_RDONLY | O_DIRECTORY);
    CHECK(file >= 0 && sub >= 0, "openat");
    CHECK(openat(fd, "motd", O_RDONLY | O_DIRECTORY) < 0 && errno == ENOTDIR, "a file as a directory");
    closedir(dir);

    char raw[4096];
    CHECK(syscall(SYS_getdents64, sub, raw, sizeof raw) > 0 && syscall(SYS_getdents64, sub, raw, sizeof raw) == 0, "getdents64");
    int again = dup(sub);
    lseek(again, 0, SEEK_SET);
    dir = fdopendir(again);
    CHECK(dir != NULL, "fdopendir");
    int n = 0;
    while (readdir(dir) != NULL) n++;
    CHECK(n == 3, "%d entries of sub", n);
    closedir(dir);

    struct dirent **list;
    n = scandir("/srv/data", &list, is_txt, alphasort);
    CHECK(n == 2 && strcmp(list[0]->d_name, "a.txt") == 0 && strcmp(list[1]->d_name, "b.txt") == 0, "scandir: %d", n);

    glob_t found;
    CHECK(glob("/srv/data/*.txt", 0, NULL, &found) == 0 && found.gl_pathc == 2, "glob");
    CHECK(strcmp(found.gl_pathv[1], "/srv/data/b.txt") == 0, "%s", found.gl_pathv[1]);
    globfree(&found);
    CHECK(glob("/srv/*/sub/d*p", 0, NULL, &found) == 0 && found.gl_pathc == 2, "glob through directories and a link: %zu", found.gl_pathc);
    globfree(&found);
    CHECK(glob("/srv/data/*.none", 0, NULL, &found) == GLOB_NOMATCH, "glob of nothing");

    CHECK(opendir("/srv/none") == NULL && errno == ENOENT, "a missing directory");
    CHECK(opendir(MOTD) == NULL && errno == ENOTDIR, "a file as a directory");

    // The working directory, by path and by descriptor.
    char cwd[256], start[4096];
    CHECK(getcwd(start, sizeof start) != NULL, "getcwd");
    CHECK(chdir("/srv/data/sub") == 0 && strcmp(getcwd(cwd, sizeof cwd), "/srv/data/sub") == 0, "chdir");
    CHECK(stat("deep", &st) == 0 && stat("../motd", &st) == 0, "relative paths");
    CHECK(chdir("..") == 0 && strcmp(getcwd(cwd, sizeof cwd), "/srv/data") == 0, "chdir up");
    CHECK(getcwd(cwd, 4) == NULL && errno == ERANGE, "getcwd without room");
    CHECK(fchdir(sub) == 0 && strcmp(getcwd(cwd, sizeof cwd), "/srv/data/sub") == 0, "fchdir");
    CHECK(chdir(MOTD) < 0 && errno == ENOTDIR, "chdir to a file");
    CHECK(chdir(start) == 0 && strcmp(getcwd(raw, sizeof raw), start) == 0 && stat("motd", &st) < 0, "back on this machine");
    puts("ok");
    return 0;
}
