// Says what this program was given, and reads the pod's message of the day.
#include "testprog.h"

#include <fcntl.h>
#include <mach-o/dyld.h>
#include <libproc.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysctl.h>
#include <sys/utsname.h>

extern char **environ;

// told writes the path of the program as KERN_PROCARGS2 has it.
static void told(char out[PATH_MAX]) {
    static char data[1 << 20];
    int mib[] = {CTL_KERN, KERN_PROCARGS2, getpid()};
    size_t size = sizeof data;
    CHECK(sysctl(mib, 3, data, &size, NULL, 0) == 0, "KERN_PROCARGS2");
    strncpy(out, data + sizeof(int), PATH_MAX - 1);
}

int main(int argc, char **argv, char **envp, char **apple) {
    (void)envp;
    char text[PATH_MAX] = "";
    uint32_t size = sizeof text;
    int fd = open(MOTD, O_RDONLY);
    printf("%s", fd >= 0 && is_motd(fd) ? MOTD_TEXT : "not in the pod\n");
    for (int i = 0; i < argc; i++) printf("word %s\n", argv[i]);
    for (char **e = environ; *e != NULL; e++)
        if (strncmp(*e, "MIRRORD_BROKER=", 15) != 0) printf("env %s\n", *e);
    char cwd[PATH_MAX], input[8] = "";
    struct stat st;
    if (fstat(0, &st) == 0 && S_ISREG(st.st_mode) && read(0, input, sizeof input - 1) > 0) printf("input %s", input);
    if (getcwd(cwd, sizeof cwd) != NULL) printf("cwd %s\n", cwd);
    if (getenv("TELL") != NULL) {
        printf("apple %s\n", apple[0]);
        CHECK(_NSGetExecutablePath(text, &size) == 0, "_NSGetExecutablePath");
        printf("executable %s\n", text);
        printf("image %s\n", _dyld_get_image_name(0));
        CHECK(proc_pidpath(getpid(), text, sizeof text) > 0, "proc_pidpath");
        printf("pidpath %s\n", text);
        told(text);
        printf("procargs %s\n", text);
        struct utsname uts;
        size_t n = sizeof text;
        int translated = -1;
        CHECK(uname(&uts) == 0 && sysctlbyname("hw.machine", text, &n, NULL, 0) == 0, "hw.machine");
        n = sizeof translated;
        int known = sysctlbyname("sysctl.proc_translated", &translated, &n, NULL, 0) == 0;
        printf("machine %s %s %d\n", uts.machine, text, known ? translated : -1);
    }
    return 0;
}
