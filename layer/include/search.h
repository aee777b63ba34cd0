#ifndef _SEARCH_H_
#define _SEARCH_H_
void *tsearch(const void *key, void **root, int (*compare)(const void *, const void *));
void *tdelete(const void *key, void **root, int (*compare)(const void *, const void *));
#endif
