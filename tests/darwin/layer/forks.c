// Forks as often as the argument says while other threads are in the layer's hooks. The children use the hooks as well, then execute a program or end.
#include "testprog.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { THREADS = 8 };

static _Atomic int done;

static void look(void) {
    struct stat st;
    int fd = open(MOTD, O_RDONLY);
    CHECK(fd >= 0 && is_motd(fd) && stat("/srv/data/sub", &st) == 0 && S_ISDIR(st.st_mode) && access("/srv/none", F_OK) < 0 && errno == ENOENT, "look");
    close(fd);
}

static void *work(void *unused) {
    while (!done) look();
    return unused;
}

int main(int argc, char **argv) {
    CHECK(argc == 2, "a number is needed");
    int left = atoi(argv[1]);
    if (left == 0) {
        look();
        return 0;
    }
    char *again[] = {argv[0], "0", NULL};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, work, NULL) == 0, "pthread_create");
    for (; left > 0; left--) {
        pid_t child = fork();
        if (child == 0) {
            int fd = open(MOTD, O_RDONLY);
            if (fd < 0 || !is_motd(fd)) _exit(2);
            if (left % 10 == 0) execve(argv[0], again, NULL);
            _exit(left % 10 == 0 ? 3 : 0);
        }
        int status;
        CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0, "%d left: %x", left, status);
    }
    done = 1;
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    puts("ok");
    return 0;
}
