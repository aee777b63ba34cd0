// libc's resolver, for programs that call it themselves (php, Kerberos, drivers of databases). Its packets pass no hook, so for the time of a call it is
// told that the broker is the only name server; getaddrinfo's own use of the same state is left alone.
#define _GNU_SOURCE
#include "layer.h"

#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>

// Before glibc 2.34 the header gave these names to others.
#undef res_query
#undef res_search
#undef res_querydomain
#undef res_send
#undef res_nquery
#undef res_nsearch
#undef res_nquerydomain
#undef res_nsend

struct resolver_saved {
    int changed, count;
    unsigned long options;
    struct sockaddr_in first;
};

// pod_resolver points the state at the broker; 0 when there is none, and nobody else may be asked.
static NOINLINE int pod_resolver(res_state state, struct resolver_saved *saved) {
    static const struct frame_addr server = {.family = 4, .port = NAME_PORT}; // the unspecified address: the pod's own, whichever that is
    struct frame_addr relay;
    union socket_address native;
    saved->changed = 0;
    const struct rules *r = session.active ? rules() : NULL;
    if (r == NULL || !(r->flags & RULE_NAMES)) return 1;
    if (!known_pair(PAIR_SEND_TO, &server, &relay)) {
        if (ask_exchange(-1, AF_INET, &server, &relay) != 0) {
            h_errno = TRY_AGAIN;
            return 0;
        }
        remember_pair(PAIR_SEND_TO, &server, &relay);
    }
    if (relay.family == SEND_AS_IT_IS || to_sockaddr(&relay, AF_INET, &native) == 0) return 1;
    if (state == NULL) state = __res_state();
    if (!(state->options & RES_INIT) && res_ninit(state) != 0) return 1; // the original meets the same
    *saved = (struct resolver_saved){1, state->nscount, state->options, state->nsaddr_list[0]};
    state->nsaddr_list[0] = native.v4;
    state->nscount = 1;
    state->options |= RES_USE_EDNS0; // the broker's address has no TCP for what is longer than 512 bytes
    return 1;
}

static void own_resolver(res_state state, const struct resolver_saved *saved) {
    if (!saved->changed) return;
    if (state == NULL) state = __res_state();
    state->nscount = saved->count;
    state->options = saved->options;
    state->nsaddr_list[0] = saved->first;
}

#define WITH_POD(state, call)                                                                                                       \
    struct resolver_saved saved;                                                                                                    \
    if (!pod_resolver(state, &saved)) return -1;                                                                                    \
    int result = call;                                                                                                              \
    own_resolver(state, &saved);                                                                                                    \
    return result

typedef unsigned char byte;

int res_query(const char *name, int class, int type, byte *answer, int room);
EXPORT int res_query(const char *name, int class, int type, byte *answer, int room) {
    WITH_POD(NULL, ORIGINAL(res_query)(name, class, type, answer, room));
}

int res_search(const char *name, int class, int type, byte *answer, int room);
EXPORT int res_search(const char *name, int class, int type, byte *answer, int room) {
    WITH_POD(NULL, ORIGINAL(res_search)(name, class, type, answer, room));
}

int res_querydomain(const char *name, const char *domain, int class, int type, byte *answer, int room);
EXPORT int res_querydomain(const char *name, const char *domain, int class, int type, byte *answer, int room) {
    WITH_POD(NULL, ORIGINAL(res_querydomain)(name, domain, class, type, answer, room));
}

int res_send(const byte *query, int size, byte *answer, int room);
EXPORT int res_send(const byte *query, int size, byte *answer, int room) {
    WITH_POD(NULL, ORIGINAL(res_send)(query, size, answer, room));
}

int res_nquery(res_state state, const char *name, int class, int type, byte *answer, int room);
EXPORT int res_nquery(res_state state, const char *name, int class, int type, byte *answer, int room) {
    WITH_POD(state, ORIGINAL(res_nquery)(state, name, class, type, answer, room));
}

int res_nsearch(res_state state, const char *name, int class, int type, byte *answer, int room);
EXPORT int res_nsearch(res_state state, const char *name, int class, int type, byte *answer, int room) {
    WITH_POD(state, ORIGINAL(res_nsearch)(state, name, class, type, answer, room));
}

int res_nquerydomain(res_state state, const char *name, const char *domain, int class, int type, byte *answer, int room);
EXPORT int res_nquerydomain(res_state state, const char *name, const char *domain, int class, int type, byte *answer, int room) {
    WITH_POD(state, ORIGINAL(res_nquerydomain)(state, name, domain, class, type, answer, room));
}

int res_nsend(res_state state, const byte *query, int size, byte *answer, int room);
EXPORT int res_nsend(res_state state, const byte *query, int size, byte *answer, int room) {
    WITH_POD(state, ORIGINAL(res_nsend)(state, query, size, answer, room));
}
