// Package runner runs one launch by the mirrord command, follows it to its end, and has the picture of it and what it prints kept. It draws nothing: a view asks
// for what it shows when Changed tells it to.
package runner

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"

	"mirrord/app/cli"
	"mirrord/app/console"
	"mirrord/app/session"
	"mirrord/app/shell"
	"mirrord/app/terminal"
	"mirrord/launcher/events"
)

// Launch is what to run.
type Launch struct {
	Command []string // the program and its arguments, at least one word
	Folder  string   // where it starts; absolute
	Config  string   // a configuration file, absolute; empty: the folder's own, if it has one
	Target  string   // wins over the configuration's; empty: that
	Plain   bool     // without mirrord, for comparison: there are no events then
	Values  bool     // events carry values too
}

// Options are for tests and odd machines; the zero value is right.
type Options struct {
	Events   int           // how many events are kept; 0: 100,000
	Console  int           // bytes of output that are kept; 0: console.DefaultBytes
	Interval time.Duration // Changed comes at most once in this time; 0: 100 ms
	Patience time.Duration // between SIGTERM and SIGKILL; 0: 10 s
}

// Session is a launch that was started. Its methods may be called concurrently, and none waits for anything.
type Session struct {
	Model   *session.Model
	Console *console.Buffer // what the program prints, and the command's own errors

	launch   Launch
	tool     *cli.Tool
	options  Options
	command  *exec.Cmd
	terminal *os.File // the other end of the program's terminal
	done     chan struct{}
	beside   sync.WaitGroup // calls of the tool

	mu      sync.Mutex
	changed chan struct{}
	timer   *time.Timer // of the next Changed; nil when none is due
	over    bool        // changed is closed
	exited  bool        // the command was collected
	stopped int         // how often Stop was called
	leaving bool        // what the program has left is being ended
	stops   chan int    // receives that
}

// Start starts a launch. The error is an *cli.Error: the folder is gone, the command is missing. What goes wrong later is in the model's Summary.
func Start(tool *cli.Tool, launch Launch, o Options) (*Session, error) {
	if o.Interval <= 0 {
		o.Interval = 100 * time.Millisecond
	}
	if o.Patience <= 0 {
		o.Patience = 10 * time.Second
	}
	if err := launch.check(); err != nil {
		return nil, err
	}
	ours, theirs, err := terminal.Open()
	if err != nil {
		return nil, &cli.Error{Message: "cannot open a terminal for the program: " + err.Error()}
	}
	defer theirs.Close()
	terminal.Resize(ours, 120, 40)
	told, tell, err := os.Pipe()
	if err != nil {
		ours.Close()
		return nil, &cli.Error{Message: "cannot make a pipe: " + err.Error()}
	}
	defer tell.Close()
	s := &Session{
		Model: session.NewModel(o.Events), Console: console.New(o.Console),
		launch: launch, tool: tool, options: o, command: launch.command(tool), terminal: ours,
		done: make(chan struct{}), changed: make(chan struct{}, 1), stops: make(chan int, 1),
	}
	c := s.command
	c.Stdin, c.Stdout, c.Stderr = theirs, theirs, theirs
	c.SysProcAttr = apart()
	if !launch.Plain {
		c.ExtraFiles = []*os.File{tell}
	}
	if err := c.Start(); err != nil {
		ours.Close()
		told.Close()
		hint := "is the mirrord command beside the app?"
		if launch.Plain {
			hint = "check the name, and the PATH of your shell"
		}
		return nil, &cli.Error{Message: fmt.Sprintf("cannot start %s: %v", c.Path, err), Hint: hint}
	}
	tell.Close()
	if launch.Plain {
		s.Model.Update(func(m *session.Summary) { m.State, m.Began = session.Running, time.Now() })
	}
	go s.watch(told)
	return s, nil
}

func (l *Launch) check() error {
	info, err := os.Stat(l.Folder)
	switch {
	case len(l.Command) == 0 || l.Command[0] == "":
		return &cli.Error{Message: "no command was given", Hint: "write what to run, such as npm start"}
	case err != nil:
		return &cli.Error{Message: "cannot start in the folder: " + err.Error(), Hint: "choose another folder"}
	case !info.IsDir():
		return &cli.Error{Message: l.Folder + " is no folder", Hint: "choose another"}
	}
	return nil
}

// words is the launch as the command takes it, without the events.
func (l *Launch) words(tool *cli.Tool) []string {
	if l.Plain {
		return l.Command
	}
	words := []string{tool.Path, "exec"}
	if l.Config != "" {
		words = append(words, "--config-file="+l.Config)
	}
	if l.Target != "" {
		words = append(words, "--target="+l.Target)
	}
	return append(append(words, "--"), l.Command...)
}

// Script writes a script into folder that runs the launch in a terminal of the user's, for programs that ask questions, and returns its path; see terminal.Script.
// The error is an *cli.Error.
func (l *Launch) Script(tool *cli.Tool, folder string) (string, error) {
	if err := l.check(); err != nil {
		return "", err
	}
	return terminal.Script(folder, l.words(tool), l.Folder, shell.Lookup(tool.Env, "PATH"))
}

// command is what starts the launch, with descriptor 3 for the events.
func (l *Launch) command(tool *cli.Tool) *exec.Cmd {
	words := l.words(tool)
	if !l.Plain {
		flags := []string{"--progress=off", "--events=fd:3"}
		if l.Values {
			flags = append(flags, "--events-values")
		}
		words = append(append(words[:2:2], flags...), words[2:]...)
	}
	env := tool.Env
	if env == nil {
		env = os.Environ()
	}
	c := exec.Command(words[0], words[1:]...)
	if l.Plain {
		c = search(words, env)
	}
	c.Dir = l.Folder
	c.Env = append(env[:len(env):len(env)], "TERM=xterm-256color")
	return c
}

// Launch is what was started; Start with it again is a restart.
func (s *Session) Launch() Launch { return s.launch }

// Changed receives when there is something new, at most once an Interval. It is closed when the session has ended and all is in the model.
func (s *Session) Changed() <-chan struct{} { return s.changed }

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Stop asks the session to end (SIGTERM), and ends it by force (SIGKILL) if it does not within ten seconds. A second call does that at once.
func (s *Session) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped++
	select {
	case <-s.stops:
	default:
	}
	s.stops <- s.stopped
}

// inputTime is how long Input waits for a terminal that is full, of which the program reads nothing.
const inputTime = 100 * time.Millisecond

// Input writes to the program's standard input, which is a terminal: what it echoes is in Console. A line ends with "\n". It fails when the program is gone, or does not
// read what is there.
func (s *Session) Input(text string) error {
	_ = s.terminal.SetWriteDeadline(time.Now().Add(inputTime))
	if _, err := s.terminal.WriteString(text); err != nil {
		return &cli.Error{Message: "the program does not take what was typed", Hint: "it may have ended, or not be waiting for anything"}
	}
	return nil
}

// Resize tells the program how large its terminal is, in characters.
func (s *Session) Resize(columns, rows int) { terminal.Resize(s.terminal, columns, rows) }

// poke has Changed receive, now or when the interval is over.
func (s *Session) poke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer == nil && !s.over {
		s.timer = time.AfterFunc(s.options.Interval, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.timer = nil
			if !s.over {
				select {
				case s.changed <- struct{}{}:
				default:
				}
			}
		})
	}
}

// finish ends Changed and Done.
func (s *Session) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.timer != nil {
		s.timer.Stop()
	}
	close(s.changed)
	close(s.done)
}

// take takes in a batch of events.
func (s *Session) take(batch []events.Event, garbage int) {
	s.Model.Add(batch)
	if garbage > 0 {
		s.Model.Update(func(m *session.Summary) { m.Garbage += int64(garbage) })
	}
	s.poke()
}
