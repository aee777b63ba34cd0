// Directories of the pod. An open one is a descriptor whose content is the directory's path (u16 length, bytes) and its entries; a stream over it
// is ours, told from libc's by its first word.
#define _GNU_SOURCE
#include "layer.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <unistd.h>

// libc's DIR starts with a descriptor, which is never negative as this word's lower half is.
static const uint64_t stream_magic = 0x646f702dffffffffULL;

struct stream {
    uint64_t magic; // stream_magic
    int fd;         // owned
    uint32_t size;  // bytes of data
    uint32_t first; // where the entries start in data
    uint32_t at;    // the next entry
    uint8_t *data;  // the descriptor's content, malloc'ed with the stream
    struct dirent entry;
};

static struct stream *ours(DIR *dir) {
    struct stream *s = (struct stream *)dir;
    return unlikely(dir != NULL && s->magic == stream_magic) ? s : NULL;
}

// next_entry reads the entry at *at of data: u64 ino, u8 type, u8 0, u16 length, name. 0 at the end.
static int next_entry(const uint8_t *data, uint32_t size, uint32_t *at, struct dirent *out) {
    struct frame f = {(uint8_t *)data, size, *at, 0};
    uint16_t length;
    uint64_t ino = get_u64(&f);
    uint8_t type = get_u8(&f);
    get_u8(&f);
    const char *name = get_str(&f, &length);
    if (f.broken || length >= sizeof out->d_name) return 0;
    out->d_ino = ino;
#if defined(__APPLE__)
    out->d_seekoff = f.at;
    out->d_namlen = length;
#else
    out->d_off = f.at;
#endif
    out->d_type = type;
    out->d_reclen = (unsigned short)((offsetof(struct dirent, d_name) + length + 1 + 7) & ~7UL);
    memcpy(out->d_name, name, length);
    out->d_name[length] = 0;
    *at = f.at;
    return 1;
}

DIR *remote_fdopendir(int fd) {
    struct stat st;
    uint16_t path_length;
    if (sys_fstat(fd, &st) < 0 || st.st_size < 2 || st.st_size > INT32_MAX) {
        errno = EIO;
        return NULL;
    }
    struct stream *s = calloc(1, sizeof *s + (size_t)st.st_size);
    if (s == NULL) return NULL;
    s->magic = stream_magic;
    s->fd = fd;
    s->data = (uint8_t *)(s + 1);
    int content = open_content(fd);
    while (content >= 0 && s->size < (uint32_t)st.st_size) {
        long n = sys_pread(content, s->data + s->size, (size_t)st.st_size - s->size, s->size);
        if (n == -EINTR) continue;
        if (n <= 0) break;
        s->size += (uint32_t)n;
    }
    if (content >= 0) sys_close(content);
    memcpy(&path_length, s->data, 2);
    s->first = s->at = 2u + path_length;
    return (DIR *)s;
}

EXPORT DIR *fdopendir(int fd) {
    const struct rules *r = session.active ? rules() : NULL;
    char path[PATH_MAX];
    if (unlikely(r != NULL && atomic_load(&r->live_dirs) > 0) && tagged_directory(fd, path)) {
        sys_fcntl(fd, F_SETFD, FD_CLOEXEC);
        return remote_fdopendir(fd);
    }
    return ORIGINAL(fdopendir)(fd);
}

EXPORT DIR *opendir(const char *path) {
    char buffer[PATH_MAX];
    enum action action = locate(AT_FDCWD, &path, FOLLOWED, buffer);
    if (likely(action == ACTION_LOCAL)) {
        if (path != NULL) note_open(path);
        return ORIGINAL(opendir)(path);
    }
    if (action == ACTION_MISSING) {
        errno = ENOENT;
        return NULL;
    }
    int fd = remote_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd == NOT_OURS) return ORIGINAL(opendir)(path);
    if (fd < 0) return NULL;
    DIR *dir = remote_fdopendir(fd);
    if (dir == NULL) sys_close(fd);
    return dir;
}

EXPORT struct dirent *readdir(DIR *dir) {
    struct stream *s = ours(dir);
    if (likely(s == NULL)) return ORIGINAL(readdir)(dir);
    return next_entry(s->data, s->size, &s->at, &s->entry) ? &s->entry : NULL;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
EXPORT int readdir_r(DIR *restrict dir, struct dirent *restrict entry, struct dirent **restrict result) {
    struct stream *s = ours(dir);
    if (likely(s == NULL)) return ORIGINAL(readdir_r)(dir, entry, result);
    *result = next_entry(s->data, s->size, &s->at, entry) ? entry : NULL;
    return 0;
}
#pragma GCC diagnostic pop

EXPORT int closedir(DIR *dir) {
    struct stream *s = ours(dir);
    if (likely(s == NULL)) return ORIGINAL(closedir)(dir);
    sys_close(s->fd);
    s->magic = 0;
    free(s);
    return 0;
}

EXPORT void rewinddir(DIR *dir) {
    struct stream *s = ours(dir);
    if (s == NULL)
        ORIGINAL(rewinddir)(dir);
    else
        s->at = s->first;
}

EXPORT void seekdir(DIR *dir, long position) {
    struct stream *s = ours(dir);
    if (s == NULL)
        ORIGINAL(seekdir)(dir, position);
    else if (position >= (long)s->first && position <= (long)s->size)
        s->at = (uint32_t)position;
}

EXPORT long telldir(DIR *dir) {
    struct stream *s = ours(dir);
    return s != NULL ? (long)s->at : ORIGINAL(telldir)(dir);
}

EXPORT int dirfd(DIR *dir) {
    struct stream *s = ours(dir);
    return s != NULL ? s->fd : ORIGINAL(dirfd)(dir);
}

#if !defined(__APPLE__)
// getdents64 on a directory of the pod: its descriptor's own offset is the position, as with any directory.
EXPORT ssize_t getdents64(int fd, void *buffer, size_t size) {
    const struct rules *r = session.active ? rules() : NULL;
    char path[PATH_MAX];
    if (likely(r == NULL || atomic_load(&r->live_dirs) == 0) || !tagged_directory(fd, path))
        return ORIGINAL(getdents64)(fd, buffer, size);
    long at = lseek(fd, 0, SEEK_CUR);
    if (at < 0) return -1; // O_PATH
    if (at == 0) at = 2 + (long)strlen(path);
    size_t used = 0;
    int content = open_content(fd);
    while (content >= 0) {
        uint8_t raw[12 + NAME_MAX + 1];
        long n = sys_pread(content, raw, sizeof raw, at);
        struct dirent entry;
        uint32_t length = 0;
        if (n <= 0 || !next_entry(raw, (uint32_t)n, &length, &entry)) break;
        if (used + entry.d_reclen > size) {
            if (used > 0) break;
            sys_close(content);
            errno = EINVAL;
            return -1;
        }
        at += length;
        entry.d_off = at;
        memcpy((char *)buffer + used, &entry, entry.d_reclen);
        used += entry.d_reclen;
    }
    if (content >= 0) sys_close(content);
    lseek(fd, at, SEEK_SET);
    return (ssize_t)used;
}
#endif

// ---- what libc builds on these, by calls that cannot be interposed

// collect is scandir over a stream, which it closes.
static int collect(DIR *dir, struct dirent ***list, int (*filter)(const struct dirent *),
                   int (*compare)(const struct dirent **, const struct dirent **)) {
    struct dirent **found = NULL, *entry;
    size_t n = 0, room = 0;
    while ((entry = readdir(dir)) != NULL) {
        if (filter != NULL && !filter(entry)) continue;
        if (n == room) {
            room = room == 0 ? 32 : 2 * room;
            struct dirent **grown = realloc(found, room * sizeof *found);
            if (grown == NULL) goto failed;
            found = grown;
        }
        found[n] = malloc(entry->d_reclen);
        if (found[n] == NULL) goto failed;
        memcpy(found[n++], entry, entry->d_reclen);
    }
    closedir(dir);
    if (compare != NULL && n > 1) qsort(found, n, sizeof *found, (int (*)(const void *, const void *))compare);
    *list = found;
    return (int)n;
failed:
    while (n > 0) free(found[--n]);
    free(found);
    closedir(dir);
    errno = ENOMEM;
    return -1;
}

EXPORT int scandir(const char *path, struct dirent ***restrict list, int (*filter)(const struct dirent *),
                   int (*compare)(const struct dirent **, const struct dirent **)) {
    char buffer[PATH_MAX];
    if (likely(locate(AT_FDCWD, &path, 0, buffer) == ACTION_LOCAL)) return ORIGINAL(scandir)(path, list, filter, compare);
    DIR *dir = opendir(path);
    return dir != NULL ? collect(dir, list, filter, compare) : -1;
}

#if !defined(__APPLE__)
EXPORT int scandirat(int dirfd, const char *path, struct dirent ***restrict list, int (*filter)(const struct dirent *),
                     int (*compare)(const struct dirent **, const struct dirent **)) {
    char buffer[PATH_MAX];
    if (likely(locate(dirfd, &path, 0, buffer) == ACTION_LOCAL))
        return ORIGINAL(scandirat)(dirfd, path, list, filter, compare);
    DIR *dir = opendir(path);
    return dir != NULL ? collect(dir, list, filter, compare) : -1;
}
#endif

// glob takes its directory functions from the caller when told to: then they are ours.
EXPORT int glob(const char *restrict pattern, int flags, int (*on_error)(const char *, int), glob_t *restrict out) {
    const struct rules *r = session.active ? rules() : NULL;
    if (r != NULL && (r->flags & RULE_FILES) && !(flags & GLOB_ALTDIRFUNC)) {
        flags |= GLOB_ALTDIRFUNC;
        out->gl_opendir = (void *(*)(const char *))opendir;
        out->gl_readdir = (struct dirent * (*)(void *)) readdir;
        out->gl_closedir = (void (*)(void *))(void (*)(void))closedir;
        out->gl_stat = stat;
        out->gl_lstat = lstat;
    }
    return ORIGINAL(glob)(pattern, flags, on_error, out);
}
