// xnu bsd/sys/poll.h
#ifndef _POLL_H_
#define _POLL_H_
struct pollfd {
    int fd;
    short events;
    short revents;
};
#define POLLIN 0x0001
#define POLLOUT 0x0004
int poll(struct pollfd *list, unsigned count, int timeout);
#endif
