// What else is asked about paths of the pod, of which /srv is a copy of the first argument, and spawning with file actions that name them.
#define _GNU_SOURCE
#include "testprog.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

extern char **environ;

static void attributes(void) {
    char value[256];
    CHECK(listxattr(MOTD, value, sizeof value) == 0 && llistxattr("/srv/link", NULL, 0) == 0, "lists");
    CHECK(getxattr(MOTD, "user.x", value, sizeof value) < 0 && errno == ENODATA, "getxattr");
    CHECK(lgetxattr("/srv/link", "security.selinux", NULL, 0) < 0 && errno == ENODATA, "lgetxattr");
    int fd = open(MOTD, O_RDONLY);
    CHECK(fd >= 0 && flistxattr(fd, value, sizeof value) == 0, "flistxattr");
    CHECK(fgetxattr(fd, "user.x", value, sizeof value) < 0 && (errno == ENODATA || errno == ENOTSUP), "fgetxattr");
    CHECK(setxattr(MOTD, "user.x", "1", 1, 0) < 0 && errno == EROFS, "setxattr");
    CHECK(fsetxattr(fd, "user.x", "1", 1, 0) < 0 && errno == EROFS, "fsetxattr");
    close(fd);
}

static void file_systems(const char *copy) {
    struct statfs here, there;
    struct statvfs v;
    CHECK(statfs(copy, &here) == 0 && statfs("/srv/data", &there) == 0, "statfs");
    CHECK(here.f_type == there.f_type && here.f_blocks == there.f_blocks && here.f_bsize == there.f_bsize &&
              here.f_namelen == there.f_namelen && memcmp(&here.f_fsid, &there.f_fsid, sizeof here.f_fsid) == 0 && here.f_flags == there.f_flags,
          "another file system");
    struct statvfs w;
    CHECK(statvfs(copy, &w) == 0 && statvfs(MOTD, &v) == 0, "statvfs");
    CHECK(v.f_frsize == w.f_frsize && v.f_blocks == w.f_blocks && v.f_namemax == w.f_namemax && v.f_flag == w.f_flag && v.f_fsid == w.f_fsid,
          "statvfs differs: flags %lx %lx, id %lx %lx", v.f_flag, w.f_flag, v.f_fsid, w.f_fsid);
    CHECK(statfs("/srv/none", &there) < 0 && errno == ENOENT, "a missing path");
    CHECK(pathconf("/srv/data", _PC_NAME_MAX) == 255 && pathconf(MOTD, _PC_PATH_MAX) == 4096, "pathconf");
}

static void watches(void) {
    int fd = inotify_init1(IN_CLOEXEC);
    CHECK(inotify_add_watch(fd, "/srv/data", IN_MODIFY) < 0 && errno == ENOSPC, "a watch");
    CHECK(inotify_add_watch(fd, "/srv/none", IN_MODIFY) < 0 && errno == ENOENT, "a watch of nothing");
    CHECK(inotify_add_watch(fd, "/", IN_MODIFY) >= 0, "a watch on this machine");
    int marks = fanotify_init(FAN_CLOEXEC | FAN_REPORT_FID, O_RDONLY); // old kernels want rights for that
    if (marks < 0) return;
    CHECK(fanotify_mark(marks, FAN_MARK_ADD, FAN_CREATE, AT_FDCWD, "/srv/data") < 0 && errno == ENOSPC, "a mark");
    CHECK(fanotify_mark(marks, FAN_MARK_ADD, FAN_CREATE, AT_FDCWD, "/srv/none") < 0 && errno == ENOENT, "a mark on nothing");
    CHECK(fanotify_mark(marks, FAN_MARK_ADD, FAN_CREATE, AT_FDCWD, "/tmp") >= 0, "a mark on this machine");
    close(marks);
    close(fd);
    CHECK(syscall(SYS_faccessat, AT_FDCWD, MOTD, R_OK) == 0 && syscall(SYS_faccessat2, AT_FDCWD, MOTD, R_OK, 0) == 0, "faccessat2");
}

// run spawns a shell command with these actions and returns what it wrote.
static const char *run(posix_spawn_file_actions_t *actions, const char *command) {
    static char text[4096];
    int pipe_fds[2];
    CHECK(pipe2(pipe_fds, O_CLOEXEC) == 0, "pipe");
    posix_spawn_file_actions_adddup2(actions, pipe_fds[1], 1);
    char *argv[] = {"sh", "-c", (char *)command, NULL};
    pid_t pid;
    int err = posix_spawnp(&pid, "sh", actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(actions);
    posix_spawn_file_actions_init(actions);
    close(pipe_fds[1]);
    if (err != 0) {
        close(pipe_fds[0]);
        return strerror(err);
    }
    size_t n = 0;
    for (ssize_t got; (got = read(pipe_fds[0], text + n, sizeof text - 1 - n)) > 0;) n += (size_t)got;
    text[n] = 0;
    close(pipe_fds[0]);
    waitpid(pid, NULL, 0);
    return text;
}

static int descriptors(void) {
    int n = 0;
    for (int fd = 0; fd < 1024; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void spawning(void) {
    int before = descriptors();
    posix_spawn_file_actions_t a;
    posix_spawn_file_actions_init(&a);
    posix_spawn_file_actions_addopen(&a, 0, MOTD, O_RDONLY, 0);
    CHECK(strcmp(run(&a, "cat; [ -e /proc/self/fd/3 ] || echo alone"), MOTD_TEXT "alone\n") == 0, "a file");
    posix_spawn_file_actions_addchdir_np(&a, "/srv/absolute");
    posix_spawn_file_actions_addopen(&a, 0, "motd", O_RDONLY, 0);
    CHECK(strcmp(run(&a, "cat; pwd; cat a.txt"), MOTD_TEXT "/srv/data\na\n") == 0, "a directory");
    int fd = open("/srv/data/sub", O_RDONLY | O_DIRECTORY);
    posix_spawn_file_actions_addfchdir_np(&a, fd);
    CHECK(strcmp(run(&a, "pwd; cat deep"), "/srv/data/sub\ndeep\n") == 0, "a directory's descriptor");
    close(fd);
    posix_spawn_file_actions_addopen(&a, 0, "/srv/none", O_RDONLY, 0);
    CHECK(strcmp(run(&a, "cat"), strerror(ENOENT)) == 0, "a missing file");
    posix_spawn_file_actions_addchdir_np(&a, MOTD);
    CHECK(strcmp(run(&a, "pwd"), strerror(ENOTDIR)) == 0, "a file as a directory");
    CHECK(chdir("/srv/data") == 0, "chdir");
    posix_spawn_file_actions_addopen(&a, 0, "motd", O_RDONLY, 0);
    CHECK(strcmp(run(&a, "cat; pwd"), MOTD_TEXT "/srv/data\n") == 0, "in a directory of the pod");
    posix_spawn_file_actions_addchdir_np(&a, "/");
    CHECK(strcmp(run(&a, "pwd; ls motd 2> /dev/null"), "/\n") == 0, "back on this machine");
    CHECK(descriptors() == before, "%d descriptors are left", descriptors() - before);
}

int main(int argc, char **argv) {
    CHECK(argc == 2, "no copy");
    attributes();
    file_systems(argv[1]);
    watches();
    spawning();
    puts("ok");
    return 0;
}
