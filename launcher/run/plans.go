package run

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"mirrord/launcher/events"
	"mirrord/launcher/procs"
	"mirrord/sip"
)

// plans pairs every exec that is to end in a program with the layer with the hello of that program. What stays alone is a program that runs without
// the pod's context, although nobody decided so.
//
// A hello belongs to a plan of its own process, which executed the program, or of its parent, which started it. Under load a hello may overtake
// its plan (they come on different sockets then), so those that no plan was made for are kept for a moment.
type plans struct {
	mu      sync.Mutex
	open    []plannedExec
	early   []events.Event   // hellos, the latest last
	outside map[int]struct{} // processes that were reported as outside
}

// plannedExec is one exec that was announced.
type plannedExec struct {
	pid     int       // of who announced it: the program's, or its parent's
	program string    // the file that was to run, absolute
	names   [2]string // its name, and the one that it has without symbolic links
	at      time.Time
}

// maxEarly and maxPlans bound what is kept. A build announces thousands of execs a second; most are paired within a millisecond.
const (
	maxEarly = 4096
	maxPlans = 4096
)

// note takes in what is said about processes; other events are ignored. It is safe for concurrent use.
func (p *plans) note(ev events.Event) {
	switch ev.Type {
	case events.ProcessExec:
		if !expectsHello(ev.Verdict) || ev.PID <= 0 {
			return
		}
		program := ev.Path
		if ev.Program != "" {
			program = ev.Program
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		e := plannedExec{ev.PID, program, namesOf(program), ev.Time}
		if !p.overtaken(e) && len(p.open) < maxPlans {
			p.open = append(p.open, e)
		}
	case events.ProcessOutside:
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.outside == nil {
			p.outside = map[int]struct{}{}
		}
		if len(p.outside) < maxPlans {
			p.outside[ev.PID] = struct{}{}
		}
	case events.ProcessInject:
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.arrived(ev.PID, ev.PPID, ev.Path) {
			return
		}
		row, _ := procs.Of(ev.PID)
		// In a process namespace of its own a program does not know its parent's number as we do.
		if row.PPID != ev.PPID && p.arrived(ev.PID, row.PPID, ev.Path) {
			return
		}
		// An orphan's plan is that of a process that is gone.
		if (ev.PPID == 1 || row.PPID == 1 || row.PPID == os.Getpid()) && p.drop(func(e *plannedExec) bool { return e.is(ev.Path) && !e.there() }, 1) {
			return
		}
		if p.early = append(p.early, ev); len(p.early) > maxEarly {
			p.early = p.early[1:]
		}
	}
}

func expectsHello(verdict string) bool {
	return verdict == sip.Inject.String() || verdict == sip.ExecOnly.String() || verdict == sip.Copy.String()
}

// arrived takes out the plan that a hello belongs to. By its own number a process is known whatever it runs; all that it announced before has
// happened then, or failed.
func (p *plans) arrived(pid, ppid int, exe string) bool {
	if p.drop(func(e *plannedExec) bool { return e.pid == pid }, maxPlans) {
		return true
	}
	return p.drop(func(e *plannedExec) bool { return e.pid == ppid && e.is(exe) }, 1)
}

// overtaken says whether the hello of this exec is there already.
func (p *plans) overtaken(e plannedExec) bool {
	for i, h := range p.early {
		if (h.PID == e.pid || h.PPID == e.pid) && e.at.Sub(h.Time) < helloTime && e.is(h.Path) {
			p.early = append(p.early[:i], p.early[i+1:]...)
			return true
		}
	}
	return false
}

// drop takes out the last n plans that fit, and says whether there was one. Mostly there is none, or it is among the last.
func (p *plans) drop(fits func(*plannedExec) bool, n int) bool {
	dropped := 0
	for i := len(p.open) - 1; i >= 0 && dropped < n; i-- {
		if fits(&p.open[i]) {
			p.open = slices.Delete(p.open, i, i+1)
			dropped++
		}
	}
	return dropped > 0
}

// reported says whether the process was reported as outside: to supervise it has failed, or it executed such a program.
func (p *plans) reported(pid int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, yes := p.outside[pid]
	return yes
}

// waiting is how many hellos are expected.
func (p *plans) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open)
}

// overdue takes out the plans that were made before a time.
func (p *plans) overdue(before time.Time) (late []plannedExec) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = slices.DeleteFunc(p.open, func(e plannedExec) bool {
		if !e.at.Before(before) {
			return false
		}
		late = append(late, e)
		return true
	})
	return late
}

// is compares names only: a program may run under a link's name, as a copy, or elsewhere after chroot.
func (e *plannedExec) is(exe string) bool { return slices.Contains(e.names[:], filepath.Base(exe)) }

// there says whether the process that announced it exists.
func (e *plannedExec) there() bool {
	_, yes := procs.Of(e.pid)
	return yes
}

func namesOf(program string) [2]string {
	real := program
	for range 8 {
		to, err := os.Readlink(real)
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(real), to)
		}
		real = to
	}
	return [2]string{filepath.Base(program), filepath.Base(real)}
}

// judge says what became of an exec whose program never said hello. lost is false when a process runs the program with the layer after all.
func (c *census) judge(e plannedExec, table []procs.Process) (ev events.Event, lost bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ev = events.Event{Type: events.ProcessLost, PID: e.pid, Path: e.program, Reason: "it did not start, or ended before the layer in it reached the broker"}
	for _, p := range table {
		if p.PID != e.pid && p.PPID != e.pid {
			continue
		}
		exe := procs.Exe(p.PID)
		if exe == "" || !e.is(exe) {
			continue
		}
		if c.hasLayer(p.PID) {
			return ev, false
		}
		ev.PID, ev.PPID, ev.Reason = p.PID, p.PPID, "the layer in it did not reach the broker"
		return ev, true
	}
	return ev, true
}
