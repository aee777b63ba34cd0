// The whole layer as one translation unit: one compiler call builds it, and the aliases can stand beside what they name.
#define _GNU_SOURCE
#include "originals.c"

#include "session.c"

#include "rules.c"

#include "paths.c"

#include "neighbours.c"

#include "files.c"

#include "attributes.c"

#include "workdir.c"

#include "dirs.c"

#include "walks.c"

#include "fts.c"

#include "changes.c"

#include "names.c"

#include "sockets.c"

#include "datagrams.c"

#include "resolver.c"

#include "spawn.c"

#include "launch.c"

#include "children.c"

#include "syscall.c"

// In assembler, because the headers declare some of these names with types of their own.
#undef HOOK
#undef ALIAS
#define HOOK(name)
#define ALIAS(name, of) __asm__(".globl " #name "\n.type " #name ", %function\n.set " #name ", " #of "\n");
#include "hooks.def"
