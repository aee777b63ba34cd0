// xnu bsd/sys/syslimits.h
#ifndef _LIMITS_H_
#define _LIMITS_H_
#include_next <limits.h>
#define NAME_MAX 255
#define PATH_MAX 1024
#endif
