// Stands in for execve with a function that takes memory, which it must not between fork and exec.
#include "darwin.h"

static int greedy_execve(const char *path, char *const argv[], char *const envp[]) {
    void *memory = malloc(100);
    int result = execve(path, argv, envp);
    free(memory);
    return result;
}
INTERPOSE(greedy_execve, execve);
