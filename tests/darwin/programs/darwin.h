// The declarations of macOS that the programs of this folder use: no SDK is needed to build them. Layouts are those of LP64 with 64-bit inodes.
#ifndef DARWIN_H
#define DARWIN_H

typedef unsigned long size_t;
typedef long ssize_t;
typedef int pid_t;
typedef unsigned socklen_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned uint32_t;
typedef unsigned long uint64_t;
typedef __builtin_va_list va_list;
#define NULL ((void *)0)

#ifdef __x86_64__
#define INODE64(name) __asm("_" name "$INODE64")
#define ARCH "x86_64"
#else
#define INODE64(name) __asm("_" name)
#define ARCH "arm64"
#endif
#define INTERPOSE(replacement, replacee) \
    __attribute__((used, section("__DATA,__interpose"))) static const void *const tuple_##replacement[2] = {(const void *)replacement, (const void *)replacee}

enum {
    O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_CREAT = 0x200, O_TRUNC = 0x400, O_CLOEXEC = 0x1000000, F_DUPFD = 0, F_GETFD = 1, F_SETFD = 2, F_GETFL = 3,
    F_GETPATH = 50
};

struct timespec {
    long sec, nsec;
};
struct stat {
    int dev;
    uint16_t mode, nlink;
    uint64_t ino;
    uint32_t uid, gid;
    int rdev;
    struct timespec accessed, modified, changed, born;
    long size, blocks;
    int blksize;
    uint32_t flags, gen;
    int spare;
    long spares[2];
};
struct dirent {
    uint64_t ino, seek;
    uint16_t reclen, namlen;
    uint8_t type;
    char name[1024];
};
struct sockaddr_in {
    uint8_t len, family;
    uint16_t port;
    uint8_t address[4], zero[8];
};
struct sockaddr_in6 {
    uint8_t len, family;
    uint16_t port;
    uint32_t flow;
    uint8_t address[16];
    uint32_t scope;
};
struct sockaddr_un {
    uint8_t len, family;
    char path[104];
};
struct iovec {
    void *base;
    size_t length;
};
struct msghdr {
    void *name;
    socklen_t name_length;
    struct iovec *iov;
    int iovs;
    void *control;
    socklen_t control_length;
    int flags;
};
struct addrinfo {
    int flags, family, type, protocol;
    socklen_t length;
    char *canonical;
    struct sockaddr_in *address;
    struct addrinfo *next;
};
struct sigaction {
    void (*handler)(int);
    uint32_t mask;
    int flags;
};
typedef struct {
    long signature;
    char opaque[56];
} pthread_mutex_t;
#define PTHREAD_MUTEX_INITIALIZER {0x32AAABA7, {0}}
typedef struct thread *pthread_t;
typedef void *posix_spawnattr_t, *posix_spawn_file_actions_t;

int open(const char *, int, ...);
int open_nocancel(const char *, int, ...) __asm("_open$NOCANCEL");
int openat(int, const char *, int, ...);
int close(int);
int pipe(int[2]);
int dup2(int, int);
ssize_t read(int, void *, size_t);
ssize_t write(int, const void *, size_t);
int fcntl(int, int, ...);
int ioctl(int, unsigned long, ...);
int stat(const char *, struct stat *) INODE64("stat");
int lstat(const char *, struct stat *) INODE64("lstat");
int fstat(int, struct stat *) INODE64("fstat");
int access(const char *, int);
int chdir(const char *);
typedef struct directory DIR;
DIR *opendir(const char *) INODE64("opendir");
struct dirent *readdir(DIR *) INODE64("readdir");
int closedir(DIR *);

int printf(const char *, ...);
int dprintf(int, const char *, ...);
int snprintf(char *, size_t, const char *, ...);
int vsnprintf(char *, size_t, const char *, va_list);
int setvbuf(void *, char *, int, size_t);
int fflush(void *);
void exit(int) __attribute__((noreturn));
void _exit(int) __attribute__((noreturn));
int atoi(const char *);
size_t strlen(const char *);
int strcmp(const char *, const char *);
int strncmp(const char *, const char *, size_t);
char *strchr(const char *, int);
char *strdup(const char *);
char *strerror(int);
void *memset(void *, int, size_t);
void *memcpy(void *, const void *, size_t);
void *malloc(size_t);
void free(void *);
char *getenv(const char *);
int setenv(const char *, const char *, int);
int unsetenv(const char *);
extern char **environ;
int *__error(void);
#define errno (*__error())

pid_t fork(void);
pid_t getpid(void);
pid_t getpgrp(void);
pid_t waitpid(pid_t, int *, int);
int kill(pid_t, int);
int execve(const char *, char *const[], char *const[]);
int execvp(const char *, char *const[]);
int posix_spawn(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const[], char *const[]);
int posix_spawnattr_init(posix_spawnattr_t *);
int posix_spawnattr_setflags(posix_spawnattr_t *, short);
int posix_spawnattr_setpgroup(posix_spawnattr_t *, pid_t);
int posix_spawnattr_setsigmask(posix_spawnattr_t *, const uint32_t *);
int posix_spawnattr_setsigdefault(posix_spawnattr_t *, const uint32_t *);
int posix_spawnattr_setarchpref_np(posix_spawnattr_t *, size_t, const int *, const int *, size_t *);
int posix_spawn_file_actions_init(posix_spawn_file_actions_t *);
int posix_spawn_file_actions_addopen(posix_spawn_file_actions_t *, int, const char *, int, uint16_t);
int posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *, int, int);
int posix_spawn_file_actions_addinherit_np(posix_spawn_file_actions_t *, int);
int sigaction(int, const struct sigaction *, struct sigaction *);
int sigprocmask(int, const uint32_t *, uint32_t *);

int pthread_mutex_lock(pthread_mutex_t *);
int pthread_mutex_unlock(pthread_mutex_t *);
int pthread_create(pthread_t *, const void *, void *(*)(void *), void *);
int pthread_join(pthread_t, void **);

void *dlopen(const char *, int);
void *dlsym(void *, const char *);
char *dlerror(void);
int _NSGetExecutablePath(char *, uint32_t *);
int sysctlbyname(const char *, void *, size_t *, void *, size_t);
void *mmap(void *, size_t, int, int, int, long);
int mprotect(void *, size_t, int);
int getpagesize(void);

int socket(int, int, int);
int socketpair(int, int, int, int[2]);
int bind(int, const void *, socklen_t);
int listen(int, int);
int accept(int, void *, socklen_t *);
int connect(int, const void *, socklen_t);
ssize_t sendmsg(int, const struct msghdr *, int);
ssize_t recvmsg(int, struct msghdr *, int);
int getsockname(int, void *, socklen_t *);
int getsockopt(int, int, int, void *, socklen_t *);
int setsockopt(int, int, int, const void *, socklen_t);
int getaddrinfo(const char *, const char *, const struct addrinfo *, struct addrinfo **);
const char *inet_ntop(int, const void *, char *, socklen_t);

#endif
