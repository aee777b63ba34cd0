// Signed pointers, "keys off": a process that is not arm64e of the current ABI runs with the instructions for pointer authentication doing nothing. qemu is
// started without the feature, so those outside the space of hints are illegal instructions, and are carried out here: a branch is a branch, signing and
// checking leave the pointer as it is. No process has its keys on, Apple's own neither.
#include "loader.h"

#ifdef __aarch64__
#include <signal.h>
#include <ucontext.h>

static uint64_t *reg(ucontext_t *context, uint32_t number) {
    static uint64_t zero;
    zero = 0;
    return number == 31 ? &zero : (uint64_t *)&context->uc_mcontext.regs[number];
}

// emulate carries out one instruction. False when it has nothing to do with pointer authentication.
static bool emulate(ucontext_t *context, uint32_t word) {
    uint64_t *pc = (uint64_t *)&context->uc_mcontext.pc, next = *pc + 4;
    uint32_t n = word >> 5 & 31;
    if ((word & 0xfedff800) == 0xd61f0800) { // braa, brab, blraa, blrab and those with zero; bit 21 tells the ones that link
        next = *reg(context, n);
        if ((word & 0x00200000) != 0) context->uc_mcontext.regs[30] = *pc + 4;
    } else if ((word & 0xfffffbff) == 0xd65f0bff) { // retaa, retab
        next = context->uc_mcontext.regs[30];
    } else if ((word & 0xffffc000) == 0xdac10000 || (word & 0xffff8000) == 0xdac10000) { // pacia to autdzb, xpaci, xpacd: the pointer stays
        next = *pc + 4;
    } else if ((word & 0xff200400) == 0xf8200400) { // ldraa, ldrab
        int64_t offset = (int64_t)((uint64_t)(word >> 22 & 1) << 9 | (word >> 12 & 0x1ff));
        offset = (offset << 54 >> 54) * 8;
        uint64_t base = n == 31 ? context->uc_mcontext.sp : *reg(context, n);
        uint64_t address = base + (uint64_t)offset;
        if ((word & 31) != 31) context->uc_mcontext.regs[word & 31] = *(uint64_t *)address;
        if ((word & 0x800) != 0) *(n == 31 ? (uint64_t *)&context->uc_mcontext.sp : reg(context, n)) = address;
    } else {
        return false;
    }
    *pc = next;
    return true;
}

static void illegal(int number, siginfo_t *info, void *context) {
    (void)info;
    ucontext_t *c = context;
    if (!emulate(c, *(uint32_t *)c->uc_mcontext.pc)) signal(number, SIG_DFL);
}

void pauth_off(void) {
    struct sigaction action = {.sa_sigaction = illegal, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGILL, &action, NULL);
}
#else
void pauth_off(void) {}
#endif
