// What Apple's ls asks of the system beyond the rest: modes and sizes as text, access lists (there are none), terminals' capabilities (unknown).
#include "shim.h"

#include <sys/stat.h>

static bool d_compat_mode(const char *function, const char *mode) { return (void)function, strcmp(mode, "unix2003") == 0; }

static void d_strmode(int mode, char *to) {
    static const char letters[] = "rwxrwxrwx";
    static const char kinds[16] = {[1] = 'p', [2] = 'c', [4] = 'd', [6] = 'b', [8] = '-', [10] = 'l', [12] = 's'};
    char kind = kinds[mode >> 12 & 15];
    to[0] = kind == 0 ? '?' : kind;
    for (int i = 0; i < 9; i++) to[i + 1] = (mode >> (8 - i) & 1) != 0 ? letters[i] : '-';
    if ((mode & S_ISUID) != 0) to[3] = to[3] == 'x' ? 's' : 'S';
    if ((mode & S_ISGID) != 0) to[6] = to[6] == 'x' ? 's' : 'S';
    if ((mode & S_ISVTX) != 0) to[9] = to[9] == 'x' ? 't' : 'T';
    to[10] = ' ', to[11] = 0;
}
static char *d_fflagstostr(unsigned long flags) { return strdup((flags & SF_RESTRICTED) != 0 ? "restricted" : ""); }
static char *d_getbsize(int *header, long *size) {
    *size = 512;
    *header = 10;
    return "512-blocks";
}
static long d_humanize_number(char *to, size_t room, int64_t number, const char *suffix, int scale, int flags) {
    (void)scale, (void)flags;
    static const char *const units[] = {"B", "K", "M", "G", "T"};
    size_t unit = 0;
    while (number >= 1000 && unit + 1 < COUNT(units)) number = (number + 512) / 1024, unit++;
    return snprintf(to, room, "%lld%s%s", (long long)number, units[unit], suffix);
}

static void *no_list(void) {
    fail(D_ENOENT);
    return NULL;
}
static int not_in_a_list(void) { return fail(D_EINVAL); }
static int nothing(void) { return 0; }
static long d_mbr_identifier_translate(int kind, const void *id, size_t n, int wanted, void **result, int *found) {
    (void)kind, (void)id, (void)n, (void)wanted, (void)result, (void)found;
    return D_ENOENT;
}

const struct shim tool_shims[] = {
    OWN(compat_mode), OWN(strmode), OWN(fflagstostr), OWN(getbsize), OWN(humanize_number), OWN(mbr_identifier_translate),
    {"_acl_get_link_np", (const void *)no_list, 0, 0}, {"_acl_get_file", (const void *)no_list, 0, 0}, {"_acl_get_qualifier", (const void *)no_list, 0, 0},
    {"_acl_get_entry", (const void *)not_in_a_list, 0, 0}, {"_acl_get_flag_np", (const void *)not_in_a_list, 0, 0},
    {"_acl_get_flagset_np", (const void *)not_in_a_list, 0, 0}, {"_acl_get_perm_np", (const void *)not_in_a_list, 0, 0},
    {"_acl_get_permset", (const void *)not_in_a_list, 0, 0}, {"_acl_get_tag_type", (const void *)not_in_a_list, 0, 0},
    {"_acl_free", (const void *)nothing, 0, 0}, {"_tgetent", (const void *)nothing, 0, 0}, {"_tgetstr", (const void *)nothing, 0, 0},
    {"_tgoto", (const void *)nothing, 0, 0}, {"_tputs", (const void *)nothing, 0, 0}, END
};
