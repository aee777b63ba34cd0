#ifndef _SYS_TIME_H_
#define _SYS_TIME_H_
#include <sys/types.h>
int utimes(const char *path, const struct timeval times[2]);
int lutimes(const char *path, const struct timeval times[2]);
int futimes(int fd, const struct timeval times[2]);
#endif
