// A small env: NAME=VALUE words are set, -i empties the environment, -u NAME takes one away; the rest is run. Nothing left: prints the environment.
#include "darwin.h"

int main(int argc, char **argv) {
    static char *none[] = {NULL};
    int i = 1;
    for (; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (strcmp(argv[i], "-i") == 0) environ = none;
        else if (strcmp(argv[i], "-u") == 0 && i + 1 < argc) unsetenv(argv[++i]);
        else if (value != NULL) *value = 0, setenv(argv[i], value + 1, 1);
        else break;
    }
    if (i < argc) {
        execvp(argv[i], argv + i);
        dprintf(2, "env: %s: %s\n", argv[i], strerror(errno));
        return errno == 2 ? 127 : 126;
    }
    for (char **e = environ; *e != NULL; e++) printf("%s\n", *e);
    return 0;
}
