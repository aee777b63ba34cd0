// Memory: the allocator, pages, and what guards the stack.
#include "shim.h"

#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>

// The allocator's lock is of the loader: unlike that of Linux's libc it stays as it was in the child of a fork, so a child that allocates while another thread
// of its parent did is found out instead of being lucky.
static pthread_mutex_t allocator = PTHREAD_MUTEX_INITIALIZER;
static const char *held_by; // what holds the lock

static void begin(const char *what) {
    if (forked_child && held_by != NULL)
        unmodelled("%s in the child of a fork, while %s of another thread of the parent holds the allocator's lock: a deadlock", what, held_by);
    pthread_mutex_lock(&allocator);
    held_by = what;
}
static void end(void) {
    held_by = NULL;
    pthread_mutex_unlock(&allocator);
}
#define ALLOCATE(call)  \
    begin(__func__ + 2); \
    void *got = call;    \
    end();               \
    return retp(got)

static void *d_malloc(size_t n) { ALLOCATE(malloc(n)); }
static void *d_calloc(size_t count, size_t n) { ALLOCATE(calloc(count, n)); }
static void *d_realloc(void *old, size_t n) { ALLOCATE(realloc(old, n)); }
static void *d_valloc(size_t n) { ALLOCATE(memalign((size_t)0x4000, n)); }
static void *d_aligned_alloc(size_t align, size_t n) { ALLOCATE(aligned_alloc(align, n)); }
static void *d_strdup(const char *text) { ALLOCATE(strdup(text)); }
static void *d_strndup(const char *text, size_t n) { ALLOCATE(strndup(text, n)); }
static void d_free(void *p) {
    begin("free");
    free(p);
    end();
}
static void *d_reallocf(void *old, size_t n) {
    void *got = d_realloc(old, n);
    if (got == NULL && n > 0) d_free(old);
    return got;
}
static long d_posix_memalign(void **to, size_t align, size_t n) {
    begin("posix_memalign");
    int result = posix_memalign(to, align, n);
    end();
    return errno_to_darwin(result);
}
static size_t d_malloc_size(const void *p) { return malloc_usable_size((void *)p); }
static size_t d_malloc_good_size(size_t n) { return (n + 15) & ~(size_t)15; }

// ---- pages: 16 KiB on arm64, whatever the page of this system

#ifdef __aarch64__
enum { PAGE = 0x4000 };
#else
enum { PAGE = 0x1000 };
#endif
static size_t vm_page_size = PAGE;
static size_t vm_page_mask = PAGE - 1;
static int vm_page_shift = PAGE == 0x4000 ? 14 : 12;

static size_t whole(size_t n) { return (n + PAGE - 1) & ~(size_t)(PAGE - 1); }
static bool off_page(const void *p) { return ((uintptr_t)p & (PAGE - 1)) != 0; }

enum { D_MAP_SHARED = 1, D_MAP_PRIVATE = 2, D_MAP_FIXED = 0x10, D_MAP_NORESERVE = 0x40, D_MAP_NOCACHE = 0x400, D_MAP_JIT = 0x800, D_MAP_ANON = 0x1000 };

// file_bytes is how much of a mapping's pages a file fills. Behind it a page of 16 KiB is zero where Linux, with smaller pages, would send SIGBUS.
static size_t file_bytes(int fd, off_t offset, size_t n) {
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size <= offset) return n;
    size_t pages = (size_t)(st.st_size - offset + 0xfff) & ~(size_t)0xfff;
    return pages < whole(n) ? pages : whole(n);
}

// d_mmap reserves a page's worth more and cuts what is over, so that the address lies on a page of the pretended system.
static void *d_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset) {
    int own = (flags & D_MAP_SHARED ? MAP_SHARED : 0) | (flags & D_MAP_PRIVATE ? MAP_PRIVATE : 0) | (flags & D_MAP_ANON ? MAP_ANONYMOUS : 0);
    int known = D_MAP_SHARED | D_MAP_PRIVATE | D_MAP_FIXED | D_MAP_NORESERVE | D_MAP_NOCACHE | D_MAP_JIT | D_MAP_ANON;
    if ((flags & ~known) != 0) unmodelled("mmap with flags %#x", flags);
    if (n == 0 || (offset & (PAGE - 1)) != 0 || ((flags & D_MAP_FIXED) != 0 && off_page(at))) {
        fail(D_EINVAL);
        return MAP_FAILED;
    }
    if ((flags & D_MAP_FIXED) == 0) {
        size_t room = whole(n) + PAGE;
        uint8_t *free_space = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (free_space == MAP_FAILED) return (void *)ret(-1);
        at = (void *)whole((uintptr_t)free_space);
        if ((uint8_t *)at > free_space) munmap(free_space, (size_t)((uint8_t *)at - free_space));
        uint8_t *over = (uint8_t *)at + whole(n);
        if (over < free_space + room) munmap(over, (size_t)(free_space + room - over));
    }
    bool anonymous = (flags & D_MAP_ANON) != 0;
    void *got = mmap(at, whole(n), prot, (anonymous ? own : MAP_PRIVATE) | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (got != MAP_FAILED && !anonymous) got = mmap(at, file_bytes(fd, offset, n), prot, own | MAP_FIXED, fd, offset);
    if (got == MAP_FAILED) {
        ret(-1);
        if ((flags & D_MAP_FIXED) == 0) munmap(at, whole(n));
    }
    return got;
}
static long d_munmap(void *at, size_t n) { return off_page(at) ? fail(D_EINVAL) : (int)ret(munmap(at, whole(n))); }
static long d_mprotect(void *at, size_t n, int prot) { return off_page(at) ? fail(D_EINVAL) : (int)ret(mprotect(at, whole(n), prot & 7)); }
static long d_madvise(void *at, size_t n, int advice) { return advice > 4 ? 0 : (int)ret(madvise(at, n, advice)); }
static long d_msync(void *at, size_t n, int flags) {
    return (int)ret(msync(at, n, (flags & 0x1 ? MS_ASYNC : 0) | (flags & 0x2 ? MS_INVALIDATE : 0) | (flags & 0x10 ? MS_SYNC : 0)));
}
static long d_minherit(void *at, size_t n, int inherit) { // VM_INHERIT_SHARE, COPY, NONE, DONATE_COPY, and 4: ZERO
    if (inherit == 4) return (int)ret(madvise(at, whole(n), MADV_WIPEONFORK));
    if (inherit == 2) return (int)ret(madvise(at, whole(n), MADV_DONTFORK));
    if (inherit == 1) return (int)ret(madvise(at, whole(n), MADV_DOFORK));
    unmodelled("minherit with %d", inherit);
}
static long d_mlock(const void *at, size_t n) { return (int)ret(mlock(at, n)); }
static long d_munlock(const void *at, size_t n) { return (int)ret(munlock(at, n)); }
static long d_getpagesize(void) { return PAGE; }
static int mach_task_self_port = 0x103;

static long d_vm_allocate(unsigned task, uintptr_t *at, size_t n, int flags) {
    (void)task;
    if ((flags & 1) == 0) return 3; // KERN_NO_SPACE: only "anywhere" is done
    void *got = d_mmap(NULL, n, PROT_READ | PROT_WRITE, D_MAP_ANON | D_MAP_PRIVATE, -1, 0);
    if (got == MAP_FAILED) return 3;
    *at = (uintptr_t)got;
    return 0;
}
static long d_vm_deallocate(unsigned task, uintptr_t at, size_t n) { return (void)task, d_munmap((void *)at, n) == 0 ? 0 : 1; }
static long d_vm_protect(unsigned task, uintptr_t at, size_t n, int maximum, int prot) {
    (void)task;
    return maximum != 0 || d_mprotect((void *)(at & ~(uintptr_t)(PAGE - 1)), n + (at & (PAGE - 1)), prot & 7) == 0 ? 0 : 2;
}

static uintptr_t guard = 0x595e9fbd94fda700;
static void d_stack_chk_fail(void) { die("stack smashed"); }

const struct shim memory_shims[] = {
    OWN(malloc), OWN(calloc), OWN(realloc), OWN(reallocf), OWN(valloc), OWN(aligned_alloc), OWN(strdup), OWN(strndup), OWN(free), OWN(posix_memalign),
    OWN(malloc_size), OWN(malloc_good_size), CANCEL(msync), OWN_PLAIN(mmap), OWN_PLAIN(munmap), OWN_PLAIN(mprotect), OWN_PLAIN(madvise), OWN_PLAIN(minherit),
    OWN_PLAIN(mlock), OWN_PLAIN(munlock), OWN_PLAIN(getpagesize), OWN_PLAIN(vm_allocate), OWN_PLAIN(vm_deallocate), OWN_PLAIN(vm_protect),
    OWN_AS("mach_vm_allocate", vm_allocate, PLAIN), OWN_AS("mach_vm_deallocate", vm_deallocate, PLAIN), OWN_AS("mach_vm_protect", vm_protect, PLAIN),
    VARIABLE("mach_task_self_", mach_task_self_port), VARIABLE("vm_page_size", vm_page_size), VARIABLE("vm_page_mask", vm_page_mask),
    VARIABLE("vm_page_shift", vm_page_shift), VARIABLE("__stack_chk_guard", guard), OWN_AS("__stack_chk_fail", stack_chk_fail, PLAIN), END
};
