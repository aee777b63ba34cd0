package run

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/launcher/config"
	"mirrord/launcher/events"
	"mirrord/launcher/overlay"
	"mirrord/launcher/procs"
)

// BrokerCommand is the hidden sub-command that Exec starts this program with; its two arguments go to Broker.
const BrokerCommand = "broker"

// EnvBroker is the variable that tells the layer where the broker is. A process that has it is inside a session already.
const EnvBroker = "MIRRORD_BROKER"

// Options is one session.
type Options struct {
	Config   *config.Config
	Command  []string           // the program and its arguments, at least one word
	Events   *os.File           // where every event goes; nil for nowhere
	Report   func(events.Event) // shows an event to the user; never called concurrently
	Frequent bool               // Report wants events.Type.Frequent ones too
	Values   bool               // events carry values, not only names
	Warnings []events.Event     // what the user should know before anything else
	Stderr   io.Writer          // where a crash of the broker is told
}

// Exec runs a session to its end and returns how the program ended. It takes over this process's signals, standard input and output.
func Exec(o Options) Ending {
	s := &outer{Options: o, before: procs.Children()}
	ending, err := s.run()
	if err != nil {
		ending = Ending{Status: OwnFailure}
		Fail(err, ending, o.Report, o.Events)
	}
	return ending
}

// outer is what the user started.
type outer struct {
	Options
	before  map[int]bool // children that are not ours to end
	broker  int          // pid
	session string       // its id
	control *os.File
	exited  chan os.Signal // SIGCHLD
	signals chan os.Signal // to be forwarded
	gone    bool           // the broker was collected
	died    syscall.WaitStatus
}

func (s *outer) run() (Ending, error) {
	s.session = newSession()
	if err := procs.BecomeSubreaper(func(env []string) bool { return bearsMark(env, s.session) }); err != nil {
		return Ending{}, fmt.Errorf("cannot look after the program's processes: %w", err)
	}
	s.exited = make(chan os.Signal, 1)
	signal.Notify(s.exited, syscall.SIGCHLD)
	reports, err := s.startBroker()
	if err != nil {
		return Ending{}, fmt.Errorf("cannot start the broker: %w", err)
	}
	defer s.control.Close()
	if err := quiet(); err != nil {
		return Ending{}, err
	}
	// Messages may be written from the background. These are ignored after the broker's start, so that the
	// program does not inherit it.
	signal.Ignore(syscall.SIGTTOU, syscall.SIGTTIN)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // a closed standard error is no reason to die

	incoming := make(chan events.Event, 64)
	go func() {
		defer close(incoming)
		readEvents(reports, func(ev events.Event) { incoming <- ev }, s.Stderr)
	}()
	var ended *events.Event
	for {
		select {
		case sig := <-s.signals:
			s.forward(sig.(syscall.Signal))
		case ev, ok := <-incoming:
			if !ok {
				return s.finish(ended)
			}
			s.Report(ev)
			switch ev.Type {
			case events.Phase:
				if ev.Phase == phaseProgram && ev.State == stateStarted {
					s.takeSignals()
					s.order(order{Go: true})
				}
			case events.SessionEnded:
				ended = &ev
			}
		}
	}
}

// startBroker starts the broker process and gives it the plan. It returns what the broker has to say.
func (s *outer) startBroker() (reports *os.File, err error) {
	orders, control, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer orders.Close()
	reports, told, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer told.Close()
	s.control = control

	p := plan{
		Session: s.session,
		Config:  s.Config, EnvFile: s.Config.Feature.Env.File,
		Command: s.Command, Group: unix.Getpgrp(),
		Events: -1, Frequent: s.Frequent, Values: s.Values, Warnings: s.Warnings,
	}
	p.setTarget(s.Config.Target)
	argv := []string{os.Args[0], BrokerCommand}
	for _, f := range []*os.File{orders, told, s.Events} {
		if f == nil {
			continue
		}
		number, err := inherited(f)
		if err != nil {
			return nil, err
		}
		if f != s.Events {
			argv = append(argv, number)
		} else if _, err := fmt.Sscan(number, &p.Events); err != nil {
			return nil, err
		}
	}
	exe, err := selfExe()
	if err != nil {
		return nil, err
	}
	s.broker, err = syscall.ForkExec(exe, argv, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if s.Events != nil {
		unix.CloseOnExec(p.Events)
	}
	if err != nil {
		return nil, err
	}
	procs.WatchOver(s.broker)
	return reports, json.NewEncoder(control).Encode(p)
}

func newSession() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// order tells the broker something. If it is gone, that is seen elsewhere.
func (s *outer) order(o order) { _ = json.NewEncoder(s.control).Encode(o) }

// takeSignals begins to forward signals; until then they end this process, and with it the session.
func (s *outer) takeSignals() {
	s.signals = make(chan os.Signal, 64)
	for _, sig := range []os.Signal{
		syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGCONT,
		syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP,
	} {
		if !signal.Ignored(sig) { // nohup: the program ignores it too
			signal.Notify(s.signals, sig)
		}
	}
}

// forward passes a signal to the program, unless the terminal has sent it there already.
func (s *outer) forward(sig syscall.Signal) {
	switch sig {
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP:
		if inForeground() {
			return
		}
	}
	s.order(order{Signal: sig})
}

// inForeground: does this process's group, which is the program's, get the signals of the terminal's keys?
func inForeground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// finish is called when the broker has nothing more to say.
func (s *outer) finish(ended *events.Event) (Ending, error) {
	if ended != nil {
		ending, ok := endingFrom(*ended)
		if !ok {
			return Ending{}, errors.New("the broker did not say how the program ended")
		}
		if ended.Remaining == 0 {
			s.collect(0) // the broker has closed everything and is about to be gone
		}
		return ending, nil
	}
	// The broker is an ancestor of all; without it they became our children, as we are the next subreaper.
	procs.End(os.Getpid(), s.before, s.exited, func() { s.collect(syscall.WNOHANG) })
	s.collect(0)
	removeRecord(s.session)
	removeScratch(s.session)
	overlay.Sweep(os.TempDir())
	how := "ended"
	if s.died.Signaled() {
		how = "was killed by " + signalName(s.died.Signal())
	}
	return Ending{}, fmt.Errorf("the broker of this session %s, so the program was ended too\nhint: see above, or the system's log, for the reason; out of memory is a frequent one", how)
}

// collect takes in ended children; with flags 0 it waits for the broker.
func (s *outer) collect(flags int) {
	for !s.gone || flags != 0 {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, flags, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil || pid <= 0:
			return
		case pid == s.broker:
			s.gone, s.died = true, ws
		}
	}
}

// Fail reports a failure of ours, and so the session's end, to the user and to whoever reads the events (nil for nobody).
func Fail(err error, ending Ending, report func(events.Event), out *os.File) {
	failed := FailureEvent(err)
	failed.Time = time.Now()
	ended := ending.event(events.Event{Type: events.SessionEnded, Time: failed.Time})
	report(failed)
	report(ended)
	if out == nil {
		return
	}
	e := events.NewEmitter(out)
	e.Emit(failed)
	e.Emit(ended)
	e.Close(eventsPatience)
}

// eventsPatience is how long a session's end waits for a reader of the events that stands still.
const eventsPatience = 2 * time.Second
