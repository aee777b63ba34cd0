// Programs that look at one entry of a directory mostly look at all. The second question about the same directory asks for its neighbours too, and what
// comes is kept for as long as the broker says, at most a second: ls -l of ten thousand files asks twenty times. One such piece is kept in the process;
// whoever finds it in use, another thread or the program below a signal handler, asks for itself.
#define _GNU_SOURCE
#include "layer.h"

#include <errno.h>
#include <time.h>

static struct {
    _Atomic int busy;
    uint64_t last;       // a hash of the directory that was asked about last
    int64_t until;       // monotonic, nanoseconds; 0: there are none
    uint32_t generation; // what was written to since is another, or no longer the pod's
    struct frame first;  // the entries
    struct frame next;   // behind the one that was found last
    char dir[PATH_MAX];
    uint8_t data[FRAME_HEADER + FRAME_MAX];
} near;

static int try_near(void) {
    int free = 0;
    return atomic_compare_exchange_strong(&near.busy, &free, 1);
}

static void leave_near(void) { atomic_store(&near.busy, 0); }

static int64_t monotonic(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint32_t generation(const struct rules *r) { return atomic_load(&r->live_local) + atomic_load(&r->live_changed); }

// name_of returns the last element of a path; *length is that of what stands before its slash.
static const char *name_of(const char *path, size_t *length) {
    const char *slash = strrchr(path, '/');
    *length = (size_t)(slash - path);
    return slash + 1;
}

static uint64_t hash_of(const char *s, size_t length) {
    uint64_t h = 0xcbf29ce484222325;
    while (length-- > 0) h = (h ^ (uint8_t)*s++) * 0x100000001b3;
    return h;
}

// search looks for name from f on, up to end; f is then behind it.
static int search(struct frame *f, uint32_t end, const char *name, struct stat *st) {
    size_t length = strlen(name);
    uint16_t n;
    while (f->at < end) {
        const char *entry = get_str(f, &n);
        if (n == length && memcmp(entry, name, n) == 0) {
            read_stat(f, st);
            return !f->broken;
        }
        f->at += 13 * 8;
        if (f->at > f->size) return 0;
    }
    return 0;
}

int neighbour(const char *path, struct stat *st, int nofollow) {
    if (near.until == 0 || path[0] != '/' || !try_near()) return 0;
    size_t length;
    struct stat found;
    const char *name = name_of(path, &length);
    const struct rules *r = rules();
    int known = 0;
    if (near.until != 0 && strncmp(path, near.dir, length) == 0 && near.dir[length] == 0 && r != &severed) {
        if (near.generation != generation(r) || monotonic() >= near.until)
            near.until = 0;
        else if (search(&near.next, near.next.size, name, &found))
            known = 1;
        else {
            near.next = near.first;
            known = search(&near.next, near.next.size, name, &found);
            if (!known) near.next = near.first;
        }
    }
    leave_near();
    if (!known || (!nofollow && S_ISLNK(found.st_mode))) return 0;
    *st = found;
    return 1;
}

int ask_with_neighbours(const char *path, struct stat *st, int nofollow, int *result) {
    size_t length;
    if (path[0] != '/' || !try_near()) return 0;
    name_of(path, &length);
    uint64_t hash = hash_of(path, length);
    const struct rules *r = rules();
    if (near.last != hash || r == &severed || length >= sizeof near.dir) {
        near.last = hash;
        leave_near();
        return 0;
    }
    near.until = 0;
    memcpy(near.dir, path, length);
    near.dir[length] = 0;
    near.generation = generation(r);
    int64_t asked = monotonic();
    struct frame f = frame_begin(near.data, sizeof near.data, FRAME_STAT, session.token);
    put_u8(&f, STAT_NEIGHBOURS | (nofollow != 0));
    put_str(&f, path);
    *result = settle(ask(&f, NULL, 0));
    if (*result == 0) {
        read_stat(&f, st);
        uint32_t life = get_u32(&f);
        uint16_t size = get_u16(&f);
        if (f.broken || size > f.size - f.at) {
            *result = fail(EIO);
        } else if (size > 0) {
            near.first = (struct frame){f.data, f.at + size, f.at, 0};
            near.next = near.first;
            near.until = asked + (int64_t)life * 1000000;
        }
    }
    leave_near();
    return 1;
}
