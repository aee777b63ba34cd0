package pod

import (
	"fmt"
	"os"
	"syscall"
)

// WrongUserError says that the agent must be started as the user of the target's process, which an agent that is not root cannot become.
type WrongUserError struct{ UID, GID int }

func (e *WrongUserError) Error() string {
	return fmt.Sprintf("the target's process belongs to user %d, group %d, and the agent runs as %d, %d", e.UID, e.GID, os.Geteuid(), os.Getegid())
}

// become makes this process one of the target's user, who alone may look into the target's process without more rights than it has
// (ptrace(2), "Ptrace access mode checking").
func (p *process) become() error {
	if os.Geteuid() == p.uid && os.Getegid() == p.gid {
		return nil
	}
	if os.Geteuid() != 0 {
		return &WrongUserError{p.uid, p.gid}
	}
	for _, step := range []func() error{
		func() error { return syscall.Setgroups(p.groups) },
		func() error { return syscall.Setgid(p.gid) },
		func() error { return syscall.Setuid(p.uid) },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("cannot become the target's user: %w", &WrongUserError{p.uid, p.gid})
		}
	}
	return nil
}
