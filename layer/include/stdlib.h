#ifndef _STDLIB_H_
#define _STDLIB_H_
#include <sys/types.h>
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *at, size_t size);
void free(void *at);
char *getenv(const char *name);
int setenv(const char *name, const char *value, int overwrite);
int unsetenv(const char *name);
char *realpath(const char *path, char *resolved) __EXTSN(realpath);
void qsort(void *base, size_t count, size_t size, int (*compare)(const void *, const void *));
int system(const char *command);
int atoi(const char *text);
void exit(int status) __attribute__((noreturn));
int mkstemp(char *path);
int mkostemp(char *path, int flags);
int mkstemps(char *path, int suffix);
int mkostemps(char *path, int suffix, int flags);
char *mkdtemp(char *path);
#endif
