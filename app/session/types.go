// Package session is the bounded picture of one session of the mirrord command, made of the events that the command writes: rows, counts, the process tree, the environment, the
// link. Nothing is drawn or run here.
package session

import (
	"time"

	"mirrord/launcher/events"
)

// State is where a session is.
type State string

// The states, in order. A session that cannot start goes to Ended from any of them.
const (
	Starting State = "starting" // until the program runs; Summary.Phases tells how far it is
	Running  State = "running"
	Stopping State = "stopping" // Stop was called
	Leftover State = "leftover" // the program has ended, processes that it started have not
	Ended    State = "ended"
)

// Kind groups events for people; views filter by it.
type Kind uint8

// The kinds. Kinds is the set of them.
const (
	Files     Kind = iota // asked for in the pod, or written here
	Names                 // resolved
	Outgoing              // connections from the pod
	Incoming              // connections to the pod's ports, and what listens
	Processes             // started, injected, outside, ended
	Messages              // phases, warnings, errors, the link to the pod
	kinds
)

// String is the kind as a chip shows it: "Files".
func (k Kind) String() string {
	return [...]string{"Files", "Names", "Network out", "Traffic in", "Processes", "Messages"}[k]
}

// Row is an event as a list shows it.
type Row struct {
	Number int64 // rises by one; what the ring has lost leaves a gap at the beginning only
	Time   time.Time
	Kind   Kind
	Type   events.Type
	Title  string        // the path, name, address, program or message
	Detail string        // what was done and why: "open", "inject", a reason, a hint
	Errno  string        // the pod's error; empty on success
	Bytes  int64         // that travelled; -1 when that is not known
	Took   time.Duration // -1 when that is not known
	PID    int           // 0 when that is not known

	bad bool
}

// Bad says whether the row is about something that went wrong: an error of the pod's, a program outside it, a warning, an error. That a file is not there, or a name has
// no address of one kind, is an answer as any other: programs look in many places.
func (r Row) Bad() bool { return r.bad }

// Filter chooses rows.
type Filter struct {
	Kinds  uint8  // a bit (1<<Kind) for each that is shown; 0 shows all
	Text   string // in Title, Detail or Errno, without regard to case; empty: any
	Failed bool   // only those that are Bad
}

// Tally counts one kind.
type Tally struct {
	Count, Failed int64 // all that have happened, those that the ring has lost included
	Bytes         int64
	P50, P99      time.Duration // of those that tell how long they took; 0: none does
}

// Phase is a step of the start.
type Phase struct {
	Name, State, Message string // as events.md has them
	Took                 time.Duration
}

// Summary is all that is small. It is a copy.
type Summary struct {
	State   State
	ID      string // the session's id, as `mirrord session ls` has it
	Target  string
	Began   time.Time
	Ready   time.Duration // until the program ran; 0 before that
	Ended   time.Time     // zero before that
	Status  *int          // the program's; nil when a signal ended it, or before
	Signal  string        // "SIGTERM"
	Gets    string        // what of the pod the program gets, in words
	Phases  []Phase       // in the order in which they began
	Tallies [kinds]Tally
	Rate    float64  // events in the last second
	Dropped int64    // events that the command could not write, since the app was too slow
	Garbage int64    // lines of the command's that were no events, and counted only
	Notices []Notice // errors first, then warnings, each oldest first; at most 200
	Ports   []Port   // in order; at most 200
	Remain  int      // processes that outlive the program
	Linked  bool     // the connection to the pod is there
}

// Notice is a sentence with what to do about it.
type Notice struct {
	Time          time.Time
	Error         bool // else a warning
	Message, Hint string
	Count         int // how often it was said
}

// Port is one that the program listens on.
type Port struct{ Port, Actual, Pod int }

// Process is one of the session's.
type Process struct {
	PID, PPID int
	Depth     int    // in the tree, from 0
	Path      string // of the file that runs
	Verdict   string // inject, copy, supervise, outside, lost
	Reason    string // why, or what that loses
	Arguments []string
	Started   time.Time
	Ended     bool
	Status    *int   // nil when that is not known
	Signal    string // that ended it
}

// Inside says whether the process is in the pod's context.
func (p Process) Inside() bool { return p.Verdict != "outside" && p.Verdict != "lost" }

// Variable is one of the environment, on this machine, in the pod, and as the program has it. The values are there only if the command was asked for them.
type Variable struct {
	Name              string
	Local, Pod, Final bool   // where it is
	From              string // whose the program's is: "pod", "local", "configuration"; empty: it has none
	Values            *Values
}

// Values of a variable, empty where it is not.
type Values struct{ Local, Pod, Final string }

// Mark is a moment on the time line of the link to the pod.
type Mark struct {
	Time time.Time
	Up   bool          // the link is there from now on, else it is lost
	Text string        // in words
	Away time.Duration // with Up: how long it was lost; 0 for the first
}
