// Prints what is laid out or numbered otherwise than on Linux, for the test to compare. The argument is a folder of its own.
#include "darwin.h"

static int caught;
static void on_signal(int number) { caught = number; }

static void files(const char *folder) {
    char path[1024], back[1024];
    snprintf(path, sizeof path, "%s/%s", folder, "file");
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0640);
    write(fd, "12345", 5);
    struct stat st;
    fstat(fd, &st);
    printf("fstat size %ld mode %o flags %x links %d time %d\n", st.size, st.mode, st.flags, st.nlink, st.modified.sec > 1700000000);
    stat(path, &st);
    printf("stat size %ld mode %o flags %x\n", st.size, st.mode, st.flags);
    printf("getfl %x getfd %d\n", fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
    fcntl(fd, F_GETPATH, back);
    printf("getpath %d dup %d\n", strcmp(path, back) == 0, fcntl(fd, F_DUPFD, 50));
    int other = openat(-2, path, O_RDONLY | O_CLOEXEC);
    printf("cloexec %d\n", fcntl(other, F_GETFD));
    int waiting = 0;
    int ends[2];
    pipe(ends);
    write(ends[1], "abc", 3);
    ioctl(ends[0], 0x4004667f, &waiting); // FIONREAD
    printf("fionread %d\n", waiting);
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (e->name[0] != '.') printf("dirent %s %d %d %d\n", e->name, e->namlen, e->type, e->ino != 0);
    closedir(d);
}

static void errors(void) {
    struct stat st;
    open("/no/such", O_RDONLY);
    printf("enoent %d %s\n", errno, strerror(errno));
    printf("badfd %d %d\n", fstat(999, &st), errno);
    int s = socket(77, 1, 0);
    printf("family %d %d\n", s, errno);
    s = socket(2, 1, 0);
    struct sockaddr_in nobody = {sizeof nobody, 2, 0x0100, {127, 0, 0, 1}, {0}}; // port 1
    printf("refused %d %d\n", connect(s, &nobody, sizeof nobody), errno);
    printf("eagain %d\n", (fcntl(0, F_DUPFD, -1), errno));
}

static void sockets(const char *folder) {
    int listener = socket(30, 1, 0), value = 0; // AF_INET6
    struct sockaddr_in6 six = {sizeof six, 30, 0, 0, {[15] = 1}, 0};
    socklen_t length = sizeof six;
    bind(listener, &six, sizeof six);
    listen(listener, 5);
    getsockname(listener, &six, &length);
    printf("in6 len %d family %d port %d length %d\n", six.len, six.family, six.port != 0, length);
    length = sizeof value;
    getsockopt(listener, 0xffff, 0x1008, &value, &length); // SO_TYPE
    printf("type %d\n", value);
    value = 1;
    printf("nosigpipe %d\n", setsockopt(listener, 0xffff, 0x1022, &value, sizeof value));
    int s = socket(30, 1, 0);
    printf("connect %d\n", connect(s, &six, sizeof six));
    struct sockaddr_in6 from;
    length = sizeof from;
    int got = accept(listener, &from, &length);
    printf("accept %d family %d len %d\n", got >= 0, from.family, from.len);

    // A descriptor goes through a socket: struct msghdr, and a control message of 12 bytes and the descriptor.
    int pair[2], ends[2];
    socketpair(1, 1, 0, pair);
    pipe(ends);
    char byte = 'x';
    struct iovec iov = {&byte, 1};
    uint32_t control[6] = {16, 0xffff, 1, (uint32_t)ends[0]}; // length, SOL_SOCKET, SCM_RIGHTS
    struct msghdr message = {.iov = &iov, .iovs = 1, .control = control, .control_length = 16};
    printf("sendmsg %ld", sendmsg(pair[0], &message, 0));
    memset(control, 0, sizeof control);
    message.control_length = sizeof control;
    printf(" recvmsg %ld", recvmsg(pair[1], &message, 0));
    write(ends[1], "through", 7);
    char got_back[8] = "";
    printf(" control %u %u %x %u", message.control_length, control[0], control[1], control[2]);
    printf(" flags %x read %ld", message.flags, read((int)control[3], got_back, 7));
    printf(" %s another %d\n", got_back, (int)control[3] != ends[0]);

    struct sockaddr_un un = {0, 1, ""};
    snprintf(un.path, sizeof un.path, "%s/socket", folder);
    listener = socket(1, 1, 0);
    printf("unix bind %d", bind(listener, &un, sizeof un));
    listen(listener, 1);
    s = socket(1, 1, 0);
    printf(" connect %d", connect(s, &un, sizeof un));
    length = sizeof un;
    memset(&un, 0xff, sizeof un);
    getsockname(s, &un, &length);
    printf(" unnamed len %d family %d length %d\n", un.len, un.family, length);
    struct addrinfo hints = {.flags = 4, .type = 1}, *list; // AI_NUMERICHOST
    char text[64] = "";
    printf("getaddrinfo %d", getaddrinfo("127.0.0.1", "80", &hints, &list));
    inet_ntop(2, list->address->address, text, sizeof text);
    printf(" %s len %d family %d port %d\n", text, list->address->len, list->address->family, list->address->port >> 8);
    printf("noname %d\n", getaddrinfo("not an address", NULL, &hints, &list));
}

static void signals(void) {
    struct sigaction action = {on_signal, 0, 2}, old = {0};
    sigaction(30, &action, NULL); // SIGUSR1
    kill(getpid(), 30);
    printf("signal %d\n", caught);
    sigaction(30, NULL, &old);
    printf("handler %d flags %d\n", old.handler == on_signal, old.flags);
    pid_t child = fork();
    if (child == 0) {
        kill(getpid(), 31); // SIGUSR2
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    printf("status %d\n", status);
}

static void memory(void) {
    char *page = mmap(NULL, 5000, 3, 0x1002, -1, 0); // MAP_ANON | MAP_PRIVATE
    printf("page %d aligned %d\n", getpagesize(), ((uint64_t)page & (uint64_t)(getpagesize() - 1)) == 0);
    page[getpagesize() - 1] = 1;
    printf("protect at 4096 %d\n", mprotect(page + 4096, 100, 1) == 0 ? 0 : errno);
}

int main(int argc, char **argv) {
    (void)argc;
    printf("printf %d %s %.2f %ld %c %5.1f\n", 1, "two", 3.25, 4l, '5', 6.5);
    files(argv[1]);
    errors();
    sockets(argv[1]);
    signals();
    memory();
    return 0;
}
