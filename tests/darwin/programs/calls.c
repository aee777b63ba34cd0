// Calls open in every way there is: directly, under its second name, through dlsym, from a library that dlopen brings.
#include "darwin.h"

int main(int argc, char **argv) {
    int (*found)(const char *, int, ...) = dlsym((void *)-2, "open");
    printf("main\n");
    fflush(NULL);
    close(open("/direct", O_RDONLY));
    close(open_nocancel("/nocancel", O_RDONLY));
    close(found("/dlsym", O_RDONLY));
    if (argc > 1) {
        void *library = dlopen(argv[1], 2);
        int (*late)(const char *) = library == NULL ? NULL : dlsym(library, "late_call");
        if (late == NULL) return printf("%s\n", dlerror()), 1;
        late("/late");
    }
    printf("%s\n", dlsym((void *)-2, "no_such_function") == NULL ? "absent" : "present");
    return dlopen("/usr/lib/libSystem.B.dylib", 1) == NULL || dlopen("/usr/lib/libnot.dylib", 1) != NULL;
}
