// Names: getaddrinfo and its older relatives, users and groups.
#include "shim.h"

#include <grp.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <pwd.h>
#include <arpa/inet.h>

#include "sockets.h"

struct darwin_addrinfo {
    int flags, family, type, protocol;
    socklen_t length;
    char *canonical;
    void *address;
    struct darwin_addrinfo *next;
};

static const struct {
    int darwin, linux_code;
} eai[] = {
    {1, EAI_FAMILY /* ADDRFAMILY */}, {2, EAI_AGAIN}, {3, EAI_BADFLAGS}, {4, EAI_FAIL}, {5, EAI_FAMILY}, {6, EAI_MEMORY}, {8, EAI_NONAME}, {9, EAI_SERVICE},
    {10, EAI_SOCKTYPE}, {11, EAI_SYSTEM}, {14, EAI_OVERFLOW}
};
static int eai_to_darwin(int code) {
    for (size_t i = COUNT(eai); i-- > 0;)
        if (eai[i].linux_code == code) return eai[i].darwin;
    return code == 0 ? 0 : 8;
}
static const char *d_gai_strerror(int code) {
    for (size_t i = 0; i < COUNT(eai); i++)
        if (eai[i].darwin == code) return code == 8 ? "nodename nor servname provided, or not known" : gai_strerror(eai[i].linux_code);
    return "Unknown error";
}

enum { D_AI_NUMERICSERV = 0x1000, D_AI_ADDRCONFIG = 0x400, D_AI_ALL = 0x100, D_AI_V4MAPPED = 0x800 };
static int hints_to_linux(int flags) {
    return (flags & 7) | (flags & D_AI_NUMERICSERV ? AI_NUMERICSERV : 0) | (flags & D_AI_ADDRCONFIG ? AI_ADDRCONFIG : 0) | (flags & D_AI_ALL ? AI_ALL : 0) |
           (flags & D_AI_V4MAPPED ? AI_V4MAPPED : 0);
}

static void d_freeaddrinfo(struct darwin_addrinfo *list) {
    while (list != NULL) {
        struct darwin_addrinfo *next = list->next;
        free(list->canonical);
        free(list->address);
        free(list);
        list = next;
    }
}

static long d_getaddrinfo(const char *node, const char *service, const struct darwin_addrinfo *hints, struct darwin_addrinfo **result) {
    struct addrinfo own = {0}, *list = NULL;
    if (hints != NULL)
        own = (struct addrinfo){
            .ai_flags = hints_to_linux(hints->flags), .ai_family = family_to_linux(hints->family), .ai_socktype = hints->type, .ai_protocol = hints->protocol};
    int code = getaddrinfo(node, service, hints == NULL ? NULL : &own, &list);
    if (code == EAI_SYSTEM) ret(-1);
    if (code != 0) return eai_to_darwin(code);
    struct darwin_addrinfo **end = result;
    *result = NULL;
    for (struct addrinfo *at = list; at != NULL; at = at->ai_next) {
        struct darwin_addrinfo *to = calloc(1, sizeof *to);
        *to = (struct darwin_addrinfo){
            .family = family_to_darwin(at->ai_family), .type = at->ai_socktype, .protocol = at->ai_protocol, .length = at->ai_addrlen};
        to->address = calloc(1, sizeof(struct sockaddr_storage));
        struct sockaddr_storage from = {0};
        memcpy(&from, at->ai_addr, at->ai_addrlen);
        address_to_darwin(&from, at->ai_addrlen, to->address, &to->length);
        if (at->ai_canonname != NULL) to->canonical = strdup(at->ai_canonname);
        *end = to;
        end = &to->next;
    }
    freeaddrinfo(list);
    return 0;
}

enum { D_NI_NOFQDN = 1, D_NI_NUMERICHOST = 2, D_NI_NAMEREQD = 4, D_NI_NUMERICSERV = 8, D_NI_DGRAM = 0x10 };
static long d_getnameinfo(const void *address, socklen_t length, char *host, socklen_t host_room, char *service, socklen_t service_room, int flags) {
    struct sockaddr_storage from;
    length = address_to_linux(address, length, &from);
    int own = (flags & D_NI_NOFQDN ? NI_NOFQDN : 0) | (flags & D_NI_NUMERICHOST ? NI_NUMERICHOST : 0) | (flags & D_NI_NAMEREQD ? NI_NAMEREQD : 0) |
              (flags & D_NI_NUMERICSERV ? NI_NUMERICSERV : 0) | (flags & D_NI_DGRAM ? NI_DGRAM : 0);
    return eai_to_darwin(getnameinfo((void *)&from, length, host, host_room, service, service_room, own));
}

static int host_error; // one for all threads, there too
static struct hostent *entry(struct hostent *from) {
    host_error = from == NULL ? h_errno : 0; // 1 to 4 on both
    if (from == NULL) return NULL;
    static __thread struct hostent own;
    own = *from;
    own.h_addrtype = family_to_darwin(from->h_addrtype);
    return &own;
}
static struct hostent *d_gethostbyname(const char *name) { return entry(gethostbyname(name)); }
static struct hostent *d_gethostbyname2(const char *name, int family) { return entry(gethostbyname2(name, family_to_linux(family))); }
static struct hostent *d_gethostbyaddr(const void *address, socklen_t length, int family) {
    return entry(gethostbyaddr(address, length, family_to_linux(family)));
}
static void d_freehostent(struct hostent *entry) { (void)entry; }

static long d_inet_pton(int family, const char *text, void *to) {
    int own = family_to_linux(family);
    return own < 0 ? fail(D_EAFNOSUPPORT) : (int)ret(inet_pton(own, text, to));
}
static const char *d_inet_ntop(int family, const void *from, char *to, socklen_t room) {
    return retp((char *)inet_ntop(family_to_linux(family), from, to, room));
}
static long d_gethostname(char *to, size_t room) { return (int)ret(gethostname(to, room)); }

struct darwin_ifaddrs {
    struct darwin_ifaddrs *next;
    char *name;
    unsigned flags;
    void *address, *mask, *other, *data;
};
static void *copy_address(const struct sockaddr *from) {
    if (from == NULL || (from->sa_family != AF_INET && from->sa_family != AF_INET6)) return NULL;
    socklen_t length = from->sa_family == AF_INET ? 16 : 28;
    struct sockaddr_storage own = {0};
    memcpy(&own, from, length);
    void *to = calloc(1, sizeof own);
    address_to_darwin(&own, length, to, &length);
    return to;
}
static long d_getifaddrs(struct darwin_ifaddrs **result) {
    struct ifaddrs *list;
    if (getifaddrs(&list) != 0) return (int)ret(-1);
    struct darwin_ifaddrs **end = result;
    *result = NULL;
    for (struct ifaddrs *at = list; at != NULL; at = at->ifa_next) {
        void *address = copy_address(at->ifa_addr);
        if (address == NULL) continue; // AF_PACKET
        struct darwin_ifaddrs *to = calloc(1, sizeof *to);
        *to = (struct darwin_ifaddrs){.name = strdup(at->ifa_name), .flags = at->ifa_flags & 0x1ff, .address = address, .mask = copy_address(at->ifa_netmask)};
        *end = to;
        end = &to->next;
    }
    freeifaddrs(list);
    return 0;
}
static void d_freeifaddrs(struct darwin_ifaddrs *list) {
    while (list != NULL) {
        struct darwin_ifaddrs *next = list->next;
        free(list->name);
        free(list->address);
        free(list->mask);
        free(list);
        list = next;
    }
}

// ---- users and groups

struct darwin_passwd {
    char *name, *password;
    uint32_t uid, gid;
    int64_t change;
    char *class, *gecos, *dir, *shell;
    int64_t expire;
};
static void passwd_to_darwin(const struct passwd *from, struct darwin_passwd *to) {
    *to = (struct darwin_passwd){from->pw_name, from->pw_passwd, from->pw_uid, from->pw_gid, 0, "", from->pw_gecos, from->pw_dir, from->pw_shell, 0};
}
static struct darwin_passwd *user(const struct passwd *from) {
    static struct darwin_passwd own;
    if (from == NULL) return NULL;
    passwd_to_darwin(from, &own);
    return &own;
}
static struct darwin_passwd *d_getpwuid(uid_t uid) { return user(getpwuid(uid)); }
static struct darwin_passwd *d_getpwnam(const char *name) { return user(getpwnam(name)); }
static long d_getpwuid_r(uid_t uid, struct darwin_passwd *to, char *buffer, size_t room, struct darwin_passwd **result) {
    struct passwd own, *got;
    int code = getpwuid_r(uid, &own, buffer, room, &got);
    if (got != NULL) passwd_to_darwin(got, to);
    *result = got == NULL ? NULL : to;
    return errno_to_darwin(code);
}
static const char *d_user_from_uid(uid_t uid, int no_name) {
    static char number[16];
    const struct passwd *p = getpwuid(uid);
    if (p != NULL) return p->pw_name;
    return no_name ? NULL : (snprintf(number, sizeof number, "%u", uid), number);
}
static const char *d_group_from_gid(gid_t gid, int no_name) {
    static char number[16];
    const struct group *g = getgrgid(gid);
    if (g != NULL) return g->gr_name;
    return no_name ? NULL : (snprintf(number, sizeof number, "%u", gid), number);
}

// ---- the list of name servers (configd dnsinfo/dnsinfo.h); this one has a single server

struct dns_resolver {
    const char *domain;
    int32_t servers_n;
    const void **servers;
    uint32_t rest[24];
} __attribute__((packed, aligned(4)));
struct dns_list {
    int32_t resolvers_n;
    const struct dns_resolver **resolvers;
    uint32_t rest[14];
} __attribute__((packed, aligned(4)));

static struct dns_list dns_list;

static const struct dns_list *d_dns_configuration_copy(void) {
    static const unsigned char server[16] = {16, 2, 0, 0, 192, 0, 2, 53};
    static const void *servers[] = {server};
    static struct dns_resolver resolver;
    static const struct dns_resolver *resolvers[] = {&resolver};
    resolver = (struct dns_resolver){.servers_n = 1, .servers = servers};
    dns_list = (struct dns_list){.resolvers_n = 1, .resolvers = resolvers};
    return &dns_list;
}
static void d_dns_configuration_free(const struct dns_list *list) {
    if (list != &dns_list) abort();
}

const struct shim name_shims[] = {
    OWN(getaddrinfo), OWN(freeaddrinfo), OWN(gai_strerror), OWN(getnameinfo), OWN(gethostbyname), OWN(gethostbyname2), OWN(gethostbyaddr), OWN(freehostent),
    OWN(dns_configuration_copy), OWN(dns_configuration_free),
    VARIABLE("h_errno", host_error), OWN_PLAIN(inet_pton), OWN_PLAIN(inet_ntop), SAME_PLAIN(inet_addr), SAME_PLAIN(inet_aton), SAME(inet_ntoa),
    OWN_PLAIN(gethostname), OWN(getifaddrs), OWN(freeifaddrs), SAME(if_nametoindex), SAME(if_indextoname), OWN(getpwuid), OWN(getpwnam), OWN(getpwuid_r),
    OWN(user_from_uid), OWN(group_from_gid), SAME(getgrgid), SAME(getgrnam), SAME(getservbyname), SAME(getservbyport), SAME(getprotobyname), END
};
