// What is measured inside a program for macOS: `macos WORK TIMES PATH [BYTES]` does it so many times and prints the nanoseconds of all. exec executes a file that
// the system does not know how to, so it returns, with BYTES of environment.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

// environment is variables of 64 bytes, at least one.
static char **environment(int bytes) {
    int n = bytes / 64 + 1;
    char **out = calloc((size_t)n + 1, sizeof *out);
    for (int i = 0; i < n; i++) {
        out[i] = malloc(64);
        memset(out[i], 'x', 63);
        snprintf(out[i], 64, "V%06d=", i);
        out[i][8] = 'x';
        out[i][63] = 0;
    }
    return out;
}

static int work(const char *name, const char *path, char **envp) {
    struct stat st;
    char *argv[] = {"macos", NULL};
    if (strcmp(name, "open") == 0) return close(open(path, O_RDONLY));
    if (strcmp(name, "stat") == 0) return stat(path, &st);
    if (strcmp(name, "access") == 0) return access(path, R_OK);
    return strcmp(name, "exec") == 0 && execve(path, argv, envp) < 0 && errno == ENOEXEC ? 0 : -1;
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    int times = atoi(argv[2]);
    char **envp = environment(argc > 4 ? atoi(argv[4]) : 0);
    long long before = 0;
    for (int i = -1; i < times; i++) { // the first is not counted
        if (i == 0) before = now();
        if (work(argv[1], argv[3], envp) != 0) {
            printf("%s: errno %d\n", argv[1], errno);
            return 1;
        }
    }
    printf("%lld\n", now() - before);
    return 0;
}
