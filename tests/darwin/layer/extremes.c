// Starts programs in ways that hardly any program does. The first argument says which.
#include "testprog.h"

#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { WORDS = 10000, OUTPUT = 100 };

extern char **environ;

static int wait_for(pid_t child) {
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status), "waitpid");
    return WEXITSTATUS(status);
}

// The error of each way to start what is no program.
static void wrong(const char *path) {
    char *const args[] = {"wrong", NULL};
    pid_t child;
    execve(path, args, environ);
    printf(" %d", errno);
    execvp(path, args);
    printf(" %d", errno);
    printf(" %d", posix_spawn(&child, path, NULL, NULL, args, environ));
    printf(" %d\n", posix_spawnp(&child, path, NULL, NULL, args, environ));
}

// Descriptors that are closed stay so, whatever the layer opens before main and for a call.
static void std(void) {
    for (int fd = 0; fd < 3; fd++) CHECK(fcntl(fd, F_GETFD) < 0 && errno == EBADF, "%d is open", fd);
    for (int fd = 0; fd < 3; fd++) CHECK(open(MOTD, O_RDONLY) == fd && is_motd(fd), "%d", fd);
}

int main(int argc, char **argv) {
    CHECK(argc >= 2, "a way is needed");
    const char *how = argv[1], *program = argv[2];
    if (strcmp(how, "wrong") == 0)
        for (int i = 2; i < argc; i++) wrong(argv[i]);
    if (strcmp(how, "many") == 0) {
        static char *words[WORDS + 2] = {"many"}, text[WORDS][16];
        for (int i = 0; i < WORDS; i++) snprintf(words[i + 1] = text[i], sizeof text[i], "number-%d", i);
        execv(program, words);
    }
    if (strcmp(how, "none") == 0) {
        static char *words[] = {NULL};
        execv(program, words);
    }
    if (strcmp(how, "big") == 0) { // an environment of that many bytes, in pieces that Linux takes
        static char room[1 << 20], *list[64];
        size_t left = (size_t)atoi(argv[3]), n = 0;
        for (char *at = room; left > 0; n++) {
            size_t size = left > 100000 ? 60000 : left;
            memset(at, 'x', size - 1);
            at[1] = '=';
            list[n] = at, at += size, left -= size;
        }
        char *args[] = {"big", NULL};
        if (strcmp(argv[4], "posix_spawn") == 0) {
            pid_t child;
            if ((errno = posix_spawn(&child, program, NULL, NULL, args, list)) == 0) return wait_for(child);
        } else {
            execve(program, args, list);
        }
        printf("errno %d\n", errno);
    }
    if (strcmp(how, "closed") == 0) {
        CHECK(fcntl(1, F_DUPFD, OUTPUT) == OUTPUT, "F_DUPFD");
        for (int fd = 0; fd < 3; fd++) close(fd);
        std();
        for (int fd = 0; fd < 3; fd++) close(fd);
        char *args[] = {argv[0], "std", NULL};
        execv(argv[0], args);
    }
    if (strcmp(how, "std") == 0) {
        std();
        CHECK(write(OUTPUT, "ok\n", 3) == 3, "write");
    }
    return 0;
}
