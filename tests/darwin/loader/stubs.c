// Every symbol that a program imports from the system gets a stub of its own: interposing goes by address, so open and open$NOCANCEL must differ even where
// one function serves both. A stub passes its call on; while stubs_slow is set it asks first, which is how calls between fork and exec are checked.
#include "loader.h"

#include <signal.h>
#include <sys/mman.h>

enum { MAX_STUBS = 6000, STUB_SIZE = 64 };
static struct shim stubs[MAX_STUBS];
static uint32_t sorted[MAX_STUBS];
static int stub_count, known_count;
static uint8_t *code;
volatile int stubs_slow;
bool forked_child;

// stub_called is asked by the slow path: it ends the process, or returns and the call is made.
__attribute__((used, visibility("hidden"))) void stub_called(uint32_t index, const void *caller);
void stub_called(uint32_t index, const void *caller) {
    const struct shim *s = &stubs[index];
    if (options.trace) {
        const struct image *from = image_of(caller);
        fprintf(stderr, "trace[%d]: %s from %s\n", getpid(), s->name, from == NULL ? "?" : from->path);
    }
    if (!forked_child || (s->kind & PLAIN) != 0 || options.forked == FORKED_FREE) return;
    const struct image *from = image_of(caller);
    if (options.forked == FORKED_INSERTED && (from == NULL || !from->inserted)) return;
    unmodelled("%s is called between fork and exec, by %s: only plain system calls are safe there", s->name, from == NULL ? "?" : from->path);
}

#ifdef __x86_64__
// On the stack: the stub's index, then where the call returns to.
__asm__(".text\n.globl stub_slow\nstub_slow:\n"
        "pushq %rbp\nmovq %rsp, %rbp\n"
        "pushq %rax\npushq %rdi\npushq %rsi\npushq %rdx\npushq %rcx\npushq %r8\npushq %r9\npushq %r10\n"
        "andq $-16, %rsp\nsubq $128, %rsp\n"
        "movups %xmm0, (%rsp)\nmovups %xmm1, 16(%rsp)\nmovups %xmm2, 32(%rsp)\nmovups %xmm3, 48(%rsp)\n"
        "movups %xmm4, 64(%rsp)\nmovups %xmm5, 80(%rsp)\nmovups %xmm6, 96(%rsp)\nmovups %xmm7, 112(%rsp)\n"
        "movl 8(%rbp), %edi\nmovq 16(%rbp), %rsi\ncall stub_called\n"
        "movups (%rsp), %xmm0\nmovups 16(%rsp), %xmm1\nmovups 32(%rsp), %xmm2\nmovups 48(%rsp), %xmm3\n"
        "movups 64(%rsp), %xmm4\nmovups 80(%rsp), %xmm5\nmovups 96(%rsp), %xmm6\nmovups 112(%rsp), %xmm7\n"
        "leaq -64(%rbp), %rsp\n"
        "popq %r10\npopq %r9\npopq %r8\npopq %rcx\npopq %rdx\npopq %rsi\npopq %rdi\npopq %rax\npopq %rbp\n"
        "popq %r11\nimulq $64, %r11, %r11\naddq stub_base(%rip), %r11\njmpq *48(%r11)\n");

static void write_stub(uint8_t *at, uint32_t index, const void *target, uint8_t fixed) {
    (void)fixed; // variadic calls are the same on both systems
    extern char stub_slow[];
    uint64_t words[2] = {(uint64_t)(uintptr_t)target, (uint64_t)(uintptr_t)stub_slow};
    uint64_t flag = (uint64_t)(uintptr_t)&stubs_slow;
    static const uint8_t text[] = {
        0x4c, 0x8b, 0x1d, 33, 0, 0, 0,  // mov r11, [flag]    at 0, ends at 7, the word at 40
        0x41, 0x83, 0x3b, 0x00,         // cmp dword [r11], 0 at 7
        0x75, 0x06,                     // jne slow           at 11
        0xff, 0x25, 29, 0, 0, 0,        // jmp [target]       at 13, ends at 19, the word at 48
        0x68, 0, 0, 0, 0,               // slow: push index   at 19
        0xff, 0x25, 26, 0, 0, 0,        // jmp [stub_slow]    at 24, ends at 30, the word at 56
    };
    memcpy(at, text, sizeof text);
    memcpy(at + 20, &index, 4);
    memcpy(at + 40, &flag, 8);
    memcpy(at + 48, words, 16);
}
#else
// x17 holds the stub's index.
__asm__(".text\n.globl stub_slow\nstub_slow:\n"
        "stp x29, x30, [sp, #-224]!\nmov x29, sp\n"
        "stp x0, x1, [sp, #16]\nstp x2, x3, [sp, #32]\nstp x4, x5, [sp, #48]\nstp x6, x7, [sp, #64]\nstp x8, x17, [sp, #80]\n"
        "stp q0, q1, [sp, #96]\nstp q2, q3, [sp, #128]\nstp q4, q5, [sp, #160]\nstp q6, q7, [sp, #192]\n"
        "mov w0, w17\nmov x1, x30\nbl stub_called\n"
        "ldp q0, q1, [sp, #96]\nldp q2, q3, [sp, #128]\nldp q4, q5, [sp, #160]\nldp q6, q7, [sp, #192]\n"
        "ldp x0, x1, [sp, #16]\nldp x2, x3, [sp, #32]\nldp x4, x5, [sp, #48]\nldp x6, x7, [sp, #64]\nldp x8, x17, [sp, #80]\n"
        "ldp x29, x30, [sp], #224\n"
        "adrp x16, stub_base\nldr x16, [x16, #:lo12:stub_base]\nadd x16, x16, x17, lsl #6\nadd x16, x16, #12\nbr x16\n");

static void write_stub(uint8_t *at, uint32_t index, const void *target, uint8_t fixed) {
    extern char stub_slow[];
    uint64_t words[3] = {(uint64_t)(uintptr_t)target, (uint64_t)(uintptr_t)stub_slow, (uint64_t)(uintptr_t)&stubs_slow};
    uint32_t text[] = {
        0x580001d0 | 0,                                    // 0:  ldr x16, 56 (flag)
        0xb9400210,                                        // 4:  ldr w16, [x16]
        0x35000090,                                        // 8:  cbnz w16, 24
        fixed > 0 ? 0x910003e0u | fixed : 0xd503201fu,     // 12: mov xN, sp: where the variadic arguments begin; or nop
        0x580000d0,                                        // 16: ldr x16, 40 (target)
        0xd61f0200,                                        // 20: br x16
        0x52800011 | (index & 0xffff) << 5,                // 24: mov w17, index
        0x580000b0,                                        // 28: ldr x16, 48 (stub_slow)
        0xd61f0200,                                        // 32: br x16
        0xd4200000,                                        // 36: brk
    };
    memcpy(at, text, sizeof text);
    memcpy(at + 40, words, sizeof words);
}
#endif

__attribute__((used, visibility("hidden"))) uint8_t *stub_base;

static int by_name(const void *a, const void *b) { return strcmp(stubs[*(const uint32_t *)a].name, stubs[*(const uint32_t *)b].name); }

static uintptr_t add_stub(struct shim shim) {
    if (stub_count == MAX_STUBS) unmodelled("more symbols than stubs");
    uint32_t index = (uint32_t)stub_count++;
    stubs[index] = shim;
    if ((shim.kind & DATA) != 0) return (uintptr_t)shim.address;
    uint8_t *at = code + (size_t)index * STUB_SIZE;
    write_stub(at, index, shim.address, shim.fixed);
    __builtin___clear_cache((char *)at, (char *)at + STUB_SIZE);
    return (uintptr_t)at;
}

void stubs_make(void) {
    static const struct shim *const tables[] = {
        file_shims, directory_shims, process_shims, spawn_shims, signal_shims, thread_shims, socket_shims, name_shims, memory_shims, string_shims, stdio_shims,
        system_shims, dyld_shims, tool_shims, event_shims
    };
    code = mmap(NULL, MAX_STUBS * STUB_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED) unmodelled("no memory for stubs");
    stub_base = code;
    for (size_t i = 0; i < COUNT(tables); i++)
        for (const struct shim *s = tables[i]; s->name != NULL; s++) add_stub(*s);
    known_count = stub_count;
    for (int i = 0; i < known_count; i++) sorted[i] = (uint32_t)i;
    qsort(sorted, (size_t)known_count, sizeof *sorted, by_name);
    for (int i = 1; i < known_count; i++)
        if (by_name(&sorted[i - 1], &sorted[i]) == 0) unmodelled("two shims for %s", stubs[sorted[i]].name);
    stubs_slow = options.trace;
}

static uintptr_t address_of(uint32_t index) {
    return (stubs[index].kind & DATA) != 0 ? (uintptr_t)stubs[index].address : (uintptr_t)code + (uintptr_t)index * STUB_SIZE;
}

uintptr_t stub_of(const char *symbol) {
    int low = 0, high = known_count;
    while (low < high) {
        int middle = (low + high) / 2, order = strcmp(stubs[sorted[middle]].name, symbol);
        if (order == 0) return address_of(sorted[middle]);
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return 0;
}

// Each unknown symbol is a page without access: calling it and reading it as data both fault there, and the page tells the name.
enum { MAX_UNKNOWN = 4096, PAGE = 4096 };
static const char *unknown_names[MAX_UNKNOWN];
static int unknown_count;
static uint8_t *unknown_pages;

static void faulted(int number, siginfo_t *info, void *context) {
    (void)context;
    uintptr_t offset = (uintptr_t)info->si_addr - (uintptr_t)unknown_pages;
    if (offset < (uintptr_t)unknown_count * PAGE) unmodelled("no shim for %s, which is called or read", unknown_names[offset / PAGE]);
    signal(number, SIG_DFL); // not ours: the instruction faults again
}

uintptr_t stub_unknown(const char *symbol) {
    if (options.unknown) fprintf(stderr, "no shim: %s\n", symbol);
    if (unknown_pages == NULL) {
        unknown_pages = mmap(NULL, (size_t)MAX_UNKNOWN * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        struct sigaction action = {.sa_sigaction = faulted, .sa_flags = SA_SIGINFO | SA_NODEFER};
        sigaction(SIGSEGV, &action, NULL);
    }
    for (int i = 0; i < unknown_count; i++)
        if (strcmp(unknown_names[i], symbol) == 0) return (uintptr_t)unknown_pages + (uintptr_t)i * PAGE;
    if (unknown_count == MAX_UNKNOWN) unmodelled("more unknown symbols than room: %s", symbol);
    unknown_names[unknown_count] = strdup(symbol);
    return (uintptr_t)unknown_pages + (uintptr_t)unknown_count++ * PAGE;
}
