// Libc include/wordexp.h
#ifndef _WORDEXP_H_
#define _WORDEXP_H_
#include <sys/types.h>
typedef struct {
    size_t we_wordc;
    char **we_wordv;
    size_t we_offs;
} wordexp_t;
int wordexp(const char *words, wordexp_t *out, int flags);
#endif
