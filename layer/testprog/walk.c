// Walks of a directory tree: the pod's must look as libc's own show the same tree on this machine, of which /srv/tree is a copy. Its argument is that
// tree's path.
#define _GNU_SOURCE
#include "testprog.h"

#include <dlfcn.h>
#include <fts.h>
#include <ftw.h>
#include <unistd.h>

#define POD "/srv/tree"

static char seen[2][1 << 16]; // what two walks saw, a line for each entry
static size_t used[2];
static int which, acting, changing;
static const char *root;

static void note(const char *path, const char *what, long size, int level, int base) {
    CHECK(strncmp(path, root, strlen(root)) == 0, "%s is not below %s", path, root);
    used[which] += (size_t)snprintf(seen[which] + used[which], sizeof seen[which] - used[which], "%s %s %ld %d %d\n", path + strlen(root),
                                    what, size, level, base);
    CHECK(used[which] < sizeof seen[which] - 1, "too long");
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *at) {
    static const char *const names[] = {"F", "D", "DNR", "NS", "SL", "DP", "SLN"};
    note(path, names[type], S_ISREG(st->st_mode) ? (long)st->st_size : 0, at->level, at->base - (int)strlen(root));
    if (changing && type != FTW_DP) {
        struct stat here;
        CHECK(lstat(path + at->base, &here) == 0, "%s is not in the working directory", path + at->base);
    }
    if (acting && strstr(path, "/skip") != NULL) return FTW_SKIP_SUBTREE;
    if (acting && strstr(path, "/a/") != NULL) return FTW_SKIP_SIBLINGS;
    return 0;
}

static int plain(const char *path, const struct stat *st, int type) {
    struct FTW at = {.base = (int)strlen(root)};
    return visit(path, st, type, &at);
}

static int by_line(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

// sorted puts the lines of a walk into order: that of directories differs.
static char *sorted(char *text) {
    static char out[2][1 << 16];
    static int turn;
    char *lines[2000], *to = out[turn ^= 1];
    size_t n = 0;
    for (char *line = strtok(text, "\n"); line != NULL && n < 2000; line = strtok(NULL, "\n")) lines[n++] = line;
    qsort(lines, n, sizeof *lines, by_line);
    *to = 0;
    for (size_t i = 0; i < n; i++) to = stpcpy(stpcpy(to, lines[i]), "\n");
    return out[turn];
}

static void compare(const char *what, int flags) {
    char *libc = sorted(seen[0]), *pod = sorted(seen[1]);
    CHECK(strcmp(libc, pod) == 0 && libc[0] != 0, "%s %d\n-- libc:\n%s-- pod:\n%s", what, flags, libc, pod);
    used[0] = used[1] = seen[0][0] = seen[1][0] = 0;
}

static int by_name(const FTSENT **a, const FTSENT **b) { return strcmp((*a)->fts_name, (*b)->fts_name); }

// The functions of fts, libc's own or those that this program gets.
static FTS *(*open_walk)(char *const *, int, int (*)(const FTSENT **, const FTSENT **));
static FTSENT *(*next)(FTS *), *(*children)(FTS *, int);
static int (*set)(FTS *, FTSENT *, int), (*end)(FTS *);

static void walk_fts(const char *path, int options, int instructions) {
    static const char *const names[] = {"?", "D", "DC", "DEFAULT", "DNR", "DOT", "DP", "ERR", "F", "INIT", "NS", "NSOK", "SL", "SLNONE", "W"};
    char *paths[] = {(char *)path, NULL};
    root = path;
    FTS *walk = open_walk(paths, options, by_name);
    CHECK(walk != NULL, "fts_open %s", path);
    int followed = 0;
    for (FTSENT *e; (e = next(walk)) != NULL;) {
        char what[64];
        snprintf(what, sizeof what, "%s %s %d", names[e->fts_info], e->fts_name, e->fts_errno);
        note(e->fts_path, what, e->fts_info == FTS_F ? (long)e->fts_statp->st_size : 0, e->fts_level, e->fts_pathlen - (int)strlen(root));
        struct stat st;
        if (e->fts_info == FTS_F) CHECK(stat(e->fts_accpath, &st) == 0 && st.st_ino == e->fts_statp->st_ino, "%s", e->fts_accpath);
        if (!instructions) continue;
        if (e->fts_info == FTS_D && strcmp(e->fts_name, "a") == 0)
            for (FTSENT *c = children(walk, 0); c != NULL; c = c->fts_link) {
                note(root, c->fts_name, c->fts_level, 0, 0);
                if (strcmp(c->fts_name, "one") == 0) set(walk, c, FTS_SKIP);
            }
        if (e->fts_info == FTS_D && strcmp(e->fts_name, "skip") == 0) set(walk, e, FTS_SKIP);
        if (e->fts_info == FTS_SL && strcmp(e->fts_name, "to-a") == 0 && !followed++) set(walk, e, FTS_FOLLOW);
    }
    CHECK(errno == 0, "the end of a walk");
    CHECK(end(walk) == 0, "fts_close");
}

int main(int argc, char **argv) {
    CHECK(argc == 2, "no tree");
    void *libc = dlopen("libc.so.6", RTLD_LAZY);
    int (*libc_nftw)(const char *, __nftw_func_t, int, int) = (__typeof__(libc_nftw))dlsym(libc, "nftw");
    int (*libc_ftw)(const char *, __ftw_func_t, int) = (__typeof__(libc_ftw))dlsym(libc, "ftw");

    for (int round = 0; round < 32; round++) {
        int flags = (round & 1 ? FTW_PHYS : 0) | (round & 2 ? FTW_DEPTH : 0) | (round & 4 ? FTW_CHDIR : 0) | (round & 8 ? FTW_MOUNT : 0) |
                    (round & 16 ? FTW_ACTIONRETVAL : 0);
        acting = flags & FTW_ACTIONRETVAL && !(flags & FTW_DEPTH);
        changing = flags & FTW_CHDIR;
        char before[4096], after[4096];
        CHECK(getcwd(before, sizeof before) != NULL, "getcwd");
        // What is visited first decides what is visited at all where links are followed or siblings skipped.
        const char *from[2] = {argv[1], POD};
        int results[2];
        for (which = 0; which < 2; which++) {
            char link[4096];
            snprintf(link, sizeof link, "%s%s", from[which], flags & FTW_PHYS && !acting ? "" : "/one-way");
            root = link;
            results[which] = (which == 0 ? libc_nftw : nftw)(link, visit, 2, flags);
        }
        CHECK(results[0] == 0 && results[1] == 0, "nftw %d: %d, %d", flags, results[0], results[1]);
        compare("nftw", flags);
        CHECK(getcwd(after, sizeof after) != NULL && strcmp(before, after) == 0, "the working directory is %s now", after);
    }
    acting = changing = 0;
    for (which = 0; which < 2; which++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/one-way", which == 0 ? argv[1] : POD);
        root = path;
        CHECK((which == 0 ? libc_ftw : ftw)(path, plain, 2) == 0, "ftw");
    }
    compare("ftw", 0);
    // Relative to a directory of the pod.
    CHECK(chdir(POD) == 0, "chdir");
    which = 1;
    root = "";
    CHECK(nftw("one-way", visit, 2, FTW_PHYS) == 0 && strstr(seen[1], "one-way/deep/est F 5 2 "), "a relative walk: %s", seen[1]);
    CHECK(chdir("/") == 0, "chdir");
    used[1] = 0;
    CHECK(nftw(POD "/none", visit, 2, 0) == -1 && errno == ENOENT, "a missing root");

    for (int round = 0; round < 16; round++) {
        int options = (round & 1 ? FTS_PHYSICAL : FTS_LOGICAL) | (round & 2 ? FTS_NOCHDIR : 0) | (round & 4 ? FTS_SEEDOT : 0) |
                      (round & 8 ? FTS_COMFOLLOW | FTS_XDEV : 0);
        for (int instructions = 0; instructions < 2; instructions++) {
            for (which = 0; which < 2; which++) {
                void *library = which == 0 ? libc : RTLD_DEFAULT;
                open_walk = (__typeof__(open_walk))dlsym(library, "fts_open");
                next = (__typeof__(next))dlsym(library, "fts_read");
                children = (__typeof__(children))dlsym(library, "fts_children");
                set = (__typeof__(set))dlsym(library, "fts_set");
                end = (__typeof__(end))dlsym(library, "fts_close");
                walk_fts(which == 0 ? argv[1] : POD, options, instructions);
            }
            compare(instructions ? "fts with instructions" : "fts", options);
        }
    }
    // Metadata may be left out; a walk may be given up; a root that is missing is an entry.
    char *paths[] = {POD "/a", POD "/none", NULL};
    FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOSTAT, NULL);
    int files = 0, missing = 0;
    for (FTSENT *e; (e = fts_read(walk)) != NULL;) {
        files += e->fts_info == FTS_NSOK;
        missing += e->fts_info == FTS_NS && e->fts_errno == ENOENT;
    }
    CHECK(files == 3 && missing == 1, "without metadata: %d files, %d missing", files, missing);
    CHECK(fts_close(walk) == 0, "fts_close");
    walk = fts_open(paths, FTS_LOGICAL, NULL);
    CHECK(fts_children(walk, 0) != NULL && fts_read(walk) != NULL && fts_read(walk) != NULL && fts_close(walk) == 0, "a walk that is given up");

    // From a folder of this machine into the pod.
    which = 1;
    root = "";
    used[1] = 0;
    CHECK(nftw("/srv", visit, 2, FTW_PHYS) == 0 && strstr(seen[1], "/srv/tree/a/one F 4 3 ") != NULL, "%s", seen[1]);
    puts("ok");
    return 0;
}
