package run

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// selfExe executes this program again.
func selfExe() (string, error) { return os.Executable() }

// becomeSubreaper: macOS has none. Orphans go to launchd; what is found below a process before it loses its parent is all there is.
func becomeSubreaper() error { return nil }

func dup(from, to int) error { return unix.Dup2(from, to) }

// defaultSignal resets a signal, as far as Go lets it.
func defaultSignal(sig syscall.Signal) { signal.Reset(sig) }

// noCore keeps this process from leaving a core: the program has left its own.
func noCore() { _ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) }
