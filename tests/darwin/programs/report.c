// Says how it was started: its architecture, its words, its path, the variables that are asked for, what it inherited.
#include "darwin.h"

int main(int argc, char **argv, char **envp, char **apple) {
    char path[1024];
    uint32_t room = sizeof path;
    int translated = 7;
    size_t size = sizeof translated;
    if (_NSGetExecutablePath(path, &room) != 0) return 3;
    printf("arch %s\n", ARCH);
    for (int i = 0; i < argc; i++) printf("argv[%d] %s\n", i, argv[i]);
    printf("path %s\napple %s\n", path, apple[0]);
    for (; *envp != NULL; envp++)
        if (strncmp(*envp, "DYLD_", 5) == 0 || strncmp(*envp, "REPORT_", 7) == 0) printf("env %s\n", *envp);
    if (sysctlbyname("sysctl.proc_translated", &translated, &size, NULL, 0) == 0) printf("translated %d\n", translated);
    printf("fds");
    for (int fd = 3; fd < 10; fd++)
        if (fcntl(fd, F_GETFD) >= 0) printf(" %d", fd);
    uint32_t mask = 0;
    sigprocmask(1, NULL, &mask);
    printf("\nmask %x leader %d\n", mask, getpid() == getpgrp());
    return 0;
}
