// Sockets: addresses that carry their length, other families, levels, options and flags, control messages of another shape.
#include "shim.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>

#include "sockets.h"

enum { REMEMBERED = 65536 };
static uint8_t no_sigpipe[REMEMBERED];
bool has_no_sigpipe(int fd) { return fd >= 0 && fd < REMEMBERED && no_sigpipe[fd]; }
void set_no_sigpipe(int fd, bool on) {
    if (fd >= 0 && fd < REMEMBERED) no_sigpipe[fd] = on;
}

int family_to_linux(int family) { return family == D_AF_INET6 ? AF_INET6 : family == AF_INET || family == AF_UNIX || family == AF_UNSPEC ? family : -1; }
int family_to_darwin(int family) { return family == AF_INET6 ? D_AF_INET6 : family; }

socklen_t address_to_linux(const void *from, socklen_t length, struct sockaddr_storage *to) {
    if (from == NULL) return 0;
    if (length > sizeof *to) length = sizeof *to;
    memset(to, 0, sizeof *to);
    memcpy(to, from, length);
    if (length >= 2) {
        int family = family_to_linux(((const uint8_t *)from)[1]);
        to->ss_family = family < 0 ? AF_UNSPEC : (sa_family_t)family;
        if (family == AF_UNIX) { // a socket's path may be given with or without its NUL; Linux wants one path, not one per length
            struct sockaddr_un *un = (void *)to;
            un->sun_path[sizeof un->sun_path - 1] = 0;
            length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(un->sun_path) + 1);
        }
    }
    return length;
}

// address_to_darwin gives as much of the address as there is room for, and its whole length.
void address_to_darwin(const struct sockaddr_storage *from, socklen_t length, void *to, socklen_t *room) {
    if (to == NULL || room == NULL) return;
    uint8_t own[sizeof *from + 1] = {0};
    memcpy(own, from, length);
    if (length < 2) length = 0;
    else if (from->ss_family == AF_UNIX && length < 16) length = 16; // an unnamed one
    own[0] = (uint8_t)length;
    own[1] = (uint8_t)family_to_darwin(from->ss_family);
    if (length > 0) memcpy(to, own, length < *room ? length : *room);
    *room = length;
}

static long d_socket(int family, int type, int protocol) {
    int own = family_to_linux(family);
    if (own <= 0) return fail(D_EAFNOSUPPORT);
    int fd = (int)ret(socket(own, type, protocol));
    set_no_sigpipe(fd, false);
    return fd;
}
static long d_socketpair(int family, int type, int protocol, int fds[2]) { return (int)ret(socketpair(family_to_linux(family), type, protocol, fds)); }
static long d_connect(int fd, const void *address, socklen_t length) {
    struct sockaddr_storage own;
    length = address_to_linux(address, length, &own);
    return (int)ret(connect(fd, (void *)&own, length));
}
static long d_bind(int fd, const void *address, socklen_t length) {
    struct sockaddr_storage own;
    length = address_to_linux(address, length, &own);
    return (int)ret(bind(fd, (void *)&own, length));
}

struct endpoints { // sa_endpoints_t
    unsigned source_interface;
    const void *source;
    socklen_t source_length;
    const void *destination;
    socklen_t destination_length;
};
static long d_connectx(int fd, const struct endpoints *to, unsigned association, unsigned flags, const struct iovec *data, unsigned count, size_t *sent,
                      unsigned *connection) {
    (void)association, (void)connection;
    if (flags != 0) unmodelled("connectx with flags %#x", flags);
    if (to->source != NULL && d_bind(fd, to->source, to->source_length) != 0) return -1;
    if (d_connect(fd, to->destination, to->destination_length) != 0) return -1;
    ssize_t n = count > 0 ? ret(writev(fd, data, (int)count)) : 0;
    if (sent != NULL) *sent = n < 0 ? 0 : (size_t)n;
    return n < 0 ? -1 : 0;
}
static long d_listen(int fd, int backlog) { return (int)ret(listen(fd, backlog)); }

static long d_accept(int fd, void *address, socklen_t *room) {
    struct sockaddr_storage own;
    socklen_t length = sizeof own;
    int got = (int)ret(accept(fd, (void *)&own, &length));
    if (got < 0) return got;
    set_no_sigpipe(got, has_no_sigpipe(fd));
    int flags = fcntl(fd, F_GETFL); // there a new connection inherits O_NONBLOCK
    if ((flags & O_NONBLOCK) != 0) fcntl(got, F_SETFL, fcntl(got, F_GETFL) | O_NONBLOCK);
    address_to_darwin(&own, length, address, room);
    return got;
}
#define NAME_CALL(name)                                                \
    static long d_##name(int fd, void *address, socklen_t *room) {      \
        struct sockaddr_storage own;                                   \
        socklen_t length = sizeof own;                                 \
        int result = (int)ret(name(fd, (void *)&own, &length));        \
        if (result == 0) address_to_darwin(&own, length, address, room); \
        return result;                                                 \
    }
NAME_CALL(getsockname)
NAME_CALL(getpeername)
static long d_shutdown(int fd, int how) { return (int)ret(shutdown(fd, how)); }

// ---- options

static const struct option {
    int level, name, linux_level, linux_name;
} options_of[] = {
    {D_SOL_SOCKET, 0x1, SOL_SOCKET, SO_DEBUG}, {D_SOL_SOCKET, 0x2, SOL_SOCKET, SO_ACCEPTCONN}, {D_SOL_SOCKET, 0x4, SOL_SOCKET, SO_REUSEADDR},
    {D_SOL_SOCKET, 0x8, SOL_SOCKET, SO_KEEPALIVE}, {D_SOL_SOCKET, 0x10, SOL_SOCKET, SO_DONTROUTE}, {D_SOL_SOCKET, 0x20, SOL_SOCKET, SO_BROADCAST},
    {D_SOL_SOCKET, 0x80, SOL_SOCKET, SO_LINGER}, {D_SOL_SOCKET, 0x1080, SOL_SOCKET, SO_LINGER}, {D_SOL_SOCKET, 0x100, SOL_SOCKET, SO_OOBINLINE},
    {D_SOL_SOCKET, 0x200, SOL_SOCKET, SO_REUSEPORT}, {D_SOL_SOCKET, 0x400, SOL_SOCKET, SO_TIMESTAMP}, {D_SOL_SOCKET, 0x1001, SOL_SOCKET, SO_SNDBUF},
    {D_SOL_SOCKET, 0x1002, SOL_SOCKET, SO_RCVBUF}, {D_SOL_SOCKET, 0x1004, SOL_SOCKET, SO_RCVLOWAT}, {D_SOL_SOCKET, 0x1005, SOL_SOCKET, SO_SNDTIMEO},
    {D_SOL_SOCKET, 0x1006, SOL_SOCKET, SO_RCVTIMEO}, {D_SOL_SOCKET, 0x1007, SOL_SOCKET, SO_ERROR}, {D_SOL_SOCKET, 0x1008, SOL_SOCKET, SO_TYPE},
    {IPPROTO_TCP, 1, IPPROTO_TCP, TCP_NODELAY}, {IPPROTO_TCP, 2, IPPROTO_TCP, TCP_MAXSEG}, {IPPROTO_TCP, 0x10, IPPROTO_TCP, TCP_KEEPIDLE},
    {IPPROTO_TCP, 0x101, IPPROTO_TCP, TCP_KEEPINTVL}, {IPPROTO_TCP, 0x102, IPPROTO_TCP, TCP_KEEPCNT}, {IPPROTO_IP, 3, IPPROTO_IP, IP_TOS},
    {IPPROTO_IP, 4, IPPROTO_IP, IP_TTL}, {IPPROTO_IP, 10, IPPROTO_IP, IP_MULTICAST_TTL}, {IPPROTO_IP, 11, IPPROTO_IP, IP_MULTICAST_LOOP},
    {IPPROTO_IPV6, 27, IPPROTO_IPV6, IPV6_V6ONLY}, {IPPROTO_IPV6, 4, IPPROTO_IPV6, IPV6_UNICAST_HOPS}, {IPPROTO_IPV6, 36, IPPROTO_IPV6, IPV6_TCLASS}
};
enum {
    D_SO_NOSIGPIPE = 0x1022, D_TCP_CONNECTIONTIMEOUT = 0x20, D_TCP_CONNECTION_INFO = 0x106, D_LOCAL_PEERCRED = 1, D_LOCAL_PEERPID = 2, D_LOCAL_PEEREPID = 3
};

static const struct option *option_for(int level, int name) {
    for (size_t i = 0; i < COUNT(options_of); i++)
        if (options_of[i].level == level && options_of[i].name == name) return &options_of[i];
    return NULL;
}
static bool is_timeout(const struct option *o) { return o->linux_level == SOL_SOCKET && (o->linux_name == SO_RCVTIMEO || o->linux_name == SO_SNDTIMEO); }

static long d_setsockopt(int fd, int level, int name, const void *value, socklen_t length) {
    if (level == D_SOL_SOCKET && name == D_SO_NOSIGPIPE) {
        if (fcntl(fd, F_GETFD) < 0) return (int)ret(-1);
        set_no_sigpipe(fd, *(const int *)value != 0);
        return 0;
    }
    if (level == IPPROTO_TCP && name == D_TCP_CONNECTIONTIMEOUT) return 0;
    const struct option *o = option_for(level, name);
    if (o == NULL) unmodelled("setsockopt level %#x option %#x", level, name);
    struct timeval time;
    if (is_timeout(o) && length >= 12) {
        time = (struct timeval){*(const int64_t *)value, *(const int32_t *)((const char *)value + 8)}; // its microseconds have 32 bits
        value = &time, length = sizeof time;
    }
    return (int)ret(setsockopt(fd, o->linux_level, o->linux_name, value, length));
}

static int peer(int fd, int name, void *value, socklen_t *length) {
    struct ucred credentials;
    socklen_t own = sizeof credentials;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &own) != 0) return (int)ret(-1);
    if (name == D_LOCAL_PEERCRED) {
        struct {
            uint32_t version, uid;
            int16_t count;
            uint32_t groups[16];
        } xucred = {0, credentials.uid, 1, {credentials.gid}};
        *length = *length < sizeof xucred ? *length : sizeof xucred;
        memcpy(value, &xucred, *length);
    } else {
        *length = 4;
        memcpy(value, &credentials.pid, 4);
    }
    return 0;
}

// connection_info is struct tcp_connection_info as far as its first byte, the state by BSD's numbers.
static int connection_info(int fd, void *value, socklen_t *length) {
    static const uint8_t states[] = {
        [TCP_ESTABLISHED] = 4, [TCP_SYN_SENT] = 2, [TCP_SYN_RECV] = 3, [TCP_FIN_WAIT1] = 6, [TCP_FIN_WAIT2] = 9, [TCP_TIME_WAIT] = 10, [TCP_CLOSE] = 0,
        [TCP_CLOSE_WAIT] = 5, [TCP_LAST_ACK] = 8, [TCP_LISTEN] = 1, [TCP_CLOSING] = 7
    };
    struct tcp_info info;
    socklen_t own = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &own) != 0) return (int)ret(-1);
    memset(value, 0, *length);
    if (*length > 0) *(uint8_t *)value = states[info.tcpi_state];
    return 0;
}

static long d_getsockopt(int fd, int level, int name, void *value, socklen_t *length) {
    if (level == IPPROTO_TCP && name == D_TCP_CONNECTION_INFO) return connection_info(fd, value, length);
    if (level == 0 && (name == D_LOCAL_PEERPID || name == D_LOCAL_PEEREPID || name == D_LOCAL_PEERCRED)) return peer(fd, name, value, length);
    if (level == D_SOL_SOCKET && name == D_SO_NOSIGPIPE) {
        *(int *)value = has_no_sigpipe(fd);
        *length = 4;
        return fcntl(fd, F_GETFD) < 0 ? (int)ret(-1) : 0;
    }
    const struct option *o = option_for(level, name);
    if (o == NULL) unmodelled("getsockopt level %#x option %#x", level, name);
    int result = (int)ret(getsockopt(fd, o->linux_level, o->linux_name, value, length));
    if (result == 0 && o->linux_level == SOL_SOCKET && o->linux_name == SO_ERROR) *(int *)value = errno_to_darwin(*(int *)value);
    return result;
}

// ---- messages

static const struct {
    int darwin, linux_flag;
} message_flags[] = {
    {0x1, MSG_OOB}, {0x2, MSG_PEEK}, {0x4, MSG_DONTROUTE}, {0x8, MSG_EOR}, {0x10, MSG_TRUNC}, {0x20, MSG_CTRUNC}, {0x40, MSG_WAITALL}, {0x80, MSG_DONTWAIT},
    {0x80000, MSG_NOSIGNAL}
};
static int flags_to_linux(int fd, int flags) {
    int own = has_no_sigpipe(fd) ? MSG_NOSIGNAL : 0;
    for (size_t i = 0; i < COUNT(message_flags); i++) own |= (flags & message_flags[i].darwin) != 0 ? message_flags[i].linux_flag : 0;
    return own;
}
static int flags_to_darwin(int flags) {
    int own = 0;
    for (size_t i = 0; i < COUNT(message_flags); i++) own |= (flags & message_flags[i].linux_flag) != 0 ? message_flags[i].darwin : 0;
    return own;
}

static ssize_t d_send(int fd, const void *data, size_t n, int flags) { return ret(send(fd, data, n, flags_to_linux(fd, flags))); }
static ssize_t d_recv(int fd, void *data, size_t n, int flags) { return ret(recv(fd, data, n, flags_to_linux(-1, flags))); }
static ssize_t d_sendto(int fd, const void *data, size_t n, int flags, const void *address, socklen_t length) {
    struct sockaddr_storage own;
    length = address_to_linux(address, length, &own);
    return ret(sendto(fd, data, n, flags_to_linux(fd, flags), address == NULL ? NULL : (void *)&own, length));
}
static ssize_t d_recvfrom(int fd, void *data, size_t n, int flags, void *address, socklen_t *room) {
    struct sockaddr_storage own;
    socklen_t length = sizeof own;
    ssize_t got = ret(recvfrom(fd, data, n, flags_to_linux(-1, flags), (void *)&own, &length));
    if (got >= 0) address_to_darwin(&own, length, address, room);
    return got;
}

struct darwin_msghdr {
    void *name;
    socklen_t name_length;
    struct iovec *iov;
    int iov_length;
    void *control;
    socklen_t control_length;
    int flags;
};
struct darwin_cmsghdr { // 12 bytes, what follows is aligned to 4
    uint32_t length;
    int level, type;
};
enum { CONTROL = 4096, D_SCM_RIGHTS = 1 };

static size_t control_to_linux(const struct darwin_msghdr *m, struct msghdr *own) {
    size_t used = 0;
    for (const char *at = m->control; at != NULL && at + sizeof(struct darwin_cmsghdr) <= (const char *)m->control + m->control_length;) {
        const struct darwin_cmsghdr *from = (const void *)at;
        if (from->length < sizeof *from) break;
        if (from->level != D_SOL_SOCKET || from->type != D_SCM_RIGHTS)
            unmodelled("sendmsg with a control message of level %#x, type %d", from->level, from->type);
        size_t data = from->length - sizeof *from;
        struct cmsghdr *to = (void *)((char *)own->msg_control + used);
        *to = (struct cmsghdr){.cmsg_len = CMSG_LEN(data), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(to), from + 1, data);
        used += CMSG_SPACE(data);
        at += (from->length + 3u) & ~3u;
    }
    return used;
}
static void control_to_darwin(struct msghdr *own, struct darwin_msghdr *m) {
    socklen_t used = 0;
    for (struct cmsghdr *from = CMSG_FIRSTHDR(own); from != NULL; from = CMSG_NXTHDR(own, from)) {
        if (from->cmsg_level != SOL_SOCKET || from->cmsg_type != SCM_RIGHTS) continue;
        uint32_t data = (uint32_t)(from->cmsg_len - CMSG_LEN(0)), length = (uint32_t)sizeof(struct darwin_cmsghdr) + data;
        if (used + length > m->control_length) {
            m->flags |= 0x20;
            break;
        }
        *(struct darwin_cmsghdr *)((char *)m->control + used) = (struct darwin_cmsghdr){length, D_SOL_SOCKET, D_SCM_RIGHTS};
        memcpy((char *)m->control + used + sizeof(struct darwin_cmsghdr), CMSG_DATA(from), data);
        used += (length + 3u) & ~3u;
    }
    m->control_length = used;
}

static ssize_t d_sendmsg(int fd, const struct darwin_msghdr *m, int flags) {
    struct sockaddr_storage name;
    _Alignas(struct cmsghdr) char control[CONTROL];
    struct msghdr own = {.msg_iov = m->iov, .msg_iovlen = (size_t)m->iov_length, .msg_control = control};
    if (m->name != NULL) own.msg_name = &name, own.msg_namelen = address_to_linux(m->name, m->name_length, &name);
    own.msg_controllen = control_to_linux(m, &own);
    if (own.msg_controllen == 0) own.msg_control = NULL;
    return ret(sendmsg(fd, &own, flags_to_linux(fd, flags)));
}
static ssize_t d_recvmsg(int fd, struct darwin_msghdr *m, int flags) {
    struct sockaddr_storage name;
    _Alignas(struct cmsghdr) char control[CONTROL];
    struct msghdr own = {.msg_iov = m->iov, .msg_iovlen = (size_t)m->iov_length, .msg_name = &name, .msg_namelen = sizeof name};
    if (m->control_length > 0) own.msg_control = control, own.msg_controllen = sizeof control;
    ssize_t got = ret(recvmsg(fd, &own, flags_to_linux(-1, flags)));
    if (got < 0) return got;
    if (m->name != NULL) address_to_darwin(&name, own.msg_namelen, m->name, &m->name_length);
    m->flags = flags_to_darwin(own.msg_flags);
    control_to_darwin(&own, m);
    return got;
}

// ---- waiting

static long d_poll(struct pollfd *fds, unsigned n, int timeout) { return (int)ret(poll(fds, n, timeout)); }
static long d_select(int n, void *r, void *w, void *e, const struct timeval *timeout) { // darwin leaves the time as it was
    struct timespec time;
    if (timeout != NULL) time = (struct timespec){timeout->tv_sec, *(const int32_t *)&timeout->tv_usec * 1000l};
    return (int)ret(syscall(SYS_pselect6, n, r, w, e, timeout == NULL ? NULL : &time, NULL));
}
static long d_pselect(int n, void *r, void *w, void *e, const struct timespec *timeout, const uint32_t *mask) {
    if (mask != NULL) unmodelled("pselect with a mask");
    struct timespec time;
    if (timeout != NULL) time = *timeout;
    return (int)ret(syscall(SYS_pselect6, n, r, w, e, timeout == NULL ? NULL : &time, NULL));
}

const struct shim socket_shims[] = {
    OWN_PLAIN(socket), OWN_PLAIN(socketpair), CANCEL(connect), OWN_PLAIN(connectx), OWN_PLAIN(bind), OWN_PLAIN(listen), CANCEL(accept), OWN_PLAIN(getsockname),
    OWN_PLAIN(getpeername), OWN_PLAIN(shutdown), OWN_PLAIN(setsockopt), OWN_PLAIN(getsockopt), OWN_PLAIN(send), OWN_PLAIN(recv), CANCEL(sendto),
    CANCEL(recvfrom), CANCEL(sendmsg), CANCEL(recvmsg), CANCEL(poll), CANCEL(select), OWN_AS("select$1050", select, PLAIN),
    OWN_AS("select$DARWIN_EXTSN", select, PLAIN), OWN_AS("select$DARWIN_EXTSN$NOCANCEL", select, PLAIN), OWN_PLAIN(pselect), END
};
