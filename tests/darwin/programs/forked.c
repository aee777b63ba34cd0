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

// in_the_allocator stops while strdup, which reads from a page that nobody may read, holds the allocator's lock.
static void in_the_allocator(int number) {
    char byte;
    (void)number;
    write(ready[1], "x", 1);
    for (;;) read(ready[2], &byte, 1);
}
static void *hold_allocator(void *page) {
    pipe(ready + 2);
    return strdup(page);
}

int main(int argc, char **argv) {
    pthread_t thread;
    char byte;
    pipe(ready);
    if (strcmp(argv[1], "lock") == 0) {
        pthread_create(&thread, NULL, hold, NULL);
        read(ready[0], &byte, 1);
    }
    if (strcmp(argv[1], "heap") == 0) {
        struct sigaction action = {in_the_allocator, 0, 0};
        sigaction(10, &action, NULL); // SIGBUS
        sigaction(11, &action, NULL);
        pthread_create(&thread, NULL, hold_allocator, mmap(NULL, 100, 0, 0x1002, -1, 0));
        read(ready[0], &byte, 1);
    }
    pid_t child = fork();
    if (child == 0) {
        if (strcmp(argv[1], "malloc") == 0 || strcmp(argv[1], "heap") == 0) free(malloc(10));
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
