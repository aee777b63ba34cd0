// xnu libsyscall/wrappers/libproc/libproc.h
#ifndef _LIBPROC_H_
#define _LIBPROC_H_
#include <stdint.h>
int proc_pidpath(int pid, void *path, uint32_t size);
#endif
