// How the hooks come into effect: dyld replaces each second pointer of the section __interpose by the first, in all images but this one. So the original is
// what the symbol names here, and the hook has a symbol of its own although the sources call it as the program does.
#include "layer.h"

#include <copyfile.h>
#include <dlfcn.h>
#include <dnsinfo.h>
#include <fts.h>
#include <ftw.h>
#include <glob.h>
#include <libproc.h>
#include <mach-o/dyld.h>
#include <netdb.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/clonefile.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/sysctl.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>
#include <wordexp.h>

#define EXPORT
#define ORIGINAL(name) original_##name

// A symbol that an older macOS lacks is NULL, and dyld passes over its pair.
#define NAMED(name, suffix)                                                                                                         \
    extern __typeof__(name) original_##name __asm__("_" #name suffix) __attribute__((weak_import));                                 \
    extern __typeof__(name) name __asm__("hook_" #name);
#define HOOK(name) NAMED(name, "")
#define HOOK64(name) NAMED(name, SUFFIX64)
#define HOOK_AS(name, suffix) NAMED(name, suffix)
#define ALIAS(name, of) extern __typeof__(of) alias_##name __asm__("_" #name) __attribute__((weak_import));
#include "hooks.def"
#undef HOOK
#undef ALIAS
#undef NAMED

#define NAMED(name, suffix) {(const void *)name, (const void *)original_##name},
#define HOOK(name) NAMED(name, "")
#define HOOK64(name) NAMED(name, SUFFIX64)
#define HOOK_AS(name, suffix) NAMED(name, suffix)
#define ALIAS(name, of) {(const void *)of, (const void *)alias_##name},
static const struct {
    const void *hook, *original;
} interposed[] __attribute__((used, section("__DATA,__interpose"))) = {
#include "hooks.def"
};
#undef HOOK
#undef ALIAS
#undef NAMED
