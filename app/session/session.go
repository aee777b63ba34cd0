// Package session runs one launch by the mirrord command, reads its events and keeps a bounded picture of what goes on. It draws nothing: a view asks for what it
// shows when Changed tells it to.
package session

import (
	"time"

	"mirrord/app/cli"
	"mirrord/app/console"
)

// Launch is what to run.
type Launch struct {
	Command []string // the program and its arguments, at least one word
	Folder  string   // where it starts; absolute
	Config  string   // a configuration file, absolute; empty: the folder's own, if it has one
	Target  string   // wins over the configuration's; empty: that
	Plain   bool     // without mirrord, for comparison: there are no events then but start and end
	Values  bool     // events carry values too
}

// Options are for tests and odd machines; the zero value is right.
type Options struct {
	Events   int           // how many events are kept; 0: 100,000
	Console  int           // bytes of output that are kept; 0: 8 MiB
	Interval time.Duration // Changed comes at most once in this time; 0: 100 ms
}

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

// Session is a launch that was started. Its methods may be called concurrently, and none but Wait waits for anything.
type Session struct {
	Model   *Model
	Console *console.Buffer // what the program prints, and the command's own errors

	launch  Launch
	changed chan struct{}
	done    chan struct{}
}

// Start starts a launch. The error is an *cli.Error: the folder is gone, the command is missing. What goes wrong later is in Summary.
func Start(tool *cli.Tool, launch Launch, o Options) (*Session, error) {
	return nil, &cli.Error{Message: "not built yet"}
}

// Launch is what was started; Start with it again is a restart.
func (s *Session) Launch() Launch { return s.launch }

// Changed receives when there is something new, at most once an Interval. It is closed when the session has ended and all is in the model.
func (s *Session) Changed() <-chan struct{} { return s.changed }

// Stop asks the session to end (SIGTERM), and ends it by force (SIGKILL) if it does not within ten seconds. A second call does that at once.
func (s *Session) Stop() {}

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }
