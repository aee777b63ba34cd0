// What this system does in a way of its own: see layer.h for what the functions are for.
#include "layer.h"

#include <crt_externs.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/xattr.h>

static const char descriptors[] = "/dev/fd/"; // where a descriptor can be opened by a name

// ---- numbers of frames

// Linux's errnos by macOS's number, which is the place in the list (asm-generic/errno.h, xnu bsd/sys/errno.h). 0: Linux has none.
static const uint8_t linux_errnos[] = {
    [EPERM] = 1, [ENOENT] = 2, [ESRCH] = 3, [EINTR] = 4, [EIO] = 5, [ENXIO] = 6, [E2BIG] = 7, [ENOEXEC] = 8, [EBADF] = 9, [ECHILD] = 10, [EAGAIN] = 11,
    [ENOMEM] = 12, [EACCES] = 13, [EFAULT] = 14, [ENOTBLK] = 15, [EBUSY] = 16, [EEXIST] = 17, [EXDEV] = 18, [ENODEV] = 19, [ENOTDIR] = 20, [EISDIR] = 21,
    [EINVAL] = 22, [ENFILE] = 23, [EMFILE] = 24, [ENOTTY] = 25, [ETXTBSY] = 26, [EFBIG] = 27, [ENOSPC] = 28, [ESPIPE] = 29, [EROFS] = 30, [EMLINK] = 31,
    [EPIPE] = 32, [EDOM] = 33, [ERANGE] = 34, [EDEADLK] = 35, [ENAMETOOLONG] = 36, [ENOLCK] = 37, [ENOSYS] = 38, [ENOTEMPTY] = 39, [ELOOP] = 40,
    [ENOMSG] = 42, [EIDRM] = 43, [ENOSTR] = 60, [ENODATA] = 61, [ETIME] = 62, [ENOSR] = 63, [EREMOTE] = 66, [ENOLINK] = 67, [EPROTO] = 71,
    [EMULTIHOP] = 72, [EBADMSG] = 74, [EOVERFLOW] = 75, [EILSEQ] = 84, [EUSERS] = 87, [ENOTSOCK] = 88, [EDESTADDRREQ] = 89, [EMSGSIZE] = 90,
    [EPROTOTYPE] = 91, [ENOPROTOOPT] = 92, [EPROTONOSUPPORT] = 93, [ESOCKTNOSUPPORT] = 94, [EOPNOTSUPP] = 95, [ENOTSUP] = 95, [EPFNOSUPPORT] = 96,
    [EAFNOSUPPORT] = 97, [EADDRINUSE] = 98, [EADDRNOTAVAIL] = 99, [ENETDOWN] = 100, [ENETUNREACH] = 101, [ENETRESET] = 102, [ECONNABORTED] = 103,
    [ECONNRESET] = 104, [ENOBUFS] = 105, [EISCONN] = 106, [ENOTCONN] = 107, [ESHUTDOWN] = 108, [ETOOMANYREFS] = 109, [ETIMEDOUT] = 110,
    [ECONNREFUSED] = 111, [EHOSTDOWN] = 112, [EHOSTUNREACH] = 113, [EALREADY] = 114, [EINPROGRESS] = 115, [ESTALE] = 116, [EDQUOT] = 122,
    [ECANCELED] = 125, [EOWNERDEAD] = 130, [ENOTRECOVERABLE] = 131,
};
enum { ERRNOS = sizeof linux_errnos };

int frame_errno(int err) { return err > 0 && err < ERRNOS && linux_errnos[err] != 0 ? linux_errnos[err] : 5; }

int host_errno(int err) {
    for (int i = 1; i < ERRNOS; i++)
        if (linux_errnos[i] == err) return i;
    return EIO;
}

// ---- this process

// Nothing on macOS leads to the program of a process, as /proc does on Linux; identity_darwin.c has what tells of it.
int names_own_program(const char *path) {
    (void)path;
    return 0;
}

const char *own_program(char path[PATH_MAX]) {
    static char own[PATH_MAX]; // set by the constructor's hello: that of a forked child may make plain system calls only
    uint32_t size = sizeof own;
    if (own[0] == 0 && ORIGINAL(_NSGetExecutablePath)(own, &size) != 0) own[0] = 0;
    strcpy(path, own);
    char **argv = *_NSGetArgv();
    return argv != NULL ? argv[0] : NULL;
}

// ---- descriptors

long local_path(int dirfd, char path[PATH_MAX]) {
    int fd = dirfd == AT_FDCWD ? (int)QUIET(plain_open(".", O_RDONLY | O_CLOEXEC)) : dirfd;
    if (fd < 0) return fd;
    long err = sys_fcntl(fd, F_GETPATH, (long)path);
    if (dirfd == AT_FDCWD) sys_close(fd);
    return err < 0 ? err : (long)strlen(path);
}

int read_label(int fd, char label[LABEL]) {
    long n = QUIET(fgetxattr(fd, "mirrord", label, LABEL - 1, 0, 0));
    if (n <= 0) return 0;
    label[n] = 0;
    return 1;
}

// An unlinked file cannot be opened again. Its descriptor can be read, at any place, whatever its own position is.
int open_content(int fd) { return sys_fcntl(fd, F_DUPFD_CLOEXEC, 0); }

// ---- sockets

int socket_family(int fd) {
    struct sockaddr_storage addr;
    socklen_t length = sizeof addr;
    return sys_getsockname(fd, &addr, &length) == 0 ? addr.ss_family : -1;
}

// The protocol is not to be had; other datagrams of these families are rare (ICMP without privileges) and have no port.
int is_udp(int fd) {
    int family = socket_family(fd);
    return (family == AF_INET || family == AF_INET6) && option(fd, SOL_SOCKET, SO_TYPE) == SOCK_DGRAM;
}

int is_connecting(int fd) {
    uint8_t info[256]; // struct tcp_connection_info, which begins with the state; closed is 0
    socklen_t length = sizeof info;
    return sys_getsockopt(fd, IPPROTO_TCP, TCP_CONNECTION_INFO, info, &length) == 0 && info[0] != 0;
}
