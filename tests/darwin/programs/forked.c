// A child of fork that does what its first argument says, and then execs the rest.
#include "darwin.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int ready[4];

static void *hold(void *unused) {
    (void)unused;
    pthread_mutex_lock(&lock);
    pipe(ready + 2);
    write(ready[1], "x", 1);
    for (char byte;;) read(ready[2], &byte, 1); // nothing comes
}

int main(int argc, char **argv) {
    pthread_t thread;
    char byte;
    pipe(ready);
    if (strcmp(argv[1], "lock") == 0) {
        pthread_create(&thread, NULL, hold, NULL);
        read(ready[0], &byte, 1);
    }
    pid_t child = fork();
    if (child == 0) {
        if (strcmp(argv[1], "malloc") == 0) free(malloc(10));
        if (strcmp(argv[1], "lock") == 0) pthread_mutex_lock(&lock);
        if (strcmp(argv[1], "plain") == 0) dup2(1, 9), close(9), chdir("/");
        execve(argv[2], argv + 2, environ);
        _exit(126);
    }
    int status = -1;
    waitpid(child, &status, 0);
    (void)argc;
    return (status & 0x7f) != 0 ? 128 + (status & 0x7f) : status >> 8;
}
