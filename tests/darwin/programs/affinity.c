// Takes the affinity for x86_64 away and runs the rest, as arch(1) does.
#include "darwin.h"

int main(int argc, char **argv) {
    int zero = 0;
    (void)argc;
    if (sysctlbyname("kern.curproc_arch_affinity", NULL, NULL, &zero, sizeof zero) != 0) return 3;
    execve(argv[1], argv + 1, environ);
    return 4;
}
