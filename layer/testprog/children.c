// Starts "cat FILE" in the way that is named by the first argument, with an environment that names nothing of ours.
#define _GNU_SOURCE
#include "testprog.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char cat[] = "/bin/cat";
static char *const args[] = {"cat", MOTD, NULL};
static char *const nothing[] = {NULL};

static int replace(const char *how) {
    if (strcmp(how, "execve") == 0) execve(cat, args, nothing);
    if (strcmp(how, "execve-null") == 0) execve(cat, args, NULL);
    if (strcmp(how, "execle") == 0) execle(cat, "cat", MOTD, NULL, nothing);
    if (strcmp(how, "execvpe") == 0) execvpe("cat", args, nothing);
    if (strcmp(how, "fexecve") == 0) fexecve(open(cat, O_RDONLY), args, nothing);
    if (strcmp(how, "execveat") == 0) execveat(open("/bin", O_PATH | O_DIRECTORY), "cat", args, nothing, 0);
    if (strcmp(how, "syscall") == 0) syscall(SYS_execve, cat, args, nothing);
    // These pass the process's own environment on, which is then empty but for PATH.
    clearenv();
    setenv("PATH", "/usr/bin:/bin", 1);
    if (strcmp(how, "execl") == 0) execl(cat, "cat", MOTD, NULL);
    if (strcmp(how, "execlp") == 0) execlp("cat", "cat", MOTD, NULL);
    if (strcmp(how, "execv") == 0) execv(cat, args);
    if (strcmp(how, "execvp") == 0) execvp("cat", args);
    CHECK(0, "no way called %s, or it failed", how);
    return 1;
}

static int wait_for(pid_t child) {
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status), "waitpid");
    return WEXITSTATUS(status);
}

int main(int argc, char **argv) {
    CHECK(argc == 2, "a way is needed");
    const char *how = argv[1];
    pid_t child;
    if (strcmp(how, "vfork") == 0) {
        child = vfork();
        if (child == 0) {
            execve(cat, args, nothing);
            _exit(127);
        }
        return wait_for(child);
    }
    if (strcmp(how, "posix_spawn") == 0) {
        int err = posix_spawn(&child, cat, NULL, NULL, args, nothing);
        CHECK(err == 0, "%s", strerror(err));
        return wait_for(child);
    }
    if (strcmp(how, "posix_spawnp") == 0) {
        posix_spawnattr_t attributes;
        posix_spawn_file_actions_t actions;
        posix_spawnattr_init(&attributes);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addclosefrom_np(&actions, 3);
        int err = posix_spawnp(&child, "cat", &actions, &attributes, args, nothing);
        CHECK(err == 0, "%s", strerror(err));
        return wait_for(child);
    }
    if (strcmp(how, "system") == 0) {
        clearenv();
        return WEXITSTATUS(system("/bin/cat " MOTD));
    }
    if (strcmp(how, "popen") == 0) {
        clearenv();
        FILE *f = popen("/bin/cat " MOTD, "r");
        char line[64];
        CHECK(f != NULL && fgets(line, sizeof line, f) != NULL, "popen");
        fputs(line, stdout);
        return WEXITSTATUS(pclose(f));
    }
    if (strcmp(how, "fork") == 0) {
        // The child asks for itself, then replaces itself.
        child = fork();
        if (child == 0) {
            int fd = open(MOTD, O_RDONLY);
            CHECK(fd >= 0 && is_motd(fd), "in the child");
            close(fd);
            replace("execve");
        }
        return wait_for(child);
    }
    return replace(how);
}
