//go:build linux && (amd64 || arm64)

package seccomp

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"unsafe"
)

// TestHeaders holds what is written down here to the kernel's headers, for both machines.
func TestHeaders(t *testing.T) {
	for arch, machine := range map[string]struct{ compiler, audit string }{
		"amd64": {"gcc", "AUDIT_ARCH_X86_64"}, "arm64": {"aarch64-linux-gnu-gcc", "AUDIT_ARCH_AARCH64"},
	} {
		t.Run(arch, func(t *testing.T) {
			if out, err := exec.Command(machine.compiler, "-include", "linux/seccomp.h", "-E", "-x", "c", "/dev/null").CombinedOutput(); err != nil {
				t.Skipf("left out: no compiler with the kernel's headers for %s: %v\n%s", arch, err, out)
			}
			source, err := os.ReadFile("arch_" + arch + ".go")
			if err != nil {
				t.Fatal(err)
			}
			audit := regexp.MustCompile(`auditArch = (0x\w+)`).FindSubmatch(source)
			if audit == nil {
				t.Fatalf("no number of the machine:\n%s", source)
			}
			var c strings.Builder
			c.WriteString("#include <stddef.h>\n#include <linux/audit.h>\n#include <linux/filter.h>\n#include <linux/ioctl.h>\n#include <linux/seccomp.h>\n")
			for expression, value := range map[string]any{
				machine.audit:                          string(audit[1]),
				"SECCOMP_RET_ALLOW":                    retAllow,
				"SECCOMP_RET_ERRNO":                    retErrno,
				"SECCOMP_RET_USER_NOTIF":               retNotify,
				"SECCOMP_IOCTL_NOTIF_RECV":             ioctlReceive,
				"SECCOMP_IOCTL_NOTIF_SEND":             ioctlSend,
				"SECCOMP_IOCTL_NOTIF_ID_VALID":         ioctlValid,
				"SECCOMP_IOCTL_NOTIF_ADDFD":            ioctlAdd,
				"SECCOMP_USER_NOTIF_FLAG_CONTINUE":     responseContinue,
				"SECCOMP_ADDFD_FLAG_SEND":              addSend,
				"BPF_MAXINSNS":                         maxInstructions,
				"sizeof(struct seccomp_notif)":         unsafe.Sizeof(notification{}),
				"sizeof(struct seccomp_notif_resp)":    unsafe.Sizeof(response{}),
				"sizeof(struct seccomp_notif_addfd)":   unsafe.Sizeof(addition{}),
				"offsetof(struct seccomp_data, nr)":    dataNumber,
				"offsetof(struct seccomp_data, arch)":  dataArch,
				"offsetof(struct seccomp_data, args)":  dataArgs,
				"offsetof(struct seccomp_notif, data)": unsafe.Offsetof(notification{}.number),
				"SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_SPEC_ALLOW | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": FilterFlags,
			} {
				fmt.Fprintf(&c, "_Static_assert((%s) == %v, %q);\n", expression, value, expression)
			}
			check := exec.Command(machine.compiler, "-fsyntax-only", "-x", "c", "-")
			check.Stdin = strings.NewReader(c.String())
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
