// Starts a program in the way that the first argument names, with an environment that names nothing of the session.
#include "testprog.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

static char *nothing[] = {"A=1", "PATH=/nowhere", NULL};

static int wait_for(pid_t child) {
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status), "waitpid");
    return WEXITSTATUS(status);
}

static int replace(const char *how, const char *program, char **args) {
    const char *name = strrchr(program, '/') + 1;
    if (strcmp(how, "unlinked") == 0) { // the library is gone since it was loaded
        unlink(getenv("DYLD_INSERT_LIBRARIES"));
        execv(program, args);
    }
    if (strcmp(how, "keep") == 0) execv(program, args);
    if (strcmp(how, "execve") == 0) execve(program, args, nothing);
    if (strcmp(how, "execle") == 0) execle(program, args[0], "x", NULL, nothing);
    // These pass on the process's own environment, which then names nothing either.
    unsetenv("DYLD_INSERT_LIBRARIES");
    unsetenv("MIRRORD_BROKER");
    if (strcmp(how, "execl") == 0) execl(program, args[0], "x", NULL);
    if (strcmp(how, "execlp") == 0) execlp(name, args[0], "x", NULL);
    if (strcmp(how, "execv") == 0) execv(program, args);
    if (strcmp(how, "execvp") == 0) execvp(name, args);
    if (strcmp(how, "execvP") == 0) {
        char folder[256];
        snprintf(folder, sizeof folder, "/none:%.*s", (int)(name - 1 - program), program);
        execvP(name, folder, args);
    }
    CHECK(0, "no way called %s, or it failed", how);
    return 1;
}

int main(int argc, char **argv) {
    CHECK(argc >= 3, "a way and a program are needed");
    const char *how = argv[1], *program = argv[2], *name = strrchr(program, '/') + 1;
    char *args[] = {"show", "x", NULL}, line[4096];
    pid_t child;
    if (strcmp(how, "again") == 0) execv(program, argv + 2);
    if (strcmp(how, "fork") == 0 || strcmp(how, "vfork") == 0) {
        child = strcmp(how, "fork") == 0 ? fork() : vfork();
        if (child == 0) {
            execve(program, args, nothing);
            _exit(127);
        }
        return wait_for(child);
    }
    if (strcmp(how, "posix_spawn") == 0) {
        CHECK((errno = posix_spawn(&child, program, NULL, NULL, args, nothing)) == 0, "posix_spawn");
        return wait_for(child);
    }
    if (strcmp(how, "empty") == 0) { // NULL is an environment without variables
        CHECK((errno = posix_spawn(&child, program, NULL, NULL, args, NULL)) == 0, "posix_spawn");
        return wait_for(child);
    }
    if (strcmp(how, "posix_spawnp") == 0) {
        posix_spawnattr_t attributes;
        posix_spawnattr_init(&attributes);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_CLOEXEC_DEFAULT); // as libuv
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, 1, 1);
        posix_spawn_file_actions_adddup2(&actions, 2, 2);
        CHECK((errno = posix_spawnp(&child, name, &actions, &attributes, args, nothing)) == 0, "posix_spawnp");
        return wait_for(child);
    }
    if (strcmp(how, "preferred") == 0) { // for an architecture, which a copy may not have
        cpu_type_t types[] = {CPU_TYPE_X86_64};
        cpu_subtype_t subtypes[] = {CPU_SUBTYPE_ANY}, got_subtype[4];
        cpu_type_t got[4];
        size_t n;
        posix_spawnattr_t attributes;
        posix_spawnattr_init(&attributes);
        posix_spawnattr_setarchpref_np(&attributes, 1, types, subtypes, &n);
        CHECK((errno = posix_spawn(&child, program, NULL, &attributes, args, nothing)) == 0, "posix_spawn");
        CHECK(posix_spawnattr_getarchpref_np(&attributes, 4, got, got_subtype, &n) == 0 && got[0] == CPU_TYPE_X86_64, "the preference was not put back");
        return wait_for(child);
    }
    if (strcmp(how, "actions") == 0) { // in a directory of the pod, with a file of the pod as its input
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        CHECK(posix_spawn_file_actions_addchdir_np(&actions, MOTD) == ENOTDIR && posix_spawn_file_actions_addopen(&actions, 0, "/srv/none", O_RDONLY, 0) == ENOENT, "errors");
        CHECK(posix_spawn_file_actions_addchdir_np(&actions, "/srv/data") == 0, "addchdir");
        CHECK(posix_spawn_file_actions_addopen(&actions, 0, "b.txt", O_RDONLY, 0) == 0, "addopen");
        CHECK((errno = posix_spawn(&child, program, &actions, NULL, args, nothing)) == 0, "posix_spawn");
        CHECK(posix_spawn_file_actions_destroy(&actions) == 0, "destroy");
        return wait_for(child);
    }
    snprintf(line, sizeof line, "%s x", program);
    if (strcmp(how, "system") == 0) {
        unsetenv("DYLD_INSERT_LIBRARIES");
        int status = system(line);
        CHECK(WIFEXITED(status), "system: %x", status);
        return WEXITSTATUS(status);
    }
    if (strcmp(how, "popen") == 0) {
        unsetenv("DYLD_INSERT_LIBRARIES");
        FILE *f = popen(line, "r");
        CHECK(f != NULL, "popen");
        while (fgets(line, sizeof line, f) != NULL) printf("%s", line);
        int status = pclose(f);
        CHECK(WIFEXITED(status), "pclose: %x", status);
        return WEXITSTATUS(status);
    }
    return replace(how, program, args);
}
