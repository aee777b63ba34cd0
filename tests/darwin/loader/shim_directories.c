// Directories: readdir with darwin's entries, fts, scandir and glob.
#include "shim.h"

#include <dirent.h>
#include <fts.h>
#include <ftw.h>
#include <glob.h>
#include <sys/stat.h>

struct darwin_dirent {
    uint64_t ino, seek;
    uint16_t reclen, namlen;
    uint8_t type;
    char name[1024];
};
struct directory { // what a DIR of the program points to: its descriptor is first
    int fd;
    DIR *own;
    struct darwin_dirent entry;
};

static uint16_t entry_to_darwin(const struct dirent *from, struct darwin_dirent *to) {
    size_t length = strlen(from->d_name);
    uint16_t size = (uint16_t)((offsetof(struct darwin_dirent, name) + length + 1 + 7) & ~7ul);
    *to = (struct darwin_dirent){.ino = from->d_ino, .seek = (uint64_t)from->d_off, .reclen = size, .namlen = (uint16_t)length, .type = from->d_type};
    memcpy(to->name, from->d_name, length + 1);
    return size;
}

static struct directory *wrap(DIR *own) {
    if (own == NULL) return retp(NULL);
    struct directory *d = calloc(1, sizeof *d);
    d->own = own;
    d->fd = dirfd(own);
    return d;
}
static struct directory *d_opendir(const char *path) {
    REAL(path);
    return wrap(opendir(path));
}
static struct directory *d_fdopendir(int fd) { return wrap(fdopendir(fd)); }
static struct darwin_dirent *d_readdir(struct directory *d) {
    errno = 0;
    const struct dirent *from = readdir(d->own);
    if (from == NULL) {
        if (errno != 0) ret(-1);
        return NULL;
    }
    entry_to_darwin(from, &d->entry);
    return &d->entry;
}
static long d_readdir_r(struct directory *d, struct darwin_dirent *to, struct darwin_dirent **result) {
    errno = 0;
    const struct dirent *from = readdir(d->own);
    *result = from == NULL ? NULL : to;
    if (from != NULL) entry_to_darwin(from, to);
    return errno_to_darwin(errno);
}
static long d_closedir(struct directory *d) {
    int result = (int)ret(closedir(d->own));
    free(d);
    return result;
}
static long d_dirfd(struct directory *d) { return dirfd(d->own); }
static void d_rewinddir(struct directory *d) { rewinddir(d->own); }
static long d_telldir(struct directory *d) { return telldir(d->own); }
static void d_seekdir(struct directory *d, long at) { seekdir(d->own, at); }

static long d_alphasort(const struct darwin_dirent **a, const struct darwin_dirent **b) { return strcmp((*a)->name, (*b)->name); }
static long d_scandir(const char *path, struct darwin_dirent ***list, int (*select)(const struct darwin_dirent *), int (*compare)(const void *, const void *)) {
    struct directory *d = d_opendir(path);
    if (d == NULL) return -1;
    size_t count = 0, room = 0;
    struct darwin_dirent **entries = NULL, *entry;
    while ((entry = d_readdir(d)) != NULL) {
        if (select != NULL && select(entry) == 0) continue;
        if (count == room) entries = realloc(entries, (room = room * 2 + 16) * sizeof *entries);
        entries[count] = malloc(sizeof *entry);
        *entries[count++] = *entry;
    }
    d_closedir(d);
    if (compare != NULL && count > 0) qsort(entries, count, sizeof *entries, compare);
    *list = entries;
    return (int)count;
}

// ---- fts: Linux's walks; each of its entries gets one of darwin's beside it, found again by fts_pointer

struct darwin_ftsent {
    struct darwin_ftsent *cycle, *parent, *link;
    long number;
    void *pointer;
    char *accpath, *path;
    int error, symfd;
    uint16_t pathlen, namelen;
    uint64_t ino;
    int32_t dev;
    uint16_t nlink;
    int16_t level;
    uint16_t info, flags, instr;
    struct darwin_stat *statp;
    char name[256];
    struct darwin_stat stat;
    FTSENT *own;
    struct darwin_ftsent *next; // of all of a walk, to be freed at its end
};
struct walk { // what an FTS of the program points to: darwin's fields first, which it may read
    void *current, *child, *array;
    int32_t dev;
    char *path;
    int rfd, path_length, items;
    void *compare_fields;
    int options;
    FTS *own;
    struct darwin_ftsent *all;
    int (*compare)(const struct darwin_ftsent **, const struct darwin_ftsent **);
};
_Static_assert(offsetof(struct walk, options) == 64, "FTS of darwin");
_Static_assert(offsetof(struct darwin_ftsent, name) == 104, "FTSENT of darwin");
static __thread struct walk *walking; // for the comparison, which gets no context

static struct darwin_ftsent *entry_for(struct walk *w, FTSENT *from) {
    if (from == NULL) return NULL;
    struct darwin_ftsent *to = from->fts_pointer;
    if (to == NULL) {
        from->fts_pointer = to = calloc(1, sizeof *to);
        to->next = w->all;
        w->all = to;
        to->own = from;
        to->parent = from->fts_parent == NULL || from->fts_level <= 0 ? NULL : entry_for(w, from->fts_parent);
        if (from->fts_level == 0 && from->fts_parent != NULL) to->parent = entry_for(w, from->fts_parent);
    }
    to->accpath = from->fts_accpath, to->path = from->fts_path, to->error = errno_to_darwin(from->fts_errno);
    to->pathlen = from->fts_pathlen, to->namelen = from->fts_namelen, to->level = from->fts_level, to->info = from->fts_info;
    to->ino = from->fts_ino, to->dev = (int32_t)from->fts_dev, to->nlink = (uint16_t)from->fts_nlink;
    snprintf(to->name, sizeof to->name, "%s", from->fts_name);
    bool stats = (w->options & FTS_NOSTAT) == 0; // else Linux leaves fts_statp as it was in memory
    if (stats && from->fts_statp != NULL && from->fts_info != FTS_NS && from->fts_info != FTS_NSOK && from->fts_level >= 0)
        stat_to_darwin(from->fts_statp, NULL, &to->stat);
    to->statp = &to->stat;
    return to;
}
static int compare_own(const FTSENT **a, const FTSENT **b) {
    const struct darwin_ftsent *x = entry_for(walking, (FTSENT *)*a), *y = entry_for(walking, (FTSENT *)*b);
    return walking->compare(&x, &y);
}

enum { FTS_KNOWN = FTS_COMFOLLOW | FTS_LOGICAL | FTS_NOCHDIR | FTS_NOSTAT | FTS_PHYSICAL | FTS_SEEDOT | FTS_XDEV };
static struct walk *d_fts_open(char *const *paths, int options_of, int (*compare)(const struct darwin_ftsent **, const struct darwin_ftsent **)) {
    struct walk *w = calloc(1, sizeof *w);
    walking = w;
    w->compare = compare;
    w->options = options_of;
    w->own = fts_open(paths, options_of & FTS_KNOWN, compare == NULL ? NULL : compare_own);
    if (w->own != NULL) return w;
    free(w);
    return retp(NULL);
}
static struct darwin_ftsent *d_fts_read(struct walk *w) {
    walking = w;
    errno = 0;
    FTSENT *got = fts_read(w->own);
    if (got == NULL) darwin_errno = errno_to_darwin(errno);
    return entry_for(w, got);
}
static struct darwin_ftsent *d_fts_children(struct walk *w, int options_of) {
    walking = w;
    errno = 0;
    FTSENT *first = fts_children(w->own, options_of == 0 ? 0 : FTS_NAMEONLY);
    if (first == NULL) darwin_errno = errno_to_darwin(errno);
    for (FTSENT *at = first; at != NULL; at = at->fts_link) entry_for(w, at)->link = entry_for(w, at->fts_link);
    return entry_for(w, first);
}
static long d_fts_set(struct walk *w, struct darwin_ftsent *entry, int instruction) { return (int)ret(fts_set(w->own, entry->own, instruction)); }
static long d_fts_close(struct walk *w) {
    int result = (int)ret(fts_close(w->own));
    while (w->all != NULL) {
        struct darwin_ftsent *next = w->all->next;
        free(w->all);
        w->all = next;
    }
    free(w);
    return result;
}

// ---- ftw and nftw

static __thread int (*visit_plain)(const char *, const struct darwin_stat *, int);
static __thread int (*visit_new)(const char *, const struct darwin_stat *, int, void *);
static int kind_to_darwin(int kind) { // FTW_F, D, DNR, DP, NS, SL, SLN there
    static const int kinds[][2] = {{FTW_F, 0}, {FTW_D, 1}, {FTW_DNR, 2}, {FTW_DP, 3}, {FTW_NS, 4}, {FTW_SL, 5}, {FTW_SLN, 6}};
    for (size_t i = 0; i < COUNT(kinds); i++)
        if (kinds[i][0] == kind) return kinds[i][1];
    return 4;
}
static int visit(const char *path, const struct stat *st, int kind, struct FTW *at) {
    struct darwin_stat own;
    stat_to_darwin(st, path, &own);
    return visit_new != NULL ? visit_new(path, &own, kind_to_darwin(kind), at) : visit_plain(path, &own, kind_to_darwin(kind));
}
static long d_nftw(const char *path, int (*function)(const char *, const struct darwin_stat *, int, void *), int depth, int flags) {
    enum { PHYS = 1, MOUNT = 2, DEPTH = 4, CHDIR = 8 };
    visit_new = function;
    return (int)ret(nftw(path, visit, depth,
                         (flags & PHYS ? FTW_PHYS : 0) | (flags & MOUNT ? FTW_MOUNT : 0) | (flags & DEPTH ? FTW_DEPTH : 0) | (flags & CHDIR ? FTW_CHDIR : 0)));
}
static long d_ftw(const char *path, int (*function)(const char *, const struct darwin_stat *, int), int depth) {
    visit_plain = function;
    visit_new = NULL;
    return (int)ret(nftw(path, visit, depth, 0));
}

// ---- glob

struct darwin_glob {
    size_t paths;
    int matches;
    size_t offset;
    int flags;
    char **list;
    void *fault;
    void (*closedir)(void *);
    struct darwin_dirent *(*readdir)(void *);
    void *(*opendir)(const char *);
    int (*lstat)(const char *, struct darwin_stat *), (*stat)(const char *, struct darwin_stat *);
};
enum {
    D_GLOB_ALTDIRFUNC = 0x40, D_GLOB_APPEND = 1, D_GLOB_DOOFFS = 2, D_GLOB_ERR = 4, D_GLOB_MARK = 8, D_GLOB_NOCHECK = 0x10, D_GLOB_NOSORT = 0x20,
    D_GLOB_NOESCAPE = 0x2000, D_GLOB_BRACE = 0x80, D_GLOB_TILDE = 0x800
};
// The program's own functions for directories, while its glob runs.
static __thread const struct darwin_glob *given;
static struct dirent *given_readdir(void *d) {
    static __thread struct dirent entry;
    const struct darwin_dirent *from = given->readdir(d);
    if (from == NULL) return NULL;
    entry = (struct dirent){.d_ino = from->ino, .d_type = from->type, .d_reclen = sizeof entry};
    memcpy(entry.d_name, from->name, from->namlen + 1);
    return &entry;
}
static int given_status(int (*look)(const char *, struct darwin_stat *), const char *path, struct stat *to) {
    struct darwin_stat from;
    if (look(path, &from) != 0) return -1;
    *to = (struct stat){.st_mode = from.mode};
    return 0;
}
static int given_stat(const char *path, struct stat *to) { return given_status(given->stat, path, to); }
static int given_lstat(const char *path, struct stat *to) { return given_status(given->lstat, path, to); }

static long d_glob(const char *pattern, int flags, int (*fault)(const char *, int), struct darwin_glob *to) {
    glob_t own = {0};
    struct darwin_glob functions = *to;
    if ((flags & D_GLOB_ALTDIRFUNC) != 0) {
        given = &functions;
        own = (glob_t){.gl_opendir = (void *(*)(const char *))functions.opendir,
                       .gl_readdir = given_readdir,
                       .gl_closedir = functions.closedir,
                       .gl_stat = given_stat,
                       .gl_lstat = given_lstat};
    }
    if ((flags & (D_GLOB_APPEND | D_GLOB_DOOFFS)) != 0) unmodelled("glob with flags %#x", flags);
    int code = glob(pattern, (flags & D_GLOB_ERR ? GLOB_ERR : 0) | (flags & D_GLOB_MARK ? GLOB_MARK : 0) | (flags & D_GLOB_NOCHECK ? GLOB_NOCHECK : 0) |
                        (flags & D_GLOB_NOSORT ? GLOB_NOSORT : 0) | (flags & D_GLOB_NOESCAPE ? GLOB_NOESCAPE : 0) | (flags & D_GLOB_BRACE ? GLOB_BRACE : 0) |
                        (flags & D_GLOB_TILDE ? GLOB_TILDE : 0) | (flags & D_GLOB_ALTDIRFUNC ? GLOB_ALTDIRFUNC : 0), fault, &own);
    *to = (struct darwin_glob){.paths = own.gl_pathc, .matches = (int)own.gl_pathc, .flags = flags, .list = own.gl_pathv};
    return code == 0 ? 0 : code == GLOB_NOSPACE ? -1 : code == GLOB_ABORTED ? -2 : -3;
}
static void d_globfree(struct darwin_glob *g) {
    glob_t own = {.gl_pathc = g->paths, .gl_pathv = g->list};
    globfree(&own);
    *g = (struct darwin_glob){0};
}

const struct shim directory_shims[] = {
    OWN_AS(INODE64("opendir"), opendir, 0), OWN_AS(INODE64("fdopendir"), fdopendir, 0), OWN_AS(INODE64("readdir"), readdir, 0),
    OWN_AS(INODE64("readdir_r"), readdir_r, 0), OWN(closedir), OWN(dirfd), OWN_AS(INODE64("rewinddir"), rewinddir, 0), OWN_AS(INODE64("telldir"), telldir, 0),
    OWN_AS(INODE64("seekdir"), seekdir, 0), OWN_AS(INODE64("alphasort"), alphasort, 0), OWN_AS(INODE64("scandir"), scandir, 0),
    OWN_AS(INODE64("fts_open"), fts_open, 0), OWN_AS(INODE64("fts_read"), fts_read, 0), OWN_AS(INODE64("fts_children"), fts_children, 0),
    OWN_AS(INODE64("fts_set"), fts_set, 0), OWN_AS(INODE64("fts_close"), fts_close, 0), OWN_AS(INODE64("glob"), glob, 0), OWN(globfree),
    OWN_AS(INODE64("nftw"), nftw, 0), OWN_AS(INODE64("ftw"), ftw, 0),
#ifdef __x86_64__
    OWN(opendir), // the same as with the suffix
#endif
    END
};
