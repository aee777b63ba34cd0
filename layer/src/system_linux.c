// What this system does in a way of its own: see layer.h for what the functions are for.
#define _GNU_SOURCE
#include "layer.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/prctl.h>

static const char descriptors[] = "/proc/self/fd/"; // where a descriptor can be opened by a name

int frame_errno(int err) { return err; }
int host_errno(int err) { return err; }

const char *own_program(char path[PATH_MAX]) {
    long n = sys_readlink("/proc/self/exe", path, PATH_MAX - 1);
    path[n > 0 ? n : 0] = 0;
    return (const char *)getauxval(AT_EXECFN);
}

// believe_original makes a copy of a program take itself for the original, if that is what this process runs. MIRRORD_COPY is the path of the copy, a
// '/', that of the original, "//" and the path that was to be executed (an interpreter's script): no path of a file that is there holds "//" unless
// somebody wrote it so, as may be in the last one. The program never gets to see the variable.
static void believe_original(void) {
    const char *value = getenv("MIRRORD_COPY"), *original = value != NULL ? strstr(value, "//") : NULL;
    const char *asked = original != NULL ? strstr(original + 2, "//") : NULL;
    char exe[PATH_MAX];
    long n = asked != NULL ? sys_readlink("/proc/self/exe", exe, sizeof exe) : 0;
    if (n > 0 && n == original - value && memcmp(exe, value, (size_t)n) == 0 && asked - original <= PATH_MAX) {
        memcpy(session.original, original + 1, (size_t)(asked - original - 1));
        asked += 2;
        // As the kernel would have left it: the copy's path, which lies in writable memory, is nearly always the longer one.
        char *name = (char *)getauxval(AT_EXECFN);
        if (name != NULL && strlen(asked) <= strlen(name)) strcpy(name, asked);
        const char *base = strrchr(asked, '/');
        sys(SYS_prctl, PR_SET_NAME, (long)(base != NULL ? base + 1 : asked), 0, 0, 0, 0);
    }
    if (value != NULL) unsetenv("MIRRORD_COPY");
}

// own_folder says how long the name is that stands for this process in proc; 0 for another's.
static size_t own_folder(const char *name) {
    size_t n = strcspn(name, "/");
    if ((n == 4 && memcmp(name, "self", n) == 0) || (n == 11 && memcmp(name, "thread-self", n) == 0)) return n;
    int pid = 0;
    for (size_t i = 0; i < n; i++) {
        if (name[i] < '0' || name[i] > '9' || pid > 1 << 24) return 0;
        pid = 10 * pid + name[i] - '0';
    }
    return pid == sys_getpid() ? n : 0;
}

int names_own_link(const char *path) {
    if (!is_address(path) || strncmp(path, "/proc/", 6) != 0) return 0;
    size_t n = own_folder(path + 6);
    return n > 0 && strcmp(path + 6 + n, "/exe") == 0;
}

// own_link returns what stands behind the folder of this process in proc, or of its descriptors: "fd/3", "cwd/file"; NULL for any other path.
static const char *own_link(const char *path) {
    if (!is_address(path)) return NULL;
    if (strncmp(path, "/dev/fd/", 8) == 0) return path + 5;
    if (strncmp(path, "/proc/", 6) != 0) return NULL;
    size_t n = own_folder(path + 6);
    return n > 0 && path[6 + n] == '/' ? path + 7 + n : NULL;
}

// descriptor_of reads a number and returns what stands behind it, or NULL.
static const char *descriptor_of(const char *text, int *fd) {
    if (*text < '0' || *text > '9') return NULL;
    for (*fd = 0; *text >= '0' && *text <= '9' && *fd < 1 << 24; text++) *fd = 10 * *fd + *text - '0';
    return *text == 0 || *text == '/' ? text : NULL;
}

int linked_descriptor(const char *path) {
    int fd;
    const char *link = own_link(path), *rest = link != NULL && strncmp(link, "fd/", 3) == 0 ? descriptor_of(link + 3, &fd) : NULL;
    return rest != NULL && *rest == 0 ? fd : -1;
}

int through_link(const char *path, char out[PATH_MAX], int *whole) {
    int fd;
    const char *link = own_link(path), *rest;
    if (link == NULL) return 0;
    if (strncmp(link, "cwd", 3) == 0 && (link[3] == 0 || link[3] == '/')) {
        if (remote_cwd[0] == 0) return 0;
        strcpy(out, remote_cwd);
        rest = link + 3;
    } else if (strncmp(link, "fd/", 3) != 0 || (rest = descriptor_of(link + 3, &fd)) == NULL || (!tagged_directory(fd, out) && !tagged_place(fd, out))) {
        return 0;
    }
    *whole = *rest == 0;
    size_t n = strlen(out);
    if (n + strlen(rest) >= PATH_MAX) return 0;
    strcpy(out + n, rest);
    return 1;
}

int names_own_program(const char *path) { return unlikely(session.original[0] != 0) && names_own_link(path); }

// descriptor_path writes "/proc/self/fd/<fd>".
static void descriptor_path(int fd, char out[32]) {
    char digits[12];
    int n = 0;
    do {
        digits[n++] = (char)('0' + fd % 10);
        fd /= 10;
    } while (fd > 0);
    memcpy(out, descriptors, sizeof descriptors - 1);
    for (out += sizeof descriptors - 1; n > 0;) *out++ = digits[--n];
    *out = 0;
}

long local_path(int dirfd, char path[PATH_MAX]) {
    char link[32];
    if (dirfd == AT_FDCWD) return sys(SYS_getcwd, (long)path, PATH_MAX, 0, 0, 0, 0) - 1;
    descriptor_path(dirfd, link);
    long n = sys_readlink(link, path, PATH_MAX - 1);
    if (n >= 0) path[n] = 0;
    return n;
}

// The link reads "…/memfd:<tag> (deleted)", or the same without "memfd:" for a file too big for memory.
int read_label(int fd, char label[LABEL]) {
    static const char gone[] = " (deleted)";
    char path[32], link[PATH_MAX / 2];
    descriptor_path(fd, path);
    long n = sys_readlink(path, link, sizeof link - 1);
    if (n < (long)sizeof gone) return 0;
    link[n -= sizeof gone - 1] = 0;
    const char *name = strrchr(link, '/');
    if (name == NULL) return 0;
    name++;
    if (strncmp(name, "memfd:", 6) == 0) name += 6;
    if (link + n - name >= LABEL) return 0;
    strcpy(label, name);
    return 1;
}

// The descriptor itself cannot be read, as no directory can.
int open_content(int fd) {
    char path[32];
    descriptor_path(fd, path);
    return (int)sys(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
}

int socket_family(int fd) { return option(fd, SOL_SOCKET, SO_DOMAIN); }

int is_udp(int fd) {
    int family = socket_family(fd);
    return (family == AF_INET || family == AF_INET6) && option(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_UDP;
}

int is_connecting(int fd) {
    struct tcp_info info;
    socklen_t length = sizeof info;
    return sys_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 && info.tcpi_state != TCP_CLOSE;
}
