// What the kernel runs for a program for arm64, as "qemu PROGRAM ARGV0 ARGUMENT..." (binfmt_misc with the flag P): qemu, which is told where that
// machine's libraries are, and what the program is called. No variable says so, because programs are also started with an environment of their own.
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    char **words = calloc((size_t)argc + 4, sizeof *words), **word = words;
    if (argc < 3 || words == NULL) return 127;
    *word++ = "qemu";
    *word++ = "-L";
    *word++ = "/usr/aarch64-linux-gnu";
    *word++ = "-0";
    *word++ = argv[2];
    *word++ = argv[1];
    for (argv += 3; *argv != NULL;) *word++ = *argv++;
    execv(QEMU, words);
    return 127;
}
