// What dyld calls before main, with the strings of its own behind the environment.
#include "layer.h"

#include <stdlib.h>

__attribute__((constructor)) static void start(int argc, char **argv, char **envp, const char **apple) {
    (void)argc, (void)argv;
    const char *copy = variable(envp, copy_name);
    believe_original(copy, apple);
    if (copy != NULL) unsetenv("MIRRORD_COPY"); // the program never gets to see it
    prepare_native();
    enter();
}
