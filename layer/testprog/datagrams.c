// Datagrams in each way that programs send and receive them. The arguments name nothing: 10.96.0.7:8125 echoes over UDP with "echo " before, and every
// port 53 is the pod's name server.
#define _GNU_SOURCE
#include "testprog.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static const unsigned char query[] = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x09inventory\x00\x00\x01\x00\x01";
enum { QUERY = sizeof query - 1, MANY = 3 };

static struct sockaddr_in address(const char *ip, int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, ip, &to.sin_addr);
    return to;
}

static int udp(void) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct timeval limit = {.tv_sec = 30};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

// check_answer wants the address of inventory, from the server that was asked.
static void check_answer(const unsigned char *answer, ssize_t n, const struct sockaddr_in *from, socklen_t length, const struct sockaddr_in *server,
                         const char *how) {
    static const unsigned char address[] = {10, 96, 0, 7};
    CHECK(n > QUERY && memcmp(answer + n - 4, address, 4) == 0, "%s: %zd bytes", how, n);
    CHECK(length == sizeof *from && memcmp(&from->sin_addr, &server->sin_addr, 4) == 0 && from->sin_port == server->sin_port,
          "%s: from %s:%d", how, inet_ntoa(from->sin_addr), ntohs(from->sin_port));
}

static void one_by_one(void) {
    struct sockaddr_in server = address("10.96.0.10", 53), from;
    unsigned char answer[512];
    socklen_t length = sizeof from;
    int fd = udp();
    CHECK(sendto(fd, query, QUERY, 0, (struct sockaddr *)&server, sizeof server) == QUERY, "sendto");
    ssize_t n = recvfrom(fd, answer, sizeof answer, 0, (struct sockaddr *)&from, &length);
    check_answer(answer, n, &from, length, &server, "sendto");

    CHECK(syscall(SYS_sendto, fd, query, QUERY, 0, &server, sizeof server) == QUERY, "SYS_sendto");
    length = sizeof from;
    n = syscall(SYS_recvfrom, fd, answer, sizeof answer, 0, &from, &length);
    check_answer(answer, n, &from, length, &server, "SYS_sendto");

    // Room for less than an address, and none.
    char small[4];
    CHECK(sendto(fd, query, QUERY, 0, (struct sockaddr *)&server, sizeof server) == QUERY, "sendto");
    length = sizeof small;
    CHECK(recvfrom(fd, answer, sizeof answer, 0, (struct sockaddr *)small, &length) > QUERY && length == sizeof from, "length %u", length);
    CHECK(sendto(fd, query, QUERY, 0, (struct sockaddr *)&server, sizeof server) == QUERY, "sendto");
    CHECK(recv(fd, answer, sizeof answer, 0) > QUERY, "recv");

    // The caller's address is not changed, and no memory beyond what it gave.
    struct iovec io = {(void *)query, QUERY};
    struct msghdr msg = {.msg_name = &server, .msg_namelen = sizeof server, .msg_iov = &io, .msg_iovlen = 1};
    CHECK(sendmsg(fd, &msg, 0) == QUERY && server.sin_port == htons(53) && msg.msg_namelen == sizeof server, "sendmsg");
    io = (struct iovec){answer, sizeof answer};
    msg = (struct msghdr){.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &io, .msg_iovlen = 1};
    n = recvmsg(fd, &msg, 0);
    check_answer(answer, n, &from, msg.msg_namelen, &server, "sendmsg");
    close(fd);
}

static void many(void) {
    struct sockaddr_in servers[MANY] = {address("10.96.0.10", 53), address("127.0.0.53", 53), address("203.0.113.53", 53)}, from[MANY];
    unsigned char answers[MANY][512];
    struct iovec io[MANY];
    struct mmsghdr list[MANY] = {0};
    int fd = udp(), seen = 0;
    for (int i = 0; i < MANY; i++) {
        io[i] = (struct iovec){(void *)query, QUERY};
        list[i].msg_hdr = (struct msghdr){.msg_name = &servers[i], .msg_namelen = sizeof servers[i], .msg_iov = &io[i], .msg_iovlen = 1};
    }
    CHECK(sendmmsg(fd, list, MANY, 0) == MANY && list[MANY - 1].msg_len == QUERY, "sendmmsg");
    while (seen < MANY) {
        for (int i = 0; i < MANY; i++) {
            io[i] = (struct iovec){answers[i], sizeof answers[i]};
            list[i].msg_hdr = (struct msghdr){.msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &io[i], .msg_iovlen = 1};
        }
        int n = recvmmsg(fd, list, MANY, MSG_WAITFORONE, NULL);
        CHECK(n > 0, "recvmmsg");
        for (int i = 0; i < n; i++, seen++) {
            int which = 0;
            while (which < MANY - 1 && memcmp(&from[i].sin_addr, &servers[which].sin_addr, 4) != 0) which++;
            check_answer(answers[i], list[i].msg_len, &from[i], list[i].msg_hdr.msg_namelen, &servers[which], "recvmmsg");
        }
    }
    close(fd);
}

// inherited: who gets the answer may know nothing of the question.
static void inherited(void) {
    struct sockaddr_in server = address("10.96.0.11", 53), from;
    int fd = udp(), status;
    if (fork() == 0) _exit(sendto(fd, query, QUERY, 0, (struct sockaddr *)&server, sizeof server) == QUERY ? 0 : 1);
    CHECK(wait(&status) > 0 && status == 0, "status %x", status);
    unsigned char answer[512];
    socklen_t length = sizeof from;
    ssize_t n = recvfrom(fd, answer, sizeof answer, 0, (struct sockaddr *)&from, &length);
    check_answer(answer, n, &from, length, &server, "inherited");
    close(fd);
}

static void connected(int flags) {
    struct sockaddr_in to = address("10.96.0.7", 8125), from;
    socklen_t length = sizeof from;
    char answer[64];
    int fd = udp();
    CHECK(fcntl(fd, F_SETFL, flags) == 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0 && fcntl(fd, F_SETFL, 0) == 0, "connect");
    CHECK(write(fd, "hi", 2) == 2, "write");
    ssize_t n = recvfrom(fd, answer, sizeof answer, 0, (struct sockaddr *)&from, &length);
    CHECK(n == 7 && memcmp(answer, "echo hi", 7) == 0 && memcmp(&from, &to, length) == 0, "%zd bytes from %s", n, inet_ntoa(from.sin_addr));
    length = sizeof from;
    CHECK(getpeername(fd, (struct sockaddr *)&from, &length) == 0 && memcmp(&from, &to, length) == 0, "%s", inet_ntoa(from.sin_addr));
    close(fd);
}

// fast_open connects with its first data.
static void fast_open(void) {
    struct sockaddr_in to = address("10.96.0.7", 80);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    static const char request[] = "GET / HTTP/1.0\r\n\r\n";
    CHECK(sendto(fd, request, sizeof request - 1, MSG_FASTOPEN, (struct sockaddr *)&to, sizeof to) == sizeof request - 1, "sendto");
    char answer[4096];
    CHECK(read(fd, answer, sizeof answer) > 0, "read");
    close(fd);
}

int main(void) {
    CHECK(access(MOTD, R_OK) == 0, "not in the pod");
    one_by_one();
    many();
    inherited();
    connected(0);
    connected(O_NONBLOCK);
    fast_open();
    puts("ok");
    return 0;
}
