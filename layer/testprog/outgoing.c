// Connections to the pod's network in each way that programs make them, with the pod's errno. The arguments name nothing: 10.96.0.7:80 is
// routed to a web server, 10.96.0.7:81 leads nowhere.
#define _GNU_SOURCE
#include "testprog.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_in pod_address(int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, "10.96.0.7", &to.sin_addr);
    return to;
}

static int dial(int flags, int port, int *err) {
    int fd = socket(AF_INET, SOCK_STREAM | flags, 0);
    struct sockaddr_in to = pod_address(port);
    *err = connect(fd, (struct sockaddr *)&to, sizeof to) == 0 ? 0 : errno;
    return fd;
}

static void check_ends(int fd, const char *how) {
    struct sockaddr_in peer, local;
    socklen_t length = sizeof peer;
    char text[INET_ADDRSTRLEN];
    CHECK(getpeername(fd, (struct sockaddr *)&peer, &length) == 0 && length == sizeof peer, "%s", how);
    inet_ntop(AF_INET, &peer.sin_addr, text, sizeof text);
    CHECK(strcmp(text, "10.96.0.7") == 0 && ntohs(peer.sin_port) == 80, "%s: the peer is %s:%d", how, text, ntohs(peer.sin_port));
    length = sizeof local;
    CHECK(getsockname(fd, (struct sockaddr *)&local, &length) == 0 && length == sizeof local && local.sin_port != 0, "%s", how);
    // Room for less than an address: as much as fits, and the true length.
    char small[4];
    length = sizeof small;
    CHECK(getpeername(fd, (struct sockaddr *)small, &length) == 0 && length == sizeof peer, "%s: %u", how, length);
}

static void check_answer(int fd, const char *how) {
    static const char request[] = "GET / HTTP/1.0\r\n\r\n";
    char answer[4096];
    size_t used = 0;
    CHECK(write(fd, request, sizeof request - 1) == sizeof request - 1, "%s", how);
    shutdown(fd, SHUT_WR);
    for (;;) {
        ssize_t n = read(fd, answer + used, sizeof answer - 1 - used);
        CHECK(n >= 0, "%s: read", how);
        if (n == 0) break;
        used += (size_t)n;
    }
    answer[used] = 0;
    CHECK(strstr(answer, "the service") != NULL, "%s: %s", how, answer);
    close(fd);
}

static int pending(int fd) {
    int err = -1;
    socklen_t length = sizeof err;
    CHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &length) == 0, "SO_ERROR");
    return err;
}

static void blocking(void) {
    int err, fd = dial(0, 80, &err);
    CHECK(err == 0, "%s", strerror(err));
    check_ends(fd, "blocking");
    struct sockaddr_in to = pod_address(80);
    CHECK(connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno == EISCONN, "a second connect");
    check_answer(fd, "blocking");
    fd = dial(0, 81, &err);
    CHECK(err == ECONNREFUSED, "%s", strerror(err));
    close(fd);
}

static void nonblocking(void) {
    int err, fd = dial(SOCK_NONBLOCK, 80, &err);
    CHECK(err == EINPROGRESS, "%s", strerror(err));
    struct pollfd p = {fd, POLLOUT, 0};
    CHECK(poll(&p, 1, 30000) == 1, "poll");
    CHECK(p.revents == POLLOUT && pending(fd) == 0, "revents %x", p.revents);
    check_ends(fd, "non-blocking");
    CHECK(fcntl(fd, F_SETFL, 0) == 0, "F_SETFL");
    check_answer(fd, "non-blocking");

    // A refusal is a failed connect, never a connection that ends at once.
    fd = dial(SOCK_NONBLOCK, 81, &err);
    CHECK(err == EINPROGRESS || err == ECONNREFUSED, "%s", strerror(err));
    if (err == EINPROGRESS) {
        int ep = epoll_create1(0);
        struct epoll_event event = {.events = EPOLLOUT};
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
        CHECK(epoll_wait(ep, &event, 1, 30000) == 1, "epoll_wait");
        CHECK((event.events & EPOLLERR) != 0 && pending(fd) == ECONNREFUSED, "events %x", event.events);
    }
    close(fd);
}

// dual_stack connects an IPv6 socket to an IPv4 address, as Java and node do.
static void dual_stack(void) {
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (fd < 0 && errno == EAFNOSUPPORT) return;
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(80)}, peer;
    inet_pton(AF_INET6, "::ffff:10.96.0.7", &to.sin6_addr);
    CHECK(connect(fd, (struct sockaddr *)&to, sizeof to) == 0, "mapped");
    socklen_t length = sizeof peer;
    CHECK(getpeername(fd, (struct sockaddr *)&peer, &length) == 0 && length == sizeof peer, "mapped");
    CHECK(memcmp(&peer.sin6_addr, &to.sin6_addr, 16) == 0 && peer.sin6_port == to.sin6_port, "the peer of a mapped socket");
    check_answer(fd, "mapped");
}

// bound connects a socket that the program has bound by itself.
static void bound(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in any = {.sin_family = AF_INET}, to = pod_address(80);
    CHECK(bind(fd, (struct sockaddr *)&any, sizeof any) == 0, "bind");
    CHECK(connect(fd, (struct sockaddr *)&to, sizeof to) == 0, "bound");
    check_ends(fd, "bound");
    check_answer(fd, "bound");
}

static void unix_socket(void) {
    int pair[2], server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un addr = {.sun_family = AF_UNIX}; // an empty name: the kernel chooses an abstract one
    socklen_t length = sizeof addr;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
    CHECK(bind(server, (struct sockaddr *)&addr, sizeof(sa_family_t)) == 0 && listen(server, 1) == 0, "bind");
    CHECK(getsockname(server, (struct sockaddr *)&addr, &length) == 0, "getsockname");
    CHECK(connect(client, (struct sockaddr *)&addr, length) == 0, "connect");
}

int main(void) {
    CHECK(access(MOTD, R_OK) == 0, "not in the pod"); // outside of it these connections could take minutes to fail
    blocking();
    nonblocking();
    dual_stack();
    bound();
    unix_socket();
    puts("ok");
    return 0;
}
