// xnu bsd/sys/clonefile.h
#ifndef _SYS_CLONEFILE_H_
#define _SYS_CLONEFILE_H_
#include <stdint.h>
int clonefile(const char *from, const char *to, uint32_t flags);
int clonefileat(int from_dirfd, const char *from, int to_dirfd, const char *to, uint32_t flags);
#endif
