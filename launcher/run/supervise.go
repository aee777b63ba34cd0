package run

import (
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/launcher/events"
	"mirrord/launcher/procs"
)

// supervise stays with the program until it ends, and with what it leaves behind.
func (b *brokerProcess) supervise() {
	next := time.NewTimer(censusInterval)
	defer next.Stop()
	for b.program != 0 {
		select {
		case <-b.exited:
			if b.collect(); b.program != 0 {
				b.census.take(os.Getpid(), false)
			}
		case <-next.C:
			b.census.take(os.Getpid(), false)
			b.expectHellos(helloTime)
			next.Reset(b.census.interval())
		case o, ok := <-b.orders:
			if !ok { // outer was killed
				b.endAll()
				return
			}
			if o.Signal != 0 {
				_ = unix.Kill(b.program, o.Signal)
			}
		}
	}
	b.settle()
	inside := b.census.take(os.Getpid(), true)
	if b.ending.Signal == 0 { // what was killed may not have come as far
		b.awaitHellos()
		b.expectHellos(0)
	}
	// A program that was killed had no chance to end its children, and who kills a job that hard wants it gone.
	if inside > 0 && (b.ending.Signal == syscall.SIGKILL || b.stopped()) {
		b.endAll()
		inside = 0
	}
	b.end(inside)
	if inside > 0 {
		b.linger()
	}
}

// stopped says whether the session is to be stopped, rather than the program only.
func (b *brokerProcess) stopped() bool {
	select {
	case <-b.stop:
		return true
	default:
		return false
	}
}

// dyingTime is how long processes that end with the program may take for it, before they count as remaining; drainTime is how long the last words
// of the session may be on their way.
const (
	dyingTime = 300 * time.Millisecond
	drainTime = 2 * time.Second
)

// settle waits for the processes that are about to end because the program has: workers that notice, pipelines that run dry.
func (b *brokerProcess) settle() {
	over := time.After(dyingTime)
	for b.census.take(os.Getpid(), false) > 0 {
		select {
		case <-b.exited:
			b.collect()
		case <-over:
			return
		}
	}
}

// expectHello reports a program that should have the layer and never said so: it has run without the pod's context.
func (b *brokerProcess) expectHello() {
	if b.lost || b.plans.reported(b.first.PID) || b.pod.injected(b.first.PID) {
		return
	}
	b.lost = true
	ev := b.first
	ev.Type, ev.Time, ev.Verdict = events.ProcessLost, time.Time{}, ""
	ev.Reason = "the layer in it did not reach the broker"
	b.lose(ev)
}

// awaitHellos waits as long as hellos still come: after many short programs some lie in a queue.
func (b *brokerProcess) awaitHellos() {
	for n := b.plans.waiting(); n > 0; {
		time.Sleep(dyingTime / 3)
		left := b.plans.waiting()
		if left == n {
			return
		}
		n = left
	}
}

// expectHellos reports the programs that should have the layer and have not said so for some time.
func (b *brokerProcess) expectHellos(patience time.Duration) {
	now := time.Now()
	if now.Sub(b.first.Time) >= patience {
		b.expectHello()
	}
	late := b.plans.overdue(now.Add(-patience))
	if len(late) == 0 {
		return
	}
	table := procs.Descendants(os.Getpid(), nil)
	for _, e := range late {
		if ev, lost := b.census.judge(e, table); lost {
			b.lose(ev)
		}
	}
}

// lose reports a lost program, and remembers each once.
func (b *brokerProcess) lose(ev events.Event) {
	b.emit(ev)
	if !b.losses[ev.Path] {
		b.losses[ev.Path] = true
		remember(ev)
	}
}

// collect takes in every child that has changed: the program, and orphans that became ours.
func (b *brokerProcess) collect() {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG|syscall.WUNTRACED|syscall.WCONTINUED, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		first := pid == b.program
		switch {
		case ws.Stopped():
			if first {
				b.emit(events.Event{Type: events.ProcessStopped, PID: pid, Signal: signalName(ws.StopSignal())})
				b.signalOuter(unix.SIGSTOP)
			}
		case ws.Continued():
			if first {
				b.emit(events.Event{Type: events.ProcessResumed, PID: pid})
				b.signalOuter(unix.SIGCONT)
			}
		default:
			ending := endingOf(ws)
			b.emit(ending.event(events.Event{Type: events.ProcessExited, PID: pid}))
			if first {
				b.program, b.ending = 0, ending
				b.signalOuter(unix.SIGCONT) // it may have been killed while it was stopped
			}
		}
	}
}

// signalOuter stops and continues outer with the program, so that the shell sees the job stop. Outer itself takes no part: two processes that
// both did could end up one stopped and the other running.
func (b *brokerProcess) signalOuter(sig syscall.Signal) {
	if os.Getppid() == b.outer {
		_ = unix.Kill(b.outer, sig)
	}
}

func (b *brokerProcess) endAll() { procs.End(os.Getpid(), nil, b.exited, b.collect) }

// end closes the session for outer, which returns the program's status then. While processes remain in the pod's context it stays open
// for them.
func (b *brokerProcess) end(remaining int) {
	if remaining == 0 && b.pod != nil && b.pod.drain != nil {
		b.pod.drain(drainTime)
	}
	if remaining == 0 && b.pod != nil && b.pod.close != nil {
		_ = b.pod.close()
		b.pod.close = nil
	}
	if remaining > 0 {
		what := "1 process remains"
		if remaining > 1 {
			what = strconv.Itoa(remaining) + " processes remain"
		}
		b.emit(events.Event{
			Type:    events.Warning,
			Message: what + " in the pod's context, and the session stays open until the last has ended",
			Hint:    "`mirrord session stop " + b.plan.Session + "` ends them", Remaining: remaining,
		})
	}
	ev := b.ending.event(events.Event{Type: events.SessionEnded, Time: time.Now(), Remaining: remaining})
	b.counts.put(&ev)
	if b.toFile != nil { // who waits for outer may look there at once
		b.toFile.Emit(ev)
		b.toFile.Flush(eventsPatience)
	}
	b.toOuter.Emit(ev)
}

// linger serves what outlives the program, without outer.
func (b *brokerProcess) linger() {
	b.toOuter.Close(0)
	_ = dup(0, 2) // the last hold on the pipe, whose end outer waits for
	_ = b.reports.Close()
	tick := time.NewTicker(censusInterval)
	defer tick.Stop()
	last := time.Now()
	for time.Since(last) < lingering {
		select {
		case <-b.exited:
			b.collect()
		case <-tick.C:
		case <-b.stop:
			b.endAll()
			return
		}
		if b.census.take(os.Getpid(), false) > 0 {
			last = time.Now()
		}
	}
}
