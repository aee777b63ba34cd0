// What a program knows of itself, and that it can start itself in every way: of a copy it is what the original would say, and each is in the pod.
// "identity DIRECTORY plain" looks at itself only; DIRECTORY is where it lies.
#define _GNU_SOURCE
#include "testprog.h"

#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void print_link(const char *path) {
    char text[PATH_MAX] = "", real[PATH_MAX] = "", little[4] = "";
    ssize_t n = readlink(path, text, sizeof text - 1);
    printf(" %.*s", (int)n, text);
    n = readlinkat(AT_FDCWD, path, little, sizeof little);
    printf(" %.*s", (int)n, little);
    printf(" %s %d\n", realpath(path, real), (int)syscall(SYS_readlinkat, AT_FDCWD, path, text, sizeof text));
}

static void print_self(const char *how, char *const argv[]) {
    char path[40], comm[32] = "";
    // A copy that executes itself by the link executes its original, by its path.
    int by_link = strstr(how, "oneself") != NULL;
    printf("%s: argv[0] %s, executed %s, called %s\n", how, argv[0], by_link ? "" : (const char *)getauxval(AT_EXECFN), program_invocation_name);
    print_link("/proc/self/exe");
    print_link("/proc/thread-self/exe");
    snprintf(path, sizeof path, "/proc/%d/exe", getpid());
    print_link(path);
    int fd = open("/proc/self/comm", O_RDONLY);
    CHECK(fd >= 0 && read(fd, comm, sizeof comm - 1) > 0, "no name");
    close(fd);
    printf(" %s", by_link ? "\n" : comm);
    for (char **e = environ; *e != NULL; e++) CHECK(strncmp(*e, "MIRRORD_COPY", 12) != 0, "%s: %s", how, *e);
    fflush(stdout);
}

static const char *mode;

static void ended(const char *how, pid_t pid) {
    int status = -1;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "%s: status %x", how, (unsigned)status);
}

int main(int argc, char **argv) {
    CHECK(argc >= 2, "usage: identity DIRECTORY [plain] [HOW]");
    mode = argc > 2 ? argv[2] : "pod";
    if (strcmp(mode, "plain") != 0) {
        int fd = open(MOTD, O_RDONLY);
        CHECK(fd >= 0 && is_motd(fd), "not in the pod");
        close(fd);
    }
    print_self(argc > 3 ? argv[3] : "started", argv);
    if (argc > 3) return 0;

    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/identity", argv[1]);
    setenv("PATH", argv[1], 1);
    char *empty[] = {NULL};
#define WORDS(how) (char *[]){(char *)"other name", argv[1], (char *)mode, (char *)how, NULL}
    pid_t pid = fork();
    if (pid == 0) _exit(execve("/proc/self/exe", WORDS("execve of oneself"), empty));
    ended("execve of oneself", pid);
    pid = fork();
    if (pid == 0) _exit(execv(path, WORDS("execv")));
    ended("execv", pid);
    pid = fork();
    if (pid == 0) _exit(execvp("identity", WORDS("execvp")));
    ended("execvp", pid);
    pid = fork();
    if (pid == 0) _exit(execlp("identity", "identity", argv[1], mode, "execlp", NULL));
    ended("execlp", pid);
    pid = vfork();
    if (pid == 0) _exit(execve(path, WORDS("execve after vfork"), empty));
    ended("execve after vfork", pid);
    CHECK(posix_spawn(&pid, path, NULL, NULL, WORDS("posix_spawn"), empty) == 0, "posix_spawn");
    ended("posix_spawn", pid);
    CHECK(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, WORDS("posix_spawn of oneself"), NULL) == 0, "posix_spawn");
    ended("posix_spawn of oneself", pid);
    CHECK(posix_spawnp(&pid, "identity", NULL, NULL, WORDS("posix_spawnp"), environ) == 0, "posix_spawnp");
    ended("posix_spawnp", pid);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addchdir_np(&actions, argv[1]);
    posix_spawn_file_actions_addchdir_np(&actions, "..");
    snprintf(path, sizeof path, "%s/identity", strrchr(argv[1], '/') + 1);
    CHECK(posix_spawn(&pid, path, &actions, NULL, WORDS("posix_spawn in another directory"), empty) == 0, "posix_spawn");
    ended("posix_spawn in another directory", pid);
    posix_spawn_file_actions_destroy(&actions);
    CHECK(chdir(argv[1]) == 0, "chdir");
    CHECK(posix_spawn(&pid, "./identity", NULL, NULL, WORDS("posix_spawn of a relative path"), empty) == 0, "posix_spawn");
    ended("posix_spawn of a relative path", pid);
    pid = fork();
    if (pid == 0) _exit((int)syscall(SYS_execve, "identity", WORDS("syscall"), empty));
    ended("syscall", pid);
    return 0;
}
