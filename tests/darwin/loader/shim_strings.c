// Bytes, text and numbers: mostly the same functions under the same names.
#include "shim.h"

#include <ctype.h>
#include <langinfo.h>
#include <locale.h>
#include <search.h>
#include <strings.h>
#include <wchar.h>
#include <wctype.h>

static size_t d_strlcpy(char *to, const char *from, size_t room) {
    size_t length = strlen(from);
    if (room > 0) {
        size_t n = length < room ? length : room - 1;
        memcpy(to, from, n);
        to[n] = 0;
    }
    return length;
}
static size_t d_strlcat(char *to, const char *from, size_t room) {
    size_t used = strnlen(to, room);
    return used + (used == room ? strlen(from) : d_strlcpy(to + used, from, room - used));
}
static void d_bcopy(const void *from, void *to, size_t n) { memmove(to, from, n); }
static void *d_memcpy_chk(void *to, const void *from, size_t n, size_t room) { return n > room ? (abort(), NULL) : memcpy(to, from, n); }
static void *d_memmove_chk(void *to, const void *from, size_t n, size_t room) { return n > room ? (abort(), NULL) : memmove(to, from, n); }
static void *d_memset_chk(void *to, int c, size_t n, size_t room) { return n > room ? (abort(), NULL) : memset(to, c, n); }
static char *d_strcpy_chk(char *to, const char *from, size_t room) { return strlen(from) >= room ? (abort(), NULL) : strcpy(to, from); }
static char *d_strcat_chk(char *to, const char *from, size_t room) { return strlen(to) + strlen(from) >= room ? (abort(), NULL) : strcat(to, from); }
static char *d_strncpy_chk(char *to, const char *from, size_t n, size_t room) { return n > room ? (abort(), NULL) : strncpy(to, from, n); }
static char *d_strncat_chk(char *to, const char *from, size_t n, size_t room) { return (void)room, strncat(to, from, n); }
static size_t d_strlcpy_chk(char *to, const char *from, size_t n, size_t room) { return n > room ? (abort(), (size_t)0) : d_strlcpy(to, from, n); }
static size_t d_strlcat_chk(char *to, const char *from, size_t n, size_t room) { return n > room ? (abort(), (size_t)0) : d_strlcat(to, from, n); }
static long d_memset_s(void *to, size_t room, int c, size_t n) { return n > room ? D_EINVAL : (memset(to, c, n), 0); }
static void pattern(void *to, const void *from, size_t n, size_t each) {
    for (size_t i = 0; i < n; i++) ((char *)to)[i] = ((const char *)from)[i % each];
}
static void d_memset_pattern4(void *to, const void *from, size_t n) { pattern(to, from, n, 4); }
static void d_memset_pattern8(void *to, const void *from, size_t n) { pattern(to, from, n, 8); }
static void d_memset_pattern16(void *to, const void *from, size_t n) { pattern(to, from, n, 16); }
static char *d_strnstr(const char *text, const char *part, size_t n) { return memmem(text, strnlen(text, n), part, strlen(part)); }

static char *d_strerror(int number) {
    if (number == D_EBADARCH) return "Bad CPU type in executable";
    if (number == D_EBADEXEC) return "Bad executable (or shared library)";
    return strerror(errno_to_linux(number));
}
static long d_strerror_r(int number, char *to, size_t room) { return d_strlcpy(to, d_strerror(number), room) < room ? 0 : D_ERANGE; }

static long d_strtol(const char *text, char **end, int base) {
    errno = 0;
    long value = strtol(text, end, base);
    if (errno != 0) darwin_errno = errno_to_darwin(errno);
    return value;
}
static unsigned long d_strtoul(const char *text, char **end, int base) {
    errno = 0;
    unsigned long value = strtoul(text, end, base);
    if (errno != 0) darwin_errno = errno_to_darwin(errno);
    return value;
}
static long long d_strtonum(const char *text, long long low, long long high, const char **why) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    const char *fault = end == text || *end != 0 ? "invalid"
                        : errno == ERANGE        ? (value < 0 ? "too small" : "too large")
                        : value < low            ? "too small"
                        : value > high           ? "too large"
                                                 : NULL;
    if (why != NULL) *why = fault;
    return fault == NULL ? value : 0;
}

// ---- classes of characters: a table that programs read directly, and a function for what it does not hold

struct rune_locale { // _RuneLocale, to the end of its tables
    char magic[8], encoding[32];
    void *get, *put;
    int32_t invalid;
    uint32_t types[256];
    int32_t lower[256], upper[256];
    char rest[256];
};
static struct rune_locale runes;
enum {
    R_ALPHA = 0x100, R_CONTROL = 0x200, R_DIGIT = 0x400, R_GRAPH = 0x800, R_LOWER = 0x1000, R_PUNCT = 0x2000, R_SPACE = 0x4000, R_UPPER = 0x8000,
    R_XDIGIT = 0x10000, R_BLANK = 0x20000, R_PRINT = 0x40000
};

__attribute__((constructor)) static void fill_runes(void) {
    memcpy(runes.magic, "RuneMagA", 8);
    for (int c = 0; c < 128; c++) {
        runes.types[c] = (isalpha(c) ? R_ALPHA : 0u) | (iscntrl(c) ? R_CONTROL : 0u) | (isdigit(c) ? R_DIGIT : 0u) | (isgraph(c) ? R_GRAPH : 0u) |
                         (islower(c) ? R_LOWER : 0u) | (ispunct(c) ? R_PUNCT : 0u) | (isspace(c) ? R_SPACE : 0u) | (isupper(c) ? R_UPPER : 0u) |
                         (isxdigit(c) ? R_XDIGIT : 0u) | (isblank(c) ? R_BLANK : 0u) | (isprint(c) ? R_PRINT : 0u);
        runes.lower[c] = tolower(c), runes.upper[c] = toupper(c);
    }
    for (int c = 128; c < 256; c++) runes.lower[c] = runes.upper[c] = c;
}
static long d_maskrune(int c, unsigned long mask) { return c >= 0 && c < 256 ? (int)(runes.types[c] & mask) : 0; }
static long d_istype(int c, unsigned long mask) { return d_maskrune(c, mask) != 0; }

static char *d_nl_langinfo(int item) { return item == 0 ? "US-ASCII" : item == 57 ? "md" : ""; } // CODESET, D_MD_ORDER

const struct shim string_shims[] = {
    SAME_PLAIN(memcpy), SAME_PLAIN(memmove), SAME_PLAIN(memset), SAME_PLAIN(memcmp), SAME_PLAIN(memchr), SAME_PLAIN(memccpy), SAME_PLAIN(memmem),
    SAME_PLAIN(strlen), SAME_PLAIN(strnlen), SAME_PLAIN(strcmp), SAME_PLAIN(strncmp), SAME_PLAIN(strcasecmp), SAME_PLAIN(strncasecmp), SAME_PLAIN(strchr),
    SAME_PLAIN(strrchr), SAME_PLAIN(strstr), SAME_PLAIN(strcasestr), SAME_PLAIN(strcpy), SAME_PLAIN(strncpy), SAME_PLAIN(strcat), SAME_PLAIN(strncat),
    SAME_PLAIN(stpcpy), SAME_PLAIN(stpncpy), SAME_PLAIN(strspn), SAME_PLAIN(strcspn), SAME_PLAIN(strpbrk), SAME_PLAIN(strsep), SAME_PLAIN(strtok_r),
    SAME_PLAIN(ffs), SAME_PLAIN(bcmp), SAME_PLAIN(bzero), OWN_PLAIN(bcopy), {"___bzero", (const void *)bzero, PLAIN, 0}, OWN_PLAIN(strlcpy), OWN_PLAIN(strlcat),
    OWN_PLAIN(strnstr), OWN_PLAIN(memset_s), OWN_PLAIN(memset_pattern4), OWN_PLAIN(memset_pattern8), OWN_PLAIN(memset_pattern16),
    OWN_AS("__memcpy_chk", memcpy_chk, PLAIN), OWN_AS("__memmove_chk", memmove_chk, PLAIN), OWN_AS("__memset_chk", memset_chk, PLAIN),
    OWN_AS("__strcpy_chk", strcpy_chk, PLAIN), OWN_AS("__strcat_chk", strcat_chk, PLAIN), OWN_AS("__strncpy_chk", strncpy_chk, PLAIN),
    OWN_AS("__strncat_chk", strncat_chk, PLAIN), OWN_AS("__strlcpy_chk", strlcpy_chk, PLAIN), OWN_AS("__strlcat_chk", strlcat_chk, PLAIN), SAME(strtok),
    SAME(strcoll), SAME(strxfrm), OWN(strerror), OWN(strerror_r), OWN(strtol), OWN(strtoul), OWN_AS("strtoll", strtol, 0), OWN_AS("strtoull", strtoul, 0),
    OWN_AS("strtoq", strtol, 0), OWN_AS("strtouq", strtoul, 0), OWN_AS("strtoimax", strtol, 0), OWN_AS("strtoumax", strtoul, 0), OWN(strtonum), SAME(strtod),
    SAME(atoi), SAME(atol), SAME(atoll), SAME(atof), SAME_PLAIN(abs), SAME_PLAIN(labs), SAME(qsort), SAME(bsearch), SAME(tsearch), SAME(tfind), SAME(tdelete),
    SAME(twalk), SAME(lfind), SAME(lsearch), SAME(rand), SAME(srand), SAME(random), SAME(srandom), VARIABLE("_DefaultRuneLocale", runes),
    OWN_AS("__maskrune", maskrune, PLAIN), OWN_AS("__istype", istype, PLAIN), {"___tolower", (const void *)tolower, PLAIN, 0},
    {"___toupper", (const void *)toupper, PLAIN, 0}, SAME_PLAIN(tolower), SAME_PLAIN(toupper), SAME_PLAIN(isalpha), SAME_PLAIN(isdigit), SAME_PLAIN(isalnum),
    SAME_PLAIN(isspace), SAME_PLAIN(isupper), SAME_PLAIN(islower), SAME_PLAIN(isprint), SAME_PLAIN(ispunct), SAME_PLAIN(isxdigit), SAME_PLAIN(iscntrl),
    SAME_PLAIN(isgraph), SAME_PLAIN(isblank), SAME(setlocale), OWN(nl_langinfo), SAME(mbrtowc), SAME(mbtowc), SAME(mbstowcs), SAME(wcrtomb), SAME(wcslen),
    SAME(wcwidth), SAME(iswprint), SAME(btowc), END
};
