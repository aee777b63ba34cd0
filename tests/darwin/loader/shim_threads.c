// Threads and locks. A lock's state lies in the program's own memory, laid out by the loader, so the child of a fork has it as it was: what another thread of
// the parent held is held for ever. Instead of hanging there the loader says so and ends.
#include "shim.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>

static _Atomic uint32_t last_id;
static uint32_t forked_at; // ids up to it, but for our own, are of threads that the fork has left behind
static __thread uint32_t own_id;
static bool is_main(void) { return own_id == 1; }

static uint32_t self(void) {
    if (own_id == 0) own_id = atomic_fetch_add(&last_id, 1) + 1;
    return own_id;
}
void threads_forked(void) {
    self();
    forked_at = atomic_load(&last_id);
}

static void check_owner(uint32_t owner, const char *what) {
    if (forked_child && owner != 0 && owner != self() && owner <= forked_at)
        unmodelled("%s waits in the child of a fork for what another thread of the parent holds: a deadlock", what);
}

static int futex(_Atomic uint32_t *word, int operation, uint32_t value, const struct timespec *until) {
    return (int)syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, until, NULL, FUTEX_BITSET_MATCH_ANY);
}
static int wait_until(_Atomic uint32_t *word, uint32_t value, const struct timespec *realtime) {
    return futex(word, realtime == NULL ? FUTEX_WAIT : FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, value, realtime) == 0 ? 0 : errno;
}

// ---- mutexes: 64 bytes, the first 8 a signature that static initialisers set

enum { MUTEX_NORMAL = 0x32AAABA7, MUTEX_ERRORCHECK = 0x32AAABA1, MUTEX_RECURSIVE = 0x32AAABA2, MUTEX_READY = 0x4D555458 };
struct mutex {
    long signature;
    _Atomic uint32_t state; // 0 free, 1 held, 2 held and waited for
    uint32_t owner, depth, type;
};
struct attribute { // of mutexes, of anything: 16 bytes
    long signature;
    int type;
};
static uint32_t type_of(const struct mutex *m) {
    return m->signature == MUTEX_READY ? m->type : m->signature == MUTEX_RECURSIVE ? 2 : m->signature == MUTEX_ERRORCHECK ? 1 : 0;
}

static long d_pthread_mutex_init(struct mutex *m, const struct attribute *a) {
    *m = (struct mutex){.signature = MUTEX_READY, .type = a == NULL ? 0 : (uint32_t)a->type};
    return 0;
}
static long d_pthread_mutex_destroy(struct mutex *m) { return atomic_load(&m->state) != 0 ? D_EBUSY : 0; }

static int take(struct mutex *m, bool wait) {
    uint32_t type = type_of(m), free_state = 0;
    if (m->signature != MUTEX_READY && m->signature != MUTEX_NORMAL && m->signature != MUTEX_RECURSIVE && m->signature != MUTEX_ERRORCHECK) return D_EINVAL;
    if (m->owner == self() && atomic_load(&m->state) != 0) {
        if (type == 2) return m->depth++, 0;
        if (type == 1) return wait ? D_EDEADLK : D_EBUSY;
    }
    if (!atomic_compare_exchange_strong(&m->state, &free_state, 1)) {
        if (!wait) return D_EBUSY;
        check_owner(m->owner, "pthread_mutex_lock");
        while (atomic_exchange(&m->state, 2) != 0) wait_until(&m->state, 2, NULL);
    }
    m->owner = self();
    return 0;
}
static long d_pthread_mutex_lock(struct mutex *m) { return take(m, true); }
static long d_pthread_mutex_trylock(struct mutex *m) { return take(m, false); }
static long d_pthread_mutex_unlock(struct mutex *m) {
    if (type_of(m) != 0 && m->owner != self()) return D_EPERM;
    if (type_of(m) == 2 && m->depth > 0) return m->depth--, 0;
    m->owner = 0;
    if (atomic_exchange(&m->state, 0) == 2) futex(&m->state, FUTEX_WAKE, 1, NULL);
    return 0;
}
static long d_pthread_mutexattr_init(struct attribute *a) { return *a = (struct attribute){0}, 0; }
static long d_pthread_mutexattr_destroy(struct attribute *a) { return (void)a, 0; }
static long d_pthread_mutexattr_settype(struct attribute *a, int type) { return a->type = type, 0; }

// ---- condition variables: 48 bytes; read-write locks: 200; once: 16

struct condition {
    long signature;
    _Atomic uint32_t count;
};
static long d_pthread_cond_init(struct condition *c, const void *a) { return (void)a, *c = (struct condition){.signature = 0x3CB0B1BB}, 0; }
static long d_pthread_cond_destroy(struct condition *c) { return (void)c, 0; }
static long d_pthread_cond_signal(struct condition *c) { return atomic_fetch_add(&c->count, 1), futex(&c->count, FUTEX_WAKE, 1, NULL), 0; }
static long d_pthread_cond_broadcast(struct condition *c) { return atomic_fetch_add(&c->count, 1), futex(&c->count, FUTEX_WAKE, INT_MAX, NULL), 0; }
static int wait_for(struct condition *c, struct mutex *m, const struct timespec *until) {
    uint32_t seen = atomic_load(&c->count);
    d_pthread_mutex_unlock(m);
    int result = wait_until(&c->count, seen, until);
    take(m, true);
    return result == ETIMEDOUT ? D_ETIMEDOUT : 0;
}
static long d_pthread_cond_wait(struct condition *c, struct mutex *m) { return wait_for(c, m, NULL); }
static long d_pthread_cond_timedwait(struct condition *c, struct mutex *m, const struct timespec *until) { return wait_for(c, m, until); }
static long d_pthread_cond_timedwait_relative_np(struct condition *c, struct mutex *m, const struct timespec *relative) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += relative->tv_sec + (until.tv_nsec + relative->tv_nsec) / 1000000000;
    until.tv_nsec = (until.tv_nsec + relative->tv_nsec) % 1000000000;
    return wait_for(c, m, &until);
}

struct rwlock {
    long signature;
    _Atomic uint32_t state; // number of readers, or WRITER
    uint32_t owner;
};
#define WRITER 0x80000000u
static long d_pthread_rwlock_init(struct rwlock *l, const void *a) { return (void)a, *l = (struct rwlock){.signature = 0x2DA8B3B4}, 0; }
static long d_pthread_rwlock_destroy(struct rwlock *l) { return (void)l, 0; }
static int lock_rw(struct rwlock *l, bool write, bool wait) {
    for (;;) {
        uint32_t state = atomic_load(&l->state);
        bool available = write ? state == 0 : state != WRITER;
        if (available && atomic_compare_exchange_strong(&l->state, &state, write ? WRITER : state + 1)) break;
        if (available) continue;
        if (!wait) return D_EBUSY;
        check_owner(l->owner, "a read-write lock");
        wait_until(&l->state, state, NULL);
    }
    if (write) l->owner = self();
    return 0;
}
static long d_pthread_rwlock_rdlock(struct rwlock *l) { return lock_rw(l, false, true); }
static long d_pthread_rwlock_wrlock(struct rwlock *l) { return lock_rw(l, true, true); }
static long d_pthread_rwlock_tryrdlock(struct rwlock *l) { return lock_rw(l, false, false); }
static long d_pthread_rwlock_trywrlock(struct rwlock *l) { return lock_rw(l, true, false); }
static long d_pthread_rwlock_unlock(struct rwlock *l) {
    if (atomic_load(&l->state) == WRITER) l->owner = 0, atomic_store(&l->state, 0);
    else atomic_fetch_sub(&l->state, 1);
    futex(&l->state, FUTEX_WAKE, INT_MAX, NULL);
    return 0;
}

struct once {
    long signature;
    _Atomic uint32_t state; // 0 not yet, 1 being done, 2 done
    uint32_t owner;
};
static long d_pthread_once(struct once *o, void (*function)(void)) {
    uint32_t state = 0;
    if (atomic_compare_exchange_strong(&o->state, &state, 1)) {
        o->owner = self();
        function();
        atomic_store(&o->state, 2);
        futex(&o->state, FUTEX_WAKE, INT_MAX, NULL);
    }
    while (atomic_load(&o->state) != 2) {
        check_owner(o->owner, "pthread_once");
        wait_until(&o->state, 1, NULL);
    }
    return 0;
}

// ---- os_unfair_lock: 4 bytes, the owner's id; not for two at once, so waiting is by turns

static void d_os_unfair_lock_lock(_Atomic uint32_t *lock) {
    uint32_t owner = 0;
    while (!atomic_compare_exchange_strong(lock, &owner, self())) {
        if (owner == self()) die("os_unfair_lock is taken twice by one thread");
        check_owner(owner, "os_unfair_lock_lock");
        sched_yield();
        owner = 0;
    }
}
static bool d_os_unfair_lock_trylock(_Atomic uint32_t *lock) {
    uint32_t owner = 0;
    return atomic_compare_exchange_strong(lock, &owner, self());
}
static void d_os_unfair_lock_unlock(_Atomic uint32_t *lock) {
    if (atomic_exchange(lock, 0) != self()) die("os_unfair_lock is freed by another thread");
}

// ---- threads

struct thread_attributes { // 64 bytes
    long signature;
    int detached;
    size_t stack;
};
static long d_pthread_attr_init(struct thread_attributes *a) { return *a = (struct thread_attributes){0}, 0; }
static long d_pthread_attr_destroy(struct thread_attributes *a) { return (void)a, 0; }
static long d_pthread_attr_setdetachstate(struct thread_attributes *a, int state) { return a->detached = state == 2, 0; } // PTHREAD_CREATE_DETACHED
static long d_pthread_attr_setstacksize(struct thread_attributes *a, size_t size) { return a->stack = size, 0; }
static long d_pthread_attr_getstacksize(const struct thread_attributes *a, size_t *size) { return *size = a->stack == 0 ? 524288 : a->stack, 0; }

// ---- data of threads. Programs may find it without a call, by gs or tpidrro_el0 and the key: Go does. So the keys' values lie in one array, near what takes
// the register's place here: gs itself, and tpidr_el0, which image.c puts into the instructions. Go looks for its key's value within 4096 bytes of it.

enum { FIRST_KEY = 8, KEYS = 128 }; // 6 is the slot that programs like Go may have for themselves on x86_64
static __thread uintptr_t slots[KEYS];
static struct {
    bool used;
    void (*end)(void *);
} keys[KEYS];
static pthread_key_t at_end;

static void end_of_thread(void *unused) {
    (void)unused;
    for (int round = 0, again = 1; round < 4 && again; round++) {
        again = 0;
        for (int i = FIRST_KEY; i < KEYS; i++) {
            void *value = (void *)slots[i];
            slots[i] = 0;
            if (value == NULL || !keys[i].used || keys[i].end == NULL) continue;
            keys[i].end(value);
            again = 1;
        }
    }
}
static void begin_slots(void) {
    pthread_setspecific(at_end, slots);
#ifdef __x86_64__
    slots[0] = (uintptr_t)slots;
    syscall(SYS_arch_prctl, 0x1001, slots); // ARCH_SET_GS
#endif
}
static long d_pthread_key_create(unsigned long *key, void (*end)(void *)) {
    for (unsigned long i = FIRST_KEY; i < KEYS; i++) {
        if (__atomic_exchange_n(&keys[i].used, true, __ATOMIC_SEQ_CST)) continue;
        keys[i].end = end;
        *key = i;
        return 0;
    }
    return D_EAGAIN;
}
static bool is_key(unsigned long key) { return key < KEYS && keys[key].used; }
static long d_pthread_key_delete(unsigned long key) { return is_key(key) ? (keys[key].used = false, 0) : D_EINVAL; }
static void *d_pthread_getspecific(unsigned long key) { return is_key(key) ? (void *)slots[key] : NULL; }
static long d_pthread_setspecific(unsigned long key, const void *value) { return is_key(key) ? (slots[key] = (uintptr_t)value, 0) : D_EINVAL; }

__attribute__((constructor)) static void first_thread(void) {
    self();
    pthread_key_create(&at_end, end_of_thread);
    begin_slots();
}

struct start {
    void *(*function)(void *);
    void *argument;
};
static void *begin_thread(void *given) {
    struct start start = *(struct start *)given;
    free(given);
    begin_slots();
    return start.function(start.argument);
}

static long d_pthread_create(pthread_t *thread, const struct thread_attributes *a, void *(*function)(void *), void *argument) {
    pthread_attr_t own;
    pthread_attr_init(&own);
    if (a != NULL && a->detached) pthread_attr_setdetachstate(&own, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&own, a == NULL || a->stack < 524288 ? 524288 : a->stack); // what a thread of darwin has: 512 KiB
    struct start *start = malloc(sizeof *start);
    *start = (struct start){function, argument};
    int result = pthread_create(thread, &own, begin_thread, start);
    if (result != 0) free(start);
    pthread_attr_destroy(&own);
    return errno_to_darwin(result);
}
static long d_pthread_join(pthread_t thread, void **result) { return errno_to_darwin(pthread_join(thread, result)); }
static long d_pthread_detach(pthread_t thread) { return errno_to_darwin(pthread_detach(thread)); }
static long d_pthread_kill(pthread_t thread, int number) { return errno_to_darwin(pthread_kill(thread, signal_to_linux(number))); }
static long d_pthread_main_np(void) { return is_main(); }
static long d_pthread_threadid_np(pthread_t thread, uint64_t *id) { return (void)thread, *id = (uint64_t)gettid(), 0; }
static uint32_t d_pthread_mach_thread_np(pthread_t thread) { return (void)thread, self() << 8 | 3; }
static uint32_t d_mach_thread_self(void) { return self() << 8 | 3; }
static long d_pthread_setname_np(const char *name) { return (void)name, 0; }
static long d_pthread_getname_np(pthread_t thread, char *to, size_t room) { return (void)thread, room > 0 ? (*to = 0, 0) : D_ERANGE; }
static long d_pthread_atfork(void (*before)(void), void (*parent)(void), void (*child)(void)) { return errno_to_darwin(pthread_atfork(before, parent, child)); }

const struct shim thread_shims[] = {
    OWN(pthread_mutex_init), OWN(pthread_mutex_destroy), OWN(pthread_mutex_lock), OWN(pthread_mutex_trylock), OWN(pthread_mutex_unlock),
    OWN(pthread_mutexattr_init), OWN(pthread_mutexattr_destroy), OWN(pthread_mutexattr_settype), OWN(pthread_cond_init), OWN(pthread_cond_destroy),
    OWN(pthread_cond_signal), OWN(pthread_cond_broadcast), OWN(pthread_cond_wait), OWN(pthread_cond_timedwait), OWN(pthread_cond_timedwait_relative_np),
    OWN(pthread_rwlock_init), OWN(pthread_rwlock_destroy), OWN(pthread_rwlock_rdlock), OWN(pthread_rwlock_wrlock), OWN(pthread_rwlock_tryrdlock),
    OWN(pthread_rwlock_trywrlock), OWN(pthread_rwlock_unlock), OWN(pthread_once), OWN(os_unfair_lock_lock), OWN(os_unfair_lock_trylock),
    OWN(os_unfair_lock_unlock), OWN(pthread_attr_init), OWN(pthread_attr_destroy), OWN(pthread_attr_setdetachstate), OWN(pthread_attr_setstacksize),
    OWN(pthread_attr_getstacksize), OWN(pthread_create), OWN(pthread_join), OWN(pthread_detach), OWN(pthread_kill), SAME_PLAIN(pthread_self),
    SAME_PLAIN(pthread_equal), SAME(pthread_exit), OWN_PLAIN(pthread_main_np), OWN_PLAIN(pthread_threadid_np), OWN_PLAIN(pthread_mach_thread_np),
    OWN_PLAIN(mach_thread_self), OWN(pthread_setname_np), OWN(pthread_getname_np), OWN(pthread_key_create), OWN(pthread_key_delete),
    OWN_PLAIN(pthread_getspecific), OWN(pthread_setspecific), OWN(pthread_atfork), END
};
