// xnu bsd/sys/types.h, bsd/sys/_types/, bsd/i386/_types.h, bsd/arm/_types.h
#ifndef _SYS_TYPES_H_
#define _SYS_TYPES_H_
#include <stddef.h>
#include <stdint.h>
#include <sys/cdefs.h>
typedef int32_t dev_t;
typedef uint16_t mode_t;
typedef uint16_t nlink_t;
typedef uint64_t ino_t;
typedef uint32_t uid_t;
typedef uint32_t gid_t;
typedef uint32_t id_t;
typedef int64_t off_t;
typedef int64_t blkcnt_t;
typedef int32_t blksize_t;
typedef int32_t pid_t;
typedef long ssize_t;
typedef long time_t;
typedef int32_t suseconds_t;
typedef uint32_t socklen_t;
typedef uint8_t sa_family_t;
typedef uint16_t in_port_t;
typedef uint32_t in_addr_t;
typedef uint32_t sigset_t;
struct timespec {
    time_t tv_sec;
    long tv_nsec;
};
struct timeval {
    time_t tv_sec;
    suseconds_t tv_usec;
};
struct iovec {
    void *iov_base;
    size_t iov_len;
};
#endif
