// darwin-x86_64 and darwin-arm64: run a macOS program. See the usage below, and README.md of the folder above.
#include "loader.h"

#include <fcntl.h>
#include <getopt.h>
#include <sys/mman.h>
#include <sys/stat.h>

extern char **environ;

struct options options;

static const char usage[] = "usage: darwin-x86_64 [options] PROGRAM [ARGUMENT...]\n"
                            "  --machine=apple|apple-without-rosetta|intel   the Mac that is pretended; apple\n"
                            "  --forked=all|inserted|free                    whose calls between fork and exec must be plain system calls; all\n"
                            "  --files FILE                                  lines of: PATH restricted,setuid|- [FILE WITH ITS BYTES]\n"
                            "  --translated                                  begin with an affinity for x86_64, as below a program under Rosetta\n"
                            "  --trace                                       write imported calls to stderr\n"
                            "  --unknown                                     write the imports that have no shim, and stop\n"
                            "The slice decides whether darwin-x86_64 goes on itself or starts darwin-arm64, beside it, under qemu-aarch64.\n";

static int one_of(const char *value, const char *const *names) {
    for (int i = 0; names[i] != NULL; i++)
        if (strcmp(names[i], value) == 0) return i;
    fputs(usage, stderr);
    exit(64);
}

// run goes on with a slice that an exec has chosen.
static void run(const char *path, uint64_t offset, uint64_t size, int argc, char **argv) {
    char real[PATH_MAX];
    int fd = open(files_real(path, real), O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0 || offset + size > (uint64_t)st.st_size) unmodelled("%s changed while it was started", path);
    uint8_t *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) unmodelled("no memory for %s", path);
    close(fd);
    optind = 1;
    dyld_run(path, bytes + offset, size, argc, argv);
}

int main(int argc, char **argv) {
    static const struct option names[] = {
        {"machine", required_argument, NULL, 'm'}, {"forked", required_argument, NULL, 'f'}, {"files", required_argument, NULL, 't'},
        {"translated", no_argument, NULL, 'r'}, {"trace", no_argument, NULL, 'c'}, {"unknown", no_argument, NULL, 'u'}, {"made", required_argument, NULL, 'M'},
        {"slice", required_argument, NULL, 'S'}, {"loaded", required_argument, NULL, 'L'}, {0}
    };
    static const char *const machines[] = {"apple", "apple-without-rosetta", "intel", NULL}, *const forked[] = {"all", "inserted", "free", NULL};
    unsigned long long offset = 0, size = 0;
    const char *path = NULL;
    int c, machine, checked, trace, unknown;
    while (path == NULL && (c = getopt_long(argc, argv, "+", names, NULL)) != -1) {
        switch (c) {
        case 'm': options.machine = (enum machine)one_of(optarg, machines); break;
        case 'f': options.forked = (enum forked)one_of(optarg, forked); break;
        case 'c': options.trace = true; break;
        case 'u': options.unknown = true; break;
        case 'r': options.affinity = CPU_X86_64; break;
        case 't':
            if (realpath(optarg, options.files) == NULL) unmodelled("table of files %s: %m", optarg);
            files_read(options.files);
            break;
        case 'M': // the options again, as kernel_exec hands them on
            if (sscanf(optarg, "%d,%d,%d,%d,%x", &machine, &checked, &trace, &unknown, &options.affinity) != 5) one_of("", machines);
            options.machine = (enum machine)machine, options.forked = (enum forked)checked, options.trace = trace, options.unknown = unknown;
            break;
        case 'S':
            if (sscanf(optarg, "%llu,%llu", &offset, &size) != 2) one_of("", machines);
            break;
        case 'L': path = optarg; break;
        default: one_of("", machines);
        }
    }
    if (path != NULL) run(path, offset, size, argc - optind, argv + optind);
    if (optind == argc) one_of("", machines);
    int fault = kernel_exec(argv[optind], argv + optind, environ, NULL);
    fprintf(stderr, "darwin loader: %s: errno %d (%s)\n", argv[optind], fault,
            fault == D_EBADARCH ? "Bad CPU type in executable" : strerror(errno_to_linux(fault)));
    return fault == D_ENOENT ? 127 : 126;
}
