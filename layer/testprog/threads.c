// 64 threads that read, look and connect at the same time; one of them forks, and the child goes on doing the same.
#define _GNU_SOURCE
#include "testprog.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 64, ROUNDS = 10 };

static void round_of_work(void) {
    struct stat st;
    int fd = open(MOTD, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && is_motd(fd), "open");
    CHECK(fstat(fd, &st) == 0 && st.st_size == sizeof MOTD_TEXT - 1, "fstat");
    close(fd);
    CHECK(stat("/srv/data", &st) == 0 && S_ISDIR(st.st_mode), "stat");
    CHECK(access("/srv/data/none", F_OK) < 0 && errno == ENOENT, "access");

    int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(80)};
    inet_pton(AF_INET, "10.96.0.7", &to.sin_addr);
    CHECK(connect(sock, (struct sockaddr *)&to, sizeof to) == 0, "connect");
    static const char request[] = "GET / HTTP/1.0\r\n\r\n";
    CHECK(write(sock, request, sizeof request - 1) == sizeof request - 1, "write");
    char answer[256];
    ssize_t n = read(sock, answer, sizeof answer);
    CHECK(n > 12 && memcmp(answer + 9, "200", 3) == 0, "answer");
    close(sock);
}

static void *work(void *index) {
    for (int i = 0; i < ROUNDS; i++) {
        round_of_work();
        if (index == NULL && i % 2 == 0) {
            pid_t child = fork();
            CHECK(child >= 0, "fork");
            if (child == 0) {
                round_of_work();
                _exit(0);
            }
            int status;
            CHECK(waitpid(child, &status, 0) == child && status == 0, "the child of a thread: %d", status);
        }
    }
    return NULL;
}

int main(void) {
    static pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, work, (void *)i) == 0, "pthread_create");
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0, "pthread_join");
    puts("ok");
    return 0;
}
