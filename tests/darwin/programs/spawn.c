// posix_spawn by words: FLAGS (hexadecimal) WHAT PROGRAM ARGUMENT... WHAT is "-", "mask", "arch=TYPE[,SUBTYPE]" (numbers) or "inherit".
#include "darwin.h"

static int hex(const char *text) {
    int value = 0;
    for (; *text != 0; text++) value = value * 16 + (*text <= '9' ? *text - '0' : *text - 'a' + 10);
    return value;
}

int main(int argc, char **argv) {
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    pid_t child = 0;
    (void)argc;
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_setflags(&attributes, (short)hex(argv[1]));
    if (strcmp(argv[2], "mask") == 0) {
        uint32_t mask = 1u << (30 - 1), defaults = 1u << (13 - 1); // USR1, PIPE
        posix_spawnattr_setsigmask(&attributes, &mask);
        posix_spawnattr_setsigdefault(&attributes, &defaults);
    }
    if (strncmp(argv[2], "arch=", 5) == 0) {
        int type = atoi(argv[2] + 5), subtype = strchr(argv[2], ',') == NULL ? -1 : atoi(strchr(argv[2], ',') + 1);
        posix_spawnattr_setarchpref_np(&attributes, 1, &type, &subtype, NULL);
    }
    open("/dev/null", O_RDONLY); // 3, 4 and 5: inherited unless asked otherwise
    open("/dev/null", O_RDONLY);
    open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (strcmp(argv[2], "inherit") == 0) {
        posix_spawn_file_actions_addinherit_np(&actions, 5);
        posix_spawn_file_actions_adddup2(&actions, 1, 1);
        posix_spawn_file_actions_adddup2(&actions, 2, 2);
        posix_spawn_file_actions_addopen(&actions, 9, "/dev/null", O_RDONLY, 0);
    }
    int fault = posix_spawn(&child, argv[3], &actions, &attributes, argv + 3, environ), status = 0;
    if (fault != 0) return dprintf(2, "spawn: %d %s\n", fault, strerror(fault)), fault;
    waitpid(child, &status, 0);
    return (status & 0x7f) != 0 ? 128 + (status & 0x7f) : status >> 8;
}
