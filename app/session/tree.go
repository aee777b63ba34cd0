package session

import (
	"cmp"
	"slices"
	"time"

	"mirrord/launcher/events"
)

// maxProcesses bounds the tree; of more, those that have ended are forgotten first.
const maxProcesses = 10000

// process is one of the tree, by its pid.
type process struct {
	Process
	next events.Event // the exec that it has announced, for itself or a child
	seen int64        // rises with each that is added
}

// tree is the processes of the session.
type tree struct {
	known map[int]*process
	added int64
}

// note takes in an event about a process.
func (t *tree) note(ev *events.Event) {
	if t.known == nil {
		t.known = map[int]*process{}
	}
	switch ev.Type {
	case events.ProcessExec:
		if p := t.known[ev.PID]; p != nil && !p.Ended {
			p.next = events.Event{Path: cut(ev.Path), Program: cut(ev.Program), Verdict: ev.Verdict, Reason: cut(ev.Reason)}
		}
	case events.ProcessStarted, events.ProcessInject, events.ProcessOutside, events.ProcessLost:
		t.start(ev)
	case events.ProcessExited:
		if p := t.known[ev.PID]; p != nil {
			p.Ended, p.Status, p.Signal = true, ev.Status, ev.Signal
		}
	}
}

// start notes that a process runs a program.
func (t *tree) start(ev *events.Event) {
	announced := t.announced(ev)
	p := t.known[ev.PID]
	if p == nil || p.Ended {
		t.added++
		p = &process{Process: Process{PID: ev.PID, PPID: ev.PPID, Started: ev.Time}, seen: t.added}
		t.known[ev.PID] = p
		t.forget()
	}
	if ev.PPID != 0 {
		p.PPID = ev.PPID
	}
	before := p.Path
	p.Path = cut(ev.Path)
	p.next = events.Event{}
	if len(ev.Arguments) > 0 {
		p.Arguments = ev.Arguments
	}
	switch {
	case ev.Type == events.ProcessLost:
		p.Verdict, p.Reason = "lost", cut(ev.Reason)
	case ev.Verdict != "":
		p.Verdict, p.Reason = ev.Verdict, cut(ev.Reason)
	case announced != nil:
		p.Verdict, p.Reason = announced.Verdict, announced.Reason
	case before != p.Path || p.Verdict == "": // of process.started and process.injected, which tell of one start, either may come first
		p.Verdict, p.Reason = "inject", ""
	}
}

// announced is the exec that has led to a start, nil when it is not known: of the process itself, or of its parent for a child.
func (t *tree) announced(ev *events.Event) *events.Event {
	for _, pid := range []int{ev.PID, ev.PPID} {
		if p := t.known[pid]; p != nil && p.next.Verdict != "" && (p.next.Program == ev.Path || p.next.Program == "" && p.next.Path == ev.Path) {
			found := p.next
			p.next = events.Event{}
			return &found
		}
	}
	return nil
}

// forget drops the oldest of those that have ended, else the oldest of all, a tenth at a time.
func (t *tree) forget() {
	if len(t.known) <= maxProcesses {
		return
	}
	all := make([]*process, 0, len(t.known))
	for _, p := range t.known {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *process) int {
		if a.Ended != b.Ended {
			return map[bool]int{true: -1, false: 1}[a.Ended]
		}
		return cmp.Compare(a.seen, b.seen)
	})
	for _, p := range all[:maxProcesses/10] {
		delete(t.known, p.PID)
	}
}

// sweep notes which processes are gone: of those that are no child of the session's first nobody tells.
func (t *tree) sweep(alive func(pid int) bool) (changed bool) {
	for pid, p := range t.known {
		if !p.Ended && !alive(pid) {
			p.Ended, changed = true, true
		}
	}
	return changed
}

// list is the tree, depth first, siblings as they began.
func (t *tree) list() []Process {
	children := map[int][]*process{}
	for _, p := range t.known {
		parent := p.PPID
		if q := t.known[parent]; q == nil || parent == p.PID || q.seen > p.seen { // one that began later is no parent, so there are no circles
			parent = 0
		}
		children[parent] = append(children[parent], p)
	}
	out := make([]Process, 0, len(t.known))
	type level struct {
		left  []*process
		depth int
	}
	open := []level{{children[0], 0}}
	order := func(l []*process) { slices.SortFunc(l, func(a, b *process) int { return cmp.Compare(a.seen, b.seen) }) }
	order(children[0])
	for len(open) > 0 {
		top := &open[len(open)-1]
		if len(top.left) == 0 {
			open = open[:len(open)-1]
			continue
		}
		p := top.left[0]
		top.left = top.left[1:]
		one := p.Process
		one.Depth = top.depth
		out = append(out, one)
		if below := children[p.PID]; p.PID != 0 && len(below) > 0 {
			order(below)
			open = append(open, level{below, top.depth + 1})
		}
	}
	return out
}

func took(milliseconds float64) time.Duration {
	return time.Duration(milliseconds * float64(time.Millisecond))
}
