package run

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// preload is the variable that has the dynamic linker load libraries into a program (ld.so(8)); its elements are divided by colons.
const preload = "LD_PRELOAD"

// strictLoader: ld.so only complains of libraries that it cannot load, and programs outside pass the variable on to those that can.
const strictLoader = false

const (
	cacheName = "mirrord"
	rootCache = "/var/cache"
)

// selfExe executes this program again, also when its file was replaced or removed meanwhile.
func selfExe() (string, error) { return "/proc/self/exe", nil }

// brokerFolder is for files that are unlinked while they are open: the broker's socket has no path.
func brokerFolder(string) (path string, remove func() error, err error) {
	return os.TempDir(), func() error { return nil }, nil
}

// osBuild is the kernel's release.
func osBuild() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}

func dup(from, to int) error { return unix.Dup3(from, to, 0) }

// defaultSignal resets a signal for good. signal.Reset is not enough: the Go runtime answers QUIT, SEGV and others with a traceback.
func defaultSignal(sig syscall.Signal) {
	var action [32]byte // struct sigaction of the kernel: SIG_DFL, no flags, empty mask
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
}

// noCore keeps this process from leaving a core: the program has left its own. A limit of 0 does not stop a core_pattern that is a pipe.
func noCore() {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}
