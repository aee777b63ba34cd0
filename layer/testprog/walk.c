// Walks of a directory tree inside libc have no answer of the pod's yet: they must fail rather than walk this machine's directory of that name.
#define _GNU_SOURCE
#include "testprog.h"

#include <errno.h>
#include <fts.h>
#include <ftw.h>

static int visit(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)path, (void)st, (void)type, (void)at;
    return 1;
}

int main(void) {
    char *paths[] = {"/srv/data", NULL};
    errno = 0;
    if (nftw("/srv/data", visit, 8, FTW_PHYS) != -1 || errno != ENOTSUP) return 1;
    errno = 0;
    if (fts_open(paths, FTS_PHYSICAL, NULL) != NULL || errno != ENOTSUP) return 2;
    puts("ok");
    return 0;
}
