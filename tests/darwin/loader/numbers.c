// Numbers that differ between the two systems: errno, signals, flags of open.
#include "loader.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

__thread int darwin_errno;

static const struct {
    short linux_errno, darwin;
} errnos[] = {
    {EPERM, 1}, {ENOENT, 2}, {ESRCH, 3}, {EINTR, 4}, {EIO, 5}, {ENXIO, 6}, {E2BIG, 7}, {ENOEXEC, 8}, {EBADF, 9}, {ECHILD, 10}, {EDEADLK, 11}, {ENOMEM, 12},
    {EACCES, 13}, {EFAULT, 14}, {ENOTBLK, 15}, {EBUSY, 16}, {EEXIST, 17}, {EXDEV, 18}, {ENODEV, 19}, {ENOTDIR, 20}, {EISDIR, 21}, {EINVAL, 22}, {ENFILE, 23},
    {EMFILE, 24}, {ENOTTY, 25}, {ETXTBSY, 26}, {EFBIG, 27}, {ENOSPC, 28}, {ESPIPE, 29}, {EROFS, 30}, {EMLINK, 31}, {EPIPE, 32}, {EDOM, 33}, {ERANGE, 34},
    {EAGAIN, 35}, {EINPROGRESS, 36}, {EALREADY, 37}, {ENOTSOCK, 38}, {EDESTADDRREQ, 39}, {EMSGSIZE, 40}, {EPROTOTYPE, 41}, {ENOPROTOOPT, 42},
    {EPROTONOSUPPORT, 43}, {ESOCKTNOSUPPORT, 44}, {EOPNOTSUPP, 102}, {EPFNOSUPPORT, 46}, {EAFNOSUPPORT, 47}, {EADDRINUSE, 48}, {EADDRNOTAVAIL, 49},
    {ENETDOWN, 50}, {ENETUNREACH, 51}, {ENETRESET, 52}, {ECONNABORTED, 53}, {ECONNRESET, 54}, {ENOBUFS, 55}, {EISCONN, 56}, {ENOTCONN, 57}, {ESHUTDOWN, 58},
    {ETOOMANYREFS, 59}, {ETIMEDOUT, 60}, {ECONNREFUSED, 61}, {ELOOP, 62}, {ENAMETOOLONG, 63}, {EHOSTDOWN, 64}, {EHOSTUNREACH, 65}, {ENOTEMPTY, 66},
    {EUSERS, 68}, {EDQUOT, 69}, {ESTALE, 70}, {EREMOTE, 71}, {ENOLCK, 77}, {ENOSYS, 78}, {EOVERFLOW, 84}, {ECANCELED, 89}, {EIDRM, 90}, {ENOMSG, 91},
    {EILSEQ, 92}, {ENODATA, 93}, {EBADMSG, 94}, {EMULTIHOP, 95}, {ENOLINK, 97}, {ENOSR, 98}, {ENOSTR, 99}, {EPROTO, 100}, {ETIME, 101}, {EOWNERDEAD, 105},
    {ENOTRECOVERABLE, 104}
};

int errno_to_darwin(int number) {
    for (size_t i = 0; i < COUNT(errnos); i++)
        if (errnos[i].linux_errno == number) return errnos[i].darwin;
    return number == 0 ? 0 : 22;
}

int errno_to_linux(int number) {
    if (number == D_ENOTSUP) return ENOTSUP;
    if (number == D_EBADEXEC || number == D_EBADARCH) return ENOEXEC;
    for (size_t i = 0; i < COUNT(errnos); i++)
        if (errnos[i].darwin == number) return errnos[i].linux_errno;
    return number == 0 ? 0 : EINVAL;
}

// The index is darwin's number. SIGEMT (7) and SIGINFO (29) have no counterpart.
static const uint8_t signals[32] = {
    0, SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, 0, SIGFPE, SIGKILL, SIGBUS, SIGSEGV, SIGSYS, SIGPIPE, SIGALRM, SIGTERM, SIGURG, SIGSTOP, SIGTSTP,
    SIGCONT, SIGCHLD, SIGTTIN, SIGTTOU, SIGIO, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGWINCH, 0, SIGUSR1, SIGUSR2
};

int signal_to_linux(int number) { return number > 0 && number < 32 ? signals[number] : number == 0 ? 0 : -1; }

int signal_to_darwin(int number) {
    for (int i = 1; i < 32; i++)
        if (signals[i] == number && number != 0) return i;
    return 0;
}

int status_to_darwin(int status) {
    if (WIFSTOPPED(status)) return signal_to_darwin(WSTOPSIG(status)) << 8 | 0x7f;
    if (status == 0xffff) return 0x137f; // continued: SIGCONT is 19 there
    if (WIFSIGNALED(status)) return signal_to_darwin(WTERMSIG(status)) | (status & 0x80);
    return status;
}

static const struct {
    int linux_flag, darwin;
} flags_of_open[] = {
    {O_NONBLOCK, 0x4}, {O_APPEND, 0x8}, {O_ASYNC, 0x40}, {O_SYNC, 0x80}, {O_NOFOLLOW, 0x100}, {O_CREAT, 0x200}, {O_TRUNC, 0x400}, {O_EXCL, 0x800},
    {O_NOCTTY, 0x20000}, {O_DIRECTORY, 0x100000}, {O_CLOEXEC, 0x1000000}
};
enum { D_O_EVTONLY = 0x8000, D_O_SYMLINK = 0x200000, D_O_DSYNC = 0x400000 };

int open_flags_to_linux(int flags) {
    int result = flags & 3;
    flags &= ~3;
    for (size_t i = 0; i < COUNT(flags_of_open); i++) {
        if ((flags & flags_of_open[i].darwin) != 0) result |= flags_of_open[i].linux_flag;
        flags &= ~flags_of_open[i].darwin;
    }
    if ((flags & D_O_SYMLINK) != 0) result |= O_PATH | O_NOFOLLOW;
    if ((flags & D_O_DSYNC) != 0) result |= O_DSYNC;
    flags &= ~(D_O_EVTONLY | D_O_SYMLINK | D_O_DSYNC);
    if (flags != 0) unmodelled("open with flags %#x", flags);
    return result;
}

int open_flags_to_darwin(int flags) {
    int result = flags & 3;
    for (size_t i = 0; i < COUNT(flags_of_open); i++)
        if ((flags & flags_of_open[i].linux_flag) == flags_of_open[i].linux_flag) result |= flags_of_open[i].darwin;
    return result;
}
