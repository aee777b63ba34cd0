package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/launcher/config"
	"mirrord/launcher/events"
	"mirrord/launcher/procs"
	"mirrord/layer"
	"mirrord/sip"
)

// Phases and states of events.Phase. The program phase starts when everything is ready; the broker then waits for outer, which may have to
// clear a line on the terminal first.
const (
	phaseTarget   = "target"
	phaseAgent    = "agent"
	phaseLink     = "link"
	phaseEnv      = "environment"
	phaseLayer    = "layer"
	phaseDecision = "decision"
	phaseBroker   = "broker"
	phaseProgram  = "program"

	stateStarted = "started"
	stateDone    = "done"

	// Of the link.
	stateLost     = "lost"
	stateRestored = "restored"
	stateFailed   = "failed"
)

// Variables for tests.
var (
	// censusInterval is how often the processes are looked at while nothing happens.
	censusInterval = time.Second
	// lingering is how long the broker stays after the last process of the session, for one that is just being started.
	lingering = 5 * time.Second
	// helloTime is how long the layer in a program may take to report.
	helloTime = 5 * time.Second
)

// Broker is the broker process, started by Exec with the numbers of two inherited descriptors. It returns when the session is over.
func Broker(orders, reports string) error { return runBroker(orders, reports, openPod) }

// opener sets up the pod's context. Tests have their own.
type opener func(ctx context.Context, p *plan, decide func(sip.Request) sip.Verdict, emit func(events.Event)) (*pod, error)

// pod is the program's context while the broker serves it.
type pod struct {
	env      []string                  // the program's whole environment
	library  string                    // the layer's file
	summary  string                    // what the program gets, one line for people
	injected func(pid int) bool        // has this process said hello?
	drain    func(limit time.Duration) // waits until what ended programs have written last is on its way; may be nil
	close    func() error              // ends the broker, the link and the agent; may be nil
}

// brokerProcess is run by one goroutine, so a signal can never reach a process that has been collected: its pid may be another's.
type brokerProcess struct {
	plan    plan
	orders  chan order // closed when outer is gone
	exited  chan os.Signal
	stop    chan os.Signal // SIGTERM: Session.Stop
	stdio   [3]uintptr     // the program's
	outer   int            // pid
	reports *os.File
	toOuter *events.Emitter
	toFile  *events.Emitter // nil when nobody asked
	engine  *sip.Engine
	copier  *copier
	pod     *pod
	census  *census
	plans   plans
	record  record
	counts  counts
	began   time.Time       // the session
	program int             // pid; 0 before the start and after the end
	first   events.Event    // its process.started
	lost    bool            // it was reported that it never said hello
	losses  map[string]bool // lost programs that are remembered
	ending  Ending
}

func runBroker(orders, reports string, open opener) error {
	b := &brokerProcess{outer: os.Getppid(), copier: newCopier(), losses: map[string]bool{}}
	b.census = newCensus(b.emit, b.copier.original)
	b.catchSignals()
	control, err := b.takePipes(orders, reports)
	if err != nil {
		return fmt.Errorf("this command is for mirrord itself: %w", err)
	}
	defer b.closeEvents()
	defer func() {
		if b.pod != nil && b.pod.close != nil {
			_ = b.pod.close()
		}
	}()
	defer b.record.close()
	words := json.NewDecoder(control)
	b.plan.Config = config.Default()
	if err := words.Decode(&b.plan); err != nil {
		return err
	}
	b.plan.Config.Feature.Env.File = b.plan.EnvFile
	b.engine = Engine().Heed(lists(b.plan.Config))
	if err := procs.BecomeSubreaper(func(env []string) bool { return bearsMark(env, b.plan.Session) }); err != nil {
		return err
	}
	if b.plan.Events >= 0 {
		f, err := adopt(b.plan.Events, "events")
		if err != nil {
			return err
		}
		b.toFile = events.NewEmitter(f)
	}
	b.orders = make(chan order, 64)
	go func() {
		defer close(b.orders)
		for {
			var o order
			if words.Decode(&o) != nil {
				return
			}
			b.orders <- o
		}
	}()
	b.session(open)
	return nil
}

// catchSignals lets the keys of the terminal and the like pass: outer decides what to forward.
func (b *brokerProcess) catchSignals() {
	b.exited = make(chan os.Signal, 1)
	b.stop = make(chan os.Signal, 1)
	passed := make(chan os.Signal, 1)
	signal.Notify(b.exited, syscall.SIGCHLD)
	for _, sig := range []os.Signal{
		syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTSTP,
		syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGPIPE,
	} {
		if !signal.Ignored(sig) { // nohup: the program is to inherit that
			signal.Notify(passed, sig)
		}
	}
	if !signal.Ignored(syscall.SIGTERM) {
		signal.Notify(b.stop, syscall.SIGTERM)
	}
}

// takePipes adopts the pipes, and puts the standard streams aside for the program: this process never reads or writes them. What the Go
// runtime has to say in a crash goes to outer.
func (b *brokerProcess) takePipes(orders, reports string) (control *os.File, err error) {
	in, err1 := strconv.Atoi(orders)
	out, err2 := strconv.Atoi(reports)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if control, err = adopt(in, "orders"); err != nil {
		return nil, err
	}
	if b.reports, err = adopt(out, "reports"); err != nil {
		return nil, err
	}
	for i := range b.stdio {
		fd, err := unix.FcntlInt(uintptr(i), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return nil, err
		}
		b.stdio[i] = uintptr(fd)
	}
	b.toOuter = events.NewEmitter(b.reports)
	return control, dup(out, 2)
}

// emit is safe for concurrent use.
func (b *brokerProcess) emit(ev events.Event) {
	ev.Time = time.Now()
	b.counts.add(ev)
	b.plans.note(ev)
	if ev.Type == events.ProcessInject {
		b.census.heard(ev.PID)
	}
	if b.plan.Values && (ev.Type == events.ProcessStarted || ev.Type == events.ProcessInject) {
		ev.Arguments = procs.Arguments(ev.PID)
	}
	if b.toFile != nil {
		b.toFile.Emit(ev)
	}
	if b.plan.Frequent || !ev.Type.Frequent() {
		b.toOuter.Emit(ev)
	}
	if ev.Type == events.Listen {
		b.record.listens(ev.Port)
	}
}

func (b *brokerProcess) closeEvents() {
	b.toOuter.Close(0)
	_ = b.reports.Close()
	if b.toFile != nil {
		b.toFile.Close(eventsPatience)
	}
}

// session is everything from the plan to the end.
func (b *brokerProcess) session(open opener) {
	b.began = time.Now()
	started := events.Event{Type: events.SessionStarted, Session: b.plan.Session, Target: b.plan.Target.Path, Command: b.plan.Command}
	if !b.plan.Values {
		started.Command = started.Command[:1] // arguments may be secrets
	}
	b.emit(started)
	for _, w := range b.plan.Warnings {
		b.emit(w)
	}
	err := b.openPod(open)
	if err == nil {
		b.census.library, b.census.injected = b.pod.library, b.pod.injected
		b.register()
		err = b.start()
	}
	if errors.Is(err, errOuterGone) {
		return
	}
	if err != nil {
		b.ending = endingOfFailure(err)
		b.emit(FailureEvent(err))
		b.end(0)
		return
	}
	b.supervise()
}

// register makes the session known to `mirrord session`.
func (b *brokerProcess) register() {
	cwd, _ := os.Getwd() // without one it is empty
	_, err := Sessions() // removes what killed ones have left
	if err == nil {
		err = b.record.open(Session{
			ID: b.plan.Session, Target: b.plan.Target.Path, Program: b.plan.Command[0], Arguments: len(b.plan.Command) - 1,
			Cwd: cwd, Started: time.Now().UTC().Truncate(time.Second), Ports: []int{}, Outer: member(b.outer), Broker: member(os.Getpid()),
		})
	}
	if err != nil {
		ev := FailureEvent(err)
		b.emit(events.Event{Type: events.Warning, Message: "`mirrord session` will not know this session: " + ev.Message, Hint: ev.Hint})
	}
}

// openPod sets up the pod's context, which may take long, unless outer is gone first. Meanwhile it is decided about the program.
func (b *brokerProcess) openPod(open opener) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		decided := make(chan struct{})
		go func() {
			defer close(decided)
			b.foresee()
		}()
		var err error
		b.pod, err = open(ctx, &b.plan, b.decide, b.emit)
		<-decided // after an error, too: nothing is told after the session's end
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-b.orders: // none is given yet, so it was closed
	}
	cancel()
	select {
	case <-done:
	case <-time.After(procs.Patience): // the end of this process ends what is left
	}
	return errOuterGone
}

// foresee decides about the program before the pod's environment is known, so that the copy, where there has to be one, is made by then.
func (b *brokerProcess) foresee() {
	_ = newPhases(b.emit)(phaseDecision, func() (string, error) { // it is decided again, and that counts
		env, _ := b.plan.Config.Feature.Env.Compose(os.Environ(), nil)
		v := b.engine.Decide(firstRequest(&b.plan, env))
		if v.Kind == sip.Copy {
			v = b.copier.substitute(v, nil)
		}
		return v.Kind.String(), nil
	})
}

var errOuterGone = errors.New("the outer process is gone")

// endingOfFailure is what a shell would return for a program that it cannot start, else our own status.
func endingOfFailure(err error) Ending {
	switch {
	case errors.Is(err, sip.ErrNotFound):
		return Ending{Status: notFound}
	case errors.Is(err, sip.ErrNotExecutable):
		return Ending{Status: notExecutable}
	}
	return Ending{Status: OwnFailure}
}

// start decides about the program and starts it as soon as outer agrees.
func (b *brokerProcess) start() error {
	command := b.plan.Command
	v := b.decide(firstRequest(&b.plan, b.pod.env))
	if v.Kind == sip.Fails {
		return programError(command[0], v.Err)
	}
	b.emit(events.Event{Type: events.Phase, Phase: phaseProgram, State: stateStarted, Message: b.pod.summary, Took: milliseconds(time.Since(b.began))})
	for ready := false; !ready; {
		o, ok := <-b.orders
		if !ok {
			return errOuterGone
		}
		ready = o.Go
	}
	argv, env := firstExec(command, b.pod.env, b.pod.library, v)
	var err error
	b.program, err = syscall.ForkExec(v.Path, argv, &syscall.ProcAttr{
		Env:   env,
		Files: b.stdio[:],
		Sys:   &syscall.SysProcAttr{Setpgid: true, Pgid: b.plan.Group},
	})
	if err != nil {
		b.program = 0
		return programError(command[0], &sip.Error{Path: v.Path, Errno: err.(syscall.Errno)})
	}
	for _, fd := range b.stdio {
		_ = unix.Close(int(fd))
	}
	if err := quiet(); err != nil {
		return err
	}
	b.first = events.Event{Time: time.Now(), Type: events.ProcessStarted, PID: b.program, PPID: os.Getpid(), Path: v.Program, Verdict: v.Kind.String(), Reason: v.Reason}
	b.emit(b.first)
	if v.Kind == sip.Outside {
		ev := b.first
		ev.Type = events.ProcessOutside
		b.emit(ev)
	}
	return nil
}

// firstRequest is the exec of the program in its environment.
func firstRequest(p *plan, env []string) sip.Request {
	cwd, _ := os.Getwd() // without one, relative paths are not found
	return sip.Request{Path: p.Command[0], Argv0: p.Command[0], Args: p.Command[1:], Cwd: cwd, PathVar: lookup(env, "PATH"), Search: true, Env: env}
}

// lists are what the user says of programs by their names.
func lists(c *config.Config) sip.Lists {
	return sip.Lists{Skip: c.SkipProcesses, AllBuild: !c.SkipBuildTools, BuildTools: c.SkipExtraBuildTools}
}

// decide is the engine's, with the copy made if there is to be one, and notes what was decided for the census. It is safe for concurrent use.
func (b *brokerProcess) decide(r sip.Request) sip.Verdict {
	r.Path = b.copier.original(r.Path)
	v := b.engine.Decide(r)
	if v.Kind == sip.Copy {
		v = b.copier.substitute(v, r.Caller)
	}
	if v.Kind == sip.Supervise && !r.Supervised {
		v = b.help(v, r)
	}
	if v.Kind == sip.Outside && !v.Skipped { // what is skipped says hello
		b.census.announce(v.Program)
	}
	return v
}

// help has the helper executed in the place of a program that is to be supervised. If it cannot be, the program runs outside.
func (b *brokerProcess) help(v sip.Verdict, r sip.Request) sip.Verdict {
	if r.Caller != nil && r.Caller.UID != os.Geteuid() {
		return v.Unhelped(fmt.Sprintf("who started mirrord cannot look into this process, which is another user's (%d)", r.Caller.UID))
	}
	if b.pod == nil {
		return v
	}
	helper := layer.Variant(b.pod.library, layer.Supervise)
	if err := unix.Access(helper, unix.X_OK); err != nil {
		return v.Unhelped(fmt.Sprintf("%s cannot be executed: %v", helper, err))
	}
	return v.Helped(helper, r)
}

func programError(name string, err error) error {
	hint := "check the name, and PATH"
	switch {
	case errors.Is(err, syscall.E2BIG):
		hint = "the arguments and the environment are too long together; feature.env.exclude leaves out variables of the pod"
	case errors.Is(err, sip.ErrNotExecutable):
		hint = "it must be a program or a script with the permission to execute it (chmod +x)"
	}
	return fmt.Errorf("cannot execute %q: %w\nhint: %s", name, err, hint)
}

// lookup finds a variable; the last one counts, as in most programs.
func lookup(env []string, name string) (value string) {
	for _, kv := range env {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			value = v
		}
	}
	return value
}
