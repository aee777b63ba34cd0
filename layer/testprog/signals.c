// A signal handler that asks for files of the pod, while the main thread is in the middle of asking for others.
#define _GNU_SOURCE
#include "testprog.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

static volatile sig_atomic_t handled, wrong;

static void handler(int sig) {
    (void)sig;
    int saved = errno; // what was interrupted may be about to look at it
    struct stat st;
    errno = 4711;
    if (stat(MOTD, &st) != 0 || st.st_size != sizeof MOTD_TEXT - 1 || errno != 4711) wrong = 1;
    handled++;
    errno = saved;
}

int main(void) {
    enum { ENOUGH = 200 };
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    struct itimerval every = {{0, 1000}, {0, 1000}};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &every, NULL) == 0, "the timer");
    for (int i = 0; handled < ENOUGH && !wrong; i++) {
        int fd = open(MOTD, O_RDONLY);
        CHECK(fd >= 0, "open %d", i);
        CHECK(is_motd(fd), "read %d", i);
        close(fd);
        struct stat st;
        CHECK(stat("/srv/data/none", &st) < 0 && errno == ENOENT, "stat %d", i);
    }
    CHECK(!wrong, "stat in the handler");
    puts("ok");
    return 0;
}
