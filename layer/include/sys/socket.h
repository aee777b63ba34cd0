// xnu bsd/sys/socket.h
#ifndef _SYS_SOCKET_H_
#define _SYS_SOCKET_H_
#include <sys/types.h>
struct sockaddr {
    uint8_t sa_len;
    sa_family_t sa_family;
    char sa_data[14];
};
struct sockaddr_storage {
    uint8_t ss_len;
    sa_family_t ss_family;
    char ss_data[126];
};
struct msghdr {
    void *msg_name;
    socklen_t msg_namelen;
    struct iovec *msg_iov;
    int msg_iovlen;
    void *msg_control;
    socklen_t msg_controllen;
    int msg_flags;
};
struct cmsghdr {
    socklen_t cmsg_len;
    int cmsg_level;
    int cmsg_type;
};
#define __ALIGN4(n) (((n) + 3u) & ~3u)
#define CMSG_DATA(c) ((unsigned char *)(c) + __ALIGN4(sizeof(struct cmsghdr)))
#define CMSG_SPACE(n) (__ALIGN4(sizeof(struct cmsghdr)) + __ALIGN4(n))
#define CMSG_LEN(n) (__ALIGN4(sizeof(struct cmsghdr)) + (n))
#define CMSG_FIRSTHDR(m) ((m)->msg_controllen >= sizeof(struct cmsghdr) ? (struct cmsghdr *)(m)->msg_control : (struct cmsghdr *)0)
typedef uint32_t sae_associd_t;
typedef uint32_t sae_connid_t;
typedef struct {
    unsigned sae_srcif;
    const struct sockaddr *sae_srcaddr;
    socklen_t sae_srcaddrlen;
    const struct sockaddr *sae_dstaddr;
    socklen_t sae_dstaddrlen;
} sa_endpoints_t;
#define AF_UNSPEC 0
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 30
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOL_SOCKET 0xffff
#define SO_REUSEADDR 0x0004
#define SO_BROADCAST 0x0020
#define SO_REUSEPORT 0x0200
#define SO_SNDTIMEO 0x1005
#define SO_RCVTIMEO 0x1006
#define SO_ERROR 0x1007
#define SO_TYPE 0x1008
#define SO_NOSIGPIPE 0x1022
#define SCM_RIGHTS 1
#define MSG_PEEK 0x2
#define MSG_DONTWAIT 0x80
#define SHUT_WR 1
int socket(int family, int type, int protocol);
int connect(int fd, const struct sockaddr *addr, socklen_t length);
int connectx(int fd, const sa_endpoints_t *ends, sae_associd_t association, unsigned flags, const struct iovec *io, unsigned count, size_t *sent,
             sae_connid_t *connection);
int bind(int fd, const struct sockaddr *addr, socklen_t length);
int listen(int fd, int backlog);
int accept(int fd, struct sockaddr *addr, socklen_t *length);
int getpeername(int fd, struct sockaddr *addr, socklen_t *length);
int getsockname(int fd, struct sockaddr *addr, socklen_t *length);
int getsockopt(int fd, int level, int name, void *value, socklen_t *length);
int setsockopt(int fd, int level, int name, const void *value, socklen_t length);
ssize_t send(int fd, const void *data, size_t size, int flags);
ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *addr, socklen_t length);
ssize_t sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t recv(int fd, void *data, size_t size, int flags);
ssize_t recvfrom(int fd, void *data, size_t size, int flags, struct sockaddr *addr, socklen_t *length);
ssize_t recvmsg(int fd, struct msghdr *msg, int flags);
int shutdown(int fd, int how);
int socketpair(int family, int type, int protocol, int fds[2]);
#endif
