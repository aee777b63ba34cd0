#ifndef _STDIO_H_
#define _STDIO_H_
#include <stdarg.h>
#include <sys/types.h>
typedef struct __sFILE FILE;
extern FILE *__stdinp, *__stdoutp, *__stderrp;
#define stdin __stdinp
#define stdout __stdoutp
#define stderr __stderrp
#define EOF (-1)
FILE *fopen(const char *path, const char *mode);
FILE *freopen(const char *path, const char *mode, FILE *stream);
FILE *fdopen(int fd, const char *mode);
FILE *popen(const char *command, const char *mode);
int pclose(FILE *stream);
int fclose(FILE *stream);
int fileno(FILE *stream);
int fflush(FILE *stream);
int getc(FILE *stream);
char *fgets(char *out, int size, FILE *stream);
size_t fread(void *out, size_t size, size_t count, FILE *stream);
int remove(const char *path);
int rename(const char *from, const char *to);
int renameat(int from_dirfd, const char *from, int to_dirfd, const char *to);
int renamex_np(const char *from, const char *to, unsigned flags);
int renameatx_np(int from_dirfd, const char *from, int to_dirfd, const char *to, unsigned flags);
int puts(const char *text);
int printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
int fprintf(FILE *stream, const char *format, ...) __attribute__((format(printf, 2, 3)));
int snprintf(char *out, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
void perror(const char *text);
#endif
