// A small web server: serve PORT [v6]. Its answer names the peer of the connection and the port that it believes to have. To /self it connects to
// itself on loopback; after /quit it ends, and after /last it ends with an answer that is far from sent. A request with /stuck in it is neither read to its
// end nor answered. Every request is printed.
#define _GNU_SOURCE
#include "testprog.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static const char *text_of(const union address *a, char out[64]) {
    if (a->any.sa_family == AF_INET)
        inet_ntop(AF_INET, &a->v4.sin_addr, out, 64);
    else
        inet_ntop(AF_INET6, &a->v6.sin6_addr, out, 64);
    return out;
}

// both ports are at the same place
static int port_of(const union address *a) { return ntohs(a->v4.sin_port); }

static size_t ask_self(int port, char *out, size_t size) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd, (struct sockaddr *)&to, sizeof to) == 0, "connect to myself");
    int n = snprintf(out, size, "connected to myself\n");
    close(fd);
    return (size_t)n;
}

// answer_last leaves 3 MiB to the kernel, which sends them whether the process lives or not.
static void answer_last(int fd) {
    static char body[3 << 20];
    static const char head[] = "HTTP/1.0 200 OK\r\nContent-Length: 3145728\r\n\r\n";
    memset(body, 'x', sizeof body);
    CHECK(write(fd, head, sizeof head - 1) == sizeof head - 1, "write");
    CHECK(write(fd, body, sizeof body) == sizeof body, "write");
    exit(0);
}

int main(int argc, char **argv) {
    CHECK(argc >= 2, "a port is needed");
    int port = atoi(argv[1]), v6 = argc > 2, yes = 1;
    union address addr = {.v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)}};
    if (v6) addr.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    int server = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    CHECK(bind(server, &addr.any, v6 ? sizeof addr.v6 : sizeof addr.v4) == 0, "bind");
    CHECK(listen(server, 64) == 0, "listen");
    socklen_t length = sizeof addr;
    CHECK(getsockname(server, &addr.any, &length) == 0, "getsockname");
    printf("listening on %d\n", port_of(&addr));
    fflush(stdout);
    for (;;) {
        union address peer, local;
        char request[1024], body[512], text[64], head[128];
        length = sizeof peer;
        int fd = accept(server, &peer.any, &length);
        CHECK(fd >= 0, "accept");
        length = sizeof local;
        ssize_t n = read(fd, request, sizeof request - 1);
        if (n > 0 && getsockname(fd, &local.any, &length) == 0) {
            request[n] = 0;
            printf("%.*s from %s\n", (int)strcspn(request, "\r\n"), request, text_of(&peer, text));
            fflush(stdout);
            if (strstr(request, "/stuck") != NULL) continue;
            if (strncmp(request, "GET /last ", 10) == 0) answer_last(fd);
            size_t size = strncmp(request, "GET /self ", 10) == 0
                              ? ask_self(port, body, sizeof body)
                              : (size_t)snprintf(body, sizeof body, "your program, port %d, peer %s\n", port_of(&local), text_of(&peer, text));
            int h = snprintf(head, sizeof head, "HTTP/1.0 200 OK\r\nContent-Length: %zu\r\n\r\n", size);
            CHECK(write(fd, head, (size_t)h) == h && write(fd, body, size) == (ssize_t)size, "write");
        }
        close(fd);
        if (n > 0 && strncmp(request, "GET /quit ", 10) == 0) return 0;
    }
}
