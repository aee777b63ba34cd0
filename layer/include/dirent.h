// xnu bsd/sys/dirent.h with 64-bit inodes, Libc include/dirent.h. A DIR starts with its descriptor.
#ifndef _DIRENT_H_
#define _DIRENT_H_
#include <sys/types.h>
struct dirent {
    uint64_t d_ino;
    uint64_t d_seekoff;
    uint16_t d_reclen;
    uint16_t d_namlen;
    uint8_t d_type;
    char d_name[1024];
};
#define DT_UNKNOWN 0
#define DT_DIR 4
#define DT_REG 8
#define DT_LNK 10
typedef struct _dir DIR;
DIR *opendir(const char *path) __INODE64(opendir);
DIR *fdopendir(int fd) __INODE64(fdopendir);
struct dirent *readdir(DIR *dir) __INODE64(readdir);
int readdir_r(DIR *dir, struct dirent *entry, struct dirent **result) __INODE64(readdir_r);
int closedir(DIR *dir);
void rewinddir(DIR *dir) __INODE64(rewinddir);
void seekdir(DIR *dir, long position) __INODE64(seekdir);
long telldir(DIR *dir) __INODE64(telldir);
int dirfd(DIR *dir);
int scandir(const char *path, struct dirent ***list, int (*filter)(const struct dirent *), int (*compare)(const struct dirent **, const struct dirent **))
    __INODE64(scandir);
int alphasort(const struct dirent **a, const struct dirent **b) __INODE64(alphasort);
#endif
