// Locks, and what else fcntl is asked about a descriptor that holds a file of the pod.
#define _GNU_SOURCE
#include "layer.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/file.h>
#include <unistd.h>

// note_lock tells the broker, once for each program, that a file of the pod is locked: what holds it is this machine's descriptor, and nobody in the pod will know.
static NOINLINE void note_lock(int fd) {
    static _Atomic int told;
    struct stat st;
    if (!session.active || atomic_load_explicit(&told, memory_order_relaxed) || sys_fstat(fd, &st) < 0 || st.st_nlink != 0 || !S_ISREG(st.st_mode) ||
        !read_tag(fd, NULL))
        return;
    atomic_store(&told, 1);
    int saved = errno;
    ask_change(&(struct change){.op = CHANGE_LOCK}, "", "");
    errno = saved;
}

EXPORT int flock(int fd, int operation) {
    if (!(operation & LOCK_UN)) note_lock(fd);
    return ORIGINAL(flock)(fd, operation);
}

EXPORT int lockf(int fd, int command, off_t size) {
    if (command == F_LOCK || command == F_TLOCK) note_lock(fd);
    return ORIGINAL(lockf)(fd, command, size);
}

// Every argument of fcntl fits into a pointer.
EXPORT int fcntl(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    void *argument = va_arg(list, void *);
    va_end(list);
    switch (command) {
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_SETLK:
    case F_OFD_SETLKW: note_lock(fd); break;
    case F_GETFL: {
        int flags = ORIGINAL(fcntl)(fd, command, argument);
        char path[PATH_MAX];
        // A directory's descriptor is for neither reading nor writing.
        if (flags >= 0 && (flags & O_ACCMODE) == O_ACCMODE && session.active && tagged_directory(fd, path)) flags = (flags & ~O_ACCMODE) | O_DIRECTORY;
        return flags;
    }
    }
    return ORIGINAL(fcntl)(fd, command, argument);
}
