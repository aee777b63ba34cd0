// Connections as the pod sees them. One out is the program's own socket, connected to the broker on loopback; a listener is a real one, and
// the broker connects to it. What the two ends are in the pod is asked when the program asks.
#define _GNU_SOURCE
#include "layer.h"

#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

enum { SOCKET_FRAME = 256 };

// ---- addresses

// frame_addr_of reads an IP address (an IPv4 one mapped into IPv6 counts as IPv4); family 0 for anything else.
struct frame_addr frame_addr_of(const struct sockaddr *addr, unsigned length) {
    struct frame_addr out = {0};
    if (addr == NULL || length < offsetof(struct sockaddr, sa_data)) return out;
    if (addr->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)addr;
        out.family = 4;
        out.port = ntohs(v4->sin_port);
        memcpy(out.ip, &v4->sin_addr, 4);
    } else if (addr->sa_family == AF_INET6 && length >= offsetof(struct sockaddr_in6, sin6_scope_id)) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)addr;
        out.port = ntohs(v6->sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
            out.family = 4;
            memcpy(out.ip, v6->sin6_addr.s6_addr + 12, 4);
        } else {
            out.family = 6;
            memcpy(out.ip, &v6->sin6_addr, 16);
        }
    }
    return out;
}

union socket_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t write_sockaddr(const struct frame_addr *a, int family, union socket_address *out) {
    memset(out, 0, sizeof *out);
    if (family == AF_INET && a->family == 4) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(a->port);
        memcpy(&out->v4.sin_addr, a->ip, 4);
        return sizeof out->v4;
    }
    if (family != AF_INET6 || a->family == 0) return 0;
    out->v6.sin6_family = AF_INET6;
    out->v6.sin6_port = htons(a->port);
    if (a->family == 4) {
        out->v6.sin6_addr.s6_addr[10] = out->v6.sin6_addr.s6_addr[11] = 0xff;
        memcpy(out->v6.sin6_addr.s6_addr + 12, a->ip, 4);
    } else {
        memcpy(&out->v6.sin6_addr, a->ip, 16);
    }
    return sizeof out->v6;
}

// to_sockaddr writes a for a socket of the given family (IPv4 is mapped for an IPv6 one) and returns its length; 0 when the family cannot say it.
static socklen_t to_sockaddr(const struct frame_addr *a, int family, union socket_address *out) {
    socklen_t length = write_sockaddr(a, family, out);
#if defined(__APPLE__)
    out->any.sa_len = (uint8_t)length;
#endif
    return length;
}

static uint32_t v4_number(const struct frame_addr *a) {
    return (uint32_t)a->ip[0] << 24 | (uint32_t)a->ip[1] << 16 | (uint32_t)a->ip[2] << 8 | a->ip[3];
}

static int is_zero(const uint8_t *p, int n) {
    for (int i = 0; i < n; i++)
        if (p[i] != 0) return 0;
    return 1;
}

static int is_loopback_v6(const struct frame_addr *a) { return a->family == 6 && is_zero(a->ip, 15) && a->ip[15] == 1; }

// is_loopback: connecting to the unspecified address reaches loopback, too.
static int is_loopback(const struct frame_addr *a) {
    if (a->family == 4) return a->ip[0] == 127 || v4_number(a) == 0;
    return is_loopback_v6(a) || (a->family == 6 && is_zero(a->ip, 16));
}

// stays_local: multicast, broadcast and link-local addresses mean this machine's links.
static int stays_local(const struct frame_addr *a) {
    if (a->family == 4) return a->ip[0] >= 224 || (a->ip[0] == 169 && a->ip[1] == 254 && v4_number(a) != 0xa9fea9fe);
    return a->ip[0] == 0xff || (a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80);
}

// may_be_relayed says whether the broker may be at the other end. IPv4 relays have addresses of the session's own; on IPv6 there is only ::1.
static int may_be_relayed(const struct rules *r, const struct frame_addr *peer) {
    return peer->family == 4 ? r->relay_mask != 0 && (v4_number(peer) & r->relay_mask) == r->relay_net : is_loopback_v6(peer);
}

// ---- what a socket is

static int is_tcp(int fd) {
    int family = socket_family(fd);
    return (family == AF_INET || family == AF_INET6) && option(fd, SOL_SOCKET, SO_TYPE) == SOCK_STREAM;
}

static struct frame_addr native_end(int fd, int peer) {
    union socket_address native;
    socklen_t length = sizeof native;
    int err = peer ? sys_getpeername(fd, &native, &length) : sys_getsockname(fd, &native, &length);
    return err == 0 ? frame_addr_of(&native.any, length) : (struct frame_addr){0};
}

// hand_out gives an address to the caller as the kernel would: as much as there is room for, and its true length.
static void hand_out(const struct frame_addr *a, int family, struct sockaddr *out, socklen_t room, socklen_t *length) {
    union socket_address native;
    socklen_t n = to_sockaddr(a, family, &native);
    if (n == 0) return;
    memcpy(out, &native, room < n ? room : n);
    *length = n;
}

// ---- connect

// connect_flags is how the broker is to relay for fd.
static uint8_t connect_flags(int fd, int family) {
    int flags = sys_fcntl(fd, F_GETFL, 0);
    return (uint8_t)((flags >= 0 && (flags & O_NONBLOCK) ? CONNECT_NONBLOCK : 0) |
                     (family == AF_INET6 && option(fd, IPPROTO_IPV6, IPV6_V6ONLY) == 1 ? CONNECT_V6ONLY : 0));
}

static NOINLINE int connect_elsewhere(int fd, const struct sockaddr *addr, socklen_t length, const struct frame_addr *to, int datagram) {
    uint8_t buffer[SOCKET_FRAME];
    int family = addr->sa_family;
    struct frame f = frame_begin(buffer, sizeof buffer, FRAME_CONNECT, session.token);
    put_u8(&f, connect_flags(fd, family) | (datagram ? CONNECT_DATAGRAM : 0));
    put_addr(&f, to);
    int status = ask(&f, NULL, 0);
    if (status > 0 || status == ASK_LOST) {
        errno = status == ASK_LOST ? ENETUNREACH : host_errno(status);
        return -1;
    }
    uint64_t attempt = get_u64(&f);
    struct frame_addr relay;
    get_addr(&f, &relay);
    union socket_address native;
    socklen_t n = f.broken ? 0 : to_sockaddr(&relay, family, &native);
    if (status == STATUS_LOCAL) return n > 0 ? ORIGINAL(connect)(fd, &native.any, n) : ORIGINAL(connect)(fd, addr, length);
    if (n == 0) {
        errno = ENETUNREACH;
        return -1;
    }
    int result = ORIGINAL(connect)(fd, &native.any, n), saved = errno;
    if (result == 0 || saved == EINPROGRESS) {
        struct frame_addr local = native_end(fd, 0);
        f = frame_begin(buffer, sizeof buffer, FRAME_CONNECTED, session.token);
        put_u64(&f, attempt);
        put_addr(&f, &local);
        tell(&f);
        if (datagram) note_relay(&relay, to);
    }
    errno = saved;
    return result;
}

// leave_relay undoes a UDP socket's connection to the broker before the next: its local address would stay loopback's, from which this machine's network
// cannot be reached.
static void leave_relay(int fd, const struct rules *r) {
    struct frame_addr peer = native_end(fd, 1);
    if (peer.family == 0 || !may_be_relayed(r, &peer)) return;
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    sys_connect(fd, &none, sizeof none);
}

// Name servers are the pod's where names are, whatever is said of other traffic; where names are not, they are this machine's.
enum { NAME_PORT = 53 };

// leads_elsewhere says whether a connect is the pod's. It leaves where to, and whether the socket is one for datagrams.
static int leads_elsewhere(int fd, const struct sockaddr *addr, socklen_t length, struct frame_addr *to, int *udp) {
    *to = frame_addr_of(addr, length);
    if (to->family == 0 || to->port == 0 || !session.active) return 0;
    const struct rules *r = rules();
    int tcp = option(fd, SOL_SOCKET, SO_TYPE) == SOCK_STREAM;
    *udp = !tcp && is_udp(fd);
    uint32_t needed = to->port == NAME_PORT ? RULE_NAMES : tcp ? RULE_OUTGOING : RULE_UDP;
    if (*udp) leave_relay(fd, r);
    return (tcp || *udp) && (r->flags & needed) && !stays_local(to) && !(tcp && is_connecting(fd)) &&
           !((r->flags & RULE_IGNORE_LOCALHOST) && to->port != NAME_PORT && is_loopback(to));
}

EXPORT int connect(int fd, const struct sockaddr *addr, socklen_t length) {
    struct frame_addr to;
    int udp, result;
    if (connects_stream(fd, addr, length, &result)) return result;
    if (!leads_elsewhere(fd, addr, length, &to, &udp)) return ORIGINAL(connect)(fd, addr, length);
    return connect_elsewhere(fd, addr, length, &to, udp);
}

#if defined(__APPLE__)
// What may be sent with the first packet is sent with the next.
EXPORT int connectx(int fd, const sa_endpoints_t *ends, sae_associd_t association, unsigned flags, const struct iovec *io, unsigned count, size_t *sent,
                    sae_connid_t *connection) {
    struct frame_addr to;
    int udp;
    if (ends == NULL || !leads_elsewhere(fd, ends->sae_dstaddr, ends->sae_dstaddrlen, &to, &udp))
        return ORIGINAL(connectx)(fd, ends, association, flags, io, count, sent, connection);
    if (ends->sae_srcaddr != NULL && ORIGINAL(bind)(fd, ends->sae_srcaddr, ends->sae_srcaddrlen) < 0) return -1;
    int result = connect_elsewhere(fd, ends->sae_dstaddr, ends->sae_dstaddrlen, &to, udp);
    if (sent != NULL) *sent = 0;
    if (result < 0 || io == NULL || count == 0) return result;
    struct msghdr msg = {.msg_iov = (struct iovec *)io, .msg_iovlen = (int)count};
    ssize_t n = ORIGINAL(sendmsg)(fd, &msg, 0);
    if (n < 0) return -1;
    if (sent != NULL) *sent = (size_t)n;
    return 0;
}
#endif

EXPORT int socket(int family, int type, int protocol) {
    if (unlikely(family == AF_INET6) && session.active && (rules()->flags & RULE_NO_IPV6)) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    return ORIGINAL(socket)(family, type, protocol);
}

// A non-blocking connect that failed in the pod fails here as refused; the pod's own errno is asked for.
EXPORT int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict length) {
    int result = ORIGINAL(getsockopt)(fd, level, name, value, length);
    if (likely(result != 0 || level != SOL_SOCKET || name != SO_ERROR) || !session.active || value == NULL || *length < sizeof(int) ||
        *(int *)value != ECONNREFUSED || !(rules()->flags & RULE_OUTGOING) || !is_tcp(fd))
        return result;
    uint8_t buffer[SOCKET_FRAME];
    struct frame_addr local = native_end(fd, 0);
    struct frame f = frame_begin(buffer, sizeof buffer, FRAME_SOCKERROR, session.token);
    put_addr(&f, &local);
    int status = ask(&f, NULL, 0);
    if (status > 0) *(int *)value = host_errno(status);
    return result;
}

// ---- bind, listen

// The addresses that this process asked for, by the port that it has instead; and the ports that it asked for among those that the kernel also gives
// out by itself, to tell a service from a listener on any port. A child that is executed finds the replaced ports in the rules.
static struct {
    _Atomic uint32_t actual; // 0: free
    struct frame_addr requested;
} given[32];
#if defined(__APPLE__)
enum { FIRST_OF_KERNEL = 49152 }; // net.inet.ip.portrange.first
#else
enum { FIRST_OF_KERNEL = 32768 }; // ip(7): ip_local_port_range
#endif

static const struct frame_addr *requested_for(uint16_t actual) {
    for (unsigned i = 0; i < sizeof given / sizeof *given; i++)
        if (atomic_load(&given[i].actual) == actual) return &given[i].requested;
    return NULL;
}

static void remember_given(uint16_t actual, const struct frame_addr *requested) {
    for (unsigned i = 0; i < sizeof given / sizeof *given; i++) {
        if (atomic_load(&given[i].actual) != 0 && given[i].requested.port != requested->port) continue;
        given[i].requested = *requested;
        atomic_store(&given[i].actual, actual);
        return;
    }
}

// asked_port is the port that the program asked for when some process of the session was given actual in its place; 0 when it was not.
static uint16_t asked_port(const struct rules *r, uint16_t actual) {
    uint32_t n = atomic_load(&r->live_ports_n);
    for (uint32_t i = 0; i < n && i < sizeof r->live_ports / sizeof *r->live_ports; i++)
        if (r->live_ports[i].actual == actual) return r->live_ports[i].requested;
    return 0;
}

// ask_port asks which port to bind in place of the requested one: -1 when the call is to stay as it is. err is the kernel's errno, or 0.
static NOINLINE int ask_port(const struct frame_addr *requested, int err) {
    uint8_t buffer[SOCKET_FRAME];
    struct frame f = frame_begin(buffer, sizeof buffer, FRAME_BIND, session.token);
    put_u32(&f, (uint32_t)(err != 0 ? frame_errno(err) : 0));
    put_addr(&f, requested);
    if (ask(&f, NULL, 0) != STATUS_OK) return -1;
    uint16_t port = get_u16(&f);
    return f.broken ? -1 : port;
}

static int bind_other(int fd, int family, const struct frame_addr *other, const struct frame_addr *requested) {
    union socket_address native;
    socklen_t n = to_sockaddr(other, family, &native);
    int err = sys_bind(fd, &native, n);
    if (err == 0) remember_given(native_end(fd, 0).port, requested);
    return err;
}

// bind_elsewhere finds another address for a port that cannot be had here: the broker delivers the pod's connections to whichever it is.
static int bind_elsewhere(int fd, int family, const struct frame_addr *requested, int err) {
    int port = ask_port(requested, err);
    if (port < 0) return 0;
    struct frame_addr other = *requested;
    if (err == EADDRNOTAVAIL) {
        // An address of the pod, not of this machine.
        memset(other.ip, 0, sizeof other.ip);
        if (other.family == 4)
            other.ip[0] = 127, other.ip[3] = 1;
        else
            other.ip[15] = 1;
        if (bind_other(fd, family, &other, requested) == 0) return 1;
    }
    other.port = (uint16_t)port;
    return bind_other(fd, family, &other, requested) == 0;
}

EXPORT int bind(int fd, const struct sockaddr *addr, socklen_t length) {
    struct frame_addr requested = {0};
    if (session.active) requested = frame_addr_of(addr, length);
    if (requested.family == 0 || requested.port == 0) return ORIGINAL(bind)(fd, addr, length);
    uint32_t flags = rules()->flags;
    if (unlikely(flags & RULE_ASK_BIND) && is_tcp(fd)) {
        int port = ask_port(&requested, 0);
        if (port > 0) {
            // The user has said which port it is to be, so no other will do.
            struct frame_addr other = requested;
            other.port = (uint16_t)port;
            int err = bind_other(fd, addr->sa_family, &other, &requested);
            if (err == 0) return 0;
            errno = -err;
            return -1;
        }
    }
    int result = ORIGINAL(bind)(fd, addr, length), err = errno;
    if (likely(result == 0)) {
        if (unlikely(requested.port >= FIRST_OF_KERNEL) && is_tcp(fd)) remember_given(requested.port, &requested);
        errno = err;
        return result;
    }
    if ((err == EADDRINUSE || err == EACCES || err == EADDRNOTAVAIL) && (flags & RULE_INCOMING) && is_tcp(fd) &&
        bind_elsewhere(fd, addr->sa_family, &requested, err))
        return 0;
    errno = err;
    return result;
}

EXPORT int listen(int fd, int backlog) {
    int result = ORIGINAL(listen)(fd, backlog), saved = errno;
    if (result != 0 || !session.active || !(rules()->flags & (RULE_INCOMING | RULE_OUTGOING)) || !is_tcp(fd)) return result;
    uint8_t buffer[SOCKET_FRAME];
    struct frame_addr actual = native_end(fd, 0), requested = actual;
    const struct frame_addr *known = requested_for(actual.port);
    if (known != NULL)
        requested = *known;
    else if (actual.port >= FIRST_OF_KERNEL && asked_port(rules(), actual.port) == 0)
        requested.port = 0;
    struct frame f = frame_begin(buffer, sizeof buffer, FRAME_LISTEN, session.token);
    put_u8(&f, option(fd, IPPROTO_IPV6, IPV6_V6ONLY) == 1);
    put_addr(&f, &requested);
    put_addr(&f, &actual);
    ask(&f, NULL, 0); // a listener that the pod does not know of is still one
    errno = saved;
    return result;
}

// ---- the two ends

// ask_ends asks for the pod's view of a relayed connection; 0 when it is not one.
static NOINLINE int ask_ends(const struct frame_addr *local, const struct frame_addr *peer, struct frame_addr *pod_local,
                             struct frame_addr *pod_peer) {
    uint8_t buffer[SOCKET_FRAME];
    struct frame f = frame_begin(buffer, sizeof buffer, FRAME_ENDPOINT, session.token);
    put_addr(&f, local);
    put_addr(&f, peer);
    if (ask(&f, NULL, 0) != STATUS_OK) return 0;
    get_addr(&f, pod_local);
    get_addr(&f, pod_peer);
    return !f.broken;
}

// correct_end replaces the address that the kernel gave for one end of fd by the pod's. room is the caller's, before the kernel answered.
static void correct_end(int fd, int want_peer, struct sockaddr *out, socklen_t room, socklen_t *length) {
    const struct rules *r = session.active && out != NULL ? rules() : NULL;
    if (r == NULL || !(r->flags & (RULE_OUTGOING | RULE_INCOMING | RULE_UDP | RULE_NAMES))) return;
    struct frame_addr local = native_end(fd, 0), peer = native_end(fd, 1), pod_local, pod_peer;
    if (local.family == 0 || (!is_tcp(fd) && (peer.family == 0 || !is_udp(fd)))) return;
    int family = socket_family(fd);
    if (peer.family != 0) {
        if (may_be_relayed(r, &peer) && ask_ends(&local, &peer, &pod_local, &pod_peer))
            hand_out(want_peer ? &pod_peer : &pod_local, family, out, room, length);
    } else if (!want_peer) {
        const struct frame_addr *requested = requested_for(local.port);
        if (requested != NULL) local = *requested;
        else local.port = asked_port(r, local.port);
        if (local.port != 0) hand_out(&local, family, out, room, length);
    }
}

EXPORT int getpeername(int fd, struct sockaddr *restrict addr, socklen_t *restrict length) {
    socklen_t room = length != NULL ? *length : 0;
    int result = ORIGINAL(getpeername)(fd, addr, length);
    if (result == 0 && !correct_stream_peer(fd, addr, room, length)) correct_end(fd, 1, addr, room, length);
    return result;
}

EXPORT int getsockname(int fd, struct sockaddr *restrict addr, socklen_t *restrict length) {
    socklen_t room = length != NULL ? *length : 0;
    int result = ORIGINAL(getsockname)(fd, addr, length);
    if (result == 0) correct_end(fd, 0, addr, room, length);
    return result;
}

static int accepted(int fd, struct sockaddr *addr, socklen_t room, socklen_t *length) {
    if (fd >= 0) correct_end(fd, 1, addr, room, length);
    return fd;
}

EXPORT int accept(int fd, struct sockaddr *restrict addr, socklen_t *restrict length) {
    socklen_t room = length != NULL ? *length : 0;
    return accepted(ORIGINAL(accept)(fd, addr, length), addr, room, length);
}

#if !defined(__APPLE__)
EXPORT int accept4(int fd, struct sockaddr *restrict addr, socklen_t *restrict length, int flags) {
    socklen_t room = length != NULL ? *length : 0;
    return accepted(ORIGINAL(accept4)(fd, addr, length, flags), addr, room, length);
}
#endif
