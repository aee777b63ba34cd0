// Holds the layer's own symbol search to dlsym's: for every hook, from the place of this program in the search order.
#define _GNU_SOURCE
#include "../src/originals.c"

#include <stdio.h>

int main(void) {
    int wrong = 0;
    find_originals();
#define HOOK(name)                                                                                                                  \
    if (originals.name != dlsym(RTLD_NEXT, #name)) {                                                                                \
        printf("%s: %p, dlsym says %p\n", #name, originals.name, dlsym(RTLD_NEXT, #name));                                          \
        wrong = 1;                                                                                                                  \
    }
#define ALIAS(name, of)
#include "../src/hooks.def"
    return wrong;
}
