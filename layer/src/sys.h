// Kernel calls made directly: the layer's own work must not pass through functions that it hooks itself, must not touch errno, and must be
// allowed in signal handlers and between vfork and exec. Results are the kernel's: ≥ 0, or minus an errno.
#ifndef MIRRORD_SYS_H
#define MIRRORD_SYS_H

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

enum { RECEIVE_CLOEXEC = MSG_CMSG_CLOEXEC };
enum { SOCKET_PATH = sizeof(((struct sockaddr_un *)0)->sun_path) };

#if defined(__x86_64__)
static inline long sys(long n, long a, long b, long c, long d, long e, long f) {
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
static inline long sys(long n, long a, long b, long c, long d, long e, long f) {
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
#else
#error "the layer knows x86_64 and aarch64 only"
#endif

static inline int sys_close(int fd) { return (int)sys(SYS_close, fd, 0, 0, 0, 0, 0); }
static inline int sys_getpid(void) { return (int)sys(SYS_getpid, 0, 0, 0, 0, 0, 0); }
static inline int sys_getppid(void) { return (int)sys(SYS_getppid, 0, 0, 0, 0, 0, 0); }
static inline int sys_socket(int family, int type) { return (int)sys(SYS_socket, family, type | SOCK_CLOEXEC, 0, 0, 0, 0); }
static inline int sys_connect(int fd, const void *addr, socklen_t len) {
    return (int)sys(SYS_connect, fd, (long)addr, len, 0, 0, 0);
}
static inline int sys_bind(int fd, const void *addr, socklen_t len) {
    return (int)sys(SYS_bind, fd, (long)addr, len, 0, 0, 0);
}
static inline long sys_send(int fd, const void *data, size_t len, int flags) {
    return sys(SYS_sendto, fd, (long)data, (long)len, MSG_NOSIGNAL | flags, 0, 0);
}
static inline long sys_recvmsg(int fd, struct msghdr *msg, int flags) {
    return sys(SYS_recvmsg, fd, (long)msg, flags, 0, 0, 0);
}
static inline int sys_fcntl(int fd, int command, long arg) { return (int)sys(SYS_fcntl, fd, command, arg, 0, 0, 0); }
static inline int sys_fstat(int fd, struct stat *st) { return (int)sys(SYS_fstat, fd, (long)st, 0, 0, 0, 0); }
static inline int sys_stat(const char *path, struct stat *st) { return (int)sys(SYS_newfstatat, AT_FDCWD, (long)path, (long)st, 0, 0, 0); }
static inline long sys_readlink(const char *path, char *buffer, size_t size) {
    return sys(SYS_readlinkat, AT_FDCWD, (long)path, (long)buffer, (long)size, 0, 0);
}
static inline long sys_pread(int fd, void *buffer, size_t size, long offset) {
    return sys(SYS_pread64, fd, (long)buffer, (long)size, offset, 0, 0);
}
static inline int sys_getsockopt(int fd, int level, int name, void *value, socklen_t *len) {
    return (int)sys(SYS_getsockopt, fd, level, name, (long)value, (long)len, 0);
}
static inline int sys_setsockopt(int fd, int level, int name, const void *value, socklen_t len) {
    return (int)sys(SYS_setsockopt, fd, level, name, (long)value, len, 0);
}
static inline int sys_getsockname(int fd, void *addr, socklen_t *len) {
    return (int)sys(SYS_getsockname, fd, (long)addr, (long)len, 0, 0, 0);
}
static inline int sys_getpeername(int fd, void *addr, socklen_t *len) {
    return (int)sys(SYS_getpeername, fd, (long)addr, (long)len, 0, 0, 0);
}
static inline void *sys_mmap(size_t size, int protection, int flags, int fd) {
    return (void *)sys(SYS_mmap, 0, (long)size, protection, flags, fd, 0);
}
static inline void sys_munmap(void *address, size_t size) { sys(SYS_munmap, (long)address, (long)size, 0, 0, 0, 0); }
static inline int sys_failed(const void *mapped) { return (unsigned long)mapped > -4096UL; }

#endif
