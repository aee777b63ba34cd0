// ftw and nftw: libc's own reach directories by calls that cannot be interposed. These see what opendir and stat see, so a walk may begin on this
// machine and go on in the pod. Behaviour as in glibc's ftw.c where nftw(3) leaves it open.
#define _GNU_SOURCE
#include "layer.h"

#include <errno.h>
#include <ftw.h>
#include <search.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__APPLE__)
// glibc's extension, by which a visit says how to go on.
enum { FTW_ACTIONRETVAL = 0, FTW_SKIP_SUBTREE = 2, FTW_SKIP_SIBLINGS = 3 };
#endif

struct tree_walk {
    int (*visit)(const char *, const struct stat *, int, struct FTW *);
    int (*plain)(const char *, const struct stat *, int); // ftw's function; else NULL
    int flags;
    dev_t device; // of the root, for FTW_MOUNT
    struct FTW at;
    void *seen; // tsearch tree of struct place: directories visited, when links are followed
    size_t length;
    char path[PATH_MAX];
    char start[PATH_MAX]; // the working directory, for FTW_CHDIR
};

struct place {
    dev_t dev;
    ino_t ino;
};

static int compare_places(const void *a, const void *b) {
    const struct place *x = a, *y = b;
    if (x->dev != y->dev) return x->dev < y->dev ? -1 : 1;
    return x->ino == y->ino ? 0 : x->ino < y->ino ? -1 : 1;
}

// remember returns 1 for a directory that was not seen before, 0 for one that was, -1 without memory.
static int remember(struct tree_walk *w, const struct stat *st) {
    struct place *key = malloc(sizeof *key);
    if (key == NULL) return -1;
    *key = (struct place){st->st_dev, st->st_ino};
    struct place **slot = tsearch(key, &w->seen, compare_places);
    if (slot != NULL && *slot == key) return 1;
    free(key);
    return slot != NULL ? 0 : -1;
}

static void forget_places(struct tree_walk *w) {
    while (w->seen != NULL) {
        struct place *p = *(struct place **)w->seen;
        tdelete(p, &w->seen, compare_places);
        free(p);
    }
}

static int report(struct tree_walk *w, const struct stat *st, int type) {
    if (w->plain == NULL) return w->visit(w->path, st, type, &w->at);
    // ftw knows fewer types.
    return w->plain(w->path, st, type == FTW_SL ? FTW_F : type == FTW_DP ? FTW_D : type == FTW_SLN ? FTW_NS : type);
}

// enter_directory makes the first length bytes of the walk's path the working directory.
static int enter_directory(struct tree_walk *w, size_t length) {
    char target[2 * PATH_MAX];
    size_t n = 0;
    if (w->path[0] != '/') {
        n = strlen(w->start);
        memcpy(target, w->start, n);
        target[n++] = '/';
    }
    memcpy(target + n, w->path, length);
    target[n + length] = 0;
    return chdir(target);
}

// leave goes to the directory that holds the walk's path.
static int leave(struct tree_walk *w) { return w->at.base > 0 ? enter_directory(w, (size_t)w->at.base) : chdir(w->start); }

// look is stat for the walk's path, or lstat.
static int look(struct tree_walk *w, struct stat *st, int nofollow) {
    if (!(w->flags & FTW_CHDIR)) return nofollow ? lstat(w->path, st) : stat(w->path, st);
    const char *name = w->path[w->at.base] != 0 ? w->path + w->at.base : "/";
    return nofollow ? lstat(name, st) : stat(name, st);
}

static int walk_entry(struct tree_walk *w, const char *name);

// names_of reads a directory whole, so that one descriptor is enough however deep the tree is. The names are malloc'ed, one after the other; NULL
// with errno.
static char *names_of(const char *path, size_t *size) {
    DIR *dir = opendir(path);
    if (dir == NULL) return NULL;
    size_t room = 1024, used = 0;
    char *names = malloc(room);
    for (struct dirent *e; names != NULL && (e = readdir(dir)) != NULL;) {
        size_t n = strlen(e->d_name) + 1;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (used + n > room) {
            char *grown = realloc(names, room = 2 * room + n);
            if (grown == NULL) free(names);
            if ((names = grown) == NULL) break;
        }
        memcpy(names + used, e->d_name, n);
        used += n;
    }
    closedir(dir);
    *size = used;
    return names;
}

static int walk_directory(struct tree_walk *w, const struct stat *st) {
    int acts = w->flags & FTW_ACTIONRETVAL, result = 0;
    size_t size, length = w->length;
    const char *path = w->flags & FTW_CHDIR && w->path[w->at.base] != 0 ? w->path + w->at.base : w->path;
    char *names = names_of(path, &size);
    if (names == NULL) return errno == EACCES ? report(w, st, FTW_DNR) : -1;
    if (!(w->flags & FTW_DEPTH)) result = report(w, st, FTW_D);
    if (result == 0 && w->flags & FTW_CHDIR) result = enter_directory(w, length);
    if (result == 0) {
        int base = w->at.base;
        w->at.level++;
        w->at.base = (int)(length == 1 && w->path[0] == '/' ? 1 : length + 1);
        for (char *name = names; result == 0 && name < names + size; name += strlen(name) + 1) {
            w->length = length;
            w->path[length] = 0;
            result = walk_entry(w, name);
        }
        if (acts && result == FTW_SKIP_SIBLINGS) result = 0;
        w->length = length;
        w->path[length] = 0;
        w->at.level--;
        w->at.base = base;
        if (w->flags & FTW_CHDIR && leave(w) < 0 && result == 0) result = -1;
        if (result == 0 && w->flags & FTW_DEPTH) result = report(w, st, FTW_DP);
    }
    free(names);
    return result;
}

// walk_entry visits name in the directory that the walk's path names.
static int walk_entry(struct tree_walk *w, const char *name) {
    size_t n = strlen(name);
    if ((size_t)w->at.base + n >= sizeof w->path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    w->path[w->at.base - 1] = '/';
    memcpy(w->path + w->at.base, name, n + 1);
    w->length = (size_t)w->at.base + n;
    int physical = w->flags & FTW_PHYS, type, result = 0;
    struct stat st = {0};
    if (look(w, &st, physical) == 0)
        type = S_ISDIR(st.st_mode) ? FTW_D : S_ISLNK(st.st_mode) ? FTW_SL : FTW_F;
    else if (errno != EACCES && errno != ENOENT)
        return -1;
    else
        type = !physical && look(w, &st, 1) == 0 && S_ISLNK(st.st_mode) ? FTW_SLN : FTW_NS;
    if (type != FTW_NS && w->flags & FTW_MOUNT && st.st_dev != w->device) return 0;
    if (type != FTW_D) {
        result = report(w, &st, type);
    } else {
        int new = physical ? 1 : remember(w, &st);
        if (new != 0) result = new < 0 ? -1 : walk_directory(w, &st);
    }
    return w->flags & FTW_ACTIONRETVAL && result == FTW_SKIP_SUBTREE ? 0 : result;
}

static int walk_tree(struct tree_walk *w, const char *path) {
    size_t n = strlen(path);
    if (n == 0) return fail(ENOENT);
    if (n >= sizeof w->path) return fail(ENAMETOOLONG);
    memcpy(w->path, path, n + 1);
    while (n > 1 && w->path[n - 1] == '/') w->path[--n] = 0;
    w->length = n;
    const char *slash = strrchr(w->path, '/');
    w->at.base = slash != NULL ? (int)(slash - w->path) + 1 : 0;
    if (w->flags & FTW_CHDIR && (getcwd(w->start, sizeof w->start) == NULL || leave(w) < 0)) return -1;

    struct stat st;
    int result;
    if (look(w, &st, w->flags & FTW_PHYS) == 0) {
        w->device = st.st_dev;
        if (!S_ISDIR(st.st_mode))
            result = report(w, &st, S_ISLNK(st.st_mode) ? FTW_SL : FTW_F);
        else
            result = !(w->flags & FTW_PHYS) && remember(w, &st) < 0 ? -1 : walk_directory(w, &st);
    } else if (!(w->flags & FTW_PHYS) && errno == ENOENT && look(w, &st, 1) == 0 && S_ISLNK(st.st_mode)) {
        result = report(w, &st, FTW_SLN);
    } else {
        result = -1;
    }
    if (w->flags & FTW_ACTIONRETVAL && (result == FTW_SKIP_SUBTREE || result == FTW_SKIP_SIBLINGS)) result = 0;
    int saved = errno;
    if (w->flags & FTW_CHDIR) chdir(w->start);
    forget_places(w);
    errno = saved;
    return result;
}

// walks says whether trees may hold anything of the pod's in this process.
static int walks(void) {
    const struct rules *r = session.active ? rules() : NULL;
    return r != NULL && (r->flags & RULE_FILES);
}

static int walk_from(const char *path, struct tree_walk settings) {
    struct tree_walk *w = malloc(sizeof *w);
    if (w == NULL) return -1;
    *w = settings;
    int result = walk_tree(w, path);
    free(w);
    return result;
}

EXPORT int nftw(const char *path, int (*visit)(const char *, const struct stat *, int, struct FTW *), int depth, int flags) {
    if (!walks() || path == NULL || (flags & ~(FTW_PHYS | FTW_MOUNT | FTW_CHDIR | FTW_DEPTH | FTW_ACTIONRETVAL)))
        return ORIGINAL(nftw)(path, visit, depth, flags);
    return walk_from(path, (struct tree_walk){.visit = visit, .flags = flags});
}

EXPORT int ftw(const char *path, int (*visit)(const char *, const struct stat *, int), int depth) {
    if (!walks() || path == NULL) return ORIGINAL(ftw)(path, visit, depth);
    return walk_from(path, (struct tree_walk){.plain = visit});
}
