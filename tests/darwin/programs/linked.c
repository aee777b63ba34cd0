// Needs a function of another library, or makes do without it.
#include "darwin.h"

#ifdef WEAK
extern int late_call(const char *) __attribute__((weak_import));
#else
extern int late_call(const char *);
#endif

int main(void) {
    int (*volatile call)(const char *) = late_call;
    printf("%s\n", call == NULL ? "missing" : "there");
    return call != NULL && call("/nothing") >= 0;
}
