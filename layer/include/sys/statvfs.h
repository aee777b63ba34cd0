// Libc include/sys/statvfs.h
#ifndef _SYS_STATVFS_H_
#define _SYS_STATVFS_H_
#include <sys/types.h>
struct statvfs {
    unsigned long f_bsize, f_frsize;
    unsigned f_blocks, f_bfree, f_bavail, f_files, f_ffree, f_favail;
    unsigned long f_fsid, f_flag, f_namemax;
};
#define ST_RDONLY 1
int statvfs(const char *path, struct statvfs *out);
#endif
