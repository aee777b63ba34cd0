// What libc walks trees with: nftw and fts.
#define _GNU_SOURCE
#include "testprog.h"

#include <fts.h>
#include <ftw.h>
#include <sys/stat.h>

static int files, folders;

static int visit(const char *path, const struct stat *st, int type, struct FTW *where) {
    (void)path;
    (void)where;
    files += type == FTW_F && S_ISREG(st->st_mode);
    folders += type == FTW_D && S_ISDIR(st->st_mode);
    return 0;
}

int main(void) {
    CHECK(nftw("/srv/data", visit, 8, FTW_PHYS) == 0 && files == 6 && folders == 2, "nftw: %d files, %d folders", files, folders);

    char *roots[] = {"/srv/data", NULL};
    FTS *tree = fts_open(roots, FTS_PHYSICAL, NULL);
    CHECK(tree != NULL, "fts_open");
    files = folders = 0;
    for (FTSENT *e; (e = fts_read(tree)) != NULL;) {
        CHECK(e->fts_info == FTS_F || e->fts_info == FTS_D || e->fts_info == FTS_DP, "%s is %d", e->fts_path, e->fts_info);
        files += e->fts_info == FTS_F;
        folders += e->fts_info == FTS_D;
    }
    CHECK(files == 6 && folders == 2, "fts: %d files, %d folders", files, folders);
    fts_close(tree);
    puts("ok");
    return 0;
}
