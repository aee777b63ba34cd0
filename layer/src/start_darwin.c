// What dyld calls before main, with the strings of its own behind the environment.
#include "layer.h"

__attribute__((constructor)) static void start(int argc, char **argv, char **envp, const char **apple) {
    (void)argc, (void)argv;
    believe_original(variable(envp, copy_name), apple);
    prepare_native();
    enter();
}
