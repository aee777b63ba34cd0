// From what a program passes (a descriptor and a path) to whose file it is; and what a descriptor itself tells.
#define _GNU_SOURCE
#include "layer.h"

char remote_cwd[PATH_MAX];
_Atomic int own_root;

static int join_path(char buffer[PATH_MAX], const char *path) {
    size_t base = strlen(buffer), n = strlen(path);
    if (base + n + 2 > PATH_MAX) return 0;
    if (base > 1) buffer[base++] = '/';
    memcpy(buffer + base, path, n + 1);
    return 1;
}

// Relative paths below a directory of this machine are this machine's, and nothing is spent on them, unless the pod may have something there: at the
// root, or wherever patterns of the user's may say so (RULE_RELATIVE). open_root is set when this process opens the root directory.
static _Atomic int open_root;
static _Atomic int cwd_is_root = -1; // of the kernel's working directory; -1: not known

void note_open(const char *path) {
    if (is_address(path) && path[0] == '/' && (path[1] == 0 || (path[1] == '.' && path[2] == 0))) atomic_store(&open_root, 1);
}

void note_chdir(void) { atomic_store(&cwd_is_root, -1); }

static int at_root(void) {
    int known = atomic_load_explicit(&cwd_is_root, memory_order_relaxed);
    if (likely(known >= 0)) return known;
    char cwd[PATH_MAX];
    known = local_path(AT_FDCWD, cwd) == 1;
    atomic_store(&cwd_is_root, known);
    return known;
}

// local_directory puts the path of this machine's directory into buffer, when relative paths from there may be the pod's.
static int local_directory(const struct rules *r, int dirfd, char buffer[PATH_MAX]) {
    int may_be_root = dirfd == AT_FDCWD ? at_root() : atomic_load_explicit(&open_root, memory_order_relaxed);
    return (may_be_root || (r->flags & RULE_RELATIVE)) && local_path(dirfd, buffer) > 0 && buffer[0] == '/';
}

int folder(int dirfd, char path[PATH_MAX]) {
    if (dirfd == AT_FDCWD && remote_cwd[0] != 0) {
        strcpy(path, remote_cwd);
        return 1;
    }
    return (dirfd != AT_FDCWD && tagged_directory(dirfd, path)) || (local_path(dirfd, path) > 0 && path[0] == '/');
}

static NOINLINE enum action locate_relative(const struct rules *r, int dirfd, const char **path, int writing, char buffer[PATH_MAX]) {
    int below_pod = 1;
    if (dirfd == AT_FDCWD && remote_cwd[0] != 0)
        strcpy(buffer, remote_cwd);
    else if (dirfd == AT_FDCWD || (r != &severed && atomic_load_explicit(&r->live_dirs, memory_order_relaxed) == 0) ||
             !tagged_directory(dirfd, buffer))
        below_pod = 0;
    if (!below_pod && !local_directory(r, dirfd, buffer)) return ACTION_LOCAL;
    if (!join_path(buffer, *path)) return ACTION_LOCAL;
    enum action action = classify(r, buffer, writing);
    if (action == ACTION_LOCAL && !below_pod) return ACTION_LOCAL; // as the kernel takes it
    *path = buffer;
    char cleaned[PATH_MAX];
    // The folders that ".." leads back through need not be on this machine.
    if (action == ACTION_LOCAL && clean(buffer, cleaned)) strcpy(buffer, cleaned);
    return action;
}

enum action locate(int dirfd, const char **path, int writing, char buffer[PATH_MAX]) {
    const char *p = *path;
    if (!is_address(p) || p[0] == 0) return ACTION_LOCAL;
    if (p[0] != '/' && dirfd != AT_FDCWD && dirfd < 0) return ACTION_LOCAL;
    const struct rules *r = rules();
    if (r == NULL || !(r->flags & RULE_FILES) || atomic_load_explicit(&own_root, memory_order_relaxed)) return ACTION_LOCAL;
    int follow = writing & FOLLOWED;
    writing &= ~FOLLOWED;
    if (p[0] != '/') return locate_relative(r, dirfd, path, writing, buffer);
#if !defined(__APPLE__)
    int whole;
    if ((p[1] == 'p' || p[1] == 'd') && through_link(p, buffer, &whole) && (follow || !whole)) {
        *path = buffer;
        return classify(r, buffer, writing);
    }
#else
    (void)follow;
#endif
    return classify(r, p, writing);
}

// ---- tags

// The fields of a tag in their order, after "mirrord:<kind>:", in hex, joined by '-'.
enum { TAG_DEV, TAG_INO, TAG_MODE, TAG_NLINK, TAG_UID, TAG_GID, TAG_RDEV, TAG_SIZE, TAG_BLKSIZE, TAG_BLOCKS, TAG_ATIME, TAG_MTIME,
       TAG_CTIME, TAG_FIELDS };

static struct timespec nanoseconds(uint64_t since_1970) {
    int64_t t = (int64_t)since_1970, seconds = t / 1000000000, rest = t % 1000000000;
    if (rest < 0) seconds--, rest += 1000000000;
    return (struct timespec){.tv_sec = seconds, .tv_nsec = rest};
}

static void fill_stat(struct stat *st, const uint64_t v[TAG_FIELDS]) {
    memset(st, 0, sizeof *st);
    st->st_dev = (dev_t)v[TAG_DEV];
    st->st_ino = (ino_t)v[TAG_INO];
    st->st_mode = (mode_t)v[TAG_MODE];
    st->st_nlink = (nlink_t)v[TAG_NLINK];
    st->st_uid = (uid_t)v[TAG_UID];
    st->st_gid = (gid_t)v[TAG_GID];
    st->st_rdev = (dev_t)v[TAG_RDEV];
    st->st_size = (off_t)v[TAG_SIZE];
    st->st_blksize = (blksize_t)v[TAG_BLKSIZE];
    st->st_blocks = (blkcnt_t)v[TAG_BLOCKS];
    st->st_atim = nanoseconds(v[TAG_ATIME]);
    st->st_mtim = nanoseconds(v[TAG_MTIME]);
    st->st_ctim = nanoseconds(v[TAG_CTIME]);
}

void read_stat(struct frame *f, struct stat *st) {
    uint64_t v[TAG_FIELDS];
    for (int i = 0; i < TAG_FIELDS; i++) v[i] = get_u64(f); // a reply has the fields in the same order
    fill_stat(st, v);
}

// ask_descriptor asks what is known of a file that is no snapshot.
static int ask_descriptor(const char *number, struct stat *st) {
    uint8_t buffer[LABEL + 256];
    struct frame f = frame_begin(buffer, sizeof buffer, FRAME_STAT, session.token);
    put_u8(&f, STAT_DESCRIPTOR);
    put_str(&f, number);
    if (ask(&f, NULL, 0) != STATUS_OK) return 0;
    read_stat(&f, st);
    return !f.broken;
}

int read_tag(int fd, struct stat *st) {
    char label[LABEL];
    if (fd < 0 || !read_label(fd, label) || strncmp(label, "mirrord:", 8) != 0) return 0;
    char kind = label[8];
    if ((kind != 'f' && kind != 'd' && kind != 'p' && kind != 'l') || label[9] != ':') return 0;
    if (st == NULL) return kind;
    if (kind == 'l') return ask_descriptor(label + 10, st) ? kind : 0;
    uint64_t v[TAG_FIELDS] = {0};
    const char *p = label + 10;
    for (int i = 0; i < TAG_FIELDS; i++, p++) {
        for (; (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'f'); p++)
            v[i] = v[i] << 4 | (uint64_t)(*p <= '9' ? *p - '0' : *p - 'a' + 10);
        if (*p != (i < TAG_FIELDS - 1 ? '-' : 0)) return 0;
    }
    fill_stat(st, v);
    return kind;
}

// held_path puts the path that the content of fd begins with into path; 0 if there is none.
static int held_path(int fd, int directory, char path[PATH_MAX]) {
    struct stat st;
    uint16_t length;
    // Native first: only an unlinked regular file can be one of ours.
    if (fd < 0 || sys_fstat(fd, &st) < 0 || st.st_nlink != 0 || !S_ISREG(st.st_mode)) return 0;
    int kind = read_tag(fd, &st);
    if (kind != 'd' && (kind != 'p' || S_ISDIR(st.st_mode) != directory)) return 0;
    int content = open_content(fd);
    if (content < 0) return 0;
    int found = sys_pread(content, &length, 2, 0) == 2 && length > 0 && length < PATH_MAX && sys_pread(content, path, length, 2) == length;
    sys_close(content);
    if (found) path[length] = 0;
    return found;
}

int tagged_directory(int fd, char path[PATH_MAX]) { return held_path(fd, 1, path); }
int tagged_place(int fd, char path[PATH_MAX]) { return held_path(fd, 0, path); }
