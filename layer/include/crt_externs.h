// Libc include/crt_externs.h
#ifndef _CRT_EXTERNS_H_
#define _CRT_EXTERNS_H_
char ***_NSGetArgv(void);
char ***_NSGetEnviron(void);
#endif
