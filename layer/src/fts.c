// The fts functions over this library's own opendir and stat, for the reason given in walks.c. The working directory never changes (FTS_NOCHDIR is
// implied, as fts(3) permits): fts_accpath is fts_path.
#define _GNU_SOURCE
#include "layer.h"

#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <unistd.h>

// A bit of fts_options that libc uses for nothing: the handle is ours.
enum { FTS_OURS = 0x10000 };

// What fts_set asked for, in fts_instr, which is 0 or FTS_NOINSTR else.
static int instruction(FTSENT *e) {
    int asked = e->fts_instr;
    e->fts_instr = FTS_NOINSTR;
    return asked;
}

static int is_dot(const char *name) { return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0)); }

// new_entry makes an entry whose path is that of dir, if it is one, and name. Name, path and metadata are in the one piece of memory.
static FTSENT *new_entry(FTSENT *parent, const char *dir, const char *name, int level) {
    size_t n = strlen(name), base = dir != NULL ? strlen(dir) : 0;
    if (base > 0 && dir[base - 1] == '/') base--;
    size_t length = dir != NULL ? base + 1 + n : n, head = (sizeof(FTSENT) + n + 1 + 15) & ~(size_t)15;
    if (length > UINT16_MAX) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    FTSENT *e = calloc(1, head + sizeof(struct stat) + length + 1);
    if (e == NULL) return NULL;
    e->fts_statp = (struct stat *)((char *)e + head);
    e->fts_path = e->fts_accpath = (char *)(e->fts_statp + 1);
    if (dir != NULL) {
        memcpy(e->fts_path, dir, base);
        e->fts_path[base++] = '/';
    }
    memcpy(e->fts_path + base, name, n + 1);
    memcpy(e->fts_name, name, n + 1);
    e->fts_pathlen = (unsigned short)length;
    e->fts_namelen = (unsigned short)n;
    e->fts_level = (short)level;
    e->fts_parent = parent;
    e->fts_instr = FTS_NOINSTR;
    return e;
}

// classify_entry looks at an entry and returns its fts_info.
static unsigned short classify_entry(const FTS *fts, FTSENT *e, int follow) {
    struct stat *st = e->fts_statp;
    if (follow || fts->fts_options & FTS_LOGICAL) {
        if (stat(e->fts_path, st) != 0) {
            int saved = errno;
            if (lstat(e->fts_path, st) == 0) {
                errno = 0;
                return FTS_SLNONE;
            }
            e->fts_errno = saved;
            memset(st, 0, sizeof *st);
            return FTS_NS;
        }
    } else if (lstat(e->fts_path, st) != 0) {
        e->fts_errno = errno;
        memset(st, 0, sizeof *st);
        return FTS_NS;
    }
    e->fts_dev = st->st_dev;
    e->fts_ino = st->st_ino;
    e->fts_nlink = st->st_nlink;
    if (S_ISLNK(st->st_mode)) return FTS_SL;
    if (!S_ISDIR(st->st_mode)) return S_ISREG(st->st_mode) ? FTS_F : FTS_DEFAULT;
    if (is_dot(e->fts_name) && e->fts_level > FTS_ROOTLEVEL) return FTS_DOT;
    for (FTSENT *above = e->fts_parent; above->fts_level >= FTS_ROOTLEVEL; above = above->fts_parent)
        if (above->fts_ino == e->fts_ino && above->fts_dev == e->fts_dev) {
            e->fts_cycle = above;
            return FTS_DC;
        }
    return FTS_D;
}

static void free_list(FTSENT *list) {
    while (list != NULL) {
        FTSENT *next = list->fts_link;
        free(list);
        list = next;
    }
}

// sorted puts a list of n entries into the order of the caller's function.
static FTSENT *sorted(const FTS *fts, FTSENT *list, size_t n) {
    FTSENT **all = fts->fts_compar != NULL && n > 1 ? malloc(n * sizeof *all) : NULL;
    if (all == NULL) return list;
    n = 0;
    for (FTSENT *e = list; e != NULL; e = e->fts_link) all[n++] = e;
    qsort(all, n, sizeof *all, (int (*)(const void *, const void *))fts->fts_compar);
    for (size_t i = 0; i < n; i++) all[i]->fts_link = i + 1 < n ? all[i + 1] : NULL;
    list = all[0];
    free(all);
    return list;
}

// list_directory returns the entries of dir, NULL if there are none or with dir marked as unreadable. With names only the names count.
static FTSENT *list_directory(FTS *fts, FTSENT *dir, int names) {
    DIR *stream = opendir(dir->fts_path);
    if (stream == NULL) {
        if (!names) {
            dir->fts_info = FTS_DNR;
            dir->fts_errno = errno;
        }
        return NULL;
    }
    FTSENT *list = NULL, **end = &list;
    size_t n = 0;
    for (struct dirent *d; (d = readdir(stream)) != NULL;) {
        if (is_dot(d->d_name) && !(fts->fts_options & FTS_SEEDOT)) continue;
        FTSENT *e = new_entry(dir, dir->fts_path, d->d_name, dir->fts_level + 1);
        if (e == NULL) {
            dir->fts_info = FTS_ERR;
            dir->fts_errno = errno;
            free_list(list);
            closedir(stream);
            return NULL;
        }
        int plain = d->d_type != DT_DIR && d->d_type != DT_UNKNOWN;
        if (names || (fts->fts_options & FTS_NOSTAT && fts->fts_options & FTS_PHYSICAL && plain))
            e->fts_info = FTS_NSOK;
        else
            e->fts_info = classify_entry(fts, e, 0);
        *end = e;
        end = &e->fts_link;
        n++;
    }
    closedir(stream);
    return sorted(fts, list, n);
}

EXPORT FTS *fts_open(char *const *paths, int options, int (*compare)(const FTSENT **, const FTSENT **)) {
    if (!walks() || paths == NULL || (options & ~FTS_OPTIONMASK) || !(options & (FTS_LOGICAL | FTS_PHYSICAL)))
        return ORIGINAL(fts_open)(paths, options, compare);
    FTS *fts = calloc(1, sizeof *fts);
    FTSENT *top = new_entry(NULL, NULL, "", FTS_ROOTPARENTLEVEL), *list = NULL, **end = &list;
    size_t n = 0;
    if (fts == NULL || top == NULL) goto failed;
    if (options & FTS_LOGICAL) options |= FTS_NOCHDIR;
    fts->fts_options = options | FTS_OURS;
    fts->fts_compar = (__typeof__(fts->fts_compar))compare;
    for (; paths[n] != NULL; n++) {
        size_t length = strlen(paths[n]);
        FTSENT *e = length > 0 ? new_entry(top, NULL, paths[n], FTS_ROOTLEVEL) : NULL;
        if (e == NULL) {
            if (length == 0) errno = ENOENT;
            goto failed;
        }
        e->fts_info = classify_entry(fts, e, options & FTS_COMFOLLOW);
        if (e->fts_info == FTS_DOT) e->fts_info = FTS_D;
        // What is below is named without doubled slashes, and the root's own name is its last element.
        while (length > 1 && e->fts_path[length - 1] == '/') length--;
        const char *last = paths[n] + length - 1;
        while (last >= paths[n] && *last != '/') last--;
        if (last >= paths[n] && length > 1) {
            e->fts_namelen = (unsigned short)(length - (size_t)(last + 1 - paths[n]));
            memmove(e->fts_name, last + 1, e->fts_namelen);
            e->fts_name[e->fts_namelen] = 0;
        }
        *end = e;
        end = &e->fts_link;
    }
    fts->fts_child = sorted(fts, list, n);
    fts->fts_array = (FTSENT **)top; // kept for fts_close; libc's own use of the field is none of the caller's business
    return fts;
failed:
    free_list(list);
    free(top);
    free(fts);
    return NULL;
}

// arrive makes e the current entry.
static FTSENT *arrive(FTS *fts, FTSENT *e) {
    if (e->fts_level == FTS_ROOTLEVEL) fts->fts_dev = e->fts_dev;
    return fts->fts_cur = e;
}

EXPORT FTSENT *fts_read(FTS *fts) {
    if (!(fts->fts_options & FTS_OURS)) return ORIGINAL(fts_read)(fts);
    FTSENT *e = fts->fts_cur, *next;
    if (e == NULL) { // the beginning, or the end
        if ((e = fts->fts_child) == NULL) return NULL;
        fts->fts_child = NULL;
        return arrive(fts, e);
    }
    int asked = instruction(e);
    if (asked == FTS_AGAIN || (asked == FTS_FOLLOW && (e->fts_info == FTS_SL || e->fts_info == FTS_SLNONE))) {
        e->fts_info = classify_entry(fts, e, asked == FTS_FOLLOW);
        return e;
    }
    if (e->fts_info == FTS_D) {
        if (asked == FTS_SKIP || (fts->fts_options & FTS_XDEV && e->fts_dev != fts->fts_dev)) {
            free_list(fts->fts_child);
            fts->fts_child = NULL;
            e->fts_info = FTS_DP;
            return e;
        }
        if (fts->fts_child != NULL && fts->fts_options & FTS_NAMEONLY) {
            free_list(fts->fts_child);
            fts->fts_child = NULL;
        }
        fts->fts_options &= ~FTS_NAMEONLY;
        next = fts->fts_child != NULL ? fts->fts_child : list_directory(fts, e, 0);
        fts->fts_child = NULL;
        if (next == NULL) {
            if (e->fts_info == FTS_D) e->fts_info = FTS_DP;
            return e;
        }
        return arrive(fts, next);
    }
    for (;;) {
        next = e->fts_link;
        FTSENT *parent = e->fts_parent;
        free_list(fts->fts_child); // of a directory that was looked into and then not entered
        fts->fts_child = NULL;
        free(e);
        fts->fts_cur = NULL;
        if (next == NULL) {
            if (parent->fts_level == FTS_ROOTPARENTLEVEL) {
                errno = 0;
                return NULL;
            }
            parent->fts_info = parent->fts_errno != 0 ? FTS_ERR : FTS_DP;
            parent->fts_instr = FTS_NOINSTR;
            return fts->fts_cur = parent;
        }
        e = next;
        // What was asked while the entry was ahead, by fts_children; of the first of a directory fts_read sees to it at the next call.
        if (e->fts_instr == FTS_SKIP) continue;
        if (instruction(e) == FTS_FOLLOW) e->fts_info = classify_entry(fts, e, 1);
        return arrive(fts, e);
    }
}

EXPORT FTSENT *fts_children(FTS *fts, int options) {
    if (!(fts->fts_options & FTS_OURS)) return ORIGINAL(fts_children)(fts, options);
    FTSENT *e = fts->fts_cur;
    if (options != 0 && options != FTS_NAMEONLY) {
        errno = EINVAL;
        return NULL;
    }
    errno = 0;
    if (e == NULL) return fts->fts_child; // before the first fts_read: the roots
    if (e->fts_info != FTS_D) return NULL;
    free_list(fts->fts_child);
    fts->fts_options = options != 0 ? fts->fts_options | FTS_NAMEONLY : fts->fts_options & ~FTS_NAMEONLY;
    return fts->fts_child = list_directory(fts, e, options != 0);
}

EXPORT int fts_set(FTS *fts, FTSENT *e, int asked) {
    if (!(fts->fts_options & FTS_OURS)) return ORIGINAL(fts_set)(fts, e, asked);
    if (asked != 0 && asked != FTS_AGAIN && asked != FTS_FOLLOW && asked != FTS_NOINSTR && asked != FTS_SKIP) {
        errno = EINVAL;
        return 1;
    }
    e->fts_instr = (unsigned short)asked;
    return 0;
}

EXPORT int fts_close(FTS *fts) {
    if (!(fts->fts_options & FTS_OURS)) return ORIGINAL(fts_close)(fts);
    free_list(fts->fts_child);
    for (FTSENT *e = fts->fts_cur; e != NULL && e->fts_level >= FTS_ROOTLEVEL;) {
        FTSENT *parent = e->fts_parent;
        free_list(e);
        e = parent;
    }
    free(fts->fts_array);
    free(fts);
    return 0;
}
