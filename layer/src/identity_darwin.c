// What a copy of a program is to believe it is. macOS lets a protected program run with the layer only as a copy of it; the program's own calls never show where
// that lies. The variable MIRRORD_COPY says it: "<copy>//<original, a real path>//<path that was asked for>".
//
// Copies that run translated on Apple silicon also answer as the native program would: installers choose by that.
#include "layer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/sysctl.h>
#include <sys/utsname.h>

static struct {
    int translated; // an x86_64 copy on Apple silicon
    char asked[PATH_MAX];
    char apple[PATH_MAX + 32]; // "executable_path=…"
} identity;

static int is_copy(void) { return session.original[0] != 0; }

// believe_original is called before main. Go's runtime reads apple's string itself.
static void believe_original(const char *value, const char **apple) {
    static const char name[] = "executable_path=";
    char own[PATH_MAX];
    uint32_t size = sizeof own;
    const char *original = value != NULL ? strstr(value, "//") : NULL, *asked = original != NULL ? strstr(original + 2, "//") : NULL;
    if (asked == NULL || ORIGINAL(_NSGetExecutablePath)(own, &size) != 0 || strlen(own) != (size_t)(original - value) ||
        memcmp(own, value, (size_t)(original - value)) != 0 || asked - original > PATH_MAX || strlen(asked) > PATH_MAX)
        return;
    memcpy(session.original, original + 1, (size_t)(asked - original - 1));
    strcpy(identity.asked, asked[2] == '/' ? asked + 2 : session.original);
    for (; apple != NULL && *apple != NULL; apple++)
        if (strncmp(*apple, name, sizeof name - 1) == 0) *apple = strcat(strcpy(identity.apple, name), identity.asked);
#if defined(__x86_64__)
    int translated = 0, none = 0;
    size_t number = sizeof translated;
    identity.translated = ORIGINAL(sysctlbyname)("sysctl.proc_translated", &translated, &number, NULL, 0) == 0 && translated == 1;
    // Else every universal program below would run translated, too (xnu bsd/kern/kern_sysctl.c).
    if (identity.translated) ORIGINAL(sysctlbyname)("kern.curproc_arch_affinity", NULL, NULL, &none, sizeof none);
#endif
}

EXPORT int _NSGetExecutablePath(char *path, uint32_t *size) {
    if (likely(!is_copy())) return ORIGINAL(_NSGetExecutablePath)(path, size);
    uint32_t needed = (uint32_t)strlen(identity.asked) + 1, room = *size;
    *size = needed;
    if (room < needed) return -1;
    memcpy(path, identity.asked, needed);
    return 0;
}

EXPORT const char *_dyld_get_image_name(uint32_t index) {
    return unlikely(is_copy()) && index == 0 ? identity.asked : ORIGINAL(_dyld_get_image_name)(index);
}

EXPORT int proc_pidpath(int pid, void *path, uint32_t size) {
    if (likely(!is_copy()) || pid != sys_getpid()) return ORIGINAL(proc_pidpath)(pid, path, size);
    uint32_t n = (uint32_t)strlen(session.original);
    if (size <= n) {
        errno = ENOMEM; // libproc's answer for a buffer that is too small
        return 0;
    }
    memcpy(path, session.original, n + 1);
    return (int)n;
}

EXPORT int uname(struct utsname *out) {
    int result = ORIGINAL(uname)(out);
    if (result == 0) pod_uname(out);
    if (result == 0 && identity.translated) strcpy(out->machine, "arm64");
    return result;
}

// ---- sysctl

// give answers with size bytes of value as sysctl does: without a buffer their number, ENOMEM when they do not fit.
static int give(const void *value, size_t size, void *old, size_t *old_size) {
    if (old_size == NULL) return 0;
    size_t room = *old_size;
    *old_size = size;
    if (old == NULL) return 0;
    memcpy(old, value, size < room ? size : room);
    if (size <= room) return 0;
    *old_size = room;
    return fail(ENOMEM);
}

// answered says whether name is answered here.
static int answered(const char *name, void *old, size_t *old_size, int *result) {
    static const struct {
        const char *name;
        int value; // as on every Mac with Apple silicon
    } native[] = {{"sysctl.proc_translated", 0}, {"hw.cputype", 0x0100000c}, {"hw.cpusubtype", 2}, {"hw.optional.arm64", 1}, {"hw.optional.x86_64", 0}};
    const char *text = strcmp(name, "kern.hostname") == 0 ? pod_hostname() : identity.translated && strcmp(name, "hw.machine") == 0 ? "arm64" : NULL;
    if (text != NULL) {
        *result = give(text, strlen(text) + 1, old, old_size);
        return 1;
    }
    for (size_t i = 0; identity.translated && i < sizeof native / sizeof *native; i++)
        if (strcmp(name, native[i].name) == 0) {
            *result = give(&native[i].value, sizeof native[i].value, old, old_size);
            return 1;
        }
    return 0;
}

EXPORT int sysctlbyname(const char *name, void *old, size_t *old_size, void *value, size_t size) {
    int result;
    if (session.active && name != NULL && value == NULL && answered(name, old, old_size, &result)) return result;
    return ORIGINAL(sysctlbyname)(name, old, old_size, value, size);
}

// rename_image puts the path that was asked for in the place of the copy's in what KERN_PROCARGS2 gave: the number of arguments, the path, zeros up to a
// multiple of eight, and the strings, which move up when the path is longer and there is room for that. It returns the new size.
static size_t rename_image(uint8_t *data, size_t size, size_t room) {
    size_t from = sizeof(int), to = from, length = strlen(identity.asked) + 1;
    while (to < size && data[to] != 0) to++;
    while (to < size && data[to] == 0) to++;
    size_t missing = to - from < length ? (length - (to - from) + 7) & ~(size_t)7 : 0;
    if (size + missing > room) return size;
    memmove(data + to + missing, data + to, size - to);
    memset(data + from, 0, to + missing - from);
    memcpy(data + from, identity.asked, length);
    return size + missing;
}

EXPORT int sysctl(int *name, unsigned count, void *old, size_t *old_size, void *value, size_t size) {
    int result;
    const char *text = count != 2                                               ? NULL
                       : name[0] == CTL_KERN && name[1] == KERN_HOSTNAME ? "kern.hostname"
                       : name[0] == CTL_HW && name[1] == HW_MACHINE      ? "hw.machine"
                                                                           : NULL;
    if (session.active && text != NULL && value == NULL && answered(text, old, old_size, &result)) return result;
    size_t room = old != NULL && old_size != NULL ? *old_size : 0;
    result = ORIGINAL(sysctl)(name, count, old, old_size, value, size);
    if (unlikely(is_copy()) && result == 0 && count == 3 && name[0] == CTL_KERN && name[1] == KERN_PROCARGS2 && name[2] == sys_getpid() && room > 0)
        *old_size = rename_image(old, *old_size, room);
    return result;
}
