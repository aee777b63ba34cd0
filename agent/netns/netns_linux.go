package netns

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Open opens the namespace that a file such as /proc/PID/ns/net names.
func Open(path string) (*Namespace, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &Namespace{file}, nil
}

// inside has a goroutine of its own: one whose thread does not come back ends with it, and takes the thread along.
func inside(namespace *os.File, f func() error) error {
	done := make(chan error, 1)
	go func() {
		err := fmt.Errorf("what was to run in the network namespace ended its goroutine")
		defer func() { done <- err }()
		runtime.LockOSThread()
		own, openErr := os.Open("/proc/thread-self/ns/net")
		if openErr != nil {
			runtime.UnlockOSThread()
			err = openErr
			return
		}
		defer own.Close()
		if setErr := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); setErr != nil {
			runtime.UnlockOSThread()
			err = fmt.Errorf("cannot enter the network namespace: %w", setErr)
			return
		}
		err = f()
		if unix.Setns(int(own.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return <-done
}
