// Programs that close what they do not know: daemons, shells, spawners. The layer must not need a descriptor of its own to survive.
#define _GNU_SOURCE
#include "testprog.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

static void read_motd(const char *when) {
    int fd = open(MOTD, O_RDONLY);
    CHECK(fd >= 0, "%s", when);
    CHECK(is_motd(fd), "%s", when);
    close(fd);
}

int main(int argc, char **argv) {
    // "early": before the layer was asked for anything.
    int early = argc > 1 && strcmp(argv[1], "early") == 0;
    if (!early) read_motd("at the start");

    CHECK(close_range(3, ~0U, 0) == 0, "close_range");
    read_motd("after close_range");

    // dup2 over every descriptor that could be the layer's: it must neither use nor close the program's own.
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
    int most = limit.rlim_cur < 2048 ? (int)limit.rlim_cur : 2048, null = open("/dev/null", O_RDWR);
    for (int fd = 4; fd < most; fd++) CHECK(dup2(null, fd) == fd, "dup2 %d", fd);
    for (int fd = 1024; fd < most; fd++) close(fd);
    read_motd("after dup2 over everything");
    for (int fd = 4; fd < 1024 && fd < most; fd++) CHECK(fcntl(fd, F_GETFD) >= 0, "descriptor %d of the program was closed", fd);

    // No descriptor at all is left: an error as for any file, and all is well afterwards.
    int spare = open("/dev/null", O_RDONLY);
    limit.rlim_cur = (rlim_t)spare + 1;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
    for (int fd = 3; fd < spare; fd++)
        if (fcntl(fd, F_GETFD) < 0) dup2(null, fd);
    int fd = open(MOTD, O_RDONLY);
    CHECK(fd < 0, "a descriptor beyond the limit");
    CHECK(errno == EMFILE || errno == EIO, "without descriptors");
    CHECK(close_range(3, ~0U, 0) == 0, "close_range");
    read_motd("with room again");
    puts("ok");
    return 0;
}
