// Many threads ask at once, one of them forks, and the program closes and replaces descriptors that it does not know.
#include "testprog.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { THREADS = 32, ROUNDS = 20 };

static void look(void) {
    struct stat st;
    int fd = open(MOTD, O_RDONLY);
    CHECK(fd >= 0 && fstat(fd, &st) == 0 && st.st_nlink == 1 && is_motd(fd), "open");
    CHECK(stat("/srv/data/sub", &st) == 0 && S_ISDIR(st.st_mode), "stat");
    close(fd);
}

static void *work(void *unused) {
    for (int i = 0; i < ROUNDS; i++) look();
    return unused;
}

static void *split(void *unused) {
    pid_t child = fork();
    if (child == 0) {
        int fd = open(MOTD, O_RDONLY);
        _exit(fd >= 0 && is_motd(fd) ? 0 : 1);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0, "in the child of a thread: %x", status);
    return unused;
}

int main(void) {
    // What the constructor opened is closed, or is a file of the program's.
    int null = open("/dev/null", O_RDONLY);
    for (int fd = 3; fd < 1024; fd++) fd % 2 == 0 ? dup2(null, fd) : close(fd);
    look();
    for (int fd = 3; fd < 1024; fd++) close(fd);
    pthread_t threads[THREADS], one;
    for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, work, NULL) == 0, "pthread_create");
    CHECK(pthread_create(&one, NULL, split, NULL) == 0, "pthread_create");
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    pthread_join(one, NULL);
    puts("ok");
    return 0;
}
