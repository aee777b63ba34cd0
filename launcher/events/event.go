// Package events is what happens in a session, one JSON object per line. The names are stable; events.md beside this package documents them.
// Front ends (progress on a terminal, the app, editors, CI) are clients of this stream and hold no logic of their own.
package events

import "time"

// Type names an event.
type Type string

// The types. events.md describes each with its fields.
const (
	SessionStarted Type = "session.started" // session, target, command
	Environment    Type = "environment"     // names; values only with values
	Phase          Type = "phase"           // phase, state (started, done, failed), message, milliseconds
	Warning        Type = "warning"         // message, hint
	Failed         Type = "error"           // message, hint
	ProcessStarted Type = "process.started" // the first program: pid, path, verdict, reason; arguments only with values
	ProcessExec    Type = "process.exec"    // an exec is about to happen: pid, path, program, verdict, reason
	ProcessInject  Type = "process.injected"
	ProcessOutside Type = "process.outside"
	ProcessLost    Type = "process.lost"
	ProcessExited  Type = "process.exited"    // pid, status or signal
	ProcessStopped Type = "process.stopped"   // the first program was stopped: pid, signal
	ProcessResumed Type = "process.continued" // and goes on: pid
	File           Type = "file"              // op, path, errno
	FileChange     Type = "file.change"       // op, path, errno
	FileLocal      Type = "file.local"        // op, path: a write to a path of the pod went to this machine
	Name           Type = "name"              // name, errno, reason; addresses only with values
	Connect        Type = "connect"           // address, name, protocol, errno, reason; path of a Unix socket
	OutgoingLocal  Type = "outgoing.local"    // address, name, protocol; path and reason of a Unix socket: it did not go to the pod; once for each
	Listen         Type = "listen"            // port, actual_port, pod_port
	Incoming       Type = "incoming"          // port, peer
	SessionEnded   Type = "session.ended"     // status or signal, remaining, succeeded, failed
)

// Frequent tells the types that may come thousands of times a second. They may be dropped for a slow reader; the others never are.
func (t Type) Frequent() bool {
	switch t {
	case File, FileChange, Name, Connect, Incoming, ProcessExec, ProcessInject:
		return true
	}
	return false
}

// Event is one line. A field that a type does not name is absent.
type Event struct {
	Time       time.Time `json:"time"`
	Type       Type      `json:"event"`
	Session    string    `json:"session,omitempty"`
	Target     string    `json:"target,omitempty"`
	Command    []string  `json:"command,omitempty"`
	Phase      string    `json:"phase,omitempty"` // target, agent, link, environment, layer, decision, broker, program
	State      string    `json:"state,omitempty"`
	Took       float64   `json:"milliseconds,omitempty"` // the phase; of the program's start: all of the session so far
	Op         string    `json:"op,omitempty"`
	PID        int       `json:"pid,omitempty"`
	PPID       int       `json:"ppid,omitempty"`
	Path       string    `json:"path,omitempty"`
	Program    string    `json:"program,omitempty"` // what really runs: of a script the interpreter; absent when it is Path
	Verdict    string    `json:"verdict,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Name       string    `json:"name,omitempty"`
	Address    string    `json:"address,omitempty"`
	Protocol   string    `json:"protocol,omitempty"` // udp, unix; absent for TCP
	Peer       string    `json:"peer,omitempty"`
	Port       int       `json:"port,omitempty"`
	ActualPort int       `json:"actual_port,omitempty"`
	PodPort    int       `json:"pod_port,omitempty"`
	Errno      string    `json:"errno,omitempty"`
	Status     *int      `json:"status,omitempty"`    // exit status; nil when the program did not exit by itself
	Signal     string    `json:"signal,omitempty"`    // the signal that ended or stopped it ("SIGTERM")
	Remaining  int       `json:"remaining,omitempty"` // processes in the pod's context that outlive the first program
	Message    string    `json:"message,omitempty"`
	Hint       string    `json:"hint,omitempty"`

	Names     []string     `json:"names,omitempty"`     // of variables
	Succeeded map[Type]int `json:"succeeded,omitempty"` // how many events of the frequent types had no errno,
	Failed    map[Type]int `json:"failed,omitempty"`    // and how many had one

	// Only if the user asked for values, and so are the words of Command behind the first.
	Values    map[string]string `json:"values,omitempty"`    // of the variables
	Arguments []string          `json:"arguments,omitempty"` // of the process, with the name that it was called by
	Addresses []string          `json:"addresses,omitempty"` // of the name
}
