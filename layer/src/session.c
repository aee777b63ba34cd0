// The process's place in its session: where the broker is, and one request at a time.
#define _GNU_SOURCE
#include "layer.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/un.h>

struct session session;
// Descriptors of our own stay clear of the low numbers that programs expect to get, close or overwrite.
enum { LOW_DESCRIPTOR = 512 };

static int raised(int fd) {
    if (fd < 0 || fd >= LOW_DESCRIPTOR) return fd;
    int high = sys_fcntl(fd, F_DUPFD_CLOEXEC, LOW_DESCRIPTOR);
    if (high < 0) return fd;
    sys_close(fd);
    return high;
}

// dial connects to the broker. limit is how many milliseconds this and each later call may wait; 0 is no limit.
static int dial(long limit) {
    int fd = raised(sys_socket(AF_UNIX, SOCK_STREAM));
    if (fd < 0) return fd;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    memcpy(addr.sun_path, session.socket, sizeof addr.sun_path);
    int err;
    if (limit > 0) {
        struct timeval t = {.tv_sec = limit / 1000, .tv_usec = limit % 1000 * 1000};
        sys_setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
        sys_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    }
    do {
        err = sys_connect(fd, &addr, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + session.socket_length));
    } while (err == -EINTR);
    if (err < 0) {
        sys_close(fd);
        return err;
    }
    return fd;
}

static int send_all(int fd, const uint8_t *data, uint32_t size) {
    while (size > 0) {
        long n = sys_send(fd, data, size, 0);
        if (n == -EINTR) continue;
        if (n <= 0) return 0;
        data += n;
        size -= (uint32_t)n;
    }
    return 1;
}

// receive_all fills data; a descriptor that comes with the bytes goes to *fd.
static int receive_all(int sock, uint8_t *data, uint32_t size, int *fd, int cloexec) {
    while (size > 0) {
        union {
            char space[CMSG_SPACE(sizeof(int))];
            struct cmsghdr align;
        } control;
        struct iovec io = {data, size};
        struct msghdr msg = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        long n = sys_recvmsg(sock, &msg, cloexec ? RECEIVE_CLOEXEC : 0);
        if (n == -EINTR) continue;
        if (n <= 0) return 0;
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            int got;
            memcpy(&got, CMSG_DATA(c), sizeof got);
            if (RECEIVE_CLOEXEC == 0 && cloexec) sys_fcntl(got, F_SETFD, FD_CLOEXEC);
            if (fd != NULL && *fd < 0)
                *fd = got;
            else
                sys_close(got);
        }
        data += n;
        size -= (uint32_t)n;
    }
    return 1;
}

// receive_reply reads one reply into f's buffer of capacity bytes and leaves f behind the status.
static int receive_reply(int sock, struct frame *f, uint32_t capacity, int *fd, int cloexec) {
    uint8_t header[FRAME_HEADER];
    if (!receive_all(sock, header, sizeof header, fd, cloexec)) return ASK_LOST;
    uint32_t length;
    memcpy(&length, header, 4);
    if (length < 4 || length > capacity || !receive_all(sock, f->data, length, fd, cloexec)) return ASK_LOST;
    f->size = length;
    f->at = 0;
    f->broken = 0;
    return (int)get_u32(f);
}

int ask(struct frame *f, int *fd, int cloexec) {
    uint32_t capacity = f->size, size = frame_end(f);
    int came = -1, status = ASK_LOST;
    if (size > 0) {
        int sock = dial(0);
        if (sock >= 0) {
            if (send_all(sock, f->data, size)) status = receive_reply(sock, f, capacity, &came, cloexec);
            sys_close(sock);
        }
    }
    if (fd != NULL && status == STATUS_OK) {
        *fd = came;
    } else {
        if (came >= 0) sys_close(came);
        if (fd != NULL) *fd = -1;
    }
    return status;
}

// send_argv sends as many words as fit into a frame.
static int send_argv(int sock, uint8_t *buffer, uint32_t capacity, char *const argv[]) {
    struct frame f = frame_begin(buffer, capacity, FRAME_ARGV, session.token);
    size_t n = 0, room = capacity - f.at - 3;
    for (; argv != NULL && argv[n] != NULL && n < UINT16_MAX; n++) {
        size_t size = 2 + strlen(argv[n]);
        if (size > room) break;
        room -= size;
    }
    put_u8(&f, argv != NULL && argv[n] != NULL);
    put_u16(&f, (uint16_t)n);
    for (size_t i = 0; i < n; i++) put_str(&f, argv[i]);
    uint32_t size = frame_end(&f);
    return size > 0 && send_all(sock, buffer, size);
}

int ask_exec(struct frame *f, char *const argv[]) {
    uint32_t capacity = f->size, size = frame_end(f);
    int sock = size > 0 ? dial(EXEC_PATIENCE) : -1, words_sent = 0;
    if (sock < 0) return ASK_LOST;
    int status = send_all(sock, f->data, size) ? STATUS_WAIT : ASK_LOST;
    while (status == STATUS_WAIT || status == STATUS_ARGV) {
        if (status == STATUS_ARGV && (words_sent++ || !send_argv(sock, f->data, capacity, argv)))
            status = ASK_LOST;
        else
            status = receive_reply(sock, f, capacity, NULL, 0);
    }
    sys_close(sock);
    return status;
}

#if defined(__APPLE__)
#include "notes_darwin.c"
#else
#include "notes_linux.c"
#endif

// ---- saying hello

// The constructor does not wait for the rules that answer its hello: most short programs never need them. The socket waits here, with what
// identifies it, for the first call that does.
static struct {
    _Atomic int fd; // -1: none, or taken
    int pid;        // whose it is: a fork must not read its parent's reply
    dev_t dev;
    ino_t ino;
} hello = {.fd = -1};

static struct frame hello_frame(uint8_t *buffer, uint32_t size, int how) {
    char exe[PATH_MAX];
    const char *argv0 = own_program(exe);
    struct frame f = frame_begin(buffer, size, FRAME_HELLO, session.token);
    put_u32(&f, (uint32_t)sys_getpid());
    put_u32(&f, (uint32_t)sys_getppid());
    put_u8(&f, (uint8_t)how);
    put_str(&f, session.original[0] == 0 ? exe : session.original);
    put_str(&f, argv0 != NULL && strlen(argv0) < PATH_MAX ? argv0 : "");
    return f;
}

static void say_hello(void) {
    uint8_t buffer[PATH_MAX * 3];
    struct frame f = hello_frame(buffer, sizeof buffer, HOW_EXEC);
    uint32_t size = frame_end(&f);
    int sock = size > 0 ? send_hello(buffer, size) : -1;
    struct stat st;
    if (sock < 0) return;
    if (sys_fstat(sock, &st) < 0) {
        sys_close(sock);
        return;
    }
    hello.pid = sys_getpid();
    hello.dev = st.st_dev;
    hello.ino = st.st_ino;
    atomic_store(&hello.fd, sock);
}

// fetch_rules returns a descriptor of the rules file, or -1.
int fetch_rules(void) {
    int fd = -1, sock = hello.pid == sys_getpid() ? atomic_exchange(&hello.fd, -1) : -1;
    if (sock >= 0) {
        // The program may have closed our descriptor, or put one of its own in its place.
        struct stat st;
        if (sys_fstat(sock, &st) == 0 && st.st_dev == hello.dev && st.st_ino == hello.ino) {
            fd = read_answer(sock);
            sys_close(sock);
        }
    }
    if (fd >= 0) return fd;
    uint8_t buffer[PATH_MAX * 3];
    struct frame f = hello_frame(buffer, sizeof buffer, HOW_FORK);
    ask(&f, &fd, 1);
    return fd;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

#if defined(__APPLE__)
enum { NAME_AT = 0 }; // where in sun_path the name begins
#else
enum { NAME_AT = 1 }; // abstract
#endif

// join reads MIRRORD_BROKER, "<name of the socket>:<token in hex>".
static int join(const char *value) {
    const char *colon = strrchr(value, ':');
    size_t name = colon != NULL ? (size_t)(colon - value) : 0;
    if (name == 0 || NAME_AT + name + 1 > sizeof session.socket || strlen(colon + 1) != 2 * FRAME_TOKEN ||
        strlen(value) + sizeof "MIRRORD_BROKER=" > sizeof session.variable)
        return 0;
    memcpy(session.socket + NAME_AT, value, name);
    session.socket_length = NAME_AT + (unsigned)name;
    for (int i = 0; i < FRAME_TOKEN; i++) {
        int high = hex_digit(colon[1 + 2 * i]), low = hex_digit(colon[2 + 2 * i]);
        if (high < 0 || low < 0) return 0;
        session.token[i] = (uint8_t)(high << 4 | low);
    }
    strcpy(session.variable, "MIRRORD_BROKER=");
    strcat(session.variable, value);
    return 1;
}

// enter is called once, before main.
static void enter(void) {
    int saved = errno;
    const char *value = getenv("MIRRORD_BROKER"), *supervised = getenv("MIRRORD_SUPERVISED");
    Dl_info self;
    if (value != NULL && supervised != NULL && strcmp(value, supervised) == 0) return; // the broker answers this process's system calls
    if (value != NULL && join(value) && dladdr((void *)enter, &self) && strlen(self.dli_fname) < sizeof session.library) {
        strcpy(session.library, self.dli_fname);
        const char *cwd = getenv("MIRRORD_CWD");
        if (cwd != NULL && cwd[0] == '/' && strlen(cwd) < sizeof remote_cwd) strcpy(remote_cwd, cwd);
#if !defined(__APPLE__)
        believe_original();
#endif
        session.light = getenv("MIRRORD_LIGHT") != NULL;
        session.active = 1;
        say_hello();
    }
    errno = saved;
}
