// stdio opens files inside libc, where nothing can be interposed: fopen and freopen themselves must be.
#define _GNU_SOURCE
#include "testprog.h"

#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

int main(void) {
    char line[64];
    FILE *f = fopen(MOTD, "r");
    CHECK(f != NULL && fgets(line, sizeof line, f) != NULL, "fopen");
    CHECK(strcmp(line, MOTD_TEXT) == 0, "%s", line);
    CHECK(fgets(line, sizeof line, f) == NULL && feof(f), "end of file");
    CHECK(fseek(f, 6, SEEK_SET) == 0 && fgets(line, sizeof line, f) != NULL && strcmp(line, "from the pod\n") == 0, "fseek");

    struct stat st;
    CHECK(fstat(fileno(f), &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 && st.st_size == sizeof MOTD_TEXT - 1, "fstat");
    char *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fileno(f), 0);
    CHECK(map != MAP_FAILED && memcmp(map, MOTD_TEXT, (size_t)st.st_size) == 0, "mmap");

    f = freopen("/srv/data/b.txt", "r", f);
    CHECK(f != NULL && fgets(line, sizeof line, f) != NULL && strcmp(line, "b\n") == 0, "freopen");
    CHECK(fstat(fileno(f), &st) == 0 && st.st_nlink == 1, "fstat after freopen");
    fclose(f);

    CHECK(freopen(MOTD, "r", stdin) == stdin && fgets(line, sizeof line, stdin) != NULL && strcmp(line, MOTD_TEXT) == 0, "stdin");

    CHECK(fopen("/srv/data/none", "r") == NULL && errno == ENOENT, "a missing file");
    CHECK(fopen(MOTD, "r+") == NULL && errno == EROFS, "a file of the pod for writing");
    f = fopen(MOTD, "re");
    CHECK(f != NULL && fputs("x", f) == EOF, "writing to a stream that reads");

    int fd = fileno(f), pipes[2];
    off_t from = 0;
    CHECK(pipe(pipes) == 0, "pipe");
    CHECK(sendfile(pipes[1], fd, &from, 100) == sizeof MOTD_TEXT - 1, "sendfile");
    CHECK(is_motd(pipes[0]), "what sendfile sent");
    int copy = dup(fd);
    CHECK(fstat(copy, &st) == 0 && st.st_nlink == 1 && st.st_ino != 0, "fstat of a dup");
    puts("ok");
    return 0;
}
