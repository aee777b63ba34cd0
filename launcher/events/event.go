// Package events is what happens in a session, one JSON object per line. The names are stable; events.md beside this package documents them.
// Front ends (progress on a terminal, the app, editors, CI) are clients of this stream and hold no logic of their own.
package events

import "time"

// Type names an event.
type Type string

// The types. events.md describes each with its fields.
const (
	SessionStarted Type = "session.started" // session, target, command
	Environment    Type = "environment"     // names, variables; values only with values
	Phase          Type = "phase"           // phase, state (started, done, failed), message, milliseconds
	Warning        Type = "warning"         // message, hint, lost, remaining
	Failed         Type = "error"           // message, hint
	ProcessStarted Type = "process.started" // the first program: pid, path, verdict, reason; arguments only with values
	ProcessExec    Type = "process.exec"    // an exec is about to happen: pid, path, program, verdict, reason
	ProcessInject  Type = "process.injected"
	ProcessOutside Type = "process.outside"
	ProcessLost    Type = "process.lost"
	ProcessExited  Type = "process.exited"    // pid, status or signal
	ProcessStopped Type = "process.stopped"   // the first program was stopped: pid, signal
	ProcessResumed Type = "process.continued" // and goes on: pid
	File           Type = "file"              // op, path, bytes, milliseconds, errno
	FileChange     Type = "file.change"       // op, path, errno
	FileOver       Type = "file.over"         // op, path: in mode overlay, the first write to a path; it is on this machine
	FileLocal      Type = "file.local"        // op, path: a write to a path of the pod went to this machine; errno: or nowhere, for its folder is not here
	FileLocked     Type = "file.locked"       // op: a file of the pod was locked, which nobody in the pod sees; once per session
	Name           Type = "name"              // name, milliseconds, errno, reason; addresses only with values
	Connect        Type = "connect"           // address, name, protocol, milliseconds, errno, reason; path of a Unix socket
	ConnectEnded   Type = "connect.ended"     // the same connection: address, name, protocol, path, sent, received, milliseconds
	OutgoingLocal  Type = "outgoing.local"    // address, name, protocol; path and reason of a Unix socket: it did not go to the pod; once for each
	Listen         Type = "listen"            // port, actual_port, pod_port
	Incoming       Type = "incoming"          // port, peer
	IncomingEnded  Type = "incoming.ended"    // the same connection: port, peer, sent, received, milliseconds
	Link           Type = "link"              // the connection to the pod: state (lost, restored, gone), message, hint, milliseconds
	SessionEnded   Type = "session.ended"     // status or signal, remaining, succeeded, failed
)

// Frequent tells the types that may come thousands of times a second. They may be dropped for a slow reader; the others never are.
func (t Type) Frequent() bool {
	switch t {
	case File, FileChange, Name, Connect, ConnectEnded, Incoming, IncomingEnded, ProcessExec, ProcessInject:
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

	Took     float64 `json:"milliseconds,omitempty"` // what the event tells of; of the program's start: all of the session so far
	Bytes    int64   `json:"bytes,omitempty"`        // of a file, or a directory's entries, that came from the pod
	Sent     int64   `json:"sent,omitempty"`         // bytes of a connection, to the peer of the program
	Received int64   `json:"received,omitempty"`
	Lost     int     `json:"lost,omitempty"` // with a warning: how many events a slow reader has missed

	Names     []string     `json:"names,omitempty"`     // of variables
	Variables []Variable   `json:"variables,omitempty"` // all that this machine or the pod has, ordered by name, MaxVariables at most
	Succeeded map[Type]int `json:"succeeded,omitempty"` // how many events of the frequent types had no errno,
	Failed    map[Type]int `json:"failed,omitempty"`    // and how many had one

	// Only if the user asked for values, and so are the words of Command behind the first.
	Values    map[string]string `json:"values,omitempty"`    // of the variables
	Arguments []string          `json:"arguments,omitempty"` // of the process, with the name that it was called by
	Addresses []string          `json:"addresses,omitempty"` // of the name
}

// MaxVariables and MaxValue bound the variables of an Environment event: their number, and the bytes of each of their values.
const (
	MaxVariables = 5000
	MaxValue     = 4096
)

// Variable is one of the environment: where it is, and whose the program has.
type Variable struct {
	Name  string `json:"name"`
	Local bool   `json:"local,omitempty"` // this machine has it
	Pod   bool   `json:"pod,omitempty"`   // the pod has it
	From  string `json:"from,omitempty"`  // whose the program's is: "pod", "local" or "configuration"; absent when the program has none

	// Only if the user asked for values; the first MaxValue bytes.
	LocalValue string `json:"local_value,omitempty"`
	PodValue   string `json:"pod_value,omitempty"`
	Value      string `json:"value,omitempty"` // the program's
}
