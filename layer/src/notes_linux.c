// What nobody waits for: a datagram to the broker's second socket, which costs the broker no connection.
#define _GNU_SOURCE
#include "layer.h"

#include <poll.h>
#include <time.h>
#include <sys/un.h>

// note_socket makes a socket for datagrams that goes to the broker, and only gets from there.
static int note_socket(void) {
    int fd = sys_socket(AF_UNIX, SOCK_DGRAM);
    if (fd < 0) return fd;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    memcpy(addr.sun_path, session.socket, session.socket_length);
    addr.sun_path[session.socket_length] = '+';
    int err = sys_connect(fd, &addr, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + session.socket_length + 1));
    if (err == 0) return fd;
    sys_close(fd);
    return err;
}

// note sends a frame in a datagram; 0 when there is no room for it just now.
static int note(int fd, const uint8_t *data, uint32_t size) {
    return sys_send(fd, data, size, MSG_DONTWAIT) == (long)size;
}

// send_alone sends a frame on a connection and does not wait for an answer.
static void send_alone(const uint8_t *data, uint32_t size) {
    int sock = dial(0);
    if (sock < 0) return;
    send_all(sock, data, size);
    sys_close(sock);
}

void tell(struct frame *f) {
    uint32_t size = frame_end(f);
    int sock = size > 0 ? note_socket() : -1;
    int told = sock >= 0 && note(sock, f->data, size);
    if (sock >= 0) sys_close(sock);
    if (!told && size > 0) send_alone(f->data, size);
}

// send_hello returns the socket that the answer comes to, or -1.
static int send_hello(const uint8_t *data, uint32_t size) {
    int sock = raised(note_socket());
    if (sock < 0) return -1;
    // The kernel chooses the address that the answer comes to.
    const sa_family_t any = AF_UNIX;
    if (sys_bind(sock, &any, sizeof any) == 0 && note(sock, data, size)) return sock;
    sys_close(sock);
    send_alone(data, size); // who is not heard of counts as lost
    return -1;
}

// read_answer takes the descriptor of the rules from the answer to our hello, which is one datagram; -1 if it has not come.
static int read_answer(int sock) {
    struct pollfd ready = {.fd = sock, .events = POLLIN};
    struct timespec limit = {.tv_nsec = 20 * 1000 * 1000};
    uint8_t buffer[FRAME_HEADER + 4];
    int fd = -1;
    if (sys(SYS_ppoll, (long)&ready, 1, (long)&limit, 0, 0, 0) == 1) receive_all(sock, buffer, sizeof buffer, &fd, 1);
    return fd;
}
