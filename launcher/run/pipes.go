package run

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"mirrord/launcher/config"
	"mirrord/launcher/events"
	"mirrord/launcher/kube/origins"
)

// plan is the first thing that outer tells the broker.
type plan struct {
	Session  string            `json:"session"`
	Config   *config.Config    `json:"config"`
	Target   targetPlan        `json:"target"`   // parsed: Config's JSON form holds only what the user wrote
	EnvFile  map[string]string `json:"env_file"` // likewise
	Command  []string          `json:"command"`
	Group    int               `json:"group"`    // outer's process group
	Events   int               `json:"events"`   // an inherited descriptor, -1 for none
	Frequent bool              `json:"frequent"` // outer wants the frequent events too
	Values   bool              `json:"values"`   // events carry values
	Warnings []events.Event    `json:"warnings"` // to be emitted first

	origins func() *origins.Origins // asks about a cluster's target, when that has been found; outer does not know it
}

// targetPlan is config.Target as it was parsed.
type targetPlan struct{ Path, Kind, Name, Container, Namespace string }

func (p *plan) setTarget(t config.Target) {
	p.Target = targetPlan{Path: t.Path, Kind: t.Kind, Name: t.Name, Container: t.Container, Namespace: t.Namespace}
}

// order is what outer tells the broker after the plan.
type order struct {
	Go     bool           `json:"go,omitempty"` // start the program: progress has left the terminal
	Signal syscall.Signal `json:"signal,omitempty"`
}

// inherited passes a descriptor to a child under its own number, which no descriptor of the user's has: others must keep theirs. The child
// calls adopt. It must be closed or made close-on-exec again after the fork.
func inherited(f *os.File) (string, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return "", err
	}
	number := -1
	var set error
	if err := raw.Control(func(fd uintptr) {
		number = int(fd)
		_, set = unix.FcntlInt(fd, unix.F_SETFD, 0)
	}); err != nil {
		return "", err
	}
	return strconv.Itoa(number), set
}

// adopt takes over an inherited descriptor and keeps it from this process's own children.
func adopt(number int, name string) (*os.File, error) {
	if _, err := unix.FcntlInt(uintptr(number), unix.F_GETFD, 0); err != nil {
		return nil, err
	}
	unix.CloseOnExec(number)
	return os.NewFile(uintptr(number), name), nil
}

// quiet lets go of what only the program should hold, so that the other end of a pipe sees when the program closes it: standard input and
// output become /dev/null, and inherited descriptors that are not close-on-exec (ours all are) are closed.
func quiet() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for fd := range 2 {
		if err := dup(int(null.Fd()), fd); err != nil {
			return err
		}
	}
	dir, err := os.Open("/dev/fd")
	if err != nil {
		return nil // not every container has it; nothing of ours depends on it
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd <= 2 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
	return nil
}

// readEvents calls each for every event that the broker sends, until the pipe ends. What is no event is the broker's dying words: a traceback
// of the Go runtime, which goes to said.
func readEvents(r io.Reader, each func(events.Event), said io.Writer) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		var ev events.Event
		switch {
		case len(line) == 0:
		case line[0] == '{' && json.Unmarshal(line, &ev) == nil:
			each(ev)
		default:
			_, _ = said.Write(line)
		}
		if err != nil {
			return
		}
	}
}
