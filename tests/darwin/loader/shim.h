// Rows of the tables of shims. A shim is named d_ and its function. Where darwin has an int, a shim gives a long: darwin's system calls fail with -1 in all
// 64 bits of the register, and Go compares them all.
#ifndef SHIM_H
#define SHIM_H

#include "loader.h"

#define SAME(name) {"_" #name, (const void *)name, 0, 0}             // Linux's function does the same
#define SAME_PLAIN(name) {"_" #name, (const void *)name, PLAIN, 0}   // and may be called between fork and exec
#define OWN(name) {"_" #name, (const void *)d_##name, 0, 0}          // d_name translates
#define OWN_PLAIN(name) {"_" #name, (const void *)d_##name, PLAIN, 0}
#define OWN_AS(symbol, name, kind) {"_" symbol, (const void *)d_##name, kind, 0}
#define CANCEL(name) OWN_PLAIN(name), {"_" #name "$NOCANCEL", (const void *)d_##name, PLAIN, 0} // the two names of a cancellation point
#define VARIADIC_ROW(symbol, name, kind, fixed) {"_" symbol, (const void *)d_##name, kind, fixed}
#define VARIABLE(symbol, variable) {"_" symbol, (const void *)&(variable), DATA, 0}
#define END {NULL, NULL, 0, 0}

#define REAL(path)         \
    char real_##path[PATH_MAX]; \
    path = files_real(path, real_##path)

bool has_no_sigpipe(int fd); // SO_NOSIGPIPE or F_SETNOSIGPIPE was set
void set_no_sigpipe(int fd, bool on);

struct darwin_stat {
    int32_t dev;
    uint16_t mode, nlink;
    uint64_t ino;
    uint32_t uid, gid;
    int32_t rdev, pad;
    struct {
        int64_t sec, nsec;
    } accessed, modified, changed, born;
    int64_t size, blocks;
    int32_t blksize;
    uint32_t flags, gen;
    int32_t spare;
    int64_t spares[2];
};
void threads_forked(void); // in the child: the other threads are gone, and what they held stays held
void events_forked(void);  // and the kqueues are closed
struct stat;
void stat_to_darwin(const struct stat *from, const char *path, struct darwin_stat *to); // path may be NULL: then without flags of the table

#endif
