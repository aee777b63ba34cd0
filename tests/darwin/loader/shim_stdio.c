// stdio: a FILE of the program is one of Linux's libc. The printf family is called through its v-variants, since arm64 passes arguments differently.
#include "shim.h"

#include <syslog.h>
#include <wchar.h>

// ---- output with formats

static long d_printf(const char *format, VARIADIC) {
    VA_BEGIN(ap, format);
    int n = vprintf(format, ap);
    VA_DONE(ap);
    return n;
}
static long d_fprintf(FILE *f, const char *format, VARIADIC) {
    VA_BEGIN(ap, format);
    int n = vfprintf(f, format, ap);
    VA_DONE(ap);
    return n;
}
static long d_dprintf(int fd, const char *format, VARIADIC) {
    VA_BEGIN(ap, format);
    int n = vdprintf(fd, format, ap);
    VA_DONE(ap);
    return n;
}
static long d_sprintf(char *to, const char *format, VARIADIC) {
    VA_BEGIN(ap, format);
    int n = vsprintf(to, format, ap);
    VA_DONE(ap);
    return n;
}
static long d_snprintf(char *to, size_t room, const char *format, VARIADIC) {
    VA_BEGIN(ap, format);
    int n = vsnprintf(to, room, format, ap);
    VA_DONE(ap);
    return n;
}
static long d_sprintf_chk(char *to, int flag, size_t room, const char *format, VARIADIC) {
    (void)flag;
    VA_BEGIN(ap, format);
    int n = vsnprintf(to, room, format, ap);
    VA_DONE(ap);
    return n;
}
static long d_snprintf_chk(char *to, size_t n, int flag, size_t room, const char *format, VARIADIC) {
    (void)flag, (void)room;
    VA_BEGIN(ap, format);
    int written = vsnprintf(to, n, format, ap);
    VA_DONE(ap);
    return written;
}
static long d_asprintf(char **to, const char *format, VARIADIC) {
    VA_BEGIN(ap, format);
    int n = vasprintf(to, format, ap);
    VA_DONE(ap);
    return n;
}
static long d_vprintf(const char *format, darwin_va_list from) {
    VA_OF(ap, from);
    return vprintf(format, ap);
}
static long d_vfprintf(FILE *f, const char *format, darwin_va_list from) {
    VA_OF(ap, from);
    return vfprintf(f, format, ap);
}
static long d_vdprintf(int fd, const char *format, darwin_va_list from) {
    VA_OF(ap, from);
    return vdprintf(fd, format, ap);
}
static long d_vsprintf(char *to, const char *format, darwin_va_list from) {
    VA_OF(ap, from);
    return vsprintf(to, format, ap);
}
static long d_vsnprintf(char *to, size_t room, const char *format, darwin_va_list from) {
    VA_OF(ap, from);
    return vsnprintf(to, room, format, ap);
}
static long d_vsnprintf_chk(char *to, size_t n, int flag, size_t room, const char *format, darwin_va_list from) {
    (void)flag, (void)room;
    return d_vsnprintf(to, n, format, from);
}
static long d_vasprintf(char **to, const char *format, darwin_va_list from) {
    VA_OF(ap, from);
    return vasprintf(to, format, ap);
}
static long d_sscanf(const char *text, const char *format, VARIADIC) {
    VA_BEGIN(ap, format);
    int n = vsscanf(text, format, ap);
    VA_DONE(ap);
    return n;
}
static long d_fscanf(FILE *f, const char *format, VARIADIC) {
    VA_BEGIN(ap, format);
    int n = vfscanf(f, format, ap);
    VA_DONE(ap);
    return n;
}

// ---- messages about errors, with darwin's errno and the program's name

static const char *program_name(void) {
    const char *slash = strrchr(executable_path, '/');
    return slash == NULL ? executable_path : slash + 1;
}
static const char *error_text(int number) { return number == D_EBADARCH ? "Bad CPU type in executable" : strerror(errno_to_linux(number)); }

static void message(const char *format, va_list ap, int number) {
    fflush(stdout);
    fprintf(stderr, "%s: ", program_name());
    if (format != NULL) vfprintf(stderr, format, ap);
    if (number >= 0) fprintf(stderr, "%s%s", format == NULL ? "" : ": ", error_text(number));
    fputc('\n', stderr);
}
static void d_warn(const char *format, VARIADIC) {
    int number = darwin_errno;
    VA_BEGIN(ap, format);
    message(format, ap, number);
    VA_DONE(ap);
}
static void d_warnx(const char *format, VARIADIC) {
    VA_BEGIN(ap, format);
    message(format, ap, -1);
    VA_DONE(ap);
}
static void d_warnc(int number, const char *format, VARIADIC) {
    VA_BEGIN(ap, format);
    message(format, ap, number);
    VA_DONE(ap);
}
static void d_err(int code, const char *format, VARIADIC) {
    int number = darwin_errno;
    VA_BEGIN(ap, format);
    message(format, ap, number);
    exit(code);
}
static void d_errx(int code, const char *format, VARIADIC) {
    VA_BEGIN(ap, format);
    message(format, ap, -1);
    exit(code);
}
static void d_errc(int code, int number, const char *format, VARIADIC) {
    VA_BEGIN(ap, format);
    message(format, ap, number);
    exit(code);
}
static void d_perror(const char *text) {
    if (text != NULL && *text != 0) fprintf(stderr, "%s: ", text);
    fprintf(stderr, "%s\n", error_text(darwin_errno));
}
static const char *d_getprogname(void) { return program_name(); }
static void d_setprogname(const char *name) { (void)name; }
static void d_syslog(int priority, const char *format) { (void)priority, (void)format; } // the system's log is nowhere
static void d_assert_rtn(const char *function, const char *file, int line, const char *what) {
    fprintf(stderr, "Assertion failed: (%s), function %s, file %s, line %d.\n", what, function, file, line);
    abort();
}

// ---- streams

static FILE *d_fopen(const char *path, const char *mode) {
    REAL(path);
    return retp(fopen(path, mode));
}
static FILE *d_freopen(const char *path, const char *mode, FILE *f) {
    REAL(path);
    return retp(freopen(path, mode, f));
}
static FILE *d_fdopen(int fd, const char *mode) { return retp(fdopen(fd, mode)); }
static long d_fclose(FILE *f) { return (int)ret(fclose(f)); }
static long d_fflush(FILE *f) { return (int)ret(fflush(f)); }
static long d_fileno(FILE *f) { return (int)ret(fileno(f)); }
static ssize_t d_getline(char **line, size_t *room, FILE *f) { return ret(getline(line, room, f)); }
static ssize_t d_getdelim(char **line, size_t *room, int end, FILE *f) { return ret(getdelim(line, room, end, f)); }
static char *d_fgetln(FILE *f, size_t *length) {
    static __thread char *line;
    static __thread size_t room;
    ssize_t n = getline(&line, &room, f);
    *length = n < 0 ? 0 : (size_t)n;
    return n < 0 ? NULL : line;
}

const struct shim stdio_shims[] = {
    VARIADIC_ROW("printf", printf, 0, 1), VARIADIC_ROW("fprintf", fprintf, 0, 2), VARIADIC_ROW("dprintf", dprintf, 0, 2),
    VARIADIC_ROW("sprintf", sprintf, 0, 2), VARIADIC_ROW("snprintf", snprintf, 0, 3), VARIADIC_ROW("__sprintf_chk", sprintf_chk, 0, 4),
    VARIADIC_ROW("__snprintf_chk", snprintf_chk, 0, 5), VARIADIC_ROW("asprintf", asprintf, 0, 2), VARIADIC_ROW("sscanf", sscanf, 0, 2),
    VARIADIC_ROW("fscanf", fscanf, 0, 2), OWN(vprintf), OWN(vfprintf), OWN(vdprintf), OWN(vsprintf), OWN(vsnprintf),
    OWN_AS("__vsnprintf_chk", vsnprintf_chk, 0), OWN(vasprintf), VARIADIC_ROW("warn", warn, 0, 1), VARIADIC_ROW("warnx", warnx, 0, 1),
    VARIADIC_ROW("warnc", warnc, 0, 2), VARIADIC_ROW("err", err, 0, 2), VARIADIC_ROW("errx", errx, 0, 2), VARIADIC_ROW("errc", errc, 0, 3), OWN(perror),
    OWN(getprogname), OWN(setprogname), OWN(syslog), OWN_AS("syslog$DARWIN_EXTSN", syslog, 0), SAME(openlog), SAME(closelog),
    OWN_AS("__assert_rtn", assert_rtn, 0), OWN(fopen), OWN_AS("fopen$DARWIN_EXTSN", fopen, 0), OWN(freopen), OWN(fdopen),
    OWN_AS("fdopen$DARWIN_EXTSN", fdopen, 0), OWN(fclose), OWN(fflush), OWN(fileno), OWN(getline), OWN(getdelim), OWN(fgetln), SAME(fread), SAME(fwrite),
    SAME(fgets), SAME(fputs), SAME(puts), SAME(fgetc), SAME(getc), SAME(getchar), SAME(getc_unlocked), SAME(getchar_unlocked), SAME(ungetc), SAME(fputc),
    SAME(putc), SAME(putchar), SAME(putchar_unlocked), SAME(putc_unlocked), SAME(fseek), SAME(fseeko), SAME(ftell), SAME(ftello), SAME(rewind), SAME(feof),
    SAME(ferror), SAME(clearerr), SAME(setbuf), SAME(setvbuf), SAME(setlinebuf), SAME(fwide), SAME(flockfile), SAME(funlockfile), SAME(tmpfile),
    SAME(open_memstream), VARIABLE("__stdinp", stdin), VARIABLE("__stdoutp", stdout), VARIABLE("__stderrp", stderr), END
};
