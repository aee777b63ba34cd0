// What nobody waits for, where the layer has no datagrams: a connection on which nothing is read, or not now.
#include "layer.h"

void tell(struct frame *f) {
    uint32_t size = frame_end(f);
    int sock = size > 0 ? dial(0) : -1;
    if (sock < 0) return;
    send_all(sock, f->data, size);
    sys_close(sock);
}

// send_hello returns the socket that the answer comes to, or -1.
static int send_hello(const uint8_t *data, uint32_t size) {
    int sock = dial(0);
    if (sock < 0) return -1;
    if (send_all(sock, data, size)) return sock;
    sys_close(sock);
    return -1;
}

// read_answer takes the descriptor of the rules from the answer to our hello; -1 if it has not come.
static int read_answer(int sock) {
    struct pollfd ready = {.fd = sock, .events = POLLIN};
    uint8_t buffer[FRAME_HEADER + 4];
    int fd = -1;
    if (QUIET(plain_poll(&ready, 1, 1000)) == 1) receive_all(sock, buffer, sizeof buffer, &fd, 1);
    return fd;
}
