// A library that tells when connect is called through what it can hook.
#include <sys/socket.h>
#include <unistd.h>

static int hooked(int fd, const struct sockaddr *to, socklen_t size) {
    write(2, "hooked\n", 7);
    return connect(fd, to, size);
}

__attribute__((used, section("__DATA,__interpose"))) static struct { const void *replacement, *original; } tuple = {(const void *)hooked, (const void *)connect};
