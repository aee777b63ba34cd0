#ifndef _STRINGS_H_
#define _STRINGS_H_
int strcasecmp(const char *a, const char *b);
#endif
