// Datagrams of sockets that are not connected. Those to a name server go to the broker, which answers from an address of its own: that is translated
// back. Others leave from this machine, which is reported once for each destination. Of connected sockets the kernel knows all that is needed.
#define _GNU_SOURCE
#include "layer.h"

#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

// ---- what this process knows of addresses

// Pairs of addresses in a table that a few hot ones fit into; a pair that is not there is asked for. Writers never wait for each other, and readers
// take a pair only when it did not change meanwhile, so that signal handlers may be either.
enum pair_kind { PAIR_SEND_TO = 1, PAIR_COMES_FROM = 2, PAIR_REPORTED = 3 };
enum { PAIRS = 64, SEND_AS_IT_IS = 0xff };

static struct pair {
    _Atomic uint32_t version; // odd while it is being written
    uint32_t kind;
    struct frame_addr key, value;
} pairs[PAIRS];

static struct pair *pair_of(uint32_t kind, const struct frame_addr *key) {
    uint32_t h = kind * 31 + key->port;
    for (int i = 0; i < 16; i++) h = h * 33 + key->ip[i];
    return &pairs[(h ^ h >> 16) % PAIRS];
}

static int same_addr(const struct frame_addr *a, const struct frame_addr *b) {
    return a->family == b->family && a->port == b->port && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

static int known_pair(uint32_t kind, const struct frame_addr *key, struct frame_addr *value) {
    struct pair *p = pair_of(kind, key);
    uint32_t version = atomic_load(&p->version);
    struct pair copy = {.kind = p->kind, .key = p->key, .value = p->value};
    atomic_thread_fence(memory_order_acquire);
    if ((version & 1) || version != atomic_load(&p->version) || copy.kind != kind || !same_addr(&copy.key, key)) return 0;
    *value = copy.value;
    return 1;
}

static void remember_pair(uint32_t kind, const struct frame_addr *key, const struct frame_addr *value) {
    struct pair *p = pair_of(kind, key);
    uint32_t version = atomic_load(&p->version);
    if ((version & 1) || !atomic_compare_exchange_strong(&p->version, &version, version + 1)) return;
    p->kind = kind;
    p->key = *key;
    p->value = *value;
    atomic_store(&p->version, version + 2);
}

void note_relay(const struct frame_addr *relay, const struct frame_addr *actual) { remember_pair(PAIR_COMES_FROM, relay, actual); }

// ---- sending

// ask_exchange asks where datagrams to a name server are to be sent; 0, or an errno. value is the address, or SEND_AS_IT_IS as its family.
static NOINLINE int ask_exchange(int fd, int family, const struct frame_addr *to, struct frame_addr *value) {
    uint8_t buffer[SOCKET_FRAME];
    struct frame f = frame_begin(buffer, sizeof buffer, FRAME_CONNECT, session.token);
    put_u8(&f, connect_flags(fd, family) | CONNECT_DATAGRAM | CONNECT_NEVER);
    put_addr(&f, to);
    int status = ask(&f, NULL, 0);
    if (status > 0) return host_errno(status);
    get_u64(&f);
    get_addr(&f, value);
    if (status == ASK_LOST || f.broken) return ENETUNREACH;
    if (status == STATUS_LOCAL) value->family = SEND_AS_IT_IS;
    return 0;
}

static NOINLINE void report_datagram(const struct frame_addr *to) {
    uint8_t buffer[SOCKET_FRAME];
    struct frame f = frame_begin(buffer, sizeof buffer, FRAME_DATAGRAM, session.token);
    put_addr(&f, to);
    tell(&f);
}

// is_broadcast: without the flag the kernel refuses to send there, and with it the address is of this machine's links.
static int is_broadcast(int fd) { return option(fd, SOL_SOCKET, SO_BROADCAST) == 1; }

// destination says where a datagram of fd to addr is to be sent: 0 to addr itself, the length of the address in out, or minus an errno.
static int destination(int fd, const struct sockaddr *addr, socklen_t length, union socket_address *out) {
    struct frame_addr to = frame_addr_of(addr, length), value;
    if (likely(to.family == 0) || to.port == 0 || !session.active) return 0;
    int named = to.port == NAME_PORT;
    if (!named && (stays_local(&to) || is_loopback(&to) || known_pair(PAIR_REPORTED, &to, &value))) return 0;
    const struct rules *r = rules();
    if (!(r->flags & (named ? RULE_NAMES : RULE_UDP)) || stays_local(&to) || !is_udp(fd)) return 0;
    if (!named) {
        remember_pair(PAIR_REPORTED, &to, &to);
        if (!is_broadcast(fd)) report_datagram(&to);
        return 0;
    }
    // An address of the broker's IPv4 serves every socket that can send there; the others are asked for each time, they are rare.
    int v6only = addr->sa_family == AF_INET6 && option(fd, IPPROTO_IPV6, IPV6_V6ONLY) == 1;
    if (v6only || !known_pair(PAIR_SEND_TO, &to, &value)) {
        int err = ask_exchange(fd, addr->sa_family, &to, &value);
        if (err != 0) return -err;
        if (!v6only) remember_pair(PAIR_SEND_TO, &to, &value);
        if (value.family != SEND_AS_IT_IS) note_relay(&value, &to);
    }
    if (value.family == SEND_AS_IT_IS) return 0;
    int n = (int)to_sockaddr(&value, addr->sa_family, out);
    return n > 0 ? n : -ENETUNREACH;
}

EXPORT ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *addr, socklen_t length) {
    union socket_address other;
#if !defined(__APPLE__)
    // Fast open is a connect in disguise. What it sends with the first packet is sent with the next.
    if (unlikely(flags & MSG_FASTOPEN) && addr != NULL && session.active) {
        if (connect(fd, addr, length) < 0) return -1;
        return ORIGINAL(sendto)(fd, data, size, flags & ~MSG_FASTOPEN, NULL, 0);
    }
#endif
    int n = addr != NULL ? destination(fd, addr, length, &other) : 0;
    if (likely(n == 0)) return ORIGINAL(sendto)(fd, data, size, flags, addr, length);
    if (n > 0) return ORIGINAL(sendto)(fd, data, size, flags, &other.any, (socklen_t)n);
    errno = -n;
    return -1;
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *msg, int flags) {
    union socket_address other;
    int n = msg != NULL && msg->msg_name != NULL ? destination(fd, msg->msg_name, msg->msg_namelen, &other) : 0;
    if (likely(n == 0)) return ORIGINAL(sendmsg)(fd, msg, flags);
    if (n < 0) {
        errno = -n;
        return -1;
    }
    struct msghdr copy = *msg;
    copy.msg_name = &other;
    copy.msg_namelen = (socklen_t)n;
    return ORIGINAL(sendmsg)(fd, &copy, flags);
}

#if !defined(__APPLE__)
EXPORT int sendmmsg(int fd, struct mmsghdr *list, unsigned count, int flags) {
    union socket_address other;
    unsigned same = 0;
    for (; list != NULL && same < count; same++) {
        struct msghdr *msg = &list[same].msg_hdr;
        if (msg->msg_name != NULL && destination(fd, msg->msg_name, msg->msg_namelen, &other) != 0) break;
    }
    if (likely(same == count)) return ORIGINAL(sendmmsg)(fd, list, count, flags);
    // One by one, as far as it goes.
    for (unsigned i = 0; i < count; i++) {
        ssize_t n = sendmsg(fd, &list[i].msg_hdr, flags);
        if (n < 0) return i > 0 ? (int)i : -1;
        list[i].msg_len = (unsigned)n;
    }
    return (int)count;
}
#endif

// ---- receiving

static NOINLINE int ask_sender(int fd, const struct frame_addr *from, struct frame_addr *actual) {
    struct frame_addr local = native_end(fd, 0), unused;
    if (!ask_ends(&local, from, &unused, actual)) return 0;
    note_relay(from, actual);
    return 1;
}

// correct_sender replaces an address of the broker's by the one that the datagram comes from. room is the caller's, before the kernel answered.
static void correct_sender(int fd, struct sockaddr *out, socklen_t room, socklen_t *length) {
    if (likely(out == NULL) || !session.active || room < sizeof(struct sockaddr_in)) return;
    struct frame_addr from = frame_addr_of(out, *length < room ? *length : room), actual;
    if (likely(!is_loopback(&from)) || from.port == 0) return;
    int saved = errno;
    if (may_be_relayed(rules(), &from)) {
        // ::1 is everybody's: only what is known to be the broker's is.
        if (known_pair(PAIR_COMES_FROM, &from, &actual) || (from.family == 4 && is_udp(fd) && ask_sender(fd, &from, &actual)))
            hand_out(&actual, out->sa_family, out, room, length);
    }
    errno = saved;
}

EXPORT ssize_t recvfrom(int fd, void *restrict data, size_t size, int flags, struct sockaddr *restrict addr, socklen_t *restrict length) {
    socklen_t room = addr != NULL && length != NULL ? *length : 0;
    ssize_t n = ORIGINAL(recvfrom)(fd, data, size, flags, addr, length);
    if (n >= 0 && room > 0) correct_sender(fd, addr, room, length);
    return n;
}

#if !defined(__APPLE__)
ssize_t __recvfrom_chk(int fd, void *data, size_t size, size_t space, int flags, struct sockaddr *addr, socklen_t *length);
EXPORT ssize_t __recvfrom_chk(int fd, void *data, size_t size, size_t space, int flags, struct sockaddr *addr, socklen_t *length) {
    if (size > space) return ORIGINAL(__recvfrom_chk)(fd, data, size, space, flags, addr, length);
    return recvfrom(fd, data, size, flags, addr, length);
}
#endif

EXPORT ssize_t recvmsg(int fd, struct msghdr *msg, int flags) {
    socklen_t room = msg != NULL && msg->msg_name != NULL ? msg->msg_namelen : 0;
    ssize_t n = ORIGINAL(recvmsg)(fd, msg, flags);
    if (n >= 0 && room > 0) correct_sender(fd, msg->msg_name, room, &msg->msg_namelen);
    return n;
}

#if !defined(__APPLE__)
EXPORT int recvmmsg(int fd, struct mmsghdr *list, unsigned count, int flags, struct timespec *timeout) {
    // The kernel writes over the room there was; programs give all messages the same, or more to none than to the first.
    socklen_t room = list != NULL && count > 0 && list[0].msg_hdr.msg_name != NULL ? list[0].msg_hdr.msg_namelen : 0;
    for (unsigned i = 1; i < count && room > 0; i++)
        if (list[i].msg_hdr.msg_namelen < room) room = list[i].msg_hdr.msg_namelen;
    int n = ORIGINAL(recvmmsg)(fd, list, count, flags, timeout);
    for (int i = 0; i < n && room > 0; i++) correct_sender(fd, list[i].msg_hdr.msg_name, room, &list[i].msg_hdr.msg_namelen);
    return n;
}
#endif
