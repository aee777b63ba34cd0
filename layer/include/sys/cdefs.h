// Symbols that are not the function's name (xnu bsd/sys/cdefs.h: __DARWIN_INODE64, __DARWIN_EXTSN).
#ifndef _SYS_CDEFS_H_
#define _SYS_CDEFS_H_
#if defined(MIRRORD_LAYER)
#define __INODE64(name)
#define __EXTSN(name)
#else
#if defined(__x86_64__)
#define __INODE64(name) __asm__("_" #name "$INODE64")
#else
#define __INODE64(name)
#endif
#define __EXTSN(name) __asm__("_" #name "$DARWIN_EXTSN")
#endif
#endif
