// xnu bsd/sys/signal.h
#ifndef _SIGNAL_H_
#define _SIGNAL_H_
#include <sys/types.h>
#define SIGINT 2
#define SIGQUIT 3
#define SIGCHLD 20
#define SIG_DFL ((void (*)(int))0)
#define SIG_IGN ((void (*)(int))1)
#define SIG_BLOCK 1
#define SIG_SETMASK 3
struct sigaction {
    void (*sa_handler)(int);
    sigset_t sa_mask;
    int sa_flags;
};
int sigaction(int signal, const struct sigaction *action, struct sigaction *old);
int sigprocmask(int how, const sigset_t *set, sigset_t *old);
int pthread_sigmask(int how, const sigset_t *set, sigset_t *old);
#define sigemptyset(set) (*(set) = 0, 0)
#define sigaddset(set, n) (*(set) |= 1u << ((n)-1), 0)
#endif
