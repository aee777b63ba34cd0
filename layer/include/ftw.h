// Libc include/ftw.h
#ifndef _FTW_H_
#define _FTW_H_
#include <sys/stat.h>
struct FTW {
    int base;
    int level;
};
#define FTW_F 0
#define FTW_D 1
#define FTW_DNR 2
#define FTW_DP 3
#define FTW_NS 4
#define FTW_SL 5
#define FTW_SLN 6
#define FTW_PHYS 0x01
#define FTW_MOUNT 0x02
#define FTW_DEPTH 0x04
#define FTW_CHDIR 0x08
int ftw(const char *path, int (*visit)(const char *, const struct stat *, int), int depth) __INODE64(ftw);
int nftw(const char *path, int (*visit)(const char *, const struct stat *, int, struct FTW *), int depth, int flags) __INODE64(nftw);
#endif
