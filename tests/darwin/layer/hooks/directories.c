// Directories, and what walks through them.
#include <dirent.h>
#include <fts.h>
#include <ftw.h>
#include <glob.h>

static DIR *data(void) { return opendir("/srv/data"); }
static const char *next(DIR *dir) {
    const struct dirent *e = readdir(dir);
    return e != NULL ? e->d_name : "(end)";
}

STEP(opendir) { say("%d", data() != NULL); }
STEP(fdopendir) { say("%d", fdopendir(open("/srv/data", O_RDONLY | O_DIRECTORY)) != NULL); }
STEP(readdir) { say("%s", next(data())); }
STEP(readdir_r) {
    struct dirent entry, *found = NULL;
    int n = readdir_r(data(), &entry, &found);
    say("%d %s", n, found != NULL ? found->d_name : "(end)");
}
STEP(closedir) {
    DIR *dir = data();
    int fd = dirfd(dir), n = closedir(dir);
    say("%d, then %d", n, fcntl(fd, F_GETFD));
}
STEP(rewinddir) {
    DIR *dir = data();
    char name[256];
    strncpy(name, next(dir), sizeof name - 1);
    rewinddir(dir);
    say("%d", strcmp(name, next(dir)));
}
STEP(seekdir) {
    DIR *dir = data();
    long start = telldir(dir);
    char name[256];
    strncpy(name, next(dir), sizeof name - 1);
    seekdir(dir, start);
    say("%d", strcmp(name, next(dir)));
}
STEP(telldir) {
    DIR *dir = data();
    long start = telldir(dir);
    next(dir);
    say("%d", telldir(dir) > start && start >= 0);
}
STEP(dirfd) { say("%d", fcntl(dirfd(data()), F_GETFD)); }
STEP(scandir) {
    struct dirent **list;
    result(scandir("/srv/data", &list, NULL, NULL));
}
STEP(glob) {
    glob_t found = {0};
    int n = glob("/srv/data/*.txt", 0, NULL, &found);
    say("%d, %zu paths", n, found.gl_pathc);
}

static int visited;
static int visit(const char *name, const struct stat *st, int type) {
    (void)name, (void)st;
    visited += type == FTW_F;
    return 0;
}
static int visit_at(const char *name, const struct stat *st, int type, struct FTW *at) {
    (void)at;
    return visit(name, st, type);
}
STEP(nftw) {
    visited = 0;
    int n = nftw("/srv/data", visit_at, 8, FTW_PHYS);
    say("%d, %d files", n, visited);
}
STEP(ftw) {
    visited = 0;
    int n = ftw("/srv/data", visit, 8);
    say("%d, %d files", n, visited);
}

static FTS *walk(void) {
    static char *paths[] = {"/srv/data", NULL};
    return fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
}
STEP(fts_open) { say("%d", fts_read(walk())->fts_info); }
STEP(fts_read) {
    FTS *fts = walk();
    int n = 0;
    while (fts_read(fts) != NULL) n++;
    say("%d", n);
}
STEP(fts_children) {
    FTS *fts = walk();
    int n = 0;
    fts_read(fts);
    for (FTSENT *e = fts_children(fts, 0); e != NULL; e = e->fts_link) n++;
    say("%d", n);
}
STEP(fts_set) {
    FTS *fts = walk();
    FTSENT *e = fts_read(fts);
    int n = fts_set(fts, e, FTS_SKIP);
    e = fts_read(fts);
    say("%d, then %d", n, e != NULL ? e->fts_info : -1);
}
STEP(fts_close) { result(fts_close(walk())); }
