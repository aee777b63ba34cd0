// Names, connections, listeners and datagrams. inventory is 10.96.0.7, whose port 80 is a service; what is sent to any port 53 reaches the pod's name server.
//
// Sockets that are to leave this machine are bound to loopback, from where the system itself lets nothing leave: without the hook that is an error at once.
#include <arpa/inet.h>
#include <dnsinfo.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>

ALSO(connect$NOCANCEL, connect);
ALSO(accept$NOCANCEL, accept);
ALSO(sendto$NOCANCEL, sendto);
ALSO(sendmsg$NOCANCEL, sendmsg);
ALSO(recvfrom$NOCANCEL, recvfrom);
ALSO(recvmsg$NOCANCEL, recvmsg);

static struct sockaddr_in address(const char *ip, int port) {
    struct sockaddr_in out = {.sin_len = sizeof out, .sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, ip, &out.sin_addr);
    return out;
}
static void tell(int n, const struct sockaddr_in *at, int with_port) {
    char ip[INET_ADDRSTRLEN] = "";
    inet_ntop(AF_INET, &at->sin_addr, ip, sizeof ip);
    say("%d, errno %d, %s:%d", n, n < 0 ? errno : 0, ip, with_port ? ntohs(at->sin_port) : 0);
}
static int at_home(int type) {
    struct sockaddr_in home = address("127.0.0.1", 0);
    int fd = socket(AF_INET, type, 0);
    bind(fd, (struct sockaddr *)&home, sizeof home);
    return fd;
}

// ---- names

static void host(const struct hostent *h) {
    char ip[INET_ADDRSTRLEN] = "";
    if (h != NULL) inet_ntop(AF_INET, h->h_addr_list[0], ip, sizeof ip);
    say("%s %s", h != NULL ? h->h_name : "(none)", ip);
}
STEP(getaddrinfo) {
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found = NULL;
    struct sockaddr_in none = {0};
    int err = getaddrinfo("inventory", "80", &hints, &found);
    tell(err, err == 0 ? (struct sockaddr_in *)(void *)found->ai_addr : &none, 1);
}
STEP(getnameinfo) {
    struct sockaddr_in at = address("10.96.0.7", 80);
    char name[256] = "";
    int err = getnameinfo((struct sockaddr *)&at, sizeof at, name, sizeof name, NULL, 0, NI_NAMEREQD);
    say("%d %s", err, name);
}
STEP(gethostbyname) { host(gethostbyname("inventory")); }
STEP(gethostbyname2) { host(gethostbyname2("inventory", AF_INET)); }
STEP(gethostbyaddr) {
    struct sockaddr_in at = address("10.96.0.7", 0);
    host(gethostbyaddr(&at.sin_addr, sizeof at.sin_addr, AF_INET));
}
STEP(dns_configuration_copy) {
    dns_config_t *list = dns_configuration_copy();
    dns_resolver_t *resolver = list->resolver[0];
    char ip[2][INET6_ADDRSTRLEN] = {""}, search[64] = "";
    inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)resolver->nameserver[0])->sin_addr, ip[0], sizeof ip[0]);
    if (resolver->n_nameserver > 1) inet_ntop(AF_INET6, &((struct sockaddr_in6 *)(void *)resolver->nameserver[1])->sin6_addr, ip[1], sizeof ip[1]);
    for (int i = 0; i < resolver->n_search; i++) strcat(strcat(search, " "), resolver->search[i]);
    say("%d: %s %s, search%s", list->n_resolver * resolver->n_nameserver, ip[0], ip[1], search);
    dns_configuration_free(list);
}
STEP(dns_configuration_free) { // the original ends a program that gives it what is not its own
    dns_configuration_free(dns_configuration_copy());
    result(0);
}
STEP(gethostname) {
    char name[256] = "";
    int n = gethostname(name, sizeof name);
    say("%d %s", n, name);
}

// ---- connections

STEP(socket) { result(socket(AF_INET6, SOCK_STREAM, 0) >= 0 ? 0 : -1); }

#define CONNECT(name)                                                                                                               \
    STEP(name) {                                                                                                                    \
        struct sockaddr_in to = address("10.96.0.7", 80);                                                                           \
        result(name(at_home(SOCK_STREAM), (struct sockaddr *)&to, sizeof to));                                                      \
    }
CONNECT(connect)
CONNECT(connect$NOCANCEL)
STEP(connectx) {
    struct sockaddr_in to = address("10.96.0.7", 80);
    sa_endpoints_t end = {.sae_dstaddr = (struct sockaddr *)&to, .sae_dstaddrlen = sizeof to};
    result(connectx(at_home(SOCK_STREAM), &end, 0, 0, NULL, 0, NULL, NULL));
}
STEP(getpeername) {
    struct sockaddr_in to = address("10.96.0.7", 80);
    socklen_t length = sizeof to;
    int fd = at_home(SOCK_STREAM);
    connect(fd, (struct sockaddr *)&to, sizeof to);
    int n = getpeername(fd, (struct sockaddr *)&to, &length);
    tell(n, &to, 1);
}

// pending connects without waiting, and answers with what became of it.
static int pending(const char *ip, int port) {
    struct sockaddr_in to = address(ip, port);
    int fd = at_home(SOCK_STREAM), err = 0;
    socklen_t length = sizeof err;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    connect(fd, (struct sockaddr *)&to, sizeof to);
    poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 30000);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &length) < 0 ? errno : err;
}
STEP(getsockopt) { say("%d", pending("127.255.255.255", 80)); } // a broadcast address, which is not merely refused

// ---- listeners

// listener has an address of the pod, which this machine has not.
static int listener(int *bound) {
    struct sockaddr_in at = address("10.96.0.7", 8080);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    *bound = bind(fd, (struct sockaddr *)&at, sizeof at);
    return fd;
}
STEP(bind) {
    int n;
    listener(&n);
    result(n);
}
STEP(getsockname) {
    struct sockaddr_in at = {0};
    socklen_t length = sizeof at;
    int n, fd = listener(&n);
    n = getsockname(fd, (struct sockaddr *)&at, &length);
    tell(n, &at, 1);
}
STEP(listen) {
    int n, fd = listener(&n);
    result(listen(fd, 8)); // and the pod's port is stolen
    close(fd);
}
#define ACCEPT(name)                                                                                                                \
    STEP(name) {                                                                                                                    \
        struct sockaddr_in from = {0};                                                                                              \
        socklen_t length = sizeof from;                                                                                             \
        int n, fd = listener(&n);                                                                                                   \
        listen(fd, 8);                                                                                                              \
        pending("127.0.0.1", pod_port);                                                                                             \
        if (poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 30000) == 1) n = name(fd, (struct sockaddr *)&from, &length);     \
        tell(n < 0 ? n : 0, &from, 0);                                                                                              \
        close(fd);                                                                                                                  \
    }
ACCEPT(accept)
ACCEPT(accept$NOCANCEL)

// ---- datagrams

static char query[] = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x09inventory\x00\x00\x01\x00\x01";
enum { QUERY = sizeof query - 1 };
static struct sockaddr_in server, from;
static char reply[512];
static struct iovec piece;

static struct msghdr *message(struct sockaddr_in *name, void *text, size_t size) {
    static struct msghdr out;
    piece = (struct iovec){text, size};
    out = (struct msghdr){.msg_name = name, .msg_namelen = sizeof *name, .msg_iov = &piece, .msg_iovlen = 1};
    return &out;
}
static int udp(void) {
    server = address("10.96.0.10", 53);
    return at_home(SOCK_DGRAM);
}
#define SEND(name, call)                                                                                                            \
    STEP(name) {                                                                                                                    \
        int fd = udp();                                                                                                             \
        result(call);                                                                                                               \
    }
SEND(sendto, sendto(fd, query, QUERY, 0, (struct sockaddr *)&server, sizeof server))
SEND(sendto$NOCANCEL, sendto$NOCANCEL(fd, query, QUERY, 0, (struct sockaddr *)&server, sizeof server))
SEND(sendmsg, sendmsg(fd, message(&server, query, QUERY), 0))
SEND(sendmsg$NOCANCEL, sendmsg$NOCANCEL(fd, message(&server, query, QUERY), 0))
#define RECEIVE(name, call)                                                                                                         \
    STEP(name) {                                                                                                                    \
        int fd = udp();                                                                                                             \
        socklen_t length = sizeof from;                                                                                             \
        sendto(fd, query, QUERY, 0, (struct sockaddr *)&server, sizeof server);                                                     \
        long n = -1;                                                                                                                \
        if (poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 30000) == 1) n = call;                                            \
        (void)length;                                                                                                               \
        tell((int)n, &from, 1);                                                                                                     \
    }
RECEIVE(recvfrom, recvfrom(fd, reply, sizeof reply, 0, (struct sockaddr *)&from, &length))
RECEIVE(recvfrom$NOCANCEL, recvfrom$NOCANCEL(fd, reply, sizeof reply, 0, (struct sockaddr *)&from, &length))
RECEIVE(recvmsg, recvmsg(fd, message(&from, reply, sizeof reply), 0))
RECEIVE(recvmsg$NOCANCEL, recvmsg$NOCANCEL(fd, message(&from, reply, sizeof reply), 0))
