// Whose is a path? Answered from tables that the broker hands over once, without leaving the process.
#define _GNU_SOURCE
#include "layer.h"

int fetch_rules(void);

// Without a broker nobody knows what is remote. Rather than reading this machine's file in place of the pod's, everything but the system's own
// folders, the temporary ones and the working directory is answered with an error.
const struct rules severed = {
    .flags = RULE_FILES | RULE_NAMES | RULE_OUTGOING | RULE_UDP,
};
#if defined(__APPLE__)
static const char *const severed_local[] = {"/Applications", "/Library", "/System", "/Users", "/Volumes", "/bin", "/cores", "/dev", "/etc", "/nix", "/opt",
                                            "/private", "/sbin", "/tmp", "/usr", "/var/folders", "/var/select", "/var/tmp", NULL};
#else
static const char *const severed_local[] = {"/bin", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/nix", "/opt", "/proc",
                                            "/run", "/sbin", "/sys", "/tmp", "/usr", "/var/tmp", NULL};
#endif

static const struct rules none; // nothing is the pod's

static const struct rules *_Atomic mapped;

static const struct rules *map_rules(void) {
    int fd = fetch_rules();
    if (fd < 0) return &severed;
    struct stat st;
    const struct rules *r = NULL;
    if (sys_fstat(fd, &st) == 0 && st.st_size >= 4096) {
        void *at = sys_mmap((size_t)st.st_size, PROT_READ, MAP_SHARED, fd);
        if (!sys_failed(at)) r = at;
    }
    sys_close(fd);
    if (r == NULL || memcmp(r->magic, "MIRRORD\x01", 8) != 0 || r->size > st.st_size) return &severed;
    return r;
}

const struct rules *rules(void) {
    const struct rules *r = atomic_load_explicit(&mapped, memory_order_acquire);
    if (likely(r != NULL) || !session.active) return r;
    if (session.light) return &none;
    r = map_rules();
    // Severed is not remembered: the next call tries again. Two threads that map at once leave one extra mapping of the same pages.
    if (r != &severed) atomic_store_explicit(&mapped, r, memory_order_release);
    return r;
}

static uint32_t walk(const struct rules *r, uint32_t offset, const char *path) {
    const uint8_t *at = (const uint8_t *)r + offset;
    uint32_t states, classes;
    memcpy(&states, at, 4);
    memcpy(&classes, at + 4, 4);
    const uint8_t *class = at + 8;
    const uint32_t *accept = (const uint32_t *)(at + 8 + 256);
    const uint16_t *next = (const uint16_t *)(accept + states);
    uint32_t state = 0;
    for (const uint8_t *p = (const uint8_t *)path; *p != 0; p++) state = next[state * classes + class[*p]];
    return accept[state];
}

enum { MODE_DEFAULT = 1 << 7 }; // the class that every path is in

// is_below says whether path is folder or in it.
static int is_below(const char *path, const char *folder) {
    size_t n = strlen(folder);
    return strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == 0);
}

static enum action classify_severed(const char *path) {
    if (strcmp(path, "/") == 0) return ACTION_LOCAL;
    for (int i = 0; severed_local[i] != NULL; i++)
        if (is_below(path, severed_local[i])) return ACTION_LOCAL;
    char cwd[PATH_MAX];
    if (local_path(AT_FDCWD, cwd) > 1 && is_below(path, cwd)) return ACTION_LOCAL;
    return ACTION_REMOTE;
}

// needs_cleaning says whether the path has an empty, "." or ".." element, or a slash at its end.
static int needs_cleaning(const char *path) {
    for (const char *p = path; *p != 0; p++)
        if (*p == '/' && (p[1] == '/' || (p[1] == 0 && p != path) ||
                          (p[1] == '.' && (p[2] == '/' || p[2] == 0 || (p[2] == '.' && (p[3] == '/' || p[3] == 0))))))
            return 1;
    return 0;
}

int clean(const char *path, char out[PATH_MAX]) {
    size_t n = 0;
    while (*path != 0) {
        while (*path == '/') path++;
        size_t length = strcspn(path, "/");
        if (length == 2 && path[0] == '.' && path[1] == '.') {
            while (n > 0 && out[--n] != '/') {
            }
        } else if (length > 0 && !(length == 1 && path[0] == '.')) {
            if (n + length + 2 > PATH_MAX) return 0;
            out[n++] = '/';
            memcpy(out + n, path, length);
            n += length;
        }
        path += length;
    }
    if (n == 0) out[n++] = '/';
    out[n] = 0;
    return 1;
}

static NOINLINE enum action classify_unclean(const struct rules *r, const char *path, int writing) {
    char cleaned[PATH_MAX];
    // Too long for any system call; the original says so.
    return clean(path, cleaned) ? classify(r, cleaned, writing) : ACTION_LOCAL;
}

enum action classify(const struct rules *r, const char *path, int writing) {
    if (unlikely(needs_cleaning(path))) return classify_unclean(r, path, writing);
    if (unlikely(r == &severed)) return classify_severed(path);
    uint32_t mask = MODE_DEFAULT;
    for (int i = 0; i < 8 && r->automata[i] != 0; i++) mask |= walk(r, r->automata[i], path);
    return (enum action)r->actions[__builtin_ctz(mask)][writing != 0];
}

int is_pod_stream(const struct rules *r, const char *name) {
    if (!(r->flags & RULE_UNIX)) return 0;
    char cleaned[PATH_MAX];
    if (name[0] == '/' && unlikely(needs_cleaning(name))) {
        if (!clean(name, cleaned)) return 0;
        name = cleaned;
    }
    uint32_t mask = 0;
    for (unsigned i = 0; i < sizeof r->streams / sizeof *r->streams && r->streams[i] != 0; i++) mask |= walk(r, r->streams[i], name);
    return mask != 0;
}
