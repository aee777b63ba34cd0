// xnu bsd/sys/sysctl.h
#ifndef _SYS_SYSCTL_H_
#define _SYS_SYSCTL_H_
#include <sys/types.h>
#define CTL_KERN 1
#define CTL_HW 6
#define KERN_HOSTNAME 10
#define KERN_ARGMAX 8
#define KERN_PROCARGS2 49
#define HW_MACHINE 1
int sysctl(int *name, unsigned count, void *old, size_t *old_size, void *value, size_t size);
int sysctlbyname(const char *name, void *old, size_t *old_size, void *value, size_t size);
#endif
