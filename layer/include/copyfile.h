// copyfile(3): copyfile.h
#ifndef _COPYFILE_H_
#define _COPYFILE_H_
#include <stdint.h>
typedef struct _copyfile_state *copyfile_state_t;
#define COPYFILE_EXCL (1 << 17)
int copyfile(const char *from, const char *to, copyfile_state_t state, uint32_t flags);
#endif
