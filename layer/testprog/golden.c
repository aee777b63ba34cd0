// Makes each call whose request stands in frame/testdata/frames.hex, with the same arguments, and prints what came back.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

static void print_names(void) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_CANONNAME}, *list = NULL;
    char text[NI_MAXHOST];
    printf("getaddrinfo %d", getaddrinfo("db.internal", "80", &hints, &list));
    for (struct addrinfo *a = list; a != NULL; a = a->ai_next) {
        getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST);
        printf(" %s", text);
    }
    printf(" %s\n", list != NULL ? list->ai_canonname : "");
    if (list != NULL) freeaddrinfo(list);
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    inet_pton(AF_INET, "10.96.0.9", &v4.sin_addr);
    printf("getnameinfo %d", getnameinfo((struct sockaddr *)&v4, sizeof v4, text, sizeof text, NULL, 0, 0));
    printf(" %s\n", text);
}

int main(void) {
    struct stat st;
    char text[PATH_MAX];
    printf("open %d\n", open("/etc/app/settings.json", O_CREAT | O_CLOEXEC, 0644) >= 0);
    if (lstat("/etc/hostname", &st) == 0)
        printf("stat %lx %lx %o %lu %u %u %lx %ld %ld %ld %ld.%09ld %ld.%09ld %ld.%09ld\n", st.st_dev, st.st_ino, st.st_mode, st.st_nlink,
               st.st_uid, st.st_gid, st.st_rdev, st.st_size, st.st_blksize, st.st_blocks, st.st_atim.tv_sec, st.st_atim.tv_nsec,
               st.st_mtim.tv_sec, st.st_mtim.tv_nsec, st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
    int result = access("/etc/shadow", R_OK);
    printf("access %d %d\n", result, errno);
    ssize_t n = readlink("/etc/localtime", text, sizeof text);
    printf("readlink %.*s\n", (int)n, text);
    printf("realpath %s\n", realpath("/srv/current/app", text));
    struct statfs fs;
    uint64_t id;
    result = statfs("/srv/data", &fs);
    memcpy(&id, &fs.f_fsid, sizeof id);
    printf("statfs %d %lx %ld %ld %lu %lu %lu %lu %lu %lx %ld %ld\n", result, fs.f_type, fs.f_bsize, fs.f_frsize, fs.f_blocks, fs.f_bfree,
           fs.f_bavail, fs.f_files, fs.f_ffree, id, fs.f_namelen, fs.f_flags);
    result = renameat2(AT_FDCWD, "/srv/a", AT_FDCWD, "/srv/b", RENAME_NOREPLACE);
    printf("rename %d %d\n", result, errno);
    print_names();

    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(8080)};
    inet_pton(AF_INET6, "fd00::7", &v6.sin6_addr);
    result = connect(fd, (struct sockaddr *)&v6, sizeof v6);
    printf("connect %d %d\n", result, errno);

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "\0shop\0db"};
    errno = 0;
    result = connect(fd, (struct sockaddr *)&un, offsetof(struct sockaddr_un, sun_path) + 8);
    printf("connect %d %d\n", result, errno);

    // Only the report counts: there may be no way to this address.
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(8125)};
    inet_pton(AF_INET, "10.96.0.9", &v4.sin_addr);
    sendto(socket(AF_INET, SOCK_DGRAM, 0), "x", 1, 0, (struct sockaddr *)&v4, sizeof v4);

    // A program with rights of its own, of which the broker is asked; env, which the answer names, prints what it was given.
    fflush(stdout);
    char *argv[] = {"su", "dropped", "--", NULL}, *envp[] = {"GONE=1", "KEPT=1", "REPLACED=", NULL};
    execve("/usr/bin/su", argv, envp);
    return 1;
}
