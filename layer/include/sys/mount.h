// xnu bsd/sys/mount.h with 64-bit inodes
#ifndef _SYS_MOUNT_H_
#define _SYS_MOUNT_H_
#include <sys/types.h>
typedef struct {
    int32_t val[2];
} fsid_t;
struct statfs {
    uint32_t f_bsize;
    int32_t f_iosize;
    uint64_t f_blocks, f_bfree, f_bavail, f_files, f_ffree;
    fsid_t f_fsid;
    uid_t f_owner;
    uint32_t f_type, f_flags, f_fssubtype;
    char f_fstypename[16];
    char f_mntonname[1024];
    char f_mntfromname[1024];
    uint32_t f_flags_ext;
    uint32_t f_reserved[7];
};
#define MNT_RDONLY 0x00000001
int statfs(const char *path, struct statfs *out) __INODE64(statfs);
#endif
