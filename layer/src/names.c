// Names and addresses as the pod's resolver answers them, and the pod's host name.
#define _GNU_SOURCE
#include "layer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <strings.h>
#include <unistd.h>

enum { MAX_ADDRESSES = 64, NAME_FRAME = 2048 };

struct found {
    int status; // STATUS_OK, STATUS_LOCAL, LOOKUP_… or ASK_LOST
    int n;
    struct frame_addr addr[MAX_ADDRESSES];
    char canonical[256];
};

// is_asked_remotely says whether the pod's resolver is to answer for name. "localhost" is the same everywhere.
static int is_asked_remotely(const char *name) {
    const struct rules *r = session.active && name != NULL && name[0] != 0 ? rules() : NULL;
    return r != NULL && (r->flags & RULE_NAMES) && strlen(name) < 256 && strcasecmp(name, "localhost") != 0;
}

static NOINLINE void look_up(const char *name, int family, struct found *out) {
    uint8_t buffer[NAME_FRAME];
    struct frame f = frame_begin(buffer, sizeof buffer, FRAME_LOOKUP, session.token);
    put_u8(&f, family == AF_INET ? 4 : family == AF_INET6 ? 6 : 0);
    put_str(&f, name);
    out->n = 0;
    out->canonical[0] = 0;
    out->status = ask(&f, NULL, 0);
    if (out->status != STATUS_OK) return;
    uint16_t length;
    const char *canonical = get_str(&f, &length);
    if (length < sizeof out->canonical) {
        memcpy(out->canonical, canonical, length);
        out->canonical[length] = 0;
    }
    int n = get_u16(&f);
    for (int i = 0; i < n && out->n < MAX_ADDRESSES; i++) {
        get_addr(&f, &out->addr[out->n]);
        if (f.broken) break;
        if (out->addr[out->n].family != 0) out->n++;
    }
    if (out->n == 0) out->status = LOOKUP_NO_DATA;
}

static NOINLINE int look_up_address(const struct frame_addr *addr, char name[256]) {
    uint8_t buffer[NAME_FRAME];
    struct frame f = frame_begin(buffer, sizeof buffer, FRAME_REVERSE, session.token);
    put_addr(&f, addr);
    int status = ask(&f, NULL, 0);
    if (status != STATUS_OK) return status;
    uint16_t length;
    const char *found = get_str(&f, &length);
    if (f.broken || length == 0 || length > 255) return LOOKUP_NOT_FOUND;
    memcpy(name, found, length);
    name[length] = 0;
    return STATUS_OK;
}

// ---- getaddrinfo, getnameinfo

static int eai_of(int status) {
    switch (status) {
    case LOOKUP_NOT_FOUND: return EAI_NONAME;
    case LOOKUP_FAIL: return EAI_FAIL;
    case LOOKUP_NO_DATA: return EAI_NODATA;
    default: return EAI_AGAIN;
    }
}

// expand has libc make the list for each address, so ports, socket types and the way of freeing are libc's own.
static int expand(const struct found *found, const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
    struct addrinfo numeric = {.ai_family = AF_UNSPEC}, *first = NULL, **last = &first;
    if (hints != NULL) numeric = *hints;
    int wants_canonical = numeric.ai_flags & AI_CANONNAME, err = EAI_NODATA;
    numeric.ai_flags = (numeric.ai_flags | AI_NUMERICHOST) & ~(AI_CANONNAME | AI_ADDRCONFIG);
    for (int i = 0; i < found->n; i++) {
        char text[INET6_ADDRSTRLEN];
        inet_ntop(found->addr[i].family == 4 ? AF_INET : AF_INET6, found->addr[i].ip, text, sizeof text);
        int one = ORIGINAL(getaddrinfo)(text, service, &numeric, last);
        if (one == 0) err = 0;
        while (*last != NULL) last = &(*last)->ai_next;
    }
    if (err != 0) return err;
    if (wants_canonical) first->ai_canonname = strdup(found->canonical[0] != 0 ? found->canonical : name);
    *result = first;
    return 0;
}

EXPORT int getaddrinfo(const char *restrict name, const char *restrict service, const struct addrinfo *restrict hints,
                       struct addrinfo **restrict result) {
    if (!is_asked_remotely(name) || (hints != NULL && (hints->ai_flags & AI_NUMERICHOST)))
        return ORIGINAL(getaddrinfo)(name, service, hints, result);
    // Addresses written as text, and faults of the other arguments, are the original's; so is everything that it can say without a resolver.
    struct addrinfo numeric = {.ai_family = AF_UNSPEC};
    if (hints != NULL) numeric = *hints;
    numeric.ai_flags |= AI_NUMERICHOST;
    int err = ORIGINAL(getaddrinfo)(name, service, &numeric, result);
    if (err != EAI_NONAME) return err;
    struct found found;
    look_up(name, numeric.ai_family, &found);
    if (found.status == STATUS_LOCAL) return ORIGINAL(getaddrinfo)(name, service, hints, result);
    return found.status == STATUS_OK ? expand(&found, name, service, hints, result) : eai_of(found.status);
}

EXPORT int getnameinfo(const struct sockaddr *restrict addr, socklen_t length, char *restrict host, socklen_t host_size,
                       char *restrict service, socklen_t service_size, int flags) {
    const struct rules *r = session.active ? rules() : NULL;
    struct frame_addr a = frame_addr_of(addr, length);
    char name[256];
    if (r == NULL || !(r->flags & RULE_NAMES) || a.family == 0 || host == NULL || host_size == 0 || (flags & NI_NUMERICHOST))
        return ORIGINAL(getnameinfo)(addr, length, host, host_size, service, service_size, flags);
    int status = look_up_address(&a, name);
    if (status == STATUS_LOCAL) return ORIGINAL(getnameinfo)(addr, length, host, host_size, service, service_size, flags);
    if (status != STATUS_OK) {
        if (flags & NI_NAMEREQD) return eai_of(status);
        return ORIGINAL(getnameinfo)(addr, length, host, host_size, service, service_size, flags | NI_NUMERICHOST);
    }
    if (strlen(name) >= host_size) return EAI_OVERFLOW;
    strcpy(host, name);
    if (service == NULL || service_size == 0) return 0;
    return ORIGINAL(getnameinfo)(addr, length, NULL, 0, service, service_size, flags & ~NI_NAMEREQD);
}

// ---- the gethostby family

static int h_errno_of(int status) {
    switch (status) {
    case LOOKUP_NOT_FOUND: return HOST_NOT_FOUND;
    case LOOKUP_FAIL: return NO_RECOVERY;
    case LOOKUP_NO_DATA: return NO_DATA;
    default: return TRY_AGAIN;
    }
}

// fill_hostent lays the answer out in the caller's buffer; 0 when it does not fit.
static int fill_hostent(const struct found *found, const char *name, int family, struct hostent *out, char *buffer, size_t size) {
    size_t width = family == AF_INET ? 4 : 16;
    int n = 0;
    for (int i = 0; i < found->n; i++) n += found->addr[i].family == (family == AF_INET ? 4 : 6);
    size_t skew = -(uintptr_t)buffer & (sizeof(char *) - 1);
    size_t pointers = (size_t)(n + 2) * sizeof(char *), total = skew + pointers + (size_t)n * width + strlen(name) + 1;
    if (total > size) return 0;
    char **list = (char **)(buffer + skew), *at = buffer + skew + pointers;
    out->h_addr_list = list;
    for (int i = 0; i < found->n; i++) {
        if (found->addr[i].family != (family == AF_INET ? 4 : 6)) continue;
        memcpy(at, found->addr[i].ip, width);
        *list++ = at;
        at += width;
    }
    *list++ = NULL;
    *list = NULL; // no aliases
    out->h_aliases = list;
    out->h_name = strcpy(at, name);
    out->h_addrtype = family;
    out->h_length = (int)width;
    return 1;
}

// is_number says whether the original answers without a resolver.
static int is_number(const char *name) {
    struct in_addr v4;
    struct in6_addr v6;
    return inet_aton(name, &v4) || inet_pton(AF_INET6, name, &v6) == 1;
}

// reply_r ends a reentrant lookup in glibc's manner: 0 with *result NULL for "no", ERANGE for "more room".
static int reply_r(const struct found *found, const char *name, int family, struct hostent *out, char *buffer, size_t size,
                   struct hostent **result, int *h_err) {
    *result = NULL;
    if (found->status != STATUS_OK) {
        *h_err = h_errno_of(found->status);
        return *h_err == TRY_AGAIN ? EAGAIN : 0;
    }
    if (!fill_hostent(found, name, family, out, buffer, size)) {
        *h_err = NETDB_INTERNAL;
        return ERANGE;
    }
    *result = out;
    return 0;
}

// answer_name has the pod answer for a name; STATUS_LOCAL in found for what the original is to answer.
static void answer_name(const char *name, int family, struct found *found) {
    found->status = STATUS_LOCAL;
    if (is_asked_remotely(name) && !is_number(name) && (family == AF_INET || family == AF_INET6)) look_up(name, family, found);
}

// answer_address has the pod answer for an address, likewise.
static void answer_address(const void *address, socklen_t length, int family, struct found *found) {
    const struct rules *r = session.active ? rules() : NULL;
    found->status = STATUS_LOCAL;
    if (r == NULL || !(r->flags & RULE_NAMES) || address == NULL || !((family == AF_INET && length == 4) || (family == AF_INET6 && length == 16))) return;
    found->n = 1;
    memset(&found->addr[0], 0, sizeof found->addr[0]);
    found->addr[0].family = family == AF_INET ? 4 : 6;
    memcpy(found->addr[0].ip, address, length);
    found->status = look_up_address(&found->addr[0], found->canonical);
}

static const char *name_in(const struct found *found, const char *asked) { return found->canonical[0] != 0 ? found->canonical : asked; }

#if defined(__APPLE__)
#define PER_THREAD // a thread's own would need dyld's help
#else
#define PER_THREAD __thread // more than callers may rely on

EXPORT int gethostbyname2_r(const char *restrict name, int family, struct hostent *restrict out, char *restrict buffer, size_t size,
                            struct hostent **restrict result, int *restrict h_err) {
    struct found found;
    answer_name(name, family, &found);
    if (found.status == STATUS_LOCAL) return ORIGINAL(gethostbyname2_r)(name, family, out, buffer, size, result, h_err);
    return reply_r(&found, name_in(&found, name), family, out, buffer, size, result, h_err);
}

EXPORT int gethostbyname_r(const char *restrict name, struct hostent *restrict out, char *restrict buffer, size_t size,
                           struct hostent **restrict result, int *restrict h_err) {
    return gethostbyname2_r(name, AF_INET, out, buffer, size, result, h_err);
}

EXPORT int gethostbyaddr_r(const void *restrict address, socklen_t length, int family, struct hostent *restrict out,
                           char *restrict buffer, size_t size, struct hostent **restrict result, int *restrict h_err) {
    struct found found;
    answer_address(address, length, family, &found);
    if (found.status == STATUS_LOCAL) return ORIGINAL(gethostbyaddr_r)(address, length, family, out, buffer, size, result, h_err);
    return reply_r(&found, found.canonical, family, out, buffer, size, result, h_err);
}
#endif

// reply_static is for the forms that answer in static memory.
static struct hostent *reply_static(const struct found *found, const char *name, int family) {
    static PER_THREAD struct hostent host;
    static PER_THREAD char host_buffer[4096];
    struct hostent *result = NULL;
    int h_err = NO_RECOVERY, err = reply_r(found, name, family, &host, host_buffer, sizeof host_buffer, &result, &h_err);
    if (result == NULL) h_errno = err == ERANGE ? NO_RECOVERY : h_err;
    return result;
}

EXPORT struct hostent *gethostbyname2(const char *name, int family) {
    struct found found;
    answer_name(name, family, &found);
    if (found.status == STATUS_LOCAL) return ORIGINAL(gethostbyname2)(name, family);
    return reply_static(&found, name_in(&found, name), family);
}

EXPORT struct hostent *gethostbyname(const char *name) {
    struct found found;
    answer_name(name, AF_INET, &found);
    if (found.status == STATUS_LOCAL) return ORIGINAL(gethostbyname)(name);
    return reply_static(&found, name_in(&found, name), AF_INET);
}

EXPORT struct hostent *gethostbyaddr(const void *address, socklen_t length, int family) {
    struct found found;
    answer_address(address, length, family, &found);
    if (found.status == STATUS_LOCAL) return ORIGINAL(gethostbyaddr)(address, length, family);
    return reply_static(&found, found.canonical, family);
}

// ---- the host's own name

static const char *pod_hostname(void) {
    const struct rules *r = session.active ? rules() : NULL;
    return r != NULL && (r->flags & RULE_HOSTNAME) && r->hostname[0] != 0 ? r->hostname : NULL;
}

EXPORT int gethostname(char *out, size_t size) {
    const char *name = pod_hostname();
    if (name == NULL) return ORIGINAL(gethostname)(out, size);
    size_t n = strlen(name) + 1;
    memcpy(out, name, n < size ? n : size);
    if (n <= size) return 0;
    errno = ENAMETOOLONG;
    return -1;
}
#if !defined(__APPLE__)
int __gethostname_chk(char *out, size_t size, size_t room);
EXPORT int __gethostname_chk(char *out, size_t size, size_t room) {
    return size > room ? ORIGINAL(__gethostname_chk)(out, size, room) : gethostname(out, size);
}
#endif

// pod_uname corrects what the original gave.
static void pod_uname(struct utsname *out) {
    const char *name = pod_hostname();
    if (name == NULL) return;
    strncpy(out->nodename, name, sizeof out->nodename - 1);
    out->nodename[sizeof out->nodename - 1] = 0;
}

#if !defined(__APPLE__)
EXPORT int uname(struct utsname *out) {
    int result = ORIGINAL(uname)(out);
    if (result == 0) pod_uname(out);
    return result;
}
#endif
