// The program that the benchmarks run plainly, below an empty preload library and in sessions of mirrord. It does one piece of work per line of
// its standard input and says how long that took, so starting it is not measured, and the benchmark can ask several of them in turn.
//
// A line is words separated by tabs; the answer is one line `NANOSECONDS COUNT ERRORS LEAST P50 P99 MOST TEXT`: the four are of the work's
// repetitions where it times each, else 0, and the text tells the first error.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "inner.h"

extern char **environ;

long long count;
static long long errors;
static char first_error[256];
static char buffer[1 << 17];
static int64_t laps[1 << 17];
static size_t lap_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; // of errors, first_error and laps

void wrong(const char *format, ...) {
    va_list list;
    va_start(list, format);
    pthread_mutex_lock(&lock);
    if (errors++ == 0) vsnprintf(first_error, sizeof first_error, format, list);
    pthread_mutex_unlock(&lock);
    va_end(list);
}

void lap(int64_t took) {
    pthread_mutex_lock(&lock);
    if (lap_count < sizeof laps / sizeof *laps) laps[lap_count++] = took;
    pthread_mutex_unlock(&lock);
}

static int shorter(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

// quantile is of the sorted laps; 0 if there is none.
static long long quantile(int percent) {
    return lap_count == 0 ? 0 : laps[(lap_count - 1) * (size_t)percent / 100];
}

int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

// run starts a program, counts the lines that it writes and waits for it. With peak, count is the most memory that it had, in kB.
static void run(char **argv, int peak) {
    int out[2], status;
    struct rusage usage = {0};
    pid_t pid;
    if (pipe2(out, O_CLOEXEC) != 0) return wrong("pipe: %s", strerror(errno));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    int err = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    for (ssize_t n; err == 0 && (n = read(out[0], buffer, sizeof buffer)) > 0;)
        for (ssize_t i = 0; i < n; i++) count += buffer[i] == '\n';
    close(out[0]);
    if (err != 0) return wrong("%s: %s", argv[0], strerror(err));
    while (wait4(pid, &status, 0, &usage) < 0 && errno == EINTR) {}
    if (status != 0) wrong("%s: wait status %#x", argv[0], status);
    if (peak) count = usage.ru_maxrss;
}

// read_file opens, looks at, reads and closes a file; count is its bytes.
static void read_file(const char *path) {
    struct stat st;
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return wrong("open: %s", strerror(errno));
    if (fstat(fd, &st) != 0) wrong("fstat: %s", strerror(errno));
    long long total = 0;
    while ((n = read(fd, buffer, sizeof buffer)) > 0) total += n;
    if (n < 0 || total != st.st_size) wrong("read %lld bytes of %lld: %s", total, (long long)st.st_size, strerror(errno));
    count += total;
    close(fd);
}

static void open_close(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return wrong("open: %s", strerror(errno));
    close(fd);
}

static void look_at(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) wrong("stat: %s", strerror(errno));
}

static void resolve(const char *name) {
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *list;
    int err = getaddrinfo(name, NULL, &hints, &list);
    if (err != 0) return wrong("getaddrinfo: %s", gai_strerror(err));
    freeaddrinfo(list);
}

int dial(const char *ip, const char *port, int waits) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    inet_pton(AF_INET, ip, &to.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (waits ? 0 : SOCK_NONBLOCK), 0);
    if (fd < 0) {
        wrong("socket: %s", strerror(errno));
        return -1;
    }
    int err = connect(fd, (struct sockaddr *)&to, sizeof to) == 0 ? 0 : errno;
    if (!waits && err == EINPROGRESS) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        socklen_t size = sizeof err;
        if (poll(&p, 1, 30000) != 1) err = ETIMEDOUT;
        else getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size);
    }
    if (!waits && err == 0) fcntl(fd, F_SETFL, 0);
    if (err == 0) return fd;
    wrong("connect: %s", strerror(err));
    close(fd);
    return -1;
}

// connection makes one connection whose first end to close is the server's, the client's after an echo, or the client's at once.
static void connection(const char *ip, const char *port, const char *how, const char *closes) {
    char byte = 'x';
    int fd = dial(ip, port, strcmp(how, "blocking") == 0);
    if (fd < 0) return;
    if (strcmp(closes, "server") == 0) {
        if (read(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 0) wrong("the server's byte: %s", strerror(errno));
    } else if (strcmp(closes, "client") == 0) {
        if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1) wrong("echo: %s", strerror(errno));
    }
    close(fd);
}

int exchange(int fd, size_t body, int last) {
    static const char keep[] = "GET / HTTP/1.1\r\nHost: bench\r\n\r\n", close[] = "GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
    char answer[4096];
    ssize_t size = (ssize_t)(last ? sizeof close : sizeof keep) - 1;
    if (write(fd, last ? close : keep, (size_t)size) != size) {
        wrong("request: %s", strerror(errno));
        return -1;
    }
    for (size_t have = 0;;) {
        ssize_t n = read(fd, answer + have, sizeof answer - 1 - have);
        if (n <= 0) {
            wrong("answer: %s", n == 0 ? "closed" : strerror(errno));
            return -1;
        }
        answer[have += (size_t)n] = 0;
        const char *end = strstr(answer, "\r\n\r\n");
        if (end != NULL && have == (size_t)(end + 4 - answer) + body) return 0;
    }
}

// http sends requests over one connection, each when the answer before has come whole; body is the length of the answers' bodies.
static void http(const char *ip, const char *port, long requests, size_t body) {
    int fd = dial(ip, port, 1), on = 1;
    if (fd < 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    for (long i = 0; i < requests && exchange(fd, body, 0) == 0; i++) {}
    close(fd);
}

// list reads a directory and looks at each entry; count is how many there are.
static void list(const char *path) {
    DIR *d = opendir(path);
    if (d == NULL) return wrong("opendir: %s", strerror(errno));
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        struct stat st;
        if (e->d_name[0] == '.') continue;
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) wrong("%s: %s", e->d_name, strerror(errno));
        count++;
    }
    closedir(d);
}

// What hold opened, until drop.
static int held[1 << 14];
static size_t held_count;

// hold opens files or connections and keeps them.
static void hold(long n, char **word) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (long i = 0; i < n && held_count < sizeof held / sizeof *held; i++) {
        int fd = word[1] == NULL ? open(word[0], O_RDONLY | O_CLOEXEC) : dial(word[0], word[1], 1);
        if (fd < 0 && word[1] == NULL) wrong("open: %s", strerror(errno));
        if (fd < 0) return;
        held[held_count++] = fd;
        count++;
    }
}

static void drop(void) {
    while (held_count > 0) close(held[--held_count]);
}

int repeated(char **word, int n) {
    if (n == 2 && strcmp(word[0], "file") == 0) read_file(word[1]);
    else if (n == 2 && strcmp(word[0], "open") == 0) open_close(word[1]);
    else if (n == 2 && strcmp(word[0], "stat") == 0) look_at(word[1]);
    else if (n == 2 && strcmp(word[0], "list") == 0) list(word[1]);
    else if (n == 2 && strcmp(word[0], "resolve") == 0) resolve(word[1]);
    else if (n == 5 && strcmp(word[0], "connect") == 0) connection(word[1], word[2], word[3], word[4]);
    else return -1;
    return 0;
}

// work does what a line asks for. The words are its own to change.
static void work(char **word, int n) {
    if (n >= 2 && strcmp(word[0], "run") == 0) return run(word + 1, 0);
    if (n >= 2 && strcmp(word[0], "peak") == 0) return run(word + 1, 1);
    if (n == 1 && strcmp(word[0], "parent") == 0) {
        count = getppid();
        return;
    }
    if (n == 1 && strcmp(word[0], "drop") == 0) return drop();
    long times = n >= 3 ? atol(word[1]) : 0;
    if (n >= 3 && strcmp(word[0], "hold") == 0) return hold(times, word + 2);
    if (n == 5 && strcmp(word[0], "http") == 0) return http(word[3], word[4], times, (size_t)atol(word[2]));
    if (concurrent(word, n) == 0) return;
    if (times > 0) word[1] = word[0]; // the verb beside its words
    for (long i = 0; i < times; i++)
        if (repeated(word + 1, n - 1) != 0) return wrong("unknown work %s", word[0]);
    if (times == 0) wrong("unknown work %s", word[0]);
}

int main(void) {
    char line[1 << 13];
    while (fgets(line, sizeof line, stdin) != NULL) {
        char *word[64];
        int n = 0;
        line[strcspn(line, "\n")] = 0;
        for (char *w = strtok(line, "\t"); w != NULL && n < 63; w = strtok(NULL, "\t")) word[n++] = w;
        word[n] = NULL;
        if (n == 0) continue;
        count = errors = 0;
        lap_count = 0;
        strcpy(first_error, "-");
        int64_t before = now();
        work(word, n);
        long long took = now() - before;
        qsort(laps, lap_count, sizeof *laps, shorter);
        printf("%lld %lld %lld %lld %lld %lld %lld %s\n", took, count, errors, quantile(0), quantile(50), quantile(99), quantile(100), first_error);
        fflush(stdout);
    }
}
