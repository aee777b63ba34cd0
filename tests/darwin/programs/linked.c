// Needs a function of another library, or makes do without it.
#include "darwin.h"

#ifdef WEAK
int getpagesize(void) __attribute__((weak_import));
extern int late_call(const char *) __attribute__((weak_import));
#else
extern int late_call(const char *);
#endif

int main(void) {
    int (*volatile size)(void) = getpagesize;
    if (size != NULL && size() != 77) return 5;
    int (*volatile call)(const char *) = late_call;
    printf("%s\n", call == NULL ? "missing" : "there");
    return call != NULL && call("/nothing") >= 0;
}
