// Libc include/time.h
#ifndef _TIME_H_
#define _TIME_H_
#include <sys/types.h>
typedef enum { CLOCK_REALTIME = 0, CLOCK_MONOTONIC = 6 } clockid_t;
int clock_gettime(clockid_t clock, struct timespec *out);
#endif
