//go:build linux

package seccomp

// auditArch is AUDIT_ARCH_AARCH64 (linux/audit.h).
const auditArch = 0xc00000b7
