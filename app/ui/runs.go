package ui

import (
	"context"
	"strings"

	"fyne.io/fyne/v2"

	"mirrord/app/launches"
	"mirrord/app/look"
	"mirrord/app/ui/live"
	"mirrord/app/ui/plan"
)

// running is a launch that was started by this window.
type running struct {
	*Run
	view *live.View
	item *navItem
	over bool
	done chan struct{} // closed when it has ended and that is shown
	told int           // how many marks of the time line were told of
}

// Run starts a launch and shows it.
func (w *Window) Run(l launches.Launch) {
	var run *Run
	var err error
	w.async(func(context.Context) { run, err = w.s.Start(l) }, func() {
		if err != nil {
			w.say(err)
			return
		}
		w.begin(run, l)
	})
}

// begin shows what was started.
func (w *Window) begin(run *Run, l launches.Launch) {
	r := &running{Run: run, done: make(chan struct{})}
	r.view = live.New(live.Options{Name: l.Name, Command: strings.Join(l.Command, " "), Plain: l.Plain, Model: run.Model, Output: run.Output, Now: w.s.Now, Copy: w.copy,
		Stop: run.Stop, Again: func() { w.again(r) }, Edit: func() { w.Edit(w.saved(l), plan.Program) }, Terminal: func() { w.terminal(l) }, Input: run.Input, Resize: run.Resize})
	r.item = newNavItem(l.Name, "", func() { w.show(r, r.view.Content); r.view.Update() })
	w.runs = append(w.runs, r)
	w.list()
	w.show(r, r.view.Content)
	r.view.Update()
	w.s.Go(func() { w.follow(r) })
}

// saved is a launch as it is saved now, which may be another way than when it was run; l when it is not saved any more.
func (w *Window) saved(l launches.Launch) launches.Launch {
	all, err := w.s.Store.List()
	if err != nil {
		w.say(err)
	}
	for _, one := range all {
		if one.ID == l.ID && one.Fault == nil {
			return one
		}
	}
	return l
}

func (w *Window) terminal(l launches.Launch) {
	if err := w.s.Terminal(l); err != nil {
		w.say(err)
	}
}

// follow draws anew when there is something new. The model tells so ten times a second at most, and the next change waits until the drawing is done, so a flood of events costs
// no more than that.
func (w *Window) follow(r *running) {
	for range r.Changed {
		fyne.DoAndWait(func() { w.changed(r) })
	}
	fyne.Do(func() {
		r.over = true
		w.changed(r)
		w.ended(r)
		close(r.done)
	})
}

func (w *Window) changed(r *running) {
	s := r.Model.Summary()
	ink, _ := live.State(s, r.Launch.Plain, w.s.Now())
	r.item.dot.Set(ink)
	if w.shown == r {
		r.view.Update()
	}
	marks := r.Model.Timeline()
	for _, m := range marks[min(r.told, len(marks)):] {
		if !m.Up {
			w.s.Notify(r.Launch.Name+" has lost its pod", look.Uncoded(m.Text))
		} else if m.Away > 0 {
			w.s.Notify(r.Launch.Name+" is linked again", "the pod was away for "+look.Duration(m.Away))
		}
	}
	r.told = len(marks)
}

// ended notes the result, and tells it if it is a bad one.
func (w *Window) ended(r *running) {
	s := r.Model.Summary()
	result := launches.Result{Time: s.Began, Took: s.Ended.Sub(s.Began), Status: s.Status, Signal: s.Signal}
	for _, n := range s.Notices {
		if n.Error && result.Error == "" {
			result.Error = n.Message
		}
	}
	if r.Launch.ID != "" {
		if err := w.s.Store.Ran(r.Launch.ID, result); err != nil {
			w.say(err)
		}
	}
	if !result.OK() && s.Signal != "SIGTERM" && s.Signal != "SIGINT" {
		_, words := live.State(s, r.Launch.Plain, w.s.Now())
		w.s.Notify(r.Launch.Name+" has ended", words)
	}
	w.list()
	if w.shown == w.pages[Home] {
		w.Turn(Home)
	}
}

// again ends a run and starts its launch anew in its place.
func (w *Window) again(r *running) {
	l := r.Launch
	if r.over {
		w.forget(r)
		w.Run(l)
		return
	}
	r.Stop()
	w.s.Go(func() {
		<-r.done
		fyne.Do(func() { w.forget(r); w.Run(l) })
	})
}

// forget takes a run that has ended out of the sidebar.
func (w *Window) forget(r *running) {
	for i, one := range w.runs {
		if one == r {
			w.runs = append(w.runs[:i:i], w.runs[i+1:]...)
			break
		}
	}
	w.list()
	if w.shown == r {
		w.Turn(Home)
	}
}

// list names the runs in the sidebar and in the tray.
func (w *Window) list() {
	w.running.RemoveAll()
	for _, r := range w.runs {
		w.running.Add(r.item.tile)
	}
	w.heading.Hidden = len(w.runs) == 0
	w.Content().Refresh()
	if w.tray != nil {
		w.tray(w.trayMenu())
	}
	if w.shown == w.pages[Sessions] {
		w.pages[Sessions].turn()
	}
}

// isRunning says whether a saved launch runs here.
func (w *Window) isRunning(id string) bool {
	for _, r := range w.runs {
		if r.Launch.ID == id && !r.over {
			return true
		}
	}
	return false
}

// current is the run on the screen, else nil.
func (w *Window) current() *running {
	r, _ := w.shown.(*running)
	return r
}
