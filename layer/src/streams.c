// Connections to Unix sockets that the user gives to the pod. As the kernel's, they are made before connect returns, also for a non-blocking socket. The
// program's socket is connected to one of the broker's, which carries bytes; descriptors and credentials stay with the kernel here.
#define _GNU_SOURCE
#include "layer.h"

#include <errno.h>
#include <sys/un.h>

enum { STREAM_FRAME = PATH_MAX + 256, SUN_PATH_AT = offsetof(struct sockaddr_un, sun_path) };

// report_stream tells that a socket stays here although files at its path are the pod's. There is nothing to be done with the answer.
static NOINLINE void report_stream(const char *name) {
    uint8_t buffer[STREAM_FRAME];
    struct frame f = frame_begin(buffer, sizeof buffer, FRAME_UNIX, session.token);
    put_u8(&f, CONNECT_NEVER);
    put_str(&f, name);
    int saved = errno;
    ask(&f, NULL, 0);
    errno = saved;
}

// pod_stream puts the name of the pod's socket that addr means into name, an absolute path or '@' and an abstract name, and returns its length; 0 when the
// socket is this machine's.
static size_t pod_stream(const struct sockaddr *addr, socklen_t length, char name[PATH_MAX]) {
    const struct sockaddr_un *un = (const struct sockaddr_un *)addr;
    if (!session.active || length <= SUN_PATH_AT || length > sizeof *un) return 0; // the kernel refuses both
    const struct rules *r = rules();
    char path[sizeof un->sun_path + 1] = {0}; // which need not end with a zero
    size_t n = length - SUN_PATH_AT;
    memcpy(path, un->sun_path, n);
    if (path[0] == 0) {
#if !defined(__APPLE__)
        char text[sizeof path] = {0};
        size_t shown = n;
        while (shown > 1 && path[shown - 1] == 0) shown--;
        for (size_t i = 0; i < shown; i++) text[i] = path[i] == 0 ? '@' : path[i];
        if (n > 1 && is_pod_stream(r, text)) {
            path[0] = '@';
            memcpy(name, path, n);
            return n;
        }
#endif
        return 0;
    }
    if (atomic_load_explicit(&own_root, memory_order_relaxed)) return 0;
    if (path[0] == '/') {
        strcpy(name, path);
    } else {
        strcpy(name, remote_cwd);
        if (name[0] == 0 && (!(r->flags & RULE_UNIX) || local_path(AT_FDCWD, name) <= 0)) return 0;
        if (!join_path(name, path)) return 0;
    }
    if (is_pod_stream(r, name)) return strlen(name);
    if ((r->flags & RULE_FILES) && r != &severed && classify(r, name, 0) == ACTION_REMOTE) report_stream(name);
    return 0;
}

// stream_address writes the address of a name of the broker's and returns its length; 0 if it is too long for one.
static socklen_t stream_address(const char *name, size_t length, struct sockaddr_un *un) {
    memset(un, 0, sizeof *un);
    if (length == 0 || NAME_AT + length >= sizeof un->sun_path) return 0;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path + NAME_AT, name, length);
    socklen_t size = (socklen_t)(SUN_PATH_AT + NAME_AT + length);
#if defined(__APPLE__)
    un->sun_len = (uint8_t)size;
#endif
    return size;
}

static NOINLINE int connect_stream(int fd, const struct sockaddr *addr, socklen_t length, const char *name, size_t size) {
    uint8_t buffer[STREAM_FRAME];
    struct sockaddr_un relay;
    socklen_t n = sizeof relay;
    if (sys_getpeername(fd, &relay, &n) == 0) return fail(EISCONN);
    int flags = sys_fcntl(fd, F_GETFL, 0);
    struct frame f = frame_begin(buffer, sizeof buffer, FRAME_UNIX, session.token);
    put_u8(&f, (uint8_t)((flags >= 0 && (flags & O_NONBLOCK) ? CONNECT_NONBLOCK : 0) |
                         (option(fd, SOL_SOCKET, SO_TYPE) == SOCK_STREAM ? 0 : CONNECT_DATAGRAM)));
    put_u16(&f, (uint16_t)size);
    put(&f, name, (uint32_t)size);
    int status = ask(&f, NULL, 0);
    if (status == STATUS_LOCAL) return ORIGINAL(connect)(fd, addr, length);
    if (status != STATUS_OK) return fail(status == ASK_LOST ? ENETUNREACH : host_errno(status));
    uint16_t got;
    const char *at = get_str(&f, &got);
    n = stream_address(at, got, &relay);
    return n > 0 ? ORIGINAL(connect)(fd, (struct sockaddr *)&relay, n) : fail(ENETUNREACH);
}

// connects_stream makes the connection when it is one to a Unix socket of the pod's; *result is then connect's.
static int connects_stream(int fd, const struct sockaddr *addr, socklen_t length, int *result) {
    char name[PATH_MAX];
    if (addr == NULL || length < SUN_PATH_AT || addr->sa_family != AF_UNIX || socket_family(fd) != AF_UNIX) return 0;
    size_t size = pod_stream(addr, length, name);
    if (size == 0) return 0;
    *result = connect_stream(fd, addr, length, name, size);
    return 1;
}

// correct_stream_peer replaces the name of a socket of the broker's by the one that the program asked for. It returns whether fd is a Unix socket.
// room is the caller's, before the kernel answered.
static int correct_stream_peer(int fd, struct sockaddr *out, socklen_t room, socklen_t *length) {
    if (!session.active || !(rules()->flags & RULE_UNIX) || socket_family(fd) != AF_UNIX) return 0;
    union {
        struct sockaddr_un un;
        char space[sizeof(struct sockaddr_un) + 1]; // the kernel puts a zero behind the longest path
    } native = {0};
    socklen_t n = sizeof native.un, own = session.socket_length; // relays have the name of the broker's own socket, and more
    if (sys_getpeername(fd, &native, &n) != 0 || n <= SUN_PATH_AT + own || memcmp(native.un.sun_path, session.socket, own) != 0 ||
        native.un.sun_path[own] != '-')
        return 1;
    uint8_t buffer[STREAM_FRAME];
    struct frame f = frame_begin(buffer, sizeof buffer, FRAME_UNIX_PEER, session.token);
    put_str(&f, native.un.sun_path + NAME_AT);
    uint16_t got;
    if (ask(&f, NULL, 0) != STATUS_OK) return 1;
    const char *name = get_str(&f, &got);
    if (got == 0) return 1;
    memset(native.un.sun_path, 0, sizeof native.un.sun_path);
    memcpy(native.un.sun_path, name, got < sizeof native.un.sun_path ? got : sizeof native.un.sun_path);
    n = (socklen_t)(SUN_PATH_AT + got + (name[0] != '@')); // of a path the zero counts, and the name may be longer than there is room for
    if (name[0] == '@') native.un.sun_path[0] = 0;
#if defined(__APPLE__)
    native.un.sun_len = (uint8_t)n;
#endif
    socklen_t held = n < sizeof native ? n : (socklen_t)sizeof native;
    memcpy(out, &native, room < held ? room : held);
    *length = n;
    return 1;
}
