// Libc include/glob.h; gl_errblk takes the place of gl_errfunc with GLOB_ERR only
#ifndef _GLOB_H_
#define _GLOB_H_
#include <dirent.h>
#include <sys/stat.h>
typedef struct {
    size_t gl_pathc;
    int gl_matchc;
    size_t gl_offs;
    int gl_flags;
    char **gl_pathv;
    int (*gl_errfunc)(const char *, int);
    void (*gl_closedir)(void *);
    struct dirent *(*gl_readdir)(void *);
    void *(*gl_opendir)(const char *);
    int (*gl_lstat)(const char *, struct stat *);
    int (*gl_stat)(const char *, struct stat *);
} glob_t;
#define GLOB_ALTDIRFUNC 0x0040
int glob(const char *pattern, int flags, int (*on_error)(const char *, int), glob_t *out) __INODE64(glob);
void globfree(glob_t *found);
#endif
