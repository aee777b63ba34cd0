// Opens a file in 1000 threads at once, runs out of descriptors, and reads path names at the ends of pages.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_barrier_t together;
static int wrong;

static void *one(void *arg) {
    char path[32];
    long size = 1 + (long)arg;
    struct stat st;
    snprintf(path, sizeof path, "/remote/%ld", size);
    pthread_barrier_wait(&together);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size != size) __sync_fetch_and_add(&wrong, 1);
    if (fd >= 0) close(fd);
    return NULL;
}

static void threads(long n) {
    pthread_t *t = calloc((size_t)n, sizeof *t);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    pthread_barrier_init(&together, NULL, (unsigned)n);
    for (long i = 0; i < n; i++)
        if (pthread_create(&t[i], &small, one, (void *)i) != 0) exit(2);
    for (long i = 0; i < n; i++) pthread_join(t[i], NULL);
    printf("threads: wrong %d\n", wrong);
}

static void exhausted(void) {
    struct rlimit limit = {20, 20};
    setrlimit(RLIMIT_NOFILE, &limit);
    int opened = 0, fd;
    while ((fd = open("/remote/5", O_RDONLY)) >= 0 && opened < 100) opened++;
    printf("exhausted: %s %d\n", errno == EMFILE ? "EMFILE" : strerror(errno), opened > 0 && opened < 20);
}

static void at_page_ends(void) {
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(page + 4096, 4096, PROT_NONE);
    const char path[] = "/remote/7";
    char *at = page + 4096 - sizeof path;
    memcpy(at, path, sizeof path);
    int whole = open(at, O_RDONLY);
    struct stat st;
    int right = whole >= 0 && fstat(whole, &st) == 0 && st.st_size == 7;
    close(whole);
    memcpy(at + 1, path, sizeof path - 1); // without its end
    int cut = open(at + 1, O_RDONLY), why = errno;
    printf("page ends: %d %d %s\n", right, cut, why == EFAULT ? "EFAULT" : strerror(why));
}

static void children(int n) {
    int bad = 0;
    for (int i = 0; i < n; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            struct stat st;
            int fd = open("/remote/9", O_RDONLY);
            _exit(fd >= 0 && fstat(fd, &st) == 0 && st.st_size == 9 ? 0 : 1);
        }
        int status;
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) bad++;
    }
    printf("children: bad %d\n", bad);
}

int main(int argc, char **argv) {
    (void)argc;
    setvbuf(stdout, NULL, _IONBF, 0);
    if (strcmp(argv[1], "threads") == 0) threads(atol(argv[2]));
    if (strcmp(argv[1], "exhausted") == 0) exhausted();
    if (strcmp(argv[1], "pages") == 0) at_page_ends();
    if (strcmp(argv[1], "children") == 0) children(atoi(argv[2]));
    return 0;
}
