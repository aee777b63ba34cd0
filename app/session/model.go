package session

import (
	"time"

	"mirrord/launcher/events"
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
}

// Bad says whether the row is about something that went wrong: an errno, a program outside the pod, a warning, an error.
func (r Row) Bad() bool { return r.Errno != "" }

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
	Garbage int64    // lines that were no events
	Errors  []Notice // of mirrord itself, and of the app about it; errors first
	Ports   []Port
	Remain  int  // processes that outlive the program
	Linked  bool // the connection to the pod is there
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

// Variable is one of the environment, on this machine, in the pod, and as the program has it. The values are there with Launch.Values only.
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
	Time   time.Time
	State  string        // "up", "lost", "gone" (for good)
	Reason string        // why it was lost
	Took   time.Duration // of "up" after "lost": how long it was away
}

// Model is the picture of one session. It is bounded whatever the events say. Its methods may be called concurrently; what they return are copies.
type Model struct{}

// NewModel makes an empty one that keeps so many events.
func NewModel(keep int) *Model { return &Model{} }

// Add adds events in order.
func (m *Model) Add(batch []events.Event) {}

// Summary returns what is small.
func (m *Model) Summary() Summary { return Summary{} }

// Rows returns at most limit of the newest rows that pass the filter, oldest first, and how many of those that are kept pass.
func (m *Model) Rows(f Filter, limit int) (rows []Row, matching int) { return nil, 0 }

// Processes returns the tree, depth first; at most 10,000, of which those that have ended are forgotten first.
func (m *Model) Processes() []Process { return nil }

// Environment returns the variables, ordered by name; those that are the same everywhere too.
func (m *Model) Environment() []Variable { return nil }

// Timeline returns when the link to the pod was there, oldest first; at most 1000.
func (m *Model) Timeline() []Mark { return nil }
