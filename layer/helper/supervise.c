// The program that stands in front of one that no library can be loaded into: it has the broker's filter installed, under which the broker answers system
// calls, and executes the program in its own place. It is static and uses nothing of libc, so it starts in 0.2 ms and runs on every Linux.
//
//     supervise PROGRAM ARGV0 [ARGUMENT...]
//
// Whenever the program cannot be supervised it is executed as it is; the broker has reported it then.
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/un.h>

#include "../src/frame.h"
#include "../src/sys.h"

#ifndef SECCOMP_FILTER_FLAG_NEW_LISTENER
#define SECCOMP_FILTER_FLAG_NEW_LISTENER (1UL << 3)
#endif
#ifndef SECCOMP_FILTER_FLAG_SPEC_ALLOW
#define SECCOMP_FILTER_FLAG_SPEC_ALLOW (1UL << 2)
#endif
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

// What the compiler may call by itself.
void *memcpy(void *restrict to, const void *restrict from, size_t n) {
    for (size_t i = 0; i < n; i++) ((volatile char *)to)[i] = ((const char *)from)[i];
    return to;
}
void *memset(void *to, int c, size_t n) {
    for (size_t i = 0; i < n; i++) ((volatile char *)to)[i] = (char)c;
    return to;
}
size_t strlen(const char *s) {
    size_t n = 0;
    while (((const volatile char *)s)[n] != 0) n++;
    return n;
}

static uint8_t buffer[FRAME_MAX + FRAME_HEADER];
static uint8_t token[FRAME_TOKEN];

static const char broker_name[] = "MIRRORD_BROKER=", cwd_name[] = "MIRRORD_CWD=";
static const char marker_name[] = "MIRRORD_SUPERVISED=";
static char marker[256];

static const char *variable(char *const envp[], const char *name) {
    size_t n = strlen(name);
    for (; *envp != NULL; envp++) {
        size_t i = 0;
        while (i < n && (*envp)[i] == name[i]) i++;
        if (i == n) return *envp + n;
    }
    return NULL;
}

static int equal(const char *a, const char *b) {
    while (*a != 0 && *a == *b) a++, b++;
    return *a == *b;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// dial connects to the broker that "<name of the abstract socket>:<token in hex>" names, and keeps the token.
static int dial(const char *value) {
    size_t length = strlen(value), hex = 2 * FRAME_TOKEN;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (length < hex + 2 || length - hex + 1 > sizeof addr.sun_path || value[length - hex - 1] != ':') return -EINVAL;
    size_t name = length - hex - 1;
    memcpy(addr.sun_path + 1, value, name);
    for (int i = 0; i < FRAME_TOKEN; i++) {
        int high = hex_digit(value[name + 1 + 2 * i]), low = hex_digit(value[name + 2 + 2 * i]);
        if (high < 0 || low < 0) return -EINVAL;
        token[i] = (uint8_t)(high << 4 | low);
    }
    int fd = sys_socket(AF_UNIX, SOCK_STREAM);
    if (fd < 0) return fd;
    int err = sys_connect(fd, &addr, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + name));
    return err < 0 ? err : fd;
}

// exchange sends the request in f and reads the reply: f is left behind the status, which is returned; -100 when there is none.
static int exchange(int sock, struct frame *f) {
    uint32_t size = frame_end(f), length;
    for (uint32_t sent = 0; sent < size;) {
        long n = sys(SYS_write, sock, (long)(buffer + sent), size - sent, 0, 0, 0);
        if (n == -EINTR) continue;
        if (n <= 0) return -100;
        sent += (uint32_t)n;
    }
    uint32_t have = 0, want = FRAME_HEADER;
    while (have < want) {
        long n = sys(SYS_read, sock, (long)(buffer + have), want - have, 0, 0, 0);
        if (n == -EINTR) continue;
        if (n <= 0) return -100;
        have += (uint32_t)n;
        if (have == FRAME_HEADER) {
            memcpy(&length, buffer, 4);
            if (length < 4 || length > FRAME_MAX) return -100;
            want += length;
        }
    }
    *f = (struct frame){.data = buffer + FRAME_HEADER, .size = length};
    return (int)get_u32(f);
}

static _Noreturn void leave(int status) {
    for (;;) sys(SYS_exit_group, status, 0, 0, 0, 0, 0);
}

// go executes the program; with mark it and what it starts know that they are supervised.
static _Noreturn void go(const char *program, char *const argv[], char *const envp[], int mark) {
    char *const *last = envp;
    while (*last != NULL) last++;
    char *changed[last - envp + 2];
    size_t n = 0;
    if (mark) changed[n++] = marker;
    for (; *envp != NULL; envp++)
        if (variable((char *const[]){*envp, NULL}, marker_name) == NULL) changed[n++] = *envp;
    changed[n] = NULL;
    long err = sys(SYS_execve, (long)program, (long)argv, (long)changed, 0, 0, 0);
    leave(err == -ENOENT ? 127 : 126);
}

// supervised has the filter installed; 0 when the program is to be executed as it is.
static int supervised(const char *program, const char *broker, char *const envp[]) {
    int sock = dial(broker);
    if (sock < 0) return 0;
    struct frame f = frame_begin(buffer, sizeof buffer, FRAME_SUPERVISE, token);
    put_u32(&f, (uint32_t)sys_getppid());
    put_u32(&f, (uint32_t)sock);
    put_u64(&f, (uint64_t)(uintptr_t)broker);
    put_str(&f, program);
    put_str(&f, variable(envp, cwd_name));
    uint16_t size;
    const char *filter = exchange(sock, &f) == STATUS_OK ? get_str(&f, &size) : NULL;
    if (filter == NULL || f.broken) {
        sys_close(sock);
        return 0;
    }
    static struct sock_filter instructions[BPF_MAXINSNS];
    memcpy(instructions, filter, size);
    struct sock_fprog code = {.len = (unsigned short)(size / sizeof *instructions), .filter = instructions};
    // The filter is no sandbox: before Linux 5.16 a program under one runs without speculation of the processor, unless it says so.
    const long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    long listener = sys(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0);
    if (listener == 0) listener = sys(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, (long)&code, 0, 0, 0);
    if (listener == -EINVAL) listener = sys(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, (long)&code, 0, 0, 0); // before Linux 5.19
    f = frame_begin(buffer, sizeof buffer, FRAME_LISTENER, token);
    put_u32(&f, listener < 0 ? 0 : (uint32_t)listener);
    put_u32(&f, listener < 0 ? (uint32_t)-listener : 0);
    int status = exchange(sock, &f);
    if (listener < 0) {
        sys_close(sock);
        return 0;
    }
    // From here on nothing works that nobody answers.
    if (status != STATUS_OK) leave(125);
    sys_close((int)listener);
    sys_close(sock);
    return 1;
}

__attribute__((used)) static _Noreturn void begin(long *stack) {
    int argc = (int)stack[0];
    char **argv = (char **)(stack + 1), **envp = argv + argc + 1;
    if (argc < 3) leave(125);
    const char *program = argv[1], *broker = variable(envp, broker_name);
    if (broker == NULL || strlen(broker) + sizeof marker_name > sizeof marker) go(program, argv + 2, envp, 0);
    memcpy(marker, marker_name, sizeof marker_name - 1);
    memcpy(marker + sizeof marker_name - 1, broker, strlen(broker) + 1);
    // A process has one supervisor for ever.
    const char *already = variable(envp, marker_name);
    go(program, argv + 2, envp, (already != NULL && equal(already, broker)) || supervised(program, broker, envp));
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x30, #0\n\tmov x0, sp\n\tand sp, x0, #-16\n\tbl begin\n");
#endif
