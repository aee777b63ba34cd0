// Functions of macOS that copy a file by its path, in the kernel or in libSystem.
#include "layer.h"

#include <copyfile.h>
#include <errno.h>
#include <sys/clonefile.h>
#include <unistd.h>

// A clone shares blocks within one file system, so there is none of a file of the pod. Who gets ENOTSUP copies.
static int can_clone(int from_dirfd, const char *from, int to_dirfd, const char *to) {
    char buffer[PATH_MAX];
    return locate(from_dirfd, &from, 0, buffer) == ACTION_LOCAL && locate(to_dirfd, &to, 1, buffer) == ACTION_LOCAL;
}

EXPORT int clonefile(const char *from, const char *to, uint32_t flags) {
    return can_clone(AT_FDCWD, from, AT_FDCWD, to) ? ORIGINAL(clonefile)(from, to, flags) : fail(ENOTSUP);
}
EXPORT int clonefileat(int from_dirfd, const char *from, int to_dirfd, const char *to, uint32_t flags) {
    return can_clone(from_dirfd, from, to_dirfd, to) ? ORIGINAL(clonefileat)(from_dirfd, from, to_dirfd, to, flags) : fail(ENOTSUP);
}

static int copy_content(int from, int to) {
    char data[16 << 10];
    for (;;) {
        ssize_t n = read(from, data, sizeof data), done = 0;
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return (int)n;
        while (done < n) {
            ssize_t written = write(to, data + done, (size_t)(n - done));
            if (written < 0 && errno != EINTR) return -1;
            if (written > 0) done += written;
        }
    }
}

// Of a file of the pod the content and the mode are copied: it has no flags, attributes and lists of rights.
EXPORT int copyfile(const char *from, const char *to, copyfile_state_t state, uint32_t flags) {
    if (from == NULL || to == NULL || can_clone(AT_FDCWD, from, AT_FDCWD, to)) return ORIGINAL(copyfile)(from, to, state, flags);
    struct stat st;
    int source = open(from, O_RDONLY | O_CLOEXEC);
    if (source < 0) return -1;
    int copy = fstat(source, &st) == 0 ? open(to, O_WRONLY | O_CREAT | O_CLOEXEC | (flags & COPYFILE_EXCL ? O_EXCL : O_TRUNC), st.st_mode & 0777) : -1;
    int result = copy >= 0 ? copy_content(source, copy) : -1, saved = errno;
    if (copy >= 0) sys_close(copy);
    sys_close(source);
    errno = saved;
    return result;
}
