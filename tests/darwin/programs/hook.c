// Stands in for open, as a library that is inserted does. NAME tells several apart.
#include "darwin.h"

static int hooked_open(const char *path, int flags, ...) {
    va_list ap;
    __builtin_va_start(ap, flags);
    int mode = (flags & O_CREAT) != 0 ? __builtin_va_arg(ap, int) : 0;
    __builtin_va_end(ap);
    dprintf(2, NAME ": open %s\n", path);
    return open(path, flags, mode);
}
INTERPOSE(hooked_open, open);

__attribute__((constructor)) static void begin(int argc, char **argv, char **envp, char **apple) {
    dprintf(2, NAME ": begins, %d words, %s, %s\n", argc, argv[argc - 1], strncmp(apple[0], "executable_path=", 16) == 0 ? apple[0] + 16 : "no path");
    if (envp != environ) dprintf(2, NAME ": another environment\n");
}
