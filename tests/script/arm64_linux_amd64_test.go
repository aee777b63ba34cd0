package script

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// asARM64 has this test binary run arm64Scripts with programs for arm64, which qemu runs one process at a time, and with the arm64 layer in them. It does so in name
// spaces of its own, where the kernel starts qemu for such programs. The launcher is this machine's, which is fast and has the race detector, with arm64's layer and
// arm64's idea of what programs must be built for; mirrord-arm64 is arm64's own.
const asARM64 = "MIRRORD_TEST_ARM64"

// leftOut is the exit status that says that this system cannot do it.
const leftOut = 77

var arm64Tools = []string{"aarch64-linux-gnu-gcc", "qemu-aarch64-static"}

// arm64Scripts are run beside those in the folder arm64: their programs are those of layer/testprog, and of Debian for arm64.
var arm64Scripts = []string{"hooks_children", "hooks_files", "hooks_net", "unix_sockets", "ports", "bash", "coreutils", "python_files", "python_net", "python_children"}

// arm64Lacks is what these scripts leave out, and why.
var arm64Lacks = map[string]string{
	"execveat":    "qemu answers ENOSYS",
	"supervision": "qemu knows no seccomp filters; what supervises for arm64 is tested by its tables (launcher/supervise, launcher/seccomp)",
	"sessions":    "of arm64's own launcher: qemu's prctl does not know PR_SET_CHILD_SUBREAPER, and its fork is seen to hang in programs with threads",
	"root":        "in a user namespace, files can be given to no other user",
	"tools":       "curl, node and others are this machine's",
}

func init() {
	if os.Getenv(asARM64) == "" {
		return
	}
	own, err := filepath.Glob("arm64/*.txtar")
	if err != nil || len(own) == 0 {
		panic(fmt.Sprintf("no scripts: %v", err))
	}
	machine.layer, machine.compiler, machine.flags, machine.enter = "arm64", "aarch64-linux-gnu-gcc", overlay, enterARM64
	machine.lacks, atMost = arm64Lacks, 8*time.Minute
	machine.supervise, machine.scripts = func() bool { return false }, own
	for _, name := range arm64Scripts {
		machine.scripts = append(machine.scripts, filepath.Join("testdata", name+".txtar"))
	}
}

// overlay has the go command take what is arm64's in the place of what is this machine's.
func overlay() ([]string, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	replace := map[string]string{}
	for _, file := range []string{"layer/lib/ARCH/libmirrord.so", "layer/lib/ARCH/libmirrord-supervise.so", "sip/machine_ARCH.go"} {
		file = filepath.Join(root, file)
		replace[strings.ReplaceAll(file, "ARCH", "amd64")] = strings.ReplaceAll(file, "ARCH", "arm64")
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(bin, "overlay.json")
	return []string{"-overlay", file}, os.WriteFile(file, text, 0o644)
}

// buildLauncher makes mirrord-arm64, arm64's own launcher.
func buildLauncher() error {
	cmd := exec.Command("go", "build", "-o", filepath.Join(bin, "mirrord-arm64"), "mirrord/launcher")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return nil
}

// enterARM64 has the kernel start qemu for programs for arm64, and has them in the place of a shell and other tools. None of it is seen outside.
func enterARM64() error {
	if err := buildLauncher(); err != nil {
		return err
	}
	qemu, err := exec.LookPath("qemu-aarch64-static")
	if err != nil {
		return err
	}
	const registry = "/proc/sys/fs/binfmt_misc"
	if err := unix.Mount("binfmt_misc", registry, "binfmt_misc", 0, ""); err != nil {
		fmt.Printf("left out: programs of other machines cannot be registered here, which takes Linux 6.7 with binfmt_misc: %v\n", err)
		os.Exit(leftOut)
	}
	// An ELF file of 64 bits, little-endian, ET_EXEC or ET_DYN, EM_AARCH64; with P qemu is told argv[0].
	entry := `:arm64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:`
	if err := os.WriteFile(registry+"/register", []byte(entry+qemu+":P"), 0o200); err != nil {
		return err
	}
	// The programs that are there take the places of this machine's; the rest stays.
	if err := unix.Mount("overlay", "/usr", "overlay", unix.MS_RDONLY, "lowerdir="+filepath.Join(arm64Root(), "usr")+":/usr"); err != nil {
		return fmt.Errorf("programs for arm64 cannot be laid over /usr: %w", err)
	}
	return nil
}

// TestARM64 runs every program of layer/testprog, built for arm64, in sessions with the layer for arm64.
func TestARM64(t *testing.T) {
	if os.Getenv(asARM64) != "" {
		t.Skip("this is it")
	}
	needARM64(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestScript$", "-test.v", "-test.timeout="+atMost.String())
	cmd.Env = append(os.Environ(), asARM64+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, fs.ErrPermission) {
		t.Skipf("left out: this system gives nobody name spaces of their own: %v", err)
	}
	if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == leftOut {
		t.Skipf("%s", out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range slices.Sorted(maps.Keys(arm64Lacks)) {
		t.Logf("left out: %s: %s", name, arm64Lacks[name])
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "--- ") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// arm64Root has a shell and other programs for arm64, and their libraries (tests/arm64).
func arm64Root() string {
	cache, _ := os.UserCacheDir() // without one it is not there
	return filepath.Join(cache, "mirrord-tests/arm64")
}

func needARM64(t *testing.T) {
	t.Helper()
	for _, tool := range arm64Tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("left out: %s is not installed", tool)
		}
	}
	if out, err := exec.Command("aarch64-linux-gnu-gcc", "-include", "stdio.h", "-E", "-x", "c", "/dev/null").CombinedOutput(); err != nil {
		t.Skipf("left out: no libc to build for arm64 with (libc6-dev-arm64-cross): %s", out)
	}
	if _, err := os.Stat(filepath.Join(arm64Root(), "packages")); err != nil {
		t.Skipf("left out: there are no programs for arm64 (tests/arm64): %v", err)
	}
	if _, err := os.Stat("../../layer/lib/arm64/libmirrord.so"); err != nil {
		t.Skipf("left out: %v (make layer)", err)
	}
}
