// dyld include/mach-o/dyld.h
#ifndef _MACH_O_DYLD_H_
#define _MACH_O_DYLD_H_
#include <stdint.h>
const char *_dyld_get_image_name(uint32_t index);
int _NSGetExecutablePath(char *path, uint32_t *size);
#endif
