// kqueue, by epoll: sockets and pipes to read and write, user events, timers. What else a kqueue can watch is not modelled.
#include "shim.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>

struct darwin_kevent {
    uintptr_t ident;
    int16_t filter;
    uint16_t flags;
    uint32_t fflags;
    intptr_t data;
    void *udata;
};
enum { READ = -1, WRITE = -2, TIMER = -7, USER = -10 };
enum { EV_ADD = 1, EV_DELETE = 2, EV_ENABLE = 4, EV_DISABLE = 8, EV_ONESHOT = 0x10, EV_CLEAR = 0x20, EV_RECEIPT = 0x40, EV_ERROR = 0x4000, EV_EOF = 0x8000 };
enum { NOTE_TRIGGER = 0x01000000, NOTE_SECONDS = 1, NOTE_USECONDS = 2, NOTE_NSECONDS = 4 };

struct watch {
    uintptr_t ident;
    int16_t filter;
    uint16_t flags;
    void *udata;
    bool on;
    int fd; // of its own, for user events and timers
};
struct queue {
    int fd; // the epoll, which the program knows as its kqueue
    struct watch *watches;
    size_t count, room;
    struct queue *next;
};
static struct queue *queues;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static long d_kqueue(void) {
    struct queue *q = calloc(1, sizeof *q);
    q->fd = epoll_create1(EPOLL_CLOEXEC); // kqueues do not survive an exec
    if (q->fd < 0) return (int)ret(-1);
    pthread_mutex_lock(&lock);
    for (struct queue *old = queues; old != NULL; old = old->next)
        if (old->fd == q->fd) old->fd = -1; // closed without our knowing
    q->next = queues;
    queues = q;
    pthread_mutex_unlock(&lock);
    return q->fd;
}

// A child of fork has no kqueues: their numbers are free there.
void events_forked(void) {
    for (struct queue *q = queues; q != NULL; q = q->next) {
        if (q->fd >= 0) close(q->fd);
        q->fd = -1;
    }
}

static struct queue *queue_of(int fd) {
    for (struct queue *q = queues; q != NULL; q = q->next)
        if (q->fd == fd) return q;
    return NULL;
}
static struct watch *watch_of(struct queue *q, uintptr_t ident, int16_t filter) {
    for (size_t i = 0; i < q->count; i++)
        if (q->watches[i].on && q->watches[i].ident == ident && q->watches[i].filter == filter) return &q->watches[i];
    return NULL;
}

// watch_fd tells epoll what a descriptor's two filters want together.
static int watch_fd(struct queue *q, int fd) {
    const struct watch *r = watch_of(q, (uintptr_t)fd, READ), *w = watch_of(q, (uintptr_t)fd, WRITE);
    bool reads = r != NULL && (r->flags & EV_DISABLE) == 0, writes = w != NULL && (w->flags & EV_DISABLE) == 0;
    struct epoll_event event = {.events = (reads ? EPOLLIN | EPOLLRDHUP : 0u) | (writes ? EPOLLOUT : 0u), .data.u64 = (uint64_t)fd};
    if (((reads ? r->flags : w != NULL ? w->flags : 0) & EV_CLEAR) != 0) event.events |= EPOLLET;
    if (r == NULL && w == NULL) return epoll_ctl(q->fd, EPOLL_CTL_DEL, fd, NULL) == 0 || errno == ENOENT || errno == EBADF ? 0 : errno;
    if (epoll_ctl(q->fd, EPOLL_CTL_MOD, fd, &event) == 0 || (errno == ENOENT && epoll_ctl(q->fd, EPOLL_CTL_ADD, fd, &event) == 0)) return 0;
    return errno;
}

static void arm(const struct watch *w, const struct darwin_kevent *change) {
    int64_t unit = change->fflags & NOTE_SECONDS    ? 1000000000
                   : change->fflags & NOTE_USECONDS ? 1000
                   : change->fflags & NOTE_NSECONDS ? 1
                                                    : 1000000,
            n = change->data * unit;
    struct itimerspec time = {.it_value = {n / 1000000000, n % 1000000000}};
    if ((change->flags & EV_ONESHOT) == 0) time.it_interval = time.it_value;
    if (n <= 0) time.it_value.tv_nsec = 1;
    timerfd_settime(w->fd, 0, &time, NULL);
}

// change applies one of a caller's changes. A Linux errno.
static int change(struct queue *q, const struct darwin_kevent *c) {
    if (c->filter != READ && c->filter != WRITE && c->filter != USER && c->filter != TIMER) unmodelled("kevent with filter %d", c->filter);
    struct watch *w = watch_of(q, c->ident, c->filter);
    bool own = c->filter == USER || c->filter == TIMER;
    if (w == NULL && (c->flags & EV_ADD) == 0) return ENOENT;
    if ((c->flags & EV_DELETE) != 0) {
        w->on = false;
        if (own) close(w->fd);
        return own ? 0 : watch_fd(q, (int)c->ident);
    }
    if (w == NULL) {
        if (!own && fcntl((int)c->ident, F_GETFD) < 0) return EBADF;
        if (q->count == q->room) q->watches = realloc(q->watches, (q->room = q->room * 2 + 16) * sizeof *q->watches);
        for (size_t i = 0; i < q->count && w == NULL; i++)
            if (!q->watches[i].on) w = &q->watches[i];
        if (w == NULL) w = &q->watches[q->count++];
        *w = (struct watch){.ident = c->ident, .filter = c->filter, .on = true, .fd = -1};
        if (own) {
            w->fd = c->filter == USER ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
            struct epoll_event event = {.events = EPOLLIN, .data.u64 = 1ull << 32 | (uint64_t)(w - q->watches)};
            epoll_ctl(q->fd, EPOLL_CTL_ADD, w->fd, &event);
        }
    }
    w->udata = c->udata;
    w->flags = (uint16_t)((c->flags & (EV_CLEAR | EV_ONESHOT)) | (c->flags & EV_DISABLE ? EV_DISABLE : 0));
    if (c->filter == TIMER && (c->flags & EV_ADD) != 0) arm(w, c);
    if (c->filter == USER && (c->fflags & NOTE_TRIGGER) != 0) eventfd_write(w->fd, 1);
    return own ? 0 : watch_fd(q, (int)c->ident);
}

static struct darwin_kevent of_fd(const struct watch *w, uint32_t events) {
    struct darwin_kevent out = {.ident = w->ident, .filter = w->filter, .flags = w->flags, .udata = w->udata};
    int waiting = 0, error = 0;
    socklen_t length = sizeof error;
    if (w->filter == READ && ioctl((int)w->ident, FIONREAD, &waiting) == 0) out.data = waiting;
    if ((events & (w->filter == READ ? EPOLLRDHUP | EPOLLHUP | EPOLLERR : EPOLLHUP | EPOLLERR)) != 0) {
        out.flags |= EV_EOF;
        if ((events & EPOLLERR) != 0 && getsockopt((int)w->ident, SOL_SOCKET, SO_ERROR, &error, &length) == 0) out.fflags = (uint32_t)errno_to_darwin(error);
    }
    return out;
}

// collect turns epoll's events into the program's, of which there are at most two for each.
static int collect(struct queue *q, const struct epoll_event *from, int n, struct darwin_kevent *to) {
    int count = 0;
    for (int i = 0; i < n; i++) {
        if (from[i].data.u64 >> 32 != 0) {
            struct watch *w = &q->watches[(uint32_t)from[i].data.u64];
            uint64_t times = 0;
            if (!w->on || (w->filter == USER && (w->flags & EV_CLEAR) == 0 ? 0 : read(w->fd, &times, sizeof times)) < 0) continue;
            to[count++] = (struct darwin_kevent){
                .ident = w->ident, .filter = w->filter, .flags = w->flags, .data = w->filter == TIMER ? (intptr_t)times : 0, .udata = w->udata};
            continue;
        }
        int16_t filters[] = {READ, WRITE};
        for (int f = 0; f < 2; f++) {
            struct watch *w = watch_of(q, (uintptr_t)from[i].data.u64, filters[f]);
            uint32_t wanted = filters[f] == READ ? EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR : EPOLLOUT | EPOLLHUP | EPOLLERR;
            if (w == NULL || (w->flags & EV_DISABLE) != 0 || (from[i].events & wanted) == 0) continue;
            to[count++] = of_fd(w, from[i].events);
            if ((w->flags & EV_ONESHOT) != 0) {
                w->on = false;
                watch_fd(q, (int)from[i].data.u64);
            }
        }
    }
    return count;
}

static long d_kevent(int fd, const struct darwin_kevent *changes, int n, struct darwin_kevent *events, int room, const struct timespec *timeout) {
    pthread_mutex_lock(&lock);
    struct queue *q = queue_of(fd);
    int told = 0, fault = q == NULL ? EBADF : 0;
    for (int i = 0; i < n && fault == 0; i++) {
        int result = change(q, &changes[i]);
        bool receipt = (changes[i].flags & EV_RECEIPT) != 0;
        if (result == 0 && !receipt) continue;
        if (told == room) fault = result;
        else events[told] = changes[i], events[told].flags |= EV_ERROR, events[told++].data = errno_to_darwin(result);
    }
    pthread_mutex_unlock(&lock);
    if (fault != 0) return errno = fault, (int)ret(-1);
    if (told > 0 || room == 0) return told;
    struct epoll_event got[64];
    int most = room / 2 < 1 ? 1 : room / 2 > 64 ? 64 : room / 2;
    struct darwin_kevent two[128];
    for (;;) {
        int ready = epoll_pwait2(fd, got, most, timeout, NULL);
        if (ready < 0 && errno == ENOSYS) // qemu's
            ready = epoll_wait(fd, got, most, timeout == NULL ? -1 : (int)(timeout->tv_sec * 1000 + (timeout->tv_nsec + 999999) / 1000000));
        if (ready <= 0) return (int)ret(ready);
        pthread_mutex_lock(&lock);
        int count = collect(q, got, ready, two);
        pthread_mutex_unlock(&lock);
        if (count > room) count = room; // level-triggered ones come again
        memcpy(events, two, (size_t)count * sizeof *events);
        if (count > 0 || timeout != NULL) return count;
    }
}

const struct shim event_shims[] = {OWN_PLAIN(kqueue), OWN_PLAIN(kevent), END};
