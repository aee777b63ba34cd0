// What dyld calls before main, with the strings of its own behind the environment.
#include "layer.h"

#include <errno.h>
#include <stdlib.h>

// adopt_spelling takes the library's path as it stands in the environment, where it has to be found again: dyld may know it by another.
static void adopt_spelling(const char *list) {
    struct stat own, st;
    char path[PATH_MAX];
    if (list == NULL || ORIGINAL(stat)(session.library, &own) != 0) return;
    for (size_t n; *list != 0; list += n + (list[n] == ':')) {
        n = strcspn(list, ":");
        if (n >= sizeof path) continue;
        memcpy(path, list, n);
        path[n] = 0;
        if (ORIGINAL(stat)(path, &st) != 0 || st.st_dev != own.st_dev || st.st_ino != own.st_ino) continue;
        strcpy(session.library, path);
        return;
    }
}

__attribute__((constructor)) static void start(int argc, char **argv, char **envp, const char **apple) {
    (void)argc, (void)argv;
    const char *copy = variable(envp, copy_name);
    believe_original(copy, apple);
    if (copy != NULL) unsetenv("MIRRORD_COPY"); // the program never gets to see it
    prepare_native();
    enter();
    int saved = errno;
    if (session.active) {
        adopt_spelling(variable(envp, insert_name));
        note_libraries();
    }
    errno = saved;
}
