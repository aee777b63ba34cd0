// Uses a function of the system that has no shim, if there is an argument.
#include "darwin.h"

extern void no_shim_for_this(void);

int main(int argc, char **argv) {
    (void)argv;
    if (argc > 1) no_shim_for_this();
    printf("not used\n");
    return 0;
}
