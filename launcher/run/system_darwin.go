package run

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// preload is the variable that has the dynamic linker load libraries into a program (dyld(1)); its elements are divided by colons.
const preload = "DYLD_INSERT_LIBRARIES"

// strictLoader: dyld ends a program when a library for it cannot be loaded (dyld DyldRuntimeState.cpp, loadInsertedLibraries).
const strictLoader = true

// cacheName is the identifier of Info.plist, by which folders in ~/Library/Caches are called; rootCache is where programs of the system have theirs.
const (
	cacheName = "io.mirrord.app"
	rootCache = "/Library/Caches"
)

// selfExe executes this program again.
func selfExe() (string, error) { return os.Executable() }

// brokerFolder is where the broker's socket is, and files that go with the session.
func brokerFolder(session string) (path string, remove func() error, err error) {
	path, err = scratchFolder(session)
	return path, func() error { return os.RemoveAll(path) }, err
}

// osBuild is what sw_vers -buildVersion says.
func osBuild() string {
	build, _ := unix.Sysctl("kern.osversion")
	return build
}

func dup(from, to int) error { return unix.Dup2(from, to) }

// defaultSignal resets a signal for good. signal.Reset is not enough: the Go runtime answers QUIT, SEGV and others with a traceback. The kernel's
// struct __sigaction is handler, trampoline, mask and flags (xnu bsd/sys/signal.h).
func defaultSignal(sig syscall.Signal) {
	var action [24]byte // SIG_DFL, no flags, empty mask
	_, _, _ = syscall.RawSyscall(unix.SYS_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0)
}

// noCore keeps this process from leaving a core: the program has left its own.
func noCore() { _ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) }
