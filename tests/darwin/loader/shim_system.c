// The system itself: errno, time, sysctl, names of the machine, random bytes, what a process can ask about another.
#include "shim.h"

#include <sys/random.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/utsname.h>
#include <time.h>

static int *d_error(void) { return &darwin_errno; }

// ---- time

static clockid_t clock_of(int id) {
    switch (id) {
    case 0: return CLOCK_REALTIME;
    case 4:
    case 5:
    case 6:
    case 8:
    case 9: return CLOCK_MONOTONIC; // MONOTONIC counts sleep there, UPTIME does not: not told apart
    case 12: return CLOCK_PROCESS_CPUTIME_ID;
    case 16: return CLOCK_THREAD_CPUTIME_ID;
    }
    return -1;
}
static long d_clock_gettime(int id, struct timespec *to) { return (int)ret(clock_gettime(clock_of(id), to)); }
static long d_clock_getres(int id, struct timespec *to) { return (int)ret(clock_getres(clock_of(id), to)); }
static uint64_t d_clock_gettime_nsec_np(int id) {
    struct timespec now = {0};
    clock_gettime(clock_of(id), &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
static uint64_t d_mach_absolute_time(void) { return d_clock_gettime_nsec_np(8); }
static long d_mach_timebase_info(uint32_t to[2]) { return to[0] = to[1] = 1, 0; }
static long d_gettimeofday(struct timeval *to, void *zone) { return (void)zone, (int)ret(gettimeofday(to, NULL)); }
static long d_nanosleep(const struct timespec *for_time, struct timespec *left) { return (int)ret(nanosleep(for_time, left)); }
static long d_usleep(unsigned n) { return (int)ret(usleep(n)); }

// ---- sysctl

static const struct {
    const char *name;
    int first, second; // the numbers, where there are some that programs use
    const char *text;  // NULL: a number
    uint64_t number;
    uint8_t size;
} values[] = {
    {"kern.ostype", 1, 1, "Darwin", 0, 0}, {"kern.osrelease", 1, 2, "24.1.0", 0, 0}, {"kern.version", 1, 4, "Darwin Kernel Version 24.1.0", 0, 0},
    {"kern.maxproc", 1, 6, NULL, 4000, 4}, {"kern.argmax", 1, 8, NULL, 1048576, 4}, {"kern.hostname", 1, 10, "mac.local", 0, 0},
    {"kern.osversion", 1, 65, "24B83", 0, 0}, {"kern.osproductversion", 0, 0, "15.1", 0, 0}, {"kern.bootargs", 0, 0, "", 0, 0}, {"hw.ncpu", 6, 3, NULL, 2, 4},
    {"hw.logicalcpu", 0, 0, NULL, 2, 4}, {"hw.physicalcpu", 0, 0, NULL, 2, 4}, {"hw.activecpu", 6, 25, NULL, 2, 4}, {"hw.memsize", 6, 24, NULL, 8ull << 30, 8},
    {"hw.cachelinesize", 0, 0, NULL, 64, 8}, {"hw.model", 6, 2, "Mac14,2", 0, 0}, {"kern.ipc.somaxconn", 0, 0, NULL, 128, 4}
};

static int give(const void *value, size_t size, void *to, size_t *room) {
    if (to == NULL) {
        if (room != NULL) *room = size;
        return 0;
    }
    if (room == NULL || *room < size) return fail(D_ENOMEM);
    memcpy(to, value, size);
    *room = size;
    return 0;
}
static int give_number(uint64_t value, size_t size, void *to, size_t *room) { return give(&value, size, to, room); }
static int give_text(const char *text, void *to, size_t *room) { return give(text, strlen(text) + 1, to, room); }

// machine_value answers what depends on the machine and on how this process runs on it. 1: not such a name.
static int machine_value(const char *name, void *to, size_t *room, const void *new, size_t new_size) {
    bool apple = options.machine != INTEL, x86 = HOST_CPU == CPU_X86_64;
    if (strcmp(name, "hw.optional.arm64") == 0) return apple ? give_number(1, 4, to, room) : fail(D_ENOENT);
    if (strcmp(name, "sysctl.proc_translated") == 0) return apple ? give_number(x86, 4, to, room) : fail(D_ENOENT);
    if (strcmp(name, "hw.machine") == 0) return give_text(x86 ? "x86_64" : "arm64", to, room);
    if (strcmp(name, "hw.cputype") == 0) return give_number(x86 ? CPU_X86_64 & 0xff : CPU_ARM64, 4, to, room);
    if (strcmp(name, "hw.cpusubtype") == 0) return give_number(x86 ? 8 : 2, 4, to, room);
    if (strcmp(name, "hw.pagesize") == 0) return give_number(x86 ? 0x1000 : 0x4000, 8, to, room);
    if (strcmp(name, "kern.curproc_arch_affinity") == 0) {
        if (!apple) return fail(D_ENOENT);
        uint32_t before = options.affinity;
        if (new != NULL && new_size >= 4) options.affinity = *(const uint32_t *)new == 0 ? 0 : CPU_X86_64;
        return to == NULL ? 0 : give_number(before, 4, to, room);
    }
    return 1;
}

static long d_sysctlbyname(const char *name, void *to, size_t *room, const void *new, size_t new_size) {
    int result = machine_value(name, to, room, new, new_size);
    if (result != 1) return result;
    for (size_t i = 0; i < COUNT(values); i++)
        if (strcmp(values[i].name, name) == 0)
            return values[i].text != NULL ? give_text(values[i].text, to, room) : give_number(values[i].number, values[i].size, to, room);
    return fail(D_ENOENT);
}

// program_of is the program that another process of the loader runs, by the words after --loaded in its command line: path, argc and argv as KERN_PROCARGS2 has
// them.
static size_t program_of(int pid, char *to, size_t room) {
    char path[64], text[65536];
    snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL) return 0;
    size_t length = fread(text, 1, sizeof text, f);
    fclose(f);
    const char *at = memmem(text, length, "\0--loaded", 10);
    if (at == NULL || at + 10 >= text + length) return 0;
    at += 10;
    size_t rest = (size_t)(text + length - at);
    if (rest > room) rest = room;
    memcpy(to, at, rest);
    return rest;
}

static int process_arguments(int pid, void *to, size_t *room) {
    char text[65536];
    size_t length = program_of(pid, text, sizeof text), path = strnlen(text, length) + 1;
    if (length == 0) return fail(D_EINVAL);
    int count = 0;
    for (size_t i = path; i < length; i++) count += text[i] == 0;
    char own[sizeof text + 8];
    memcpy(own, &count, 4);
    memcpy(own + 4, text, length);
    return give(own, length + 4, to, room);
}

// name_to_numbers is sysctl 0.3: our own numbers for a name, MADE and its place in one of the tables.
enum { MADE = 0x7000, MADE_OF_MACHINE };
static const char *const machine_names[] = {
    "hw.optional.arm64", "sysctl.proc_translated", "hw.machine", "hw.cputype", "hw.cpusubtype", "hw.pagesize", "kern.curproc_arch_affinity"
};
static int name_to_numbers(const char *name, void *to, size_t *room) {
    int numbers[2];
    for (numbers[0] = MADE, numbers[1] = 0; numbers[1] < (int)COUNT(values); numbers[1]++)
        if (strcmp(values[numbers[1]].name, name) == 0) return give(numbers, sizeof numbers, to, room);
    for (numbers[0] = MADE_OF_MACHINE, numbers[1] = 0; numbers[1] < (int)COUNT(machine_names); numbers[1]++)
        if (strcmp(machine_names[numbers[1]], name) == 0) return give(numbers, sizeof numbers, to, room);
    return fail(D_ENOENT);
}

static long d_sysctl(const int *name, unsigned count, void *to, size_t *room, const void *new, size_t new_size) {
    enum { KERN = 1, HW = 6, PROC = 14, PROC_PID = 1, PROCARGS2 = 49 };
    if (count == 2 && name[0] == 0 && name[1] == 3) return name_to_numbers(new, to, room);
    if (count == 2 && name[0] == MADE) return d_sysctlbyname(values[name[1]].name, to, room, new, new_size);
    if (count == 2 && name[0] == MADE_OF_MACHINE) return machine_value(machine_names[name[1]], to, room, new, new_size);
    if (count == 3 && name[0] == KERN && name[1] == PROCARGS2) return process_arguments(name[2], to, room);
    if (count == 2 && name[0] == HW && name[1] == 1) return machine_value("hw.machine", to, room, new, new_size);
    if (count == 2 && name[0] == HW && name[1] == 7) return give_number(HOST_CPU == CPU_X86_64 ? 0x1000 : 0x4000, 4, to, room);
    for (size_t i = 0; i < COUNT(values); i++)
        if (count == 2 && values[i].first != 0 && values[i].first == name[0] && values[i].second == name[1])
            return d_sysctlbyname(values[i].name, to, room, new, new_size);
    unmodelled("sysctl %d.%d", name[0], count > 1 ? name[1] : -1);
}

static long d_uname(char to[5][256]) {
    memset(to, 0, 5 * 256);
    strcpy(to[0], "Darwin");
    strcpy(to[1], "mac.local");
    strcpy(to[2], "24.1.0");
    strcpy(to[3], "Darwin Kernel Version 24.1.0");
    strcpy(to[4], HOST_CPU == CPU_X86_64 ? "x86_64" : "arm64");
    return 0;
}

static long d_proc_pidpath(int pid, void *to, uint32_t room) {
    char text[PATH_MAX];
    size_t length = pid == getpid() ? (size_t)snprintf(text, sizeof text, "%s", executable_path) + 1 : program_of(pid, text, sizeof text);
    if (length == 0) return fail(D_ESRCH), 0;
    length = strnlen(text, length);
    if (length >= room) return fail(D_ENOMEM), 0;
    memcpy(to, text, length);
    ((char *)to)[length] = 0;
    return (int)length;
}

static long d_csops(int pid, unsigned operation, void *to, size_t room) {
    if (pid != 0 && pid != getpid()) return fail(D_ESRCH);
    if (operation != 0 || room < 4) return fail(D_EINVAL); // CS_OPS_STATUS only
    *(uint32_t *)to = main_image->signature.flags | (main_image->signature.present ? 0x20000000u : 0) | 1;
    return 0;
}

static long d_sysconf(int name) {
    switch (name) {
    case 1: return 1048576;
    case 2: return sysconf(_SC_CHILD_MAX);
    case 3: return 100;
    case 4: return 16;
    case 5: return sysconf(_SC_OPEN_MAX);
    case 29: return HOST_CPU == CPU_X86_64 ? 0x1000 : 0x4000;
    case 57:
    case 58: return sysconf(_SC_NPROCESSORS_ONLN);
    case 70:
    case 71: return 4096;
    case 72: return 255;
    }
    unmodelled("sysconf %d", name);
}
static size_t d_confstr(int name, char *to, size_t room) {
    const char *text = name == 65537 ? "/tmp/" : name == 65538 ? "/tmp/C/" : name == 1 ? "/usr/bin:/bin:/usr/sbin:/sbin" : NULL;
    if (text == NULL) return fail(D_EINVAL), (size_t)0;
    if (room > 0) snprintf(to, room, "%s", text);
    return strlen(text) + 1;
}
static long d_getentropy(void *to, size_t n) { return (int)ret(getentropy(to, n)); }
// Go calls both once, so that what they set up is there before a fork.
static bool d_notify_is_valid_token(int token) { return (void)token, false; }
static void *d_xpc_date_create_from_current(void) { return NULL; }
static long d_getloadavg(double *to, int n) { return getloadavg(to, n); }
static void d_uuid_unparse_upper(const uint8_t from[16], char *to) {
    for (int i = 0; i < 16; i++) to += sprintf(to, "%02X%s", from[i], i == 3 || i == 5 || i == 7 || i == 9 ? "-" : "");
}

const struct shim system_shims[] = {
    OWN_AS("__error", error, PLAIN), OWN_PLAIN(clock_gettime), OWN_PLAIN(clock_getres), OWN_PLAIN(clock_gettime_nsec_np), OWN_PLAIN(mach_absolute_time),
    OWN_AS("mach_continuous_time", mach_absolute_time, PLAIN), OWN_PLAIN(mach_timebase_info), OWN_PLAIN(gettimeofday), CANCEL(nanosleep), CANCEL(usleep),
    SAME_PLAIN(sleep), SAME_PLAIN(time), SAME(times), SAME(localtime), SAME(localtime_r), SAME(gmtime), SAME(gmtime_r), SAME(mktime), SAME(strftime),
    SAME(tzset), OWN_PLAIN(sysctlbyname), OWN_PLAIN(sysctl), OWN_PLAIN(uname), OWN_PLAIN(proc_pidpath), OWN_PLAIN(csops), OWN(sysconf), OWN(confstr),
    OWN_PLAIN(getentropy), OWN(notify_is_valid_token), OWN(xpc_date_create_from_current), OWN(getloadavg), OWN(uuid_unparse_upper), SAME(arc4random),
    SAME(arc4random_buf), SAME(arc4random_uniform), END
};
