package run

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/launcher/events"
)

// OwnFailure is the exit status of a failure of ours, rather than the program's (as in env(1) and others).
const OwnFailure = 125

// The statuses of a shell for a program that cannot be executed and one that cannot be found.
const (
	notExecutable = 126
	notFound      = 127
)

// Ending is how the program ended, and so how mirrord does.
type Ending struct {
	Status int            // the exit status when Signal is 0
	Signal syscall.Signal // what killed the program
}

// Exit ends this process in the same way: by the same signal, without a core of our own, or with the same status.
func (e Ending) Exit() {
	if e.Signal != 0 {
		noCore()
		defaultSignal(e.Signal)
		_ = unix.Kill(os.Getpid(), e.Signal)
		time.Sleep(100 * time.Millisecond) // the signal may reach another thread first
		e.Status = 128 + int(e.Signal)     // process 1 of a container survives its own signals
	}
	os.Exit(e.Status)
}

// endingOf reads what wait4 said.
func endingOf(ws syscall.WaitStatus) Ending {
	if ws.Signaled() {
		return Ending{Signal: ws.Signal()}
	}
	return Ending{Status: ws.ExitStatus()}
}

// event puts an ending into an event.
func (e Ending) event(ev events.Event) events.Event {
	if e.Signal != 0 {
		ev.Signal = signalName(e.Signal)
	} else {
		ev.Status = &e.Status
	}
	return ev
}

// endingFrom is the reverse of event. ok is false for an event without an ending.
func endingFrom(ev events.Event) (e Ending, ok bool) {
	switch {
	case ev.Signal != "":
		return Ending{Signal: signalNumber(ev.Signal)}, true
	case ev.Status != nil:
		return Ending{Status: *ev.Status}, true
	}
	return Ending{}, false
}

// signalName is "SIGTERM", or "SIG34" for a signal without a name.
func signalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return "SIG" + strconv.Itoa(int(sig))
}

func signalNumber(name string) syscall.Signal {
	if sig := unix.SignalNum(name); sig != 0 {
		return sig
	}
	n, _ := strconv.Atoi(strings.TrimPrefix(name, "SIG"))
	return syscall.Signal(n)
}

// FailureEvent is an error for people. The text of an error may end in a line "hint: …"; one that lists several faults, each with a hint of its
// own, stays whole.
func FailureEvent(err error) events.Event {
	text := err.Error()
	message, hint, ok := strings.Cut(text, "\nhint: ")
	if !ok || strings.Contains(hint, "\n") {
		return events.Event{Type: events.Failed, Message: text}
	}
	return events.Event{Type: events.Failed, Message: message, Hint: hint}
}
