// What the test programs share. Each looks at one part of the layer from inside a program, as any program would, and knows nothing of it: it ends
// with status 0, or says what was different. tests/script builds and runs them, plainly (they must fail) and in a pod directory whose
// rootfs holds the files named here.
#ifndef TESTPROG_H
#define TESTPROG_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOTD "/srv/data/motd"
#define MOTD_TEXT "hello from the pod\n"

#define CHECK(condition, ...)                                                                                                       \
    do {                                                                                                                            \
        if (!(condition)) {                                                                                                         \
            int saved = errno;                                                                                                      \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                                                         \
            fprintf(stderr, __VA_ARGS__);                                                                                           \
            fprintf(stderr, " (errno: %s)\n", strerror(saved));                                                                     \
            exit(1);                                                                                                                \
        }                                                                                                                           \
    } while (0)

// is_motd reads what is left of fd and says whether it is the pod's message of the day.
#include <unistd.h>
static inline int is_motd(int fd) {
    char text[64];
    ssize_t n = read(fd, text, sizeof text);
    return n == sizeof MOTD_TEXT - 1 && memcmp(text, MOTD_TEXT, (size_t)n) == 0;
}

#endif
