// Puts itself into its own place by posix_spawn with POSIX_SPAWN_SETEXEC, and says whether what execve keeps was kept.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static int again(char **argv) {
    char cwd[1024];
    sigset_t mask;
    int pid = getpid() == atoi(argv[1]), fd = fcntl(atoi(argv[2]), F_GETFD) == 0, folder = getcwd(cwd, sizeof cwd) != NULL && strcmp(cwd, argv[3]) == 0;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    printf("pid %s, descriptor %s, folder %s, mask %s\n", pid ? "kept" : "lost", fd ? "kept" : "lost", folder ? "kept" : "lost",
           sigismember(&mask, SIGUSR1) ? "kept" : "lost");
    return !(pid && fd && folder && sigismember(&mask, SIGUSR1));
}

int main(int argc, char **argv) {
    if (argc > 1) return again(argv);
    char pid[16], fd[16], cwd[1024];
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    snprintf(pid, sizeof pid, "%d", getpid());
    snprintf(fd, sizeof fd, "%d", open("/dev/null", O_RDONLY));
    if (getcwd(cwd, sizeof cwd) == NULL) return 1;
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETEXEC);
    cpu_type_t any = CPU_TYPE_ANY;
    size_t taken;
    posix_spawnattr_setbinpref_np(&attributes, 1, &any, &taken);
    char *words[] = {argv[0], pid, fd, cwd, NULL};
    int err = posix_spawn(NULL, argv[0], NULL, &attributes, words, environ);
    printf("posix_spawn: %s\n", strerror(err));
    return 1;
}
