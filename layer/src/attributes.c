// What else programs ask about a path, where the two systems agree. The rest is in attributes_linux.c and attributes_darwin.c.
#define _GNU_SOURCE
#include "layer.h"

#include <errno.h>
#include <unistd.h>

// ---- extended attributes: the pod's files have none

// has_none says whether path is the pod's: 1, 0 for one of this machine, -1 with errno. The pod is not asked, ls -l alone would do that twice for
// each file, unless the path may have become local.
static int has_none(const char **path, int nofollow, char buffer[PATH_MAX]) {
    enum action action = locate(AT_FDCWD, path, 0, buffer);
    if (likely(action == ACTION_LOCAL)) return 0;
    if (action == ACTION_MISSING) return fail(ENOENT);
    const struct rules *r = rules();
    if (r != &severed && atomic_load_explicit(&r->live_local, memory_order_relaxed) == 0) return 1;
    struct stat st;
    int result = remote_stat(*path, &st, nofollow);
    return result == NOT_OURS ? 0 : result == 0 ? 1 : -1;
}

#define WITHOUT_ATTRIBUTES(path, nofollow, answer)                                                                                  \
    char buffer[PATH_MAX];                                                                                                          \
    int none = has_none(&path, nofollow, buffer);                                                                                   \
    if (unlikely(none != 0)) return none < 0 ? -1 : (answer)

// ---- limits

// The limits of a path are the kernel's own for all but exotic file systems: those of this machine's root will do.
EXPORT long pathconf(const char *path, int name) {
    char buffer[PATH_MAX];
    switch (locate(AT_FDCWD, &path, 0, buffer)) {
    case ACTION_LOCAL: return ORIGINAL(pathconf)(path, name);
    case ACTION_MISSING: return fail(ENOENT);
    case ACTION_REMOTE: break;
    }
    return ORIGINAL(pathconf)("/", name);
}
