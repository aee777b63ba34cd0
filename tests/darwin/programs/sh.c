// A small sh: "-c COMMANDS" or a file of them, divided by ';' or newlines, words by blanks; $0 is the script, "$@" its arguments, "cd" is known, the rest is
// run.
#include "darwin.h"

static char text[65536];
static char *script = "sh", **arguments;

static int run(char *line) {
    char *words[256];
    int n = 0;
    for (char *at = line; *at != 0;) {
        while (*at == ' ') *at++ = 0;
        if (*at == 0) break;
        words[n++] = at;
        while (*at != ' ' && *at != 0) at++;
        if (*at == ' ') *at++ = 0;
        if (strcmp(words[n - 1], "$0") == 0) words[n - 1] = script;
        if (strcmp(words[n - 1], "\"$@\"") == 0)
            for (n--; *arguments != NULL; arguments++) words[n++] = *arguments;
    }
    words[n] = NULL;
    if (n == 0 || words[0][0] == '#') return 0;
    if (strcmp(words[0], "cd") == 0) return chdir(words[1]);
    pid_t child = fork();
    if (child == 0) {
        execvp(words[0], words);
        _exit(errno == 2 ? 127 : 126);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if ((status & 0x7f) != 0) dprintf(2, "sh: killed by %d\n", status & 0x7f);
    return (status & 0x7f) != 0 ? 128 + (status & 0x7f) : status >> 8;
}

int main(int argc, char **argv) {
    int status = 0;
    if (argc > 2 && strcmp(argv[1], "-c") == 0) {
        snprintf(text, sizeof text, "%s", argv[2]);
        arguments = argv + 3;
    } else if (argc > 1) {
        int fd = open(script = argv[1], O_RDONLY);
        if (fd < 0 || read(fd, text, sizeof text - 1) < 0) return dprintf(2, "sh: %s: %s\n", argv[1], strerror(errno)), 127;
        arguments = argv + 2;
    }
    for (char *line = text, *end; *line != 0; line = end) {
        for (end = line; *end != 0 && *end != ';' && *end != '\n'; end++) continue;
        if (*end != 0) *end++ = 0;
        status = run(line);
    }
    return status;
}
