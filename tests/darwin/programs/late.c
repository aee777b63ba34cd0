// A library that comes with dlopen: it holds a tuple, which is too late, and calls open, which earlier tuples still hold for.
#include "darwin.h"

static int late_open(const char *path, int flags, ...) {
    dprintf(2, "late: open %s\n", path);
    return open(path, flags);
}
INTERPOSE(late_open, open);

// A name that the system has too: programs that want this one must not get the other.
int getpagesize(void) { return 77; }

int late_call(const char *path) { return open(path, O_RDONLY); }
