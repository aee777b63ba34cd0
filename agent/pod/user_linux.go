package pod

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"mirrord/agent/startup"
)

// needed are the capabilities that rights stand for, as bits.
func needed(rights startup.Rights) uint64 {
	switch rights {
	case startup.RightsNetwork:
		return 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_BPF
	case startup.RightsNode:
		return 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_BPF | 1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_SYS_ADMIN
	}
	return 0
}

// become makes this process one of the target's user, who alone may look into the target's process without more rights than it has (ptrace(2), "Ptrace access
// mode checking"), and who may read what the target may. Of its capabilities it keeps the target's, without which it may not look either, and those of its rights.
func (p *process) become(rights startup.Rights) error {
	same := os.Geteuid() == p.uid && os.Getegid() == p.gid
	if same && needed(rights) == 0 {
		return nil
	}
	own, err := capabilities()
	if err != nil {
		return err
	}
	keep := own & (p.capabilities | needed(rights))
	if !same {
		if os.Geteuid() != 0 {
			return &WrongUserError{p.uid, p.gid}
		}
		for _, step := range []func() error{
			func() error { return keepCapabilities(keep) },
			func() error { return syscall.Setgroups(p.groups) },
			func() error { return syscall.Setgid(p.gid) },
			func() error { return syscall.Setuid(p.uid) },
		} {
			if err := step(); err != nil {
				return fmt.Errorf("cannot become the target's user (%w): %w", err, &WrongUserError{p.uid, p.gid})
			}
		}
	}
	if keep == 0 && os.Geteuid() != 0 { // the kernel has taken them
		return nil
	}
	return setCapabilities(keep)
}

// keepCapabilities has them, if there are any, outlive the change of the user, though not as effective ones.
func keepCapabilities(set uint64) error {
	if set == 0 {
		return nil
	}
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0); errno != 0 {
		return errno
	}
	return nil
}

// capabilities are those that this process may have, as bits.
func capabilities() (uint64, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("capget: %w", err)
	}
	return uint64(data[0].Permitted) | uint64(data[1].Permitted)<<32, nil
}

// setCapabilities gives these to all threads, and no others.
func setCapabilities(set uint64) error {
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	low, high := uint32(set), uint32(set>>32)
	data := &[2]unix.CapUserData{{Effective: low, Permitted: low}, {Effective: high, Permitted: high}}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(header)), uintptr(unsafe.Pointer(data)), 0)
	runtime.KeepAlive(header)
	runtime.KeepAlive(data)
	if errno != 0 {
		return fmt.Errorf("capset: %w", errno)
	}
	return nil
}
