// Prints what many calls say of the tree in /srv/tree, a line for each. Natively, in a root directory that holds the tree, it prints what is right; in a pod it
// has to print the same. What may differ (numbers of devices, times of access, positions in directories) is compared here instead.
//
//     alike NEAR SELF            all; NEAR is where the root directory can be changed, as by the pod's own programs, SELF this program, absolute
//     alike here WORD            only what is relative to the working directory
//     alike within FOLDER ...    executes a command there
#define _GNU_SOURCE
#include "testprog.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define TREE "/srv/tree"

static const char *near_root = "";

// quoted prints a text so that it is one line.
static void quoted(const char *s) {
    size_t n = strlen(s);
    if (n > 600) {
        printf("\"%.20s…%zu bytes\"", s, n);
        return;
    }
    putchar('"');
    for (; *s != 0; s++)
        if (*s < ' ' || *s > '~' || *s == '"')
            printf("\\x%02x", (uint8_t)*s);
        else
            putchar(*s);
    putchar('"');
}

static int is_address(const char *p) { return (uintptr_t)p > 4096 && (intptr_t)p > 0; }

static const char *path_now; // what the lines are about
static void line(const char *what) {
    if (is_address(path_now))
        quoted(path_now);
    else
        printf("%ld", (long)(intptr_t)path_now);
    printf(" %s: ", what);
}

static int failed(long result) {
    if (result >= 0) return 0;
    printf("%s\n", strerrorname_np(errno));
    return 1;
}

// device is a number for st_dev that counts devices as they are met.
static int device(dev_t dev) {
    static dev_t met[64];
    static int n;
    for (int i = 0; i < n; i++)
        if (met[i] == dev) return i;
    met[n] = dev;
    return n++;
}

static void show_stat(const struct stat *st) {
    printf("dev %d ino %lu mode %o nlink %lu owner %u:%u size %ld blocks %ld of %ld m %ld.%09ld c %ld.%09ld\n", device(st->st_dev), st->st_ino, st->st_mode,
           st->st_nlink, st->st_uid, st->st_gid, st->st_size, st->st_blocks, st->st_blksize, st->st_mtim.tv_sec, st->st_mtim.tv_nsec, st->st_ctim.tv_sec,
           st->st_ctim.tv_nsec);
}

static void show_statx(const struct statx *x) {
    struct stat st = {.st_dev = (dev_t)((uint64_t)(x->stx_dev_minor & 0xff) | (uint64_t)(x->stx_dev_major & 0xfff) << 8 | (uint64_t)(x->stx_dev_minor & ~0xffU) << 12 |
                                        (uint64_t)(x->stx_dev_major & ~0xfffU) << 32),
                      .st_ino = x->stx_ino, .st_mode = x->stx_mode, .st_nlink = x->stx_nlink, .st_uid = x->stx_uid, .st_gid = x->stx_gid,
                      .st_size = (off_t)x->stx_size, .st_blocks = (blkcnt_t)x->stx_blocks, .st_blksize = x->stx_blksize,
                      .st_mtim = {x->stx_mtime.tv_sec, x->stx_mtime.tv_nsec}, .st_ctim = {x->stx_ctime.tv_sec, x->stx_ctime.tv_nsec}};
    printf("mask %x ", x->stx_mask & STATX_BASIC_STATS);
    show_stat(&st);
}

// show_descriptor closes fd.
static void show_descriptor(const char *what, int fd, int flags) {
    struct stat st;
    struct statx x;
    char text[16];
    line(what);
    if (failed(fd)) return;
    if (fstat(fd, &st) != 0) printf("%s!", strerrorname_np(errno));
    // What cannot be read nor written says so with one errno or another.
    int only_place = flags & O_PATH, folder = only_place || S_ISDIR(st.st_mode);
    printf("flags %o, ", fcntl(fd, F_GETFL) & (folder ? O_APPEND | O_NONBLOCK : O_ACCMODE | O_APPEND | O_NONBLOCK));
    show_stat(&st);
    line("  statx of it");
    if (!failed(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x))) show_statx(&x);
    line("  fstatat of it");
    if (!failed(fstatat(fd, "", &st, AT_EMPTY_PATH))) show_stat(&st);
    line("  read");
    ssize_t n = read(fd, text, sizeof text - 1);
    if (folder && n < 0) {
        puts("no");
    } else if (!failed(n)) {
        text[n] = 0;
        quoted(text);
        puts("");
    }
    line("  write");
    n = write(fd, "x", 1);
    if (folder && n < 0)
        puts("no");
    else if (!failed(n))
        puts("written");
    struct statfs fs;
    line("  fstatfs");
    if (!failed(fstatfs(fd, &fs)))
        printf("type %lx of %ld name %ld blocks %lu\n", (long)fs.f_type, (long)fs.f_bsize, (long)fs.f_namelen, (unsigned long)fs.f_blocks);
    struct statvfs vfs;
    line("  fstatvfs");
    if (!failed(fstatvfs(fd, &vfs))) printf("of %lu name %lu blocks %lu\n", vfs.f_frsize, vfs.f_namemax, (unsigned long)vfs.f_blocks);
    if (!only_place) {
        line("  attributes");
        if (!failed(flistxattr(fd, NULL, 0))) puts("listed");
        line("  attribute");
        if (!failed(fgetxattr(fd, "user.none", NULL, 0))) puts("there");
    }
    close(fd);
}

static int open_how(int dirfd, const char *path, uint64_t flags, uint64_t resolve) {
    struct open_how how = {.flags = flags, .resolve = resolve};
    return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how);
}

static const struct {
    const char *name;
    int flags;
} opens[] = {
    {"open", O_RDONLY},
    {"open nofollow", O_NOFOLLOW},
    {"open directory", O_DIRECTORY},
    {"open directory nofollow", O_DIRECTORY | O_NOFOLLOW},
    {"open path", O_PATH},
    {"open path nofollow", O_PATH | O_NOFOLLOW},
    {"open path directory", O_PATH | O_DIRECTORY},
    {"open append", O_RDONLY | O_APPEND},
    {"open nonblock", O_RDONLY | O_NONBLOCK},
};

// look asks everything about one path.
static void look(const char *path) {
    struct stat st;
    struct statx x;
    struct statfs fs;
    char text[PATH_MAX];
    path_now = path;
    line("stat");
    if (!failed(stat(path, &st))) show_stat(&st);
    line("lstat");
    if (!failed(lstat(path, &st))) show_stat(&st);
    line("fstatat");
    if (!failed(fstatat(AT_FDCWD, path, &st, 0))) show_stat(&st);
    line("statx");
    if (!failed(statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &x))) show_statx(&x);
    for (int mode = 0; mode < 8; mode++) {
        line("access");
        printf("%d ", mode);
        if (mode & W_OK)
            puts("-"); // as on a read-only file system, or not
        else if (!failed(access(path, mode)))
            puts("may");
    }
    line("faccessat");
    if (!failed(faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW))) puts("there");
    line("readlink");
    ssize_t n = readlink(path, text, sizeof text - 1);
    if (!failed(n)) text[n] = 0, quoted(text), puts("");
    line("statfs");
    if (!failed(statfs(path, &fs))) printf("type %lx of %ld name %ld\n", (long)fs.f_type, (long)fs.f_bsize, (long)fs.f_namelen);
    if (stat(path, &st) != 0) goto after; // the pod is not asked about attributes
    line("attributes");
    if (!failed(listxattr(path, NULL, 0))) puts("listed");
    line("attributes of the link");
    if (!failed(llistxattr(path, NULL, 0))) puts("listed");
after:
    for (size_t i = 0; i < sizeof opens / sizeof *opens; i++) show_descriptor(opens[i].name, open(path, opens[i].flags | O_CLOEXEC), opens[i].flags);
    show_descriptor("openat2", open_how(AT_FDCWD, path, O_CLOEXEC, 0), 0);
    if (is_address(path)) { // libc itself looks at it
        line("opendir");
        DIR *dir = opendir(path);
        if (!failed(dir != NULL ? 0 : -1)) puts("opened"), closedir(dir);
        line("realpath");
        if (strlen(path) >= PATH_MAX) // libc's own limits
            puts("-");
        else if (!failed(realpath(path, text) != NULL ? 0 : -1)) quoted(text), puts("");
    }
    line("chdir");
    if (!failed(chdir(path))) {
        if (getcwd(text, sizeof text) != NULL) quoted(text);
        puts("");
    }
    if (chdir("/") != 0) puts("cannot go back");
}


// ways are of openat2, from a folder.
static void look_how(const char *from) {
    static const struct {
        const char *name;
        uint64_t resolve;
    } ways[] = {
        {"beneath", RESOLVE_BENEATH}, {"in root", RESOLVE_IN_ROOT}, {"no links", RESOLVE_NO_SYMLINKS}, {"no mounts", RESOLVE_NO_XDEV},
        {"no magic", RESOLVE_NO_MAGICLINKS}, {"beneath, no links", RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS},
        {"both", RESOLVE_BENEATH | RESOLVE_IN_ROOT}, {"unknown", 0x40},
    };
    static const char *const paths[] = {
        "file", "dir/inner", "to-dir/inner", "to-dir", "link", "absolute", "out", "chain", "dangling", "loop", "..", "../tree/file", "dir/..", "dir/../file",
        "dir/../..", "dir/../../tree/file", "/srv/tree/file", "/file", "/dir/../../file", "/srv/", ".", "", "none", "file/x", "to-self/to-self/file", "../../../srv/tree/file",
    };
    int dir = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC), place = open(from, O_PATH | O_CLOEXEC);
    struct stat st;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        for (size_t j = 0; j < sizeof ways / sizeof *ways; j++) {
            static const uint64_t flags[] = {0, O_NOFOLLOW, O_PATH | O_NOFOLLOW, O_DIRECTORY};
            for (size_t k = 0; k < sizeof flags / sizeof *flags; k++) {
                path_now = paths[i];
                line(ways[j].name);
                printf("from %s with %lo: ", from, flags[k]);
                int fd = open_how(j % 2 ? dir : place, paths[i], flags[k] | O_CLOEXEC, ways[j].resolve);
                for (int tries = 0; fd < 0 && errno == EAGAIN && tries < 1000; tries++) // something was renamed somewhere
                    fd = open_how(j % 2 ? dir : place, paths[i], flags[k] | O_CLOEXEC, ways[j].resolve);
                if (failed(fd)) continue;
                if (fstat(fd, &st) == 0) show_stat(&st);
                close(fd);
            }
        }
    path_now = from;
    struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_BENEATH};
    line("cached");
    how.resolve = RESOLVE_CACHED;
    int fd = (int)syscall(SYS_openat2, dir, "file", &how, sizeof how);
    puts(fd >= 0 || errno == EAGAIN || errno == ENOENT ? "or not" : strerrorname_np(errno));
    close(fd);
    line("a mode without a file to make");
    how = (struct open_how){.mode = 0600};
    failed(syscall(SYS_openat2, dir, "file", &how, sizeof how));
    line("too short");
    failed(syscall(SYS_openat2, dir, "file", &how, 8L));
    line("nowhere");
    failed(syscall(SYS_openat2, dir, "file", (void *)1, sizeof how));
    close(dir);
    close(place);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

// names prints what a stream has left, sorted, and what the entries say of themselves.
static void names(const char *what, DIR *dir) {
    char *list[64];
    size_t n = 0;
    struct stat st;
    for (struct dirent *e; n < 64 && (e = readdir(dir)) != NULL;) {
        char text[400];
        int same = fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (st.st_ino == e->d_ino || strcmp(e->d_name, "..") == 0);
        snprintf(text, sizeof text, "%s type %d %s", e->d_name, e->d_type, same ? "itself" : "ANOTHER");
        list[n++] = strdup(text);
    }
    qsort(list, n, sizeof *list, by_name);
    line(what);
    for (size_t i = 0; i < n; i++) quoted(list[i]), putchar(' ');
    puts("");
    while (n > 0) free(list[--n]);
}

static void list(const char *path) {
    path_now = path;
    DIR *dir = opendir(path);
    if (dir == NULL) {
        line("opendir");
        puts(strerrorname_np(errno));
        return;
    }
    names("entries", dir);
    errno = 0;
    line("the end");
    printf("%d %s\n", readdir(dir) == NULL, errno == 0 ? "" : strerrorname_np(errno));
    rewinddir(dir);
    long start = telldir(dir);
    struct dirent *e = readdir(dir);
    long second = telldir(dir);
    char third[256] = "", again[256] = "";
    if (e != NULL && (e = readdir(dir)) != NULL) strcpy(third, e->d_name);
    while (readdir(dir) != NULL) {
    }
    seekdir(dir, second);
    if ((e = readdir(dir)) != NULL) strcpy(again, e->d_name);
    line("seekdir");
    printf("%d\n", strcmp(third, again));
    seekdir(dir, start);
    names("from the start", dir);
    rewinddir(dir);
    names("again", dir);
    line("dirfd");
    struct stat st;
    printf("%d %s\n", fcntl(dirfd(dir), F_GETFD) & FD_CLOEXEC, fstat(dirfd(dir), &st) == 0 && S_ISDIR(st.st_mode) ? "a directory" : "none");
    closedir(dir);

    char small[40], large[4096];
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    line("getdents without room");
    failed(syscall(SYS_getdents64, fd, small, 8L));
    long n = 0, calls = 0, entries = 0;
    for (long m; (m = syscall(SYS_getdents64, fd, large, 300L)) > 0; calls++)
        for (long at = 0; at < m; at += *(unsigned short *)(large + at + 16)) entries++;
    line("getdents by pieces");
    printf("%ld entries, more than one %d\n", entries, calls > 1);
    lseek(fd, 0, SEEK_SET);
    entries = 0;
    while ((n = syscall(SYS_getdents64, fd, large, sizeof large)) > 0)
        for (long at = 0; at < n; at += *(unsigned short *)(large + at + 16)) entries++;
    line("getdents again");
    printf("%ld entries\n", entries);
    DIR *over = fdopendir(fd);
    line("fdopendir");
    if (!failed(over != NULL ? 0 : -1)) {
        rewinddir(over);
        names("its entries", over);
        closedir(over);
    }
    line("getdents of a place");
    fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    failed(syscall(SYS_getdents64, fd, large, sizeof large));
    close(fd);
}

// from_here asks about relative paths; how the process came here is what the lines are about.
static void from_here(const char *how) {
    static const char *const paths[] = {"file", "./file", "dir/inner", "..", "../tree/file", "../../srv/tree/file", ".", "none", "to-dir/../file", "inner", "../file"};
    char text[PATH_MAX], *name;
    struct stat st;
    path_now = how;
    line("getcwd");
    if (getcwd(text, sizeof text) != NULL)
        puts(text);
    else
        failed(-1);
    line("getcwd without room");
    printf("%s ", getcwd(text, 3) == NULL ? strerrorname_np(errno) : text);
    printf("%s\n", getcwd(text, 0) == NULL ? strerrorname_np(errno) : text);
    line("get_current_dir_name");
    unsetenv("PWD");
    puts((name = get_current_dir_name()) != NULL ? name : strerrorname_np(errno));
    free(name);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        line(paths[i]);
        if (!failed(stat(paths[i], &st))) show_stat(&st);
        line("  open");
        int fd = open(paths[i], O_RDONLY);
        if (!failed(fd)) printf("%d\n", fstat(fd, &st)), close(fd);
    }
    path_now = ".";
    fflush(stdout);
}

static void child(const char *how, const char *self) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        if (self != NULL) {
            execl(self, self, "here", how, NULL);
            puts(strerrorname_np(errno));
        } else {
            from_here(how);
        }
        fflush(stdout);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
}

static void move(const char *self) {
    printf("chdir %d\n", chdir(TREE));
    from_here("chdir");
    child("chdir and fork", NULL);
    child("chdir and exec", self);
    printf("chdir %d\n", chdir("to-dir"));
    from_here("chdir through a link");
    printf("chdir %d\n", chdir(".."));
    from_here("up");
    int dir = open(TREE "/dir", O_RDONLY | O_DIRECTORY | O_CLOEXEC), place = open(TREE "/to-dir", O_PATH | O_CLOEXEC), file = open(TREE "/file", O_RDONLY | O_CLOEXEC);
    printf("fchdir %d\n", fchdir(dir));
    from_here("fchdir");
    child("fchdir and exec", self);
    printf("chdir %d\n", chdir("/"));
    printf("fchdir %d\n", fchdir(place));
    from_here("fchdir to a place");
    printf("fchdir to a file %d %s\n", fchdir(file), strerrorname_np(errno));
    printf("fchdir to nothing %d %s\n", fchdir(-1), strerrorname_np(errno));
    printf("chdir %d\n", chdir(TREE));
    printf("chdir to nothing %d %s\n", chdir("none"), strerrorname_np(errno));
    printf("chdir to a file %d %s\n", chdir("file"), strerrorname_np(errno));
    from_here("failures");
    struct stat st;
    printf("openat a file's: %d %s\n", openat(file, "x", O_RDONLY), strerrorname_np(errno));
    printf("openat nothing's: %d %s\n", openat(-1, "file", O_RDONLY), strerrorname_np(errno));
    printf("openat a closed one's: %d %s\n", openat(999, "file", O_RDONLY), strerrorname_np(errno));
    printf("fstatat a file's: %d %s\n", fstatat(file, "x", &st, 0), strerrorname_np(errno));
    char text[64] = "";
    int link = open(TREE "/link", O_PATH | O_NOFOLLOW | O_CLOEXEC);
    printf("readlinkat a place's: %ld %s\n", readlinkat(link, "", text, sizeof text - 1), text);
    printf("readlinkat a file's: %ld", readlinkat(file, "", text, sizeof text - 1));
    printf(" %s\n", strerrorname_np(errno));
    printf("openat a place's: %d\n", openat(place, "inner", O_RDONLY | O_CLOEXEC) >= 0);

    // The folder goes while a process is in it.
    char gone[PATH_MAX];
    snprintf(gone, sizeof gone, "%s/srv/yard/gone", near_root);
    mkdir(gone, 0755);
    printf("chdir %d\n", chdir("/srv/yard/gone"));
    int inside = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rmdir(gone);
    printf("in what is gone: %d", open("x", O_RDONLY));
    printf(" %s, beside it: %d", strerrorname_np(errno), access(TREE "/file", R_OK));
    printf(", openat %d", openat(inside, "x", O_RDONLY));
    printf(" %s, chdir %d\n", strerrorname_np(errno), chdir("/"));
    close(dir), close(place), close(file), close(inside);
}

// through asks by way of the links that proc has of a process's own.
static void through(void) {
    static const char *const links[] = {"/proc/self/fd/%d", "/dev/fd/%d", "/proc/thread-self/fd/%d", "/proc/self/fd/%d/inner", "/proc/self/fd/%d/", "/proc/self/fd/%d/.."};
    int fds[] = {open(TREE "/dir", O_RDONLY | O_DIRECTORY), open(TREE "/file", O_RDONLY), open(TREE "/to-dir", O_PATH), open(TREE "/file", O_PATH), 999};
    struct stat st;
    char path[64], text[PATH_MAX];
    for (size_t i = 0; i < sizeof links / sizeof *links; i++)
        for (size_t j = 0; j < sizeof fds / sizeof *fds; j++) {
            snprintf(path, sizeof path, links[i], fds[j]);
            path_now = links[i];
            printf("%zu ", j);
            line("stat");
            if (!failed(stat(path, &st))) show_stat(&st);
            line("lstat");
            if (!failed(lstat(path, &st))) printf("%o\n", st.st_mode & S_IFMT);
            line("access");
            if (!failed(access(path, R_OK))) puts("may");
            line("readlink");
            ssize_t n = readlink(path, text, sizeof text - 1);
            if (j == 1 && n >= 0)
                puts("-"); // a file's own path is not known
            else if (!failed(n))
                text[n] = 0, puts(text);
            show_descriptor("open", open(path, O_RDONLY | O_CLOEXEC), 0);
            line("chdir");
            if (!failed(chdir(path))) puts(getcwd(text, sizeof text) != NULL ? text : "nowhere");
        }
    if (chdir(TREE "/dir") != 0) puts("cannot go there");
    path_now = "/proc/self/cwd";
    line("readlink");
    ssize_t n = readlink("/proc/self/cwd", text, sizeof text - 1);
    if (!failed(n)) text[n] = 0, puts(text);
    line("stat below");
    if (!failed(stat("/proc/self/cwd/inner", &st))) show_stat(&st);
    for (size_t j = 0; j < 4; j++) close(fds[j]);
    if (chdir("/") != 0) puts("cannot go back");
}

// locks are this machine's: each works for itself.
static void lock(void) {
    int fd = open(TREE "/file", O_RDONLY | O_CLOEXEC);
    struct flock whole = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    printf("flock %d %d", flock(fd, LOCK_SH | LOCK_NB), flock(fd, LOCK_EX | LOCK_NB));
    printf(" fcntl %d", fcntl(fd, F_SETLK, &whole));
    whole.l_type = F_WRLCK;
    printf(" for writing %d", fcntl(fd, F_SETLK, &whole));
    printf(" %s", strerrorname_np(errno));
    whole.l_type = F_UNLCK;
    printf(" open file %d", fcntl(fd, F_OFD_SETLK, &whole));
    printf(" unlock %d\n", flock(fd, LOCK_UN));
    close(fd);
}

static void watch(void) {
    int fd = inotify_init1(IN_CLOEXEC);
    printf("watch nothing: %d", inotify_add_watch(fd, TREE "/none", IN_MODIFY));
    printf(" %s\n", strerrorname_np(errno));
    close(fd);
}

int main(int argc, char **argv) {
    static char long_path[2 * PATH_MAX], name[300];
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    if (argc == 3 && strcmp(argv[1], "here") == 0) {
        from_here(argv[2]);
        return 0;
    }
    if (argc > 3 && strcmp(argv[1], "within") == 0) {
        CHECK(chdir(argv[2]) == 0, "chdir");
        execvp(argv[3], argv + 3);
        return 1;
    }
    if (argc > 1) near_root = argv[1];
    CHECK(access(TREE, F_OK) == 0, "there is no tree");
    static const char *const paths[] = {
        TREE, TREE "/", "/srv//tree/./file", TREE "/file", TREE "/file/", TREE "/file/.", TREE "/file/..", TREE "/file/x", TREE "/none", TREE "/none/",
        TREE "/none/x", TREE "/none/..", TREE "/dir/..", TREE "/dir/../file", TREE "/dir/../../tree/file", "/srv/../srv/tree/file", "/../srv/tree/file", "", TREE "/hard", TREE "/link",
        TREE "/link/", TREE "/link/x", TREE "/to-dir", TREE "/to-dir/", TREE "/to-dir/.", TREE "/to-dir/..", TREE "/to-dir/inner", TREE "/dangling",
        TREE "/dangling/", TREE "/dangling/x", TREE "/loop", TREE "/loop/", TREE "/loop/x", TREE "/to-self/to-self/file", TREE "/out", TREE "/absolute",
        TREE "/chain", TREE "/new\nline", TREE "/quote'\"s", TREE "/\xff\xfe", TREE "/ blank ", TREE "/empty", TREE "/dir", TREE "/dir/inner", TREE "/bare",
        TREE "/secret", NULL, (const char *)1, (const char *)-1L,
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) look(paths[i]);
    memset(name, 'n', sizeof name - 1);
    for (int n = 254; n < 258; n++) {
        snprintf(long_path, sizeof long_path, TREE "/%.*s", n, name);
        look(long_path);
    }
    for (int n = PATH_MAX - 2; n < PATH_MAX + 2; n++) {
        memset(long_path, '/', (size_t)n);
        memcpy(long_path, TREE, sizeof TREE - 1);
        strcpy(long_path + n - 4, "file");
        look(long_path);
    }
    look_how(TREE);
    look_how(TREE "/dir");
    look_how(TREE "/to-dir");
    static const char *const folders[] = {TREE, TREE "/dir", TREE "/to-dir/", TREE "/bare", "/srv", TREE "/file"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) list(folders[i]);
    move(argc > 2 ? argv[2] : argv[0]);
    through();
    lock();
    watch();
    return 0;
}
