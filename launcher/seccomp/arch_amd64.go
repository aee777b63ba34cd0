//go:build linux

package seccomp

// auditArch is AUDIT_ARCH_X86_64 (linux/audit.h). Programs of x32 have it, too; their numbers have bit 30 set, so no rule is theirs.
const auditArch = 0xc000003e
