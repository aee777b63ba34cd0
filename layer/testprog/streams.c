// Connections to Unix sockets of the pod, which echoes at /srv/run/echo.sock, at a link to that whose path fills sun_path, and at the abstract name shop.
#define _GNU_SOURCE
#include "testprog.h"

#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ECHO "/srv/run/echo.sock"
#define PATH_AT offsetof(struct sockaddr_un, sun_path)

// dial connects to the name of n bytes as it is; the socket, or minus an errno.
static int dial(int type, const char *name, size_t n) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    memcpy(to.sun_path, name, n);
    int fd = socket(AF_UNIX, type, 0);
    CHECK(fd >= 0, "socket");
    if (connect(fd, (struct sockaddr *)&to, (socklen_t)(PATH_AT + n)) == 0) return fd;
    int err = errno;
    close(fd);
    return -err;
}

static int dial_path(int type, const char *path) { return dial(type, path, strlen(path) + 1); }

static void check_peer(int fd, const char *name, size_t n, const char *how) {
    char room[256];
    memset(room, 'x', sizeof room);
    socklen_t length = sizeof room;
    CHECK(getpeername(fd, (struct sockaddr *)room, &length) == 0, "%s", how);
    CHECK(length == PATH_AT + n, "%s: the peer's address has %u bytes", how, length);
    CHECK(memcmp(room + PATH_AT, name, n - 1) == 0 && (name[0] == 0 || room[PATH_AT + n - 1] == 0), "%s: the peer is %.108s", how, room + PATH_AT);
    length = 5;
    memset(room, 'x', sizeof room);
    CHECK(getpeername(fd, (struct sockaddr *)room, &length) == 0 && length == PATH_AT + n && room[4] == name[2] && room[5] == 'x', "%s: little room", how);
}

static void check_echo(int fd, const char *how) {
    char text[8] = {0};
    CHECK(write(fd, "hi", 2) == 2, "%s", how);
    CHECK(recv(fd, text, 2, MSG_WAITALL) == 2 && strcmp(text, "hi") == 0, "%s: %s", how, text);
    CHECK(shutdown(fd, SHUT_WR) == 0 && read(fd, text, sizeof text) == 0, "%s: the end", how);
    close(fd);
}

static void connections(void) {
    int fd = dial_path(SOCK_STREAM, ECHO);
    CHECK(fd >= 0, "%s", strerror(-fd));
    check_peer(fd, ECHO, sizeof ECHO, "blocking");
    struct sockaddr_un local, to = {.sun_family = AF_UNIX, .sun_path = ECHO};
    socklen_t length = sizeof local;
    CHECK(getsockname(fd, (struct sockaddr *)&local, &length) == 0 && length == sizeof(sa_family_t), "a name of %u bytes", length);
    CHECK(connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno == EISCONN, "a second connect");
    pid_t child = fork();
    if (child == 0) {
        check_peer(fd, ECHO, sizeof ECHO, "child");
        check_echo(fd, "child");
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0, "the child: %x", status);
    close(fd);

    // A Unix socket is never in progress.
    fd = dial_path(SOCK_STREAM | SOCK_NONBLOCK, ECHO);
    CHECK(fd >= 0, "non-blocking: %s", strerror(-fd));
    CHECK(write(fd, "x", 1) == 1, "non-blocking");
    struct pollfd p = {fd, POLLIN, 0};
    CHECK(poll(&p, 1, 30000) == 1 && p.revents == POLLIN, "revents %x", p.revents);
    close(fd);

    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(syscall(SYS_connect, fd, &to, sizeof to) == 0, "syscall");
    check_peer(fd, ECHO, sizeof ECHO, "syscall");
    check_echo(fd, "syscall");

    // A name of its own, which the kernel chooses, stays.
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(bind(fd, (struct sockaddr *)&to, sizeof(sa_family_t)) == 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0, "bound");
    length = sizeof local;
    CHECK(getsockname(fd, (struct sockaddr *)&local, &length) == 0 && length == PATH_AT + 6 && local.sun_path[0] == 0, "a name of %u bytes", length);
    check_echo(fd, "bound");
}

static void names(void) {
    char longest[sizeof((struct sockaddr_un *)0)->sun_path];
    memset(longest, 'l', sizeof longest);
    memcpy(longest, "/srv/run/", 9);
    int fd = dial(SOCK_STREAM, longest, sizeof longest); // no zero at its end
    CHECK(fd >= 0, "the longest: %s", strerror(-fd));
    check_peer(fd, longest, sizeof longest + 1, "the longest");
    check_echo(fd, "the longest");
    fd = dial(SOCK_STREAM, ECHO, sizeof ECHO - 1);
    check_peer(fd, ECHO, sizeof ECHO, "without a zero");
    check_echo(fd, "without a zero");
    fd = dial(SOCK_STREAM, "\0shop", 5);
    CHECK(fd >= 0, "abstract: %s", strerror(-fd));
    check_peer(fd, "\0shop", 5, "abstract");
    check_echo(fd, "abstract");
    CHECK(dial(SOCK_STREAM, "\0shop\0", 6) == -ECONNREFUSED, "an abstract name ends where its length says");
    CHECK(dial_path(SOCK_STREAM, "/srv/run/../run//echo.sock") >= 0, "a path that is not clean");
    CHECK(chdir("/srv/run") == 0, "chdir");
    fd = dial_path(SOCK_STREAM, "echo.sock");
    CHECK(fd >= 0, "relative: %s", strerror(-fd));
    check_peer(fd, ECHO, sizeof ECHO, "relative");
    check_echo(fd, "relative");
}

static void refused(void) {
    CHECK(dial_path(SOCK_STREAM, "/srv/run/none.sock") == -ENOENT, "none");
    CHECK(dial_path(SOCK_STREAM | SOCK_NONBLOCK, "/srv/run/none.sock") == -ENOENT, "none, without waiting");
    CHECK(dial_path(SOCK_STREAM, "/srv/run") == -ECONNREFUSED, "a directory");
    CHECK(dial_path(SOCK_STREAM, "/srv/run/file.sock") == -ECONNREFUSED, "a file");
    CHECK(dial_path(SOCK_STREAM, "/srv/run/gone.sock") == -ECONNREFUSED, "a socket of nobody's");
    CHECK(dial(SOCK_STREAM, "", 0) == -EINVAL, "no name");
    CHECK(dial(SOCK_STREAM, "\0nobody", 7) == -ECONNREFUSED, "an abstract name of nobody's");
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = ECHO};
    CHECK(connect(-1, (struct sockaddr *)&to, sizeof to) < 0 && errno == EBADF, "no descriptor");
    CHECK(connect(0, (struct sockaddr *)&to, sizeof to) < 0 && errno == ENOTSOCK, "no socket");
    CHECK(connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&to, sizeof to) < 0 && errno != EISCONN, "another family's");
    // Only streams are the pod's.
    CHECK(dial_path(SOCK_SEQPACKET, ECHO) == -ENOENT, "packets");
    CHECK(dial_path(SOCK_DGRAM, ECHO) == -ENOENT, "datagrams");
}

// descriptors sends one along: it is closed on the other side, and what came with it arrives.
static void descriptors(void) {
    int fd = dial_path(SOCK_STREAM, ECHO), ends[2];
    CHECK(pipe(ends) == 0, "pipe");
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec io = {"x", 1};
    struct msghdr msg = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &ends[1], sizeof(int));
    CHECK(sendmsg(fd, &msg, 0) == 1, "sendmsg");
    close(ends[1]);
    char text[2];
    CHECK(read(ends[0], text, 1) == 0, "somebody keeps what was sent");
    CHECK(read(fd, text, 2) == 1 && text[0] == 'x', "what came with it");
    close(fd);
}

// ours connects to a socket of this machine, which no pattern names.
static void ours(void) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "/tmp/mirrord-streams-%d", getpid());
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(bind(listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(listener, 1) == 0, "%s", at.sun_path);
    int fd = dial_path(SOCK_STREAM, at.sun_path);
    unlink(at.sun_path);
    CHECK(fd >= 0, "%s", strerror(-fd));
    check_peer(fd, at.sun_path, strlen(at.sun_path) + 1, "ours");
}

int main(void) {
    connections();
    refused();
    descriptors();
    ours();
    names();
    puts("ok");
    return 0;
}
