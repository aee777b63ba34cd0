// Signals: other numbers, other masks (32 bits), another order in sigaction and siginfo.
#include "shim.h"

#include <signal.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>

struct darwin_siginfo {
    int32_t number, error, code, pid;
    uint32_t uid;
    int32_t status;
    void *address;
    uintptr_t value;
    int64_t band;
    uint64_t pad[7];
};
struct darwin_sigaction {
    void *handler;
    uint32_t mask;
    int32_t flags;
};
enum { D_SA_ONSTACK = 1, D_SA_RESTART = 2, D_SA_RESETHAND = 4, D_SA_NOCLDSTOP = 8, D_SA_NODEFER = 0x10, D_SA_NOCLDWAIT = 0x20, D_SA_SIGINFO = 0x40 };
static const struct {
    int darwin, linux_flag;
} action_flags[] = {
    {D_SA_ONSTACK, SA_ONSTACK}, {D_SA_RESTART, SA_RESTART}, {D_SA_RESETHAND, (int)SA_RESETHAND}, {D_SA_NOCLDSTOP, SA_NOCLDSTOP}, {D_SA_NODEFER, SA_NODEFER},
    {D_SA_NOCLDWAIT, SA_NOCLDWAIT}
};

static struct darwin_sigaction actions[32]; // as the program set them

static sigset_t mask_to_linux(uint32_t mask) {
    sigset_t set;
    sigemptyset(&set);
    for (int i = 1; i < 32; i++)
        if ((mask >> (i - 1) & 1) != 0 && signal_to_linux(i) > 0) sigaddset(&set, signal_to_linux(i));
    return set;
}
static uint32_t mask_to_darwin(const sigset_t *set) {
    uint32_t mask = 0;
    for (int i = 1; i < 32; i++)
        if (signal_to_linux(i) > 0 && sigismember(set, signal_to_linux(i)) == 1) mask |= 1u << (i - 1);
    return mask;
}

// ---- the context that a handler gets: Go reads the registers in it, and changes them

#ifdef __x86_64__
struct machine_context {
    uint16_t trap, cpu;
    uint32_t error;
    uint64_t fault_address, registers[21]; // rax rbx rcx rdx rdi rsi rbp rsp r8-r15 rip rflags cs fs gs
    uint8_t floats[524];
};
static const int registers_of[] = {REG_RAX, REG_RBX, REG_RCX, REG_RDX, REG_RDI, REG_RSI, REG_RBP, REG_RSP, REG_R8, REG_R9,
                                   REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP, REG_EFL};
static void registers(ucontext_t *own, struct machine_context *to, bool back) {
    for (size_t i = 0; i < COUNT(registers_of); i++) {
        if (back) own->uc_mcontext.gregs[registers_of[i]] = (greg_t)to->registers[i];
        else to->registers[i] = (uint64_t)own->uc_mcontext.gregs[registers_of[i]];
    }
    to->registers[18] = 0x2b; // cs
    to->error = (uint32_t)own->uc_mcontext.gregs[REG_ERR], to->trap = (uint16_t)own->uc_mcontext.gregs[REG_TRAPNO];
    to->fault_address = (uint64_t)own->uc_mcontext.gregs[REG_CR2];
}
#else
struct machine_context {
    uint64_t fault_address;
    uint32_t syndrome, exception;
    uint64_t registers[33]; // x0-x28 fp lr sp pc
    uint32_t cpsr, pad;
    uint8_t floats[528];
};
static void registers(ucontext_t *own, struct machine_context *to, bool back) {
    uint64_t *sp = (uint64_t *)&own->uc_mcontext.sp, *pc = (uint64_t *)&own->uc_mcontext.pc;
    if (back) memcpy(own->uc_mcontext.regs, to->registers, 31 * 8), *sp = to->registers[31], *pc = to->registers[32];
    else memcpy(to->registers, own->uc_mcontext.regs, 31 * 8), to->registers[31] = *sp, to->registers[32] = *pc;
    to->fault_address = own->uc_mcontext.fault_address;
}
#endif

struct darwin_stack {
    void *at;
    size_t size;
    int flags;
};
struct darwin_ucontext {
    int onstack;
    uint32_t mask;
    struct darwin_stack stack;
    void *link;
    size_t size;
    struct machine_context *machine;
};

static void handle(int number, siginfo_t *info, void *context) {
    int signal = signal_to_darwin(number), saved = darwin_errno, saved_linux = errno;
    const struct darwin_sigaction *action = &actions[signal];
    struct darwin_siginfo own = {.number = signal, .error = errno_to_darwin(info->si_errno), .code = info->si_code};
    if (number == SIGCHLD || info->si_code <= 0) own.pid = info->si_pid, own.uid = info->si_uid;
    if (number == SIGCHLD) own.status = info->si_code == CLD_EXITED ? info->si_status : signal_to_darwin(info->si_status);
    if (number == SIGSEGV || number == SIGBUS || number == SIGILL || number == SIGFPE) own.address = info->si_addr;
    if ((action->flags & D_SA_SIGINFO) != 0) {
        ucontext_t *linux_context = context;
        struct machine_context machine = {0};
        struct darwin_ucontext darwin = {.mask = mask_to_darwin(&linux_context->uc_sigmask), .size = sizeof machine, .machine = &machine};
        registers(linux_context, &machine, false);
        ((void (*)(int, void *, void *))action->handler)(signal, &own, &darwin);
        registers(linux_context, &machine, true);
    } else ((void (*)(int))action->handler)(signal);
    darwin_errno = saved, errno = saved_linux;
}

static long d_sigaction(int number, const struct darwin_sigaction *new, struct darwin_sigaction *old) {
    int own = signal_to_linux(number);
    if (own <= 0) return own == 0 && number == 0 ? fail(D_EINVAL) : number == 7 || number == 29 ? 0 : fail(D_EINVAL); // EMT and INFO: never sent here
    struct sigaction current;
    if (sigaction(own, NULL, &current) != 0) return (int)ret(-1);
    struct darwin_sigaction before = actions[number];
    if (current.sa_handler == SIG_DFL || current.sa_handler == SIG_IGN) before.handler = current.sa_handler;
    if (new != NULL) {
        struct sigaction action = {.sa_mask = mask_to_linux(new->mask)};
        bool simple = new->handler == (void *)SIG_DFL || new->handler == (void *)SIG_IGN;
        if (simple) action.sa_handler = (void (*)(int))new->handler;
        else action.sa_sigaction = handle;
        for (size_t i = 0; i < COUNT(action_flags); i++)
            if ((new->flags & action_flags[i].darwin) != 0) action.sa_flags |= action_flags[i].linux_flag;
        if (!simple) action.sa_flags |= SA_SIGINFO;
        actions[number] = *new;
        if (sigaction(own, &action, NULL) != 0) return (int)ret(-1);
    }
    if (old != NULL) *old = before;
    return 0;
}

static void *d_signal(int number, void *handler) {
    struct darwin_sigaction action = {.handler = handler, .flags = D_SA_RESTART}, old;
    return d_sigaction(number, &action, &old) == 0 ? old.handler : (void *)SIG_ERR;
}

static int set_mask(int (*set)(int, const sigset_t *, sigset_t *), int how, const uint32_t *new, uint32_t *old) {
    static const int hows[] = {0, SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK};
    sigset_t before, wanted;
    if (new != NULL) {
        if (how < 1 || how > 3) return fail(D_EINVAL);
        wanted = mask_to_linux(*new);
    }
    int result = set(new == NULL ? SIG_BLOCK : hows[how], new == NULL ? NULL : &wanted, &before);
    if (result == 0 && old != NULL) *old = mask_to_darwin(&before);
    return result;
}
static long d_sigprocmask(int how, const uint32_t *new, uint32_t *old) { return (int)ret(set_mask(sigprocmask, how, new, old)); }
static long d_pthread_sigmask(int how, const uint32_t *new, uint32_t *old) { return errno_to_darwin(set_mask(pthread_sigmask, how, new, old)); }
static long d_sigpending(uint32_t *to) {
    sigset_t set;
    int result = (int)ret(sigpending(&set));
    if (result == 0) *to = mask_to_darwin(&set);
    return result;
}
static long d_sigsuspend(const uint32_t *mask) {
    sigset_t set = mask_to_linux(*mask);
    return (int)ret(sigsuspend(&set));
}
static long d_sigemptyset(uint32_t *set) { return *set = 0, 0; }
static long d_sigfillset(uint32_t *set) { return *set = ~0u, 0; }
static long d_sigaddset(uint32_t *set, int number) { return *set |= 1u << (number - 1), 0; }
static long d_sigdelset(uint32_t *set, int number) { return *set &= ~(1u << (number - 1)), 0; }
static long d_sigismember(const uint32_t *set, int number) { return (int)(*set >> (number - 1) & 1); }
enum { D_SS_ONSTACK = 1, D_SS_DISABLE = 4 };
static long d_sigaltstack(const struct darwin_stack *new, struct darwin_stack *old) {
    stack_t own, before;
    if (new != NULL) own = (stack_t){.ss_sp = new->at, .ss_size = new->size, .ss_flags = new->flags & D_SS_DISABLE ? SS_DISABLE : 0};
    int result = (int)ret(sigaltstack(new == NULL ? NULL : &own, &before));
    int flags = (before.ss_flags & SS_DISABLE ? D_SS_DISABLE : 0) | (before.ss_flags & SS_ONSTACK ? D_SS_ONSTACK : 0);
    if (result == 0 && old != NULL) *old = (struct darwin_stack){before.ss_sp, before.ss_size, flags};
    return result;
}

static long d_kill(int pid, int number) {
    int own = signal_to_linux(number);
    return own < 0 ? fail(D_EINVAL) : (int)ret(kill(pid, own));
}
static long d_killpg(int group, int number) { return d_kill(-group, number); }
static long d_raise(int number) { return (int)ret(raise(signal_to_linux(number))); }
static long d_pause(void) { return (int)ret(pause()); }
static long d_setitimer(int which, const struct itimerval *new, struct itimerval *old) { return (int)ret(setitimer((__itimer_which_t)which, new, old)); }

const struct shim signal_shims[] = {
    OWN_PLAIN(sigaction), OWN_PLAIN(signal), OWN_PLAIN(sigprocmask), OWN_PLAIN(pthread_sigmask), OWN_PLAIN(sigpending), CANCEL(sigsuspend),
    OWN_PLAIN(sigemptyset), OWN_PLAIN(sigfillset), OWN_PLAIN(sigaddset), OWN_PLAIN(sigdelset), OWN_PLAIN(sigismember), OWN_PLAIN(sigaltstack), OWN_PLAIN(kill),
    OWN_PLAIN(killpg), OWN_PLAIN(raise), CANCEL(pause), OWN_PLAIN(setitimer), SAME_PLAIN(alarm), END
};
