// A library that tells by the exit status that it was loaded.
#include <unistd.h>
__attribute__((constructor)) static void loaded(void) { _exit(42); }
