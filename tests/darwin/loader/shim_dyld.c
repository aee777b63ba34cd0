// What libdyld offers: dlopen and dlsym, the list of images, and a few things of crt.
#include "shim.h"

#include <dlfcn.h>

extern char **environ;

static char last_error[4096];
static __thread bool has_error;
enum { SYSTEM = 0x1000 }; // the handle of a library of the system

static void complain(const char *what, const char *path, const char *why) {
    snprintf(last_error, sizeof last_error, "%s(%s): %s", what, path, why);
    has_error = true;
}

static void *d_dlopen(const char *path, int mode) {
    enum { D_RTLD_NOLOAD = 0x10 };
    if (path == NULL) return (void *)(intptr_t)-2;
    char why[4096] = "no such file";
    if (is_system_library(path)) {
        static const char *const there[] = {"libSystem.B.dylib", "libSystem.dylib", "libc.dylib", "libpthread.dylib", "libdl.dylib", "libresolv.9.dylib",
                                            "libresolv.dylib",   "libm.dylib",      NULL};
        for (int i = 0; there[i] != NULL; i++)
            if (strcmp(path + 9 * (strncmp(path, "/usr/lib/", 9) == 0), there[i]) == 0) return (void *)(intptr_t)SYSTEM;
        complain("dlopen", path, why);
        return NULL;
    }
    for (struct image *image = images; image != NULL; image = image->next)
        if (strcmp(image->path, path) == 0) return image;
    if ((mode & D_RTLD_NOLOAD) != 0) return NULL;
    void *got = dyld_open(path, image_of(__builtin_return_address(0)), why, sizeof why);
    if (got == NULL) complain("dlopen", path, why);
    return got;
}
static long d_dlclose(void *handle) { return (void)handle, 0; } // images stay
static void *d_dlsym(void *handle, const char *name) {
    void *got = dyld_lookup(image_of(__builtin_return_address(0)), handle, name);
    if (got == NULL) complain("dlsym", name, "symbol not found");
    return got;
}
static char *d_dlerror(void) {
    char *text = has_error ? last_error : NULL;
    has_error = false;
    return text;
}
static long d_dladdr(const void *address, Dl_info *info) {
    const struct image *image = image_of(address);
    if (image == NULL) return 0;
    *info = (Dl_info){.dli_fname = image->path, .dli_fbase = image->base};
    return 1;
}

static struct image *image_at(uint32_t index) { // 0 is the program, as dyld counts for programs
    if (index == 0) return main_image;
    for (struct image *image = images; image != NULL; image = image->next)
        if (image != main_image && --index == 0) return image;
    return NULL;
}
static uint32_t d__dyld_image_count(void) {
    uint32_t n = 0;
    for (struct image *image = images; image != NULL; image = image->next) n++;
    return n;
}
static const char *d__dyld_get_image_name(uint32_t index) {
    struct image *image = image_at(index);
    return image == NULL ? NULL : image == main_image ? executable_path : image->path;
}
static const void *d__dyld_get_image_header(uint32_t index) {
    struct image *image = image_at(index);
    return image == NULL ? NULL : image->base;
}
static intptr_t d__dyld_get_image_vmaddr_slide(uint32_t index) {
    struct image *image = image_at(index);
    return image == NULL ? 0 : image->slide;
}

static long d__NSGetExecutablePath(char *to, uint32_t *room) {
    size_t length = strlen(executable_path) + 1;
    bool fits = *room >= length;
    if (fits) memcpy(to, executable_path, length);
    *room = (uint32_t)length;
    return fits ? 0 : -1;
}
static char ***d__NSGetEnviron(void) { return &environ; }

static char **arguments;
static int argument_count;
static char ***d__NSGetArgv(void) {
    argument_count = program_arguments(&arguments);
    return &arguments;
}
static int *d__NSGetArgc(void) {
    argument_count = program_arguments(&arguments);
    return &argument_count;
}
static void d_dyld_stub_binder(void) { unmodelled("dyld_stub_binder is called: everything is bound at launch"); }

const struct shim dyld_shims[] = {
    OWN(dlopen), OWN(dlclose), OWN(dlsym), OWN(dlerror), OWN(dladdr), OWN(_dyld_image_count), OWN(_dyld_get_image_name), OWN(_dyld_get_image_header),
    OWN(_dyld_get_image_vmaddr_slide), OWN(_NSGetExecutablePath), OWN_PLAIN(_NSGetEnviron), OWN_PLAIN(_NSGetArgv), OWN_PLAIN(_NSGetArgc),
    {"dyld_stub_binder", (const void *)d_dyld_stub_binder, PLAIN, 0}, VARIABLE("environ", environ), END
};
