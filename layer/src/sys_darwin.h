// The layer's own work: libSystem's functions that are no cancellation points, called past every hook (a library's hooks do not apply to itself), without a
// change of errno. Results are as on Linux: ≥ 0, or minus an errno. System calls by number are no interface of macOS.
#ifndef MIRRORD_SYS_DARWIN_H
#define MIRRORD_SYS_DARWIN_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { RECEIVE_CLOEXEC = 0 }; // recvmsg has no such flag
enum { SOCKET_PATH = sizeof(((struct sockaddr_un *)0)->sun_path) };

#if defined(__x86_64__)
#define SUFFIX64 "$INODE64"
#else
#define SUFFIX64 ""
#endif

#define PLAIN(name) __asm__("_" name)
extern int plain_open(const char *, int, ...) PLAIN("open$NOCANCEL");
extern int plain_close(int) PLAIN("close$NOCANCEL");
extern int plain_fcntl(int, int, ...) PLAIN("fcntl$NOCANCEL");
extern int plain_connect(int, const struct sockaddr *, socklen_t) PLAIN("connect$NOCANCEL");
extern ssize_t plain_sendto(int, const void *, size_t, int, const struct sockaddr *, socklen_t) PLAIN("sendto$NOCANCEL");
extern ssize_t plain_recvmsg(int, struct msghdr *, int) PLAIN("recvmsg$NOCANCEL");
extern ssize_t plain_pread(int, void *, size_t, off_t) PLAIN("pread$NOCANCEL");
extern int plain_poll(struct pollfd *, unsigned, int) PLAIN("poll$NOCANCEL");
extern int plain_fstat(int, struct stat *) PLAIN("fstat" SUFFIX64);
extern int plain_bind(int, const struct sockaddr *, socklen_t) PLAIN("bind");
extern int plain_socket(int, int, int) PLAIN("socket");
extern int plain_getsockopt(int, int, int, void *, socklen_t *) PLAIN("getsockopt");
extern int plain_getsockname(int, struct sockaddr *, socklen_t *) PLAIN("getsockname");
extern int plain_getpeername(int, struct sockaddr *, socklen_t *) PLAIN("getpeername");

#define QUIET(call)                                                                                                                 \
    ({                                                                                                                              \
        int before = errno;                                                                                                         \
        long result_ = (long)(call);                                                                                                \
        if (result_ == -1) result_ = -errno;                                                                                        \
        errno = before;                                                                                                             \
        result_;                                                                                                                    \
    })

static inline int sys_close(int fd) { return (int)QUIET(plain_close(fd)); }
static inline int sys_getpid(void) { return getpid(); }
static inline int sys_getppid(void) { return getppid(); }
static inline int sys_fcntl(int fd, int command, long arg) { return (int)QUIET(plain_fcntl(fd, command, arg)); }
static inline int sys_setsockopt(int fd, int level, int name, const void *value, socklen_t length) {
    return (int)QUIET(setsockopt(fd, level, name, value, length));
}
static inline int sys_socket(int family, int type) {
    int fd = (int)QUIET(plain_socket(family, type, 0)), on = 1;
    if (fd < 0) return fd;
    sys_fcntl(fd, F_SETFD, FD_CLOEXEC);
    sys_setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
    return fd;
}
static inline int sys_connect(int fd, const void *addr, socklen_t length) { return (int)QUIET(plain_connect(fd, addr, length)); }
static inline int sys_bind(int fd, const void *addr, socklen_t length) { return (int)QUIET(plain_bind(fd, addr, length)); }
static inline long sys_send(int fd, const void *data, size_t size, int flags) { return QUIET(plain_sendto(fd, data, size, flags, NULL, 0)); }
static inline long sys_recvmsg(int fd, struct msghdr *msg, int flags) { return QUIET(plain_recvmsg(fd, msg, flags)); }
static inline int sys_fstat(int fd, struct stat *st) { return (int)QUIET(plain_fstat(fd, st)); }
static inline long sys_pread(int fd, void *data, size_t size, long offset) { return QUIET(plain_pread(fd, data, size, offset)); }
static inline int sys_getsockopt(int fd, int level, int name, void *value, socklen_t *length) {
    return (int)QUIET(plain_getsockopt(fd, level, name, value, length));
}
static inline int sys_getsockname(int fd, void *addr, socklen_t *length) { return (int)QUIET(plain_getsockname(fd, addr, length)); }
static inline int sys_getpeername(int fd, void *addr, socklen_t *length) { return (int)QUIET(plain_getpeername(fd, addr, length)); }
static inline void *sys_mmap(size_t size, int protection, int flags, int fd) { return (void *)QUIET(mmap(NULL, size, protection, flags, fd, 0)); }
static inline void sys_munmap(void *at, size_t size) { QUIET(munmap(at, size)); }
static inline int sys_failed(const void *mapped) { return (unsigned long)mapped > -4096UL; }

#endif
