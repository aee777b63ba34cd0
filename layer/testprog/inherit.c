// A descriptor of a file of the pod stays what it is over fork, exec, dup and SCM_RIGHTS; so do the two ends of a connection.
#define _GNU_SOURCE
#include "testprog.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FILE_FD = 10, SOCKET_FD = 11 };

static void check_file(int fd, const char *when) {
    struct stat by_path, by_fd;
    CHECK(stat(MOTD, &by_path) == 0 && fstat(fd, &by_fd) == 0, "%s", when);
    CHECK(by_path.st_ino == by_fd.st_ino && by_path.st_dev == by_fd.st_dev && by_fd.st_nlink == 1, "%s: not the same file", when);
}

static void check_socket(const char *when) {
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    CHECK(getpeername(SOCKET_FD, (struct sockaddr *)&peer, &length) == 0, "%s", when);
    CHECK(ntohl(peer.sin_addr.s_addr) == 0x0a600007 && ntohs(peer.sin_port) == 80, "%s: the peer is %x", when, ntohl(peer.sin_addr.s_addr));
}

static int pass(int fd) {
    int pair[2], received = -1;
    char byte = 0, space[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec io = {&byte, 1};
    struct msghdr msg = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    CHECK(sendmsg(pair[0], &msg, 0) == 1 && recvmsg(pair[1], &msg, 0) == 1, "SCM_RIGHTS");
    memcpy(&received, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof received);
    return received;
}

int main(int argc, char **argv) {
    if (argc > 1) {
        check_file(FILE_FD, "after exec");
        check_socket("after exec");
        CHECK(is_motd(FILE_FD), "reading after exec");
        puts("ok");
        return 0;
    }
    int fd = open(MOTD, O_RDONLY), sock = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(80), .sin_addr = {htonl(0x0a600007)}};
    CHECK(fd >= 0 && connect(sock, (struct sockaddr *)&to, sizeof to) == 0, "open and connect");
    CHECK(dup2(fd, FILE_FD) == FILE_FD && dup2(sock, SOCKET_FD) == SOCKET_FD, "dup2");
    check_file(FILE_FD, "after dup2");
    check_file(pass(fd), "after SCM_RIGHTS");
    char name[32];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    int again = open(name, O_RDONLY);
    CHECK(again >= 0 && is_motd(again), "opened again by its number");
    pid_t child = fork();
    if (child == 0) {
        check_file(FILE_FD, "after fork");
        check_socket("after fork");
        execl("/proc/self/exe", argv[0], "exec", NULL);
        _exit(127);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child, "waitpid");
    return WEXITSTATUS(status);
}
