// One step for each hook, named as the symbol that it replaces: a call whose answer is another one without that hook. The other hooks may help, for each is
// disabled alone.
//
//	hooks                                 tells the names of the steps
//	hooks CHILD FOLDER PORT STEP...       takes steps and writes an answer for each: "NAME: ANSWER". CHILD is what the steps execute: this program, too. FOLDER is one
//	                                      of this machine, and at 127.0.0.1:PORT the pod's port 8080 is once somebody listens there
//	hooks child                           says whether it runs in the pod
#include "testprog.h"

#include <fcntl.h>
#include <sys/stat.h>

static const char *child, *folder;
static int pod_port;
static char answer[4096];
#define say(...) snprintf(answer, sizeof answer, __VA_ARGS__)

struct step {
    const char *name;
    void (*take)(void);
};

// STEP begins a step, whose body says the answer.
#define STEP(name)                                                                                                                  \
    static void take_##name(void);                                                                                                  \
    static const struct step step_##name __attribute__((used, section("__DATA,__steps"))) = {#name, take_##name};                   \
    static void take_##name(void)

// ALSO declares another symbol for a function.
#define ALSO(name, function) extern __typeof__(function) name __asm__("_" #name)

// RESULT is a step that says what one call returned. EROFS, EEXIST and EISDIR are the pod's answers; this machine has no such files.
#define RESULT(name, call) STEP(name) { result(call); }
static void result(long n) { say("%ld, errno %d", n, n == -1 ? errno : 0); }

// content says what can be read.
static void content(int fd) {
    char text[64] = "";
    ssize_t n = read(fd, text, sizeof text - 1);
    say("%zd %.*s, errno %d", n, (int)strcspn(text, "\n"), text, n < 0 ? errno : 0);
    close(fd);
}

#include "hooks/changes.c"
#include "hooks/children.c"
#include "hooks/directories.c"
#include "hooks/files.c"
#include "hooks/network.c"

extern const struct step first __asm__("section$start$__DATA$__steps"), last __asm__("section$end$__DATA$__steps");

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "child") == 0) {
        int fd = open(MOTD, O_RDONLY);
        puts(fd >= 0 && is_motd(fd) ? "in the pod" : "not in the pod");
        return 0;
    }
    for (const struct step *s = &first; argc == 1 && s < &last; s++) puts(s->name);
    if (argc < 4) return argc != 1;
    child = argv[1], folder = argv[2], pod_port = atoi(argv[3]);
    for (int i = 4; i < argc; i++)
        for (const struct step *s = &first; s < &last; s++) {
            if (strcmp(s->name, argv[i]) != 0) continue;
            CHECK(chdir(folder) == 0, "%s", folder);
            answer[0] = 0;
            s->take();
            printf("%s: %s\n", s->name, answer);
            fflush(stdout);
        }
    return 0;
}
