// syscall() is how libuv, jemalloc and others make calls that libc wraps as well; it leads to the same hooks.
#define _GNU_SOURCE
#include "layer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

static long as_libc(long result) {
    if (result >= 0 || result < -4095) return result;
    errno = (int)-result;
    return -1;
}

EXPORT long syscall(long number, ...) {
    long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
    va_end(list);
    if (!session.active) return as_libc(sys(number, a[0], a[1], a[2], a[3], a[4], a[5]));

#define P(i) ((void *)a[i])
#define I(i) ((int)a[i])
    switch (number) {
    // Requests in a ring never pass by a hook; without one, programs fall back to ordinary calls.
    case SYS_io_uring_setup: return as_libc(-ENOSYS);
#ifdef SYS_open
    case SYS_open: return open(P(0), I(1), (mode_t)a[2]);
    case SYS_creat: return creat(P(0), (mode_t)a[1]);
    case SYS_stat: return stat(P(0), P(1));
    case SYS_lstat: return lstat(P(0), P(1));
    case SYS_access: return access(P(0), I(1));
    case SYS_readlink: return readlink(P(0), P(1), (size_t)a[2]);
    case SYS_unlink: return unlink(P(0));
    case SYS_rmdir: return rmdir(P(0));
    case SYS_mkdir: return mkdir(P(0), (mode_t)a[1]);
    case SYS_rename: return rename(P(0), P(1));
    case SYS_link: return link(P(0), P(1));
    case SYS_symlink: return symlink(P(0), P(1));
    case SYS_chmod: return chmod(P(0), (mode_t)a[1]);
    case SYS_chown: return chown(P(0), (uid_t)a[1], (gid_t)a[2]);
    case SYS_lchown: return lchown(P(0), (uid_t)a[1], (gid_t)a[2]);
    case SYS_mknod: return mknod(P(0), (mode_t)a[1], (dev_t)a[2]);
    case SYS_renameat: return renameat(I(0), P(1), I(2), P(3));
    case SYS_utime: return utime(P(0), P(1));
    case SYS_utimes: return utimes(P(0), P(1));
    case SYS_futimesat: return futimesat(I(0), P(1), P(2));
#endif
    case SYS_openat: return openat(I(0), P(1), I(2), (mode_t)a[3]);
    case SYS_openat2: return open_how(I(0), P(1), P(2), (size_t)a[3]);
    case SYS_statx: return statx(I(0), P(1), I(2), (unsigned)a[3], P(4));
    case SYS_newfstatat: return fstatat(I(0), P(1), P(2), I(3));
    case SYS_fstat: return fstat(I(0), P(1));
    case SYS_faccessat: return faccessat(I(0), P(1), I(2), 0);
    case SYS_faccessat2: return faccessat(I(0), P(1), I(2), I(3));
    case SYS_readlinkat: return readlinkat(I(0), P(1), P(2), (size_t)a[3]);
    case SYS_getdents64: return getdents64(I(0), P(1), (size_t)a[2]);
    case SYS_statfs: return statfs(P(0), P(1));
    case SYS_fstatfs: return fstatfs(I(0), P(1));
    case SYS_flock: return flock(I(0), I(1));
    case SYS_fcntl: return fcntl(I(0), I(1), P(2));
    case SYS_chdir: return chdir(P(0));
    case SYS_fchdir: return fchdir(I(0));
    case SYS_unlinkat: return unlinkat(I(0), P(1), I(2));
    case SYS_mkdirat: return mkdirat(I(0), P(1), (mode_t)a[2]);
    case SYS_renameat2: return renameat2(I(0), P(1), I(2), P(3), (unsigned)a[4]);
    case SYS_linkat: return linkat(I(0), P(1), I(2), P(3), I(4));
    case SYS_symlinkat: return symlinkat(P(0), I(1), P(2));
    case SYS_mknodat: return mknodat(I(0), P(1), (mode_t)a[2], (dev_t)a[3]);
    case SYS_fchmodat: return fchmodat(I(0), P(1), (mode_t)a[2], 0);
    case SYS_fchownat: return fchownat(I(0), P(1), (uid_t)a[2], (gid_t)a[3], I(4));
    case SYS_fchmod: return fchmod(I(0), (mode_t)a[1]);
    case SYS_fchown: return fchown(I(0), (uid_t)a[1], (gid_t)a[2]);
    case SYS_utimensat: return utimensat(I(0), P(1), P(2), I(3));
    case SYS_truncate: return truncate(P(0), (off_t)a[1]);
    case SYS_uname: return uname(P(0));
    case SYS_socket: return socket(I(0), I(1), I(2));
    case SYS_sendto: return sendto(I(0), P(1), (size_t)a[2], I(3), P(4), (socklen_t)a[5]);
    case SYS_sendmsg: return sendmsg(I(0), P(1), I(2));
    case SYS_sendmmsg: return sendmmsg(I(0), P(1), (unsigned)a[2], I(3));
    case SYS_recvfrom: return recvfrom(I(0), P(1), (size_t)a[2], I(3), P(4), P(5));
    case SYS_recvmsg: return recvmsg(I(0), P(1), I(2));
    case SYS_recvmmsg: return recvmmsg(I(0), P(1), (unsigned)a[2], I(3), P(4));
    case SYS_connect: return connect(I(0), P(1), (socklen_t)a[2]);
    case SYS_bind: return bind(I(0), P(1), (socklen_t)a[2]);
    case SYS_listen: return listen(I(0), I(1));
    case SYS_accept: return accept(I(0), P(1), P(2));
    case SYS_accept4: return accept4(I(0), P(1), P(2), I(3));
    case SYS_getpeername: return getpeername(I(0), P(1), P(2));
    case SYS_getsockname: return getsockname(I(0), P(1), P(2));
    case SYS_getsockopt: return getsockopt(I(0), I(1), I(2), P(3), P(4));
    case SYS_execve: return execve(P(0), P(1), P(2));
    case SYS_execveat: return execveat(I(0), P(1), P(2), P(3), I(4));
    }
    return as_libc(sys(number, a[0], a[1], a[2], a[3], a[4], a[5]));
}
