// The whole layer as one translation unit: one compiler call builds it, and the aliases can stand beside what they name.
#define _GNU_SOURCE
#if defined(__APPLE__)
#include "interpose_darwin.c"

#include "system_darwin.c"
#else
#include "originals.c"

#include "system_linux.c"
#endif

#include "session.c"

#include "rules.c"

#include "paths.c"

#include "neighbours.c"

#include "files.c"

#include "attributes.c"
#if defined(__APPLE__)
#include "attributes_darwin.c"
#else
#include "attributes_linux.c"
#endif

#include "workdir.c"

#include "dirs.c"

#include "walks.c"

#include "fts.c"

#include "changes.c"

#include "names.c"

#include "streams.c"

#include "sockets.c"

#include "datagrams.c"

#if defined(__APPLE__)
#include "nameservers_darwin.c"

#include "copies_darwin.c"

#include "identity_darwin.c"

#include "spawn_darwin.c"

#include "exec_darwin.c"

#include "children_darwin.c"

#include "start_darwin.c"
#else
#include "locks_linux.c"

#include "resolver.c"

#include "spawn.c"

#include "launch.c"

#include "children.c"

#include "syscall.c"

__attribute__((constructor)) static void start(void) {
    find_originals();
    enter();
}

// In assembler, because the headers declare some of these names with types of their own.
#undef HOOK
#undef ALIAS
#define HOOK(name)
#define ALIAS(name, of) __asm__(".globl " #name "\n.type " #name ", %function\n.set " #name ", " #of "\n");
#include "hooks.def"
#endif
