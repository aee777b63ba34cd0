// What the inner program's files share.
#include <stddef.h>
#include <stdint.h>

extern long long count; // what the work at hand has counted

// wrong counts an error and keeps the text of the first. Threads may call it.
void wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));

// now is the time in nanoseconds.
int64_t now(void);

// dial returns a connected, blocking socket, or -1; waits says whether it was blocking from the start.
int dial(const char *ip, const char *port, int waits);

// exchange sends one HTTP request and reads the whole answer, whose body has this length. It returns 0, or -1 after an error.
int exchange(int fd, size_t body, int last);

// repeated does one of the works that are repeated: a verb and its words, of which there are n. It returns -1 when there is no such work.
int repeated(char **word, int n);

// lap notes how long one of the repetitions took, in nanoseconds. Threads may call it.
void lap(int64_t took);

// concurrent does the works that need threads, in load.c; it returns -1 when there is no such work.
int concurrent(char **word, int n);
