// Programs that are started, with an environment that names nothing of the session, and what a copy is told of itself.
#include <libproc.h>
#include <limits.h>
#include <mach-o/dyld.h>
#include <spawn.h>
#include <sys/sysctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>

extern char **environ;
ALSO(popen$DARWIN_EXTSN, popen);

static char search[PATH_MAX + 8], command[PATH_MAX + 8];
static char *nothing[] = {search, NULL}, *arguments[] = {"hooks", "child", NULL};

static const char *name_of_child(void) { return strrchr(child, '/') + 1; }

// output takes what is written to the standard output.
static int kept, ends[2];
static void divert(void) {
    snprintf(search, sizeof search, "PATH=%.*s", (int)(name_of_child() - 1 - child), child);
    snprintf(command, sizeof command, "%s child", child);
    fflush(stdout);
    pipe(ends);
    kept = dup(1);
    dup2(ends[1], 1);
    close(ends[1]);
    environ = nothing;
}
static void output(int err) {
    char line[256] = "";
    dup2(kept, 1);
    ssize_t n = read(ends[0], line, sizeof line - 1);
    say("%d, %zd %.*s", err, n, (int)strcspn(line, "\n"), line);
}

#define EXEC(name, ...)                                                                                                             \
    STEP(name) {                                                                                                                    \
        int ended = 0;                                                                                                              \
        divert();                                                                                                                   \
        pid_t pid = fork();                                                                                                         \
        if (pid == 0) {                                                                                                             \
            name(__VA_ARGS__);                                                                                                      \
            _exit(127);                                                                                                             \
        }                                                                                                                           \
        waitpid(pid, &ended, 0);                                                                                                    \
        output(ended);                                                                                                              \
    }
EXEC(execve, child, arguments, nothing)
EXEC(execv, child, arguments)
EXEC(execvp, name_of_child(), arguments)
EXEC(execvP, name_of_child(), search + sizeof "PATH=" - 1, arguments)
EXEC(execl, child, "hooks", "child", NULL)
EXEC(execlp, name_of_child(), "hooks", "child", NULL)
EXEC(execle, child, "hooks", "child", NULL, nothing)

static void spawned(int err, pid_t pid) {
    int ended = 0;
    if (err == 0) waitpid(pid, &ended, 0);
    output(err + ended);
}
STEP(posix_spawn) {
    pid_t pid = 0;
    divert();
    int err = posix_spawn(&pid, child, NULL, NULL, arguments, nothing);
    spawned(err, pid);
}
STEP(posix_spawnp) {
    pid_t pid = 0;
    divert();
    int err = posix_spawnp(&pid, name_of_child(), NULL, NULL, arguments, nothing);
    spawned(err, pid);
}

static posix_spawn_file_actions_t actions;
static void act(int err) {
    pid_t pid = 0;
    divert();
    if (err == 0) err = posix_spawn(&pid, child, &actions, NULL, arguments, nothing);
    spawned(err, pid);
    posix_spawn_file_actions_destroy(&actions);
}
STEP(posix_spawn_file_actions_addopen) {
    posix_spawn_file_actions_init(&actions);
    act(posix_spawn_file_actions_addopen(&actions, 0, MOTD, O_RDONLY, 0));
}
STEP(posix_spawn_file_actions_addchdir_np) {
    posix_spawn_file_actions_init(&actions);
    act(posix_spawn_file_actions_addchdir_np(&actions, "/srv/data"));
}
STEP(posix_spawn_file_actions_addfchdir_np) {
    posix_spawn_file_actions_init(&actions);
    act(posix_spawn_file_actions_addfchdir_np(&actions, open("/srv/data", O_RDONLY | O_DIRECTORY)));
}
STEP(posix_spawn_file_actions_destroy) { // closes what was opened in advance
    int before = dup(0);
    close(before);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, MOTD, O_RDONLY, 0);
    posix_spawn_file_actions_destroy(&actions);
    say("%d", dup(0) - before);
}

STEP(system) {
    divert();
    output(system(command));
}
static void reads(FILE *f) {
    char line[256] = "";
    if (f != NULL) fgets(line, sizeof line, f);
    output(0);
    say("%.*s, %d", (int)strcspn(line, "\n"), line, f != NULL ? pclose(f) : -1);
}
STEP(popen) {
    divert();
    reads(popen(command, "r"));
}
STEP(popen$DARWIN_EXTSN) {
    divert();
    reads(popen$DARWIN_EXTSN(command, "r"));
}
STEP(pclose) {
    divert();
    reads(popen(command, "r"));
}

STEP(_NSGetExecutablePath) {
    char value[PATH_MAX] = "";
    uint32_t size = sizeof value;
    int n = _NSGetExecutablePath(value, &size);
    say("%d %s", n, value);
}
STEP(_dyld_get_image_name) { say("%s", _dyld_get_image_name(0)); }
STEP(proc_pidpath) {
    char value[PATH_MAX] = "";
    int n = proc_pidpath(getpid(), value, sizeof value);
    say("%d %s", n - (int)strlen(value), value);
}
STEP(sysctl) {
    char value[256] = "";
    int mib[] = {CTL_KERN, KERN_HOSTNAME};
    size_t size = sizeof value;
    int n = sysctl(mib, 2, value, &size, NULL, 0);
    say("%d %s", n, value);
}
STEP(sysctlbyname) {
    char value[256] = "";
    size_t size = sizeof value;
    int n = sysctlbyname("kern.hostname", value, &size, NULL, 0);
    say("%d %s", n, value);
}
STEP(uname) {
    struct utsname uts;
    int n = uname(&uts);
    say("%d %s", n, uts.nodename);
}
