// What else programs ask about a path on macOS: extended attributes and the file system.
#include "layer.h"

#include <errno.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

EXPORT ssize_t getxattr(const char *path, const char *name, void *value, size_t size, uint32_t position, int options) {
    WITHOUT_ATTRIBUTES(path, options & XATTR_NOFOLLOW, fail(ENOATTR));
    return ORIGINAL(getxattr)(path, name, value, size, position, options);
}
EXPORT ssize_t listxattr(const char *path, char *list, size_t size, int options) {
    WITHOUT_ATTRIBUTES(path, options & XATTR_NOFOLLOW, 0);
    return ORIGINAL(listxattr)(path, list, size, options);
}

// pod_fs is what a Statfs reply holds, in Linux's terms.
struct pod_fs {
    uint64_t bsize, frsize, blocks, bfree, bavail, files, ffree, id, namelen, flags;
};
enum { LINUX_ST_RDONLY = 1 };

// statfs_elsewhere answers for a path that is not local: 0, -1 with errno; NOT_OURS means the original.
static int statfs_elsewhere(const char **path, struct pod_fs *out, char buffer[PATH_MAX]) {
    enum action action = locate(AT_FDCWD, path, 0, buffer);
    if (likely(action == ACTION_LOCAL)) return NOT_OURS;
    if (action == ACTION_MISSING) return fail(ENOENT);
    uint8_t frame[PATH_FRAME];
    struct frame f = frame_begin(frame, sizeof frame, FRAME_STATFS, session.token);
    put_str(&f, *path);
    int result = settle(ask(&f, NULL, 0));
    if (result != 0) return result;
    get_u64(&f); // the kind of file system, by Linux's numbers
    uint64_t *fields[] = {&out->bsize, &out->frsize, &out->blocks, &out->bfree, &out->bavail, &out->files, &out->ffree, &out->id, &out->namelen, &out->flags};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) *fields[i] = get_u64(&f);
    return f.broken ? fail(EIO) : 0;
}

EXPORT int statfs(const char *path, struct statfs *out) {
    char buffer[PATH_MAX];
    struct pod_fs fs;
    int result = statfs_elsewhere(&path, &fs, buffer);
    if (result == NOT_OURS) return ORIGINAL(statfs)(path, out);
    if (result != 0) return result;
    memset(out, 0, sizeof *out);
    out->f_bsize = (uint32_t)(fs.frsize != 0 ? fs.frsize : fs.bsize); // what blocks are counted in
    out->f_iosize = (int32_t)fs.bsize;
    out->f_blocks = fs.blocks;
    out->f_bfree = fs.bfree;
    out->f_bavail = fs.bavail;
    out->f_files = fs.files;
    out->f_ffree = fs.ffree;
    memcpy(&out->f_fsid, &fs.id, sizeof out->f_fsid);
    out->f_flags = fs.flags & LINUX_ST_RDONLY ? MNT_RDONLY : 0;
    strcpy(out->f_fstypename, "mirrord");
    strcpy(out->f_mntonname, "/");
    strcpy(out->f_mntfromname, "pod");
    return 0;
}

EXPORT int statvfs(const char *path, struct statvfs *out) {
    char buffer[PATH_MAX];
    struct pod_fs fs;
    int result = statfs_elsewhere(&path, &fs, buffer);
    if (result == NOT_OURS) return ORIGINAL(statvfs)(path, out);
    if (result != 0) return result;
    memset(out, 0, sizeof *out);
    out->f_bsize = fs.bsize;
    out->f_frsize = fs.frsize;
    out->f_blocks = (unsigned)fs.blocks;
    out->f_bfree = (unsigned)fs.bfree;
    out->f_bavail = (unsigned)fs.bavail;
    out->f_files = (unsigned)fs.files;
    out->f_ffree = out->f_favail = (unsigned)fs.ffree;
    out->f_fsid = fs.id;
    out->f_flag = fs.flags & LINUX_ST_RDONLY ? ST_RDONLY : 0;
    out->f_namemax = fs.namelen;
    return 0;
}
