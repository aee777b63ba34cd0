// The works that need more than one thread.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "inner.h"

static const char *ip, *port; // of the work at hand
static atomic_llong moved;    // bytes, or requests that were answered
static atomic_int stop;
static long each;       // requests or bytes for each thread
static size_t body;     // of an answer
static int fresh, down; // a new connection for each request; the direction of bytes

// together runs threads and waits for them.
static void together(long threads, void *(*f)(void *)) {
    pthread_t thread[256];
    long started = 0;
    moved = 0;
    while (started < threads && started < 256 && pthread_create(&thread[started], NULL, f, NULL) == 0) started++;
    if (started < threads) wrong("only %ld threads", started);
    for (long i = 0; i < started; i++) pthread_join(thread[i], NULL);
    count = moved;
}

static int dial_now(void) {
    int fd = dial(ip, port, 1), on = 1;
    if (fd >= 0) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

// requests sends HTTP requests over one connection, or over a new one for each, whose connect then counts as well.
static void *requests(void *unused) {
    int fd = fresh ? -1 : dial_now();
    for (long i = 0; i < each; i++) {
        int64_t before = now();
        if (fresh) fd = dial_now();
        if (fd < 0 || exchange(fd, body, fresh) != 0) break;
        if (fresh) close(fd);
        lap(now() - before);
        moved++;
    }
    if (!fresh && fd >= 0) close(fd);
    return unused;
}

// transfer moves bytes over a connection of its own: to, or from, a server that is told the direction and how many.
static void *transfer(void *unused) {
    char *p = malloc(1 << 17);
    int64_t before = now();
    int fd = dial_now();
    long long n = each;
    memset(p, 'x', 1 << 17);
    if (fd >= 0 && (write(fd, down ? "d" : "u", 1) != 1 || write(fd, &n, sizeof n) != sizeof n)) wrong("request: %s", strerror(errno));
    while (fd >= 0 && n > 0 && !stop) {
        size_t piece = n < 1 << 17 ? (size_t)n : 1 << 17;
        ssize_t m = down ? read(fd, p, piece) : write(fd, p, piece);
        if (m <= 0) {
            wrong("%s: %s", down ? "download" : "upload", m == 0 ? "closed" : strerror(errno));
            break;
        }
        n -= m;
        moved += m;
    }
    if (fd >= 0 && !down && n == 0 && read(fd, p, 1) != 1) wrong("the server's byte: %s", strerror(errno)); // it has all
    if (fd >= 0) close(fd);
    if (!stop) lap(now() - before);
    free(p);
    return unused;
}

// fetch reads files of the same path again and again.
static void *fetch(void *path) {
    char *p = malloc(1 << 17);
    while (!stop) {
        moved++; // the first is under way
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            wrong("open during the work: %s", strerror(errno));
            break;
        }
        while (!stop && read(fd, p, 1 << 17) > 0) {}
        close(fd);
    }
    free(p);
    return path;
}

static void *nothing(void *unused) {
    moved++;
    return unused;
}

// during times repetitions while something else happens: a transfer, or a file that is fetched again and again, or nothing.
static void during(long times, char *path, char **word, int n) {
    pthread_t background;
    stop = 0;
    moved = 0;
    if (pthread_create(&background, NULL, ip != NULL ? transfer : path != NULL ? fetch : nothing, path) != 0) return wrong("no thread");
    while (moved == 0) usleep(1000);
    for (long i = 0; i < times; i++) {
        int64_t before = now();
        if (repeated(word, n) != 0) {
            wrong("unknown work %s", word[0]);
            break;
        }
        lap(now() - before);
    }
    stop = 1;
    pthread_join(background, NULL);
}

int concurrent(char **word, int n) {
    if (n == 7 && strcmp(word[0], "load") == 0) { // REQUESTS CONNECTIONS BODY keep|new IP PORT
        long connections = atol(word[2]);
        each = atol(word[1]) / connections;
        body = (size_t)atol(word[3]);
        fresh = strcmp(word[4], "new") == 0;
        ip = word[5], port = word[6];
        together(connections, requests);
    } else if (n == 6 && strcmp(word[0], "bulk") == 0) { // STREAMS BYTES down|up IP PORT
        stop = 0;
        each = atol(word[2]);
        down = strcmp(word[3], "down") == 0;
        ip = word[4], port = word[5];
        together(atol(word[1]), transfer);
    } else if (n >= 6 && strcmp(word[0], "during") == 0) { // TIMES IP PORT VERB WORD..., TIMES file PATH VERB WORD..., or TIMES no thing VERB WORD...
        char *path = strcmp(word[2], "file") == 0 ? word[3] : NULL;
        each = 1L << 50;
        down = 1;
        ip = path != NULL || strcmp(word[2], "no") == 0 ? NULL : word[2], port = word[3];
        during(atol(word[1]), path, word + 4, n - 4);
    } else {
        return -1;
    }
    return 0;
}
