// Names and connections of the pod, as a program for macOS has them: inventory is 10.96.0.7, whose port 80 is a service and whose port 81 refuses.
#include "testprog.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/sysctl.h>
#include <sys/un.h>
#include <sys/utsname.h>

static int is_inventory(const struct hostent *h) {
    char text[INET_ADDRSTRLEN];
    return h != NULL && h->h_addrtype == AF_INET && h->h_length == 4 && h->h_addr_list[0] != NULL && h->h_addr_list[1] == NULL &&
           strcmp(h->h_name, "inventory") == 0 && strcmp(inet_ntop(AF_INET, h->h_addr_list[0], text, sizeof text), "10.96.0.7") == 0;
}

static void names(void) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_CANONNAME}, *found;
    int err = getaddrinfo("inventory", "80", &hints, &found);
    CHECK(err == 0, "getaddrinfo: %d", err);
    const struct sockaddr_in *addr = (const struct sockaddr_in *)(void *)found->ai_addr;
    CHECK(found->ai_family == AF_INET && found->ai_next == NULL && addr->sin_len == sizeof *addr && ntohl(addr->sin_addr.s_addr) == 0x0a600007 &&
              ntohs(addr->sin_port) == 80 && strcmp(found->ai_canonname, "inventory") == 0,
          "its address");
    char host[256], service[32];
    err = getnameinfo(found->ai_addr, found->ai_addrlen, host, sizeof host, service, sizeof service, NI_NUMERICSERV);
    CHECK(err == 0 && strcmp(host, "inventory") == 0 && strcmp(service, "80") == 0, "getnameinfo: %d %s", err, host);
    freeaddrinfo(found);
    CHECK(getaddrinfo("nowhere.invalid", NULL, NULL, &found) == EAI_NONAME, "an unknown name");
    CHECK(getaddrinfo("127.0.0.1", "80", NULL, &found) == 0, "a number");
    CHECK(is_inventory(gethostbyname("inventory")) && is_inventory(gethostbyname2("inventory", AF_INET)), "gethostbyname");
    CHECK(gethostbyname("nowhere.invalid") == NULL && h_errno == HOST_NOT_FOUND, "unknown: %d", h_errno);
    struct in_addr ip = {htonl(0x0a600007)};
    struct hostent *h = gethostbyaddr(&ip, sizeof ip, AF_INET);
    CHECK(h != NULL && strcmp(h->h_name, "inventory") == 0, "gethostbyaddr");

    struct utsname uts;
    size_t size = sizeof host;
    CHECK(gethostname(host, sizeof host) == 0 && strcmp(host, "cart-7d9f") == 0, "gethostname: %s", host);
    CHECK(uname(&uts) == 0 && strcmp(uts.nodename, "cart-7d9f") == 0 && strcmp(uts.sysname, "Darwin") == 0, "uname: %s", uts.nodename);
    CHECK(sysctlbyname("kern.hostname", host, &size, NULL, 0) == 0 && size == 10 && strcmp(host, "cart-7d9f") == 0, "kern.hostname: %s", host);
    int mib[] = {CTL_KERN, KERN_HOSTNAME};
    size = 4;
    CHECK(sysctl(mib, 2, host, &size, NULL, 0) < 0 && errno == ENOMEM, "kern.hostname without room");
}

static struct sockaddr_in pod_address(int port) {
    struct sockaddr_in to = {.sin_len = sizeof to, .sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, "10.96.0.7", &to.sin_addr);
    return to;
}

static void check_answer(int fd, const char *how) {
    static const char request[] = "GET / HTTP/1.0\r\n\r\n";
    char answer[4096];
    size_t used = 0;
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    CHECK(getpeername(fd, (struct sockaddr *)&peer, &length) == 0 && length == sizeof peer && peer.sin_len == sizeof peer &&
              ntohl(peer.sin_addr.s_addr) == 0x0a600007 && ntohs(peer.sin_port) == 80,
          "%s: the peer is %x:%d", how, ntohl(peer.sin_addr.s_addr), ntohs(peer.sin_port));
    length = sizeof peer;
    CHECK(getsockname(fd, (struct sockaddr *)&peer, &length) == 0 && length == sizeof peer && peer.sin_port != 0, "%s", how);
    CHECK(write(fd, request, sizeof request - 1) == sizeof request - 1, "%s", how);
    for (ssize_t n; (n = read(fd, answer + used, sizeof answer - 1 - used)) > 0;) used += (size_t)n;
    answer[used] = 0;
    CHECK(strstr(answer, "the service") != NULL, "%s: %s", how, answer);
    close(fd);
}

static void connections(void) {
    struct sockaddr_in to = pod_address(80), nobody = pod_address(81);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd, (struct sockaddr *)&to, sizeof to) == 0, "connect");
    CHECK(connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno == EISCONN, "a second connect");
    check_answer(fd, "blocking");

    fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd, (struct sockaddr *)&nobody, sizeof nobody) < 0 && errno == ECONNREFUSED, "refused");
    close(fd);

    fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0, "F_SETFL");
    int result = connect(fd, (struct sockaddr *)&to, sizeof to);
    CHECK(result == 0 || errno == EINPROGRESS, "non-blocking");
    struct pollfd p = {fd, POLLOUT, 0};
    int err = -1;
    socklen_t length = sizeof err;
    CHECK(poll(&p, 1, 30000) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &length) == 0 && err == 0, "non-blocking: %d", err);
    CHECK(fcntl(fd, F_SETFL, 0) == 0, "F_SETFL");
    check_answer(fd, "non-blocking");

    fd = socket(AF_INET, SOCK_STREAM, 0);
    struct iovec io = {"GET / HTTP/1.0\r\nX: ", 19};
    size_t sent = 0;
    sa_endpoints_t ends = {.sae_dstaddr = (struct sockaddr *)&to, .sae_dstaddrlen = sizeof to};
    CHECK(connectx(fd, &ends, 0, 0, &io, 1, &sent, NULL) == 0 && sent == 19, "connectx: %zu", sent);
    check_answer(fd, "connectx");

    // An IPv6 socket to an IPv4 address, as Java and node do.
    fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 mapped = {.sin6_len = sizeof mapped, .sin6_family = AF_INET6, .sin6_port = htons(80)}, peer;
    inet_pton(AF_INET6, "::ffff:10.96.0.7", &mapped.sin6_addr);
    if (fd < 0) return;
    CHECK(connect(fd, (struct sockaddr *)&mapped, sizeof mapped) == 0, "mapped");
    length = sizeof peer;
    CHECK(getpeername(fd, (struct sockaddr *)&peer, &length) == 0 && length == sizeof peer && memcmp(&peer.sin6_addr, &mapped.sin6_addr, 16) == 0, "mapped");
    close(fd);
}

static void datagrams(void) {
    struct sockaddr_in to = pod_address(8125);
    char text[16];
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(connect(fd, (struct sockaddr *)&to, sizeof to) == 0 && write(fd, "ping", 4) == 4, "a connected UDP socket");
    CHECK(read(fd, text, sizeof text) == 4 && memcmp(text, "ping", 4) == 0, "its echo");
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    CHECK(write(fd, "pong", 4) == 4 && recvfrom(fd, text, sizeof text, 0, (struct sockaddr *)&from, &length) == 4, "recvfrom");
    CHECK(length == sizeof from && ntohl(from.sin_addr.s_addr) == 0x0a600007 && ntohs(from.sin_port) == 8125, "from %x", ntohl(from.sin_addr.s_addr));
    close(fd);
}

// A Unix socket of the pod; its peer is what was asked for. Another is this machine's.
static void streams(void) {
    struct sockaddr_un to = {.sun_len = sizeof to, .sun_family = AF_UNIX, .sun_path = "/run/web.sock"}, none = {.sun_family = AF_UNIX, .sun_path = "/run/none.sock"}, peer;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(connect(fd, (struct sockaddr *)&none, sizeof none) < 0 && errno == ENOENT, "no such socket");
    CHECK(connect(fd, (struct sockaddr *)&to, sizeof to) == 0, "connect");
    socklen_t length = sizeof peer;
    CHECK(getpeername(fd, (struct sockaddr *)&peer, &length) == 0 && peer.sun_family == AF_UNIX && peer.sun_len == length &&
              strcmp(peer.sun_path, to.sun_path) == 0,
          "the peer is %s, %u bytes", peer.sun_path, length);
    CHECK(connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno == EISCONN, "a second connect");
    char answer[4096] = {0};
    CHECK(write(fd, "GET / HTTP/1.0\r\n\r\n", 18) == 18, "the request");
    for (size_t used = 0, n; (n = (size_t)read(fd, answer + used, sizeof answer - 1 - used)) > 0 && n != (size_t)-1;) used += n;
    CHECK(strstr(answer, "the service") != NULL, "%s", answer);
    close(fd);
}

// A listener: the pod's port 8080 comes here, and accept tells who connects there.
static void listener(void) {
    struct sockaddr_in at = {.sin_len = sizeof at, .sin_family = AF_INET, .sin_port = htons(8080)}, peer;
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    CHECK(bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 8) == 0, "listen");
    socklen_t length = sizeof at;
    CHECK(getsockname(fd, (struct sockaddr *)&at, &length) == 0 && ntohs(at.sin_port) == 8080, "the port that was asked for: %d", ntohs(at.sin_port));
    puts("listening");
    fflush(stdout);
    length = sizeof peer;
    int connection = accept(fd, (struct sockaddr *)&peer, &length);
    char request[256];
    CHECK(connection >= 0 && length == sizeof peer, "accept");
    CHECK(read(connection, request, sizeof request) > 0 && write(connection, "HTTP/1.0 200 OK\r\n\r\nfrom macOS\n", 30) == 30, "the request");
    close(connection);
}

int main(int argc, char **argv) {
    (void)argv;
    names();
    connections();
    streams();
    datagrams();
    if (argc > 1) listener();
    puts("ok");
    return 0;
}
