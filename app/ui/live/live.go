// Package live shows one session while it runs and after it: console, events, processes, environment, and the link to the pod. It holds no picture of its own: Update asks the
// model for what is on the screen, so the model may change thousands of times a second.
package live

import (
	"fmt"
	"strings"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"

	"mirrord/app/console"
	"mirrord/app/look"
	"mirrord/app/session"
)

// Model is the picture of a session; *session.Model is one.
type Model interface {
	Summary() session.Summary
	Rows(f session.Filter, limit int) ([]session.Row, int)
	Processes() []session.Process
	Environment() []session.Variable
	Timeline() []session.Mark
}

// Output is what the program prints; *console.Buffer is one.
type Output interface {
	Range() (first, next int)
	Lines(from, to int) (lines []console.Line, first int)
	Text(from, to int) string
	Search(text string, limit int) []console.Match
	Clear()
}

// Options are a session and what may be done with it.
type Options struct {
	Name     string
	Command  string // as one types it
	Plain    bool   // without mirrord
	Model    Model
	Output   Output
	Now      func() time.Time
	Stop     func()
	Again    func()                  // run it anew
	Edit     func()                  // change what is run; nil: that cannot be done
	Terminal func()                  // run it in a terminal, where it can ask questions; nil: that cannot be done
	Copy     func(text string)       // to the clipboard
	Input    func(text string) error // to the program; nil: it cannot be typed to
	Resize   func(columns, rows int) // of the terminal that the program has; nil: nobody needs to know
}

// The tabs.
const (
	Console = iota
	Events
	Processes
	Environment
	Timeline
)

var tabs = []string{"Console", "Events", "Processes", "Environment", "Timeline"}

// View is a session on the screen. It belongs to the goroutine of the window.
type View struct {
	Content fyne.CanvasObject

	o       Options
	dot     *look.Dot
	state   *look.Text
	about   *look.Text
	stop    *look.Button
	again   *look.Button
	banners *fyne.Container
	said    string // what the banners say
	counts  *counts
	tab     *look.Segmented
	pages   [5]page
	find    *look.Input
}

// page is what a tab shows.
type page interface {
	content() fyne.CanvasObject
	update(s session.Summary)
	search(text string)
	text() string // for the clipboard
}

// New makes a view; Update fills it.
func New(o Options) *View {
	v := &View{o: o}
	v.dot = look.NewDot(look.ColorSecondary)
	v.state = look.Body("").Bold()
	v.about = look.NewText(o.Command, 12, look.ColorSecondary).Short(80)
	v.about.Style.Monospace = true
	v.stop = look.NewButton("Stop", "stop", look.Danger, func() { o.Stop() })
	v.again = look.NewButton("Run again", "restart", look.Plain, func() { o.Again() })
	v.banners = look.Column(look.Step)
	v.banners.Hide()
	v.counts = newCounts(v.show)
	events := newEvents(o)
	v.pages = [5]page{newTerminal(o), events, newProcesses(o), newEnvironment(o), newTimeline(o)}
	bodies := make([]fyne.CanvasObject, len(v.pages))
	for i, p := range v.pages {
		bodies[i] = p.content()
		bodies[i].Hide()
	}
	bodies[0].Show()
	v.tab = look.NewSegmented(tabs, Console, func(int) { v.turn() })
	v.find = look.NewInput("Find")
	v.find.OnChanged = func(text string) { v.pages[v.tab.Chosen].search(text); v.Update() }
	v.find.OnSubmitted = func(string) {
		if t, ok := v.pages[v.tab.Chosen].(*terminal); ok {
			t.back()
		}
	}
	copyAll := look.NewButton("", "copy", look.Plain, func() { o.Copy(v.Text()) })
	copyAll.Name = "Copy what is shown"

	shell := look.NewButton("Terminal", "terminal", look.Plain, o.Terminal)
	shell.Hidden = o.Terminal == nil
	edit := look.NewButton("Edit", "pencil", look.Plain, o.Edit)
	edit.Hidden = o.Edit == nil
	titles := look.Column(4, look.Title(o.Name), look.Row(look.Step, v.about, v.dot, v.state, look.Space(4, 1), v.about))
	stack := container.NewStack(bodies...)
	gap := look.Space(0, 1)
	bar := look.Row(look.Step, gap, v.tab, gap, look.Fixed(152, look.Field(v.find)), copyAll)
	v.Content = look.Pad(3*look.Step, look.Fill(2*look.Step, stack,
		look.Row(look.Step, titles, titles, edit, shell, v.again, v.stop), v.banners, v.counts.Content, bar, stack))
	return v
}

// Show turns to a tab.
func (v *View) Show(tab int) { v.tab.Choose(tab) }

// Next turns to the next tab.
func (v *View) Next() { v.Show((v.tab.Chosen + 1) % len(tabs)) }

// Text is what the tab shows, for the clipboard: of the console the lines that are chosen, if any.
func (v *View) Text() string { return v.pages[v.tab.Chosen].text() }

// Chosen is the text of the lines of the console that are chosen; empty: none are, or another tab is shown.
func (v *View) Chosen() string {
	if t := v.pages[Console].(*terminal); v.tab.Chosen == Console && t.chosen.some {
		return t.text()
	}
	return ""
}

// Release chooses no lines any more.
func (v *View) Release() { v.pages[Console].(*terminal).choose(chosen{}) }

// Focus gives the keyboard to the search.
func (v *View) Focus(c fyne.Canvas) { c.Focus(v.find) }

// show turns to the events of one kind.
func (v *View) show(k session.Kind) {
	v.pages[Events].(*events).only(k)
	v.Show(Events)
	v.Update()
}

func (v *View) turn() {
	v.pages[Console].(*terminal).input.LetGo()
	for i, p := range v.pages {
		if i == v.tab.Chosen {
			p.content().Show()
			p.search(v.find.Text)
		} else {
			p.content().Hide()
		}
	}
	v.Update()
}

// Update shows what the model has now.
func (v *View) Update() {
	s := v.o.Model.Summary()
	ink, words := State(s, v.o.Plain, v.o.Now())
	v.dot.Set(ink)
	v.state.Set(words)
	v.state.SetColor(ink)
	about := v.o.Command
	if s.Target != "" {
		about += "  in  " + s.Target
	}
	v.about.Set(about)
	running := s.State != session.Ended
	v.stop.Enabled(running && s.State != session.Stopping)
	if v.stop.Visible() != running {
		if v.stop.Hidden = !running; running {
			v.again.SetStyle(look.Plain)
		} else {
			v.again.SetStyle(look.Primary)
		}
	}
	v.notices(s)
	all, outside := v.o.Model.Processes(), 0
	for _, p := range all {
		if !p.Inside() {
			outside++
		}
	}
	v.counts.update(s, len(all), outside)
	v.pages[v.tab.Chosen].update(s)
}

// notices shows errors first; at most two, so that the console stays on the screen.
func (v *View) notices(s session.Summary) {
	const most = 2
	said := ""
	for _, n := range s.Notices {
		said += fmt.Sprint(n.Error, n.Message, n.Hint, n.Count, "\n")
	}
	if said == v.said {
		return
	}
	v.said = said
	v.banners.RemoveAll()
	for i, n := range s.Notices {
		if i == most {
			v.banners.Add(look.Caption(fmt.Sprintf("%d more under Events, Messages", len(s.Notices)-most)))
			break
		}
		message := n.Message
		if n.Count > 1 {
			message += fmt.Sprintf(" (%d times)", n.Count)
		}
		v.banners.Add(look.NewBanner(n.Error, message, n.Hint).Brief())
	}
	v.banners.Hidden = len(s.Notices) == 0
	v.Content.Refresh()
}

// State says how a session is, in a colour.
func State(s session.Summary, plain bool, now time.Time) (fyne.ThemeColorName, string) {
	switch s.State {
	case session.Starting:
		for i := len(s.Phases) - 1; i >= 0; i-- {
			if p := s.Phases[i]; p.State == "started" {
				return look.ColorAccent, "Starting: " + p.Name
			}
		}
		return look.ColorAccent, "Starting"
	case session.Running:
		words := "Running for " + look.Duration(now.Sub(s.Began))
		if plain {
			return look.ColorGood, words + ", plain"
		}
		if !s.Linked {
			return look.ColorWarn, "Reconnecting"
		}
		return look.ColorGood, words
	case session.Stopping:
		return look.ColorWarn, "Stopping"
	case session.Leftover:
		return look.ColorWarn, fmt.Sprintf("The program has ended, %s not", look.Many(s.Remain, "process has", "processes have"))
	}
	took := ""
	if !s.Began.IsZero() {
		took = " after " + look.Duration(s.Ended.Sub(s.Began))
	}
	switch {
	case s.Signal == "SIGTERM" || s.Signal == "SIGINT":
		return look.ColorSecondary, "Stopped" + took
	case s.Signal != "":
		return look.ColorBad, "Ended by " + s.Signal + took
	case s.Status == nil:
		return look.ColorBad, "Did not run"
	case *s.Status != 0:
		return look.ColorBad, fmt.Sprintf("Ended with status %d%s", *s.Status, took)
	}
	return look.ColorSecondary, "Ended well" + took
}

// counts is the strip of numbers; a press shows the events behind one.
type counts struct {
	Content fyne.CanvasObject
	cells   []*count
	rest    *look.Text
}

type count struct {
	kind          session.Kind
	number, below *look.Text
}

var counted = []session.Kind{session.Files, session.Names, session.Outgoing, session.Incoming, session.Processes}

func newCounts(show func(session.Kind)) *counts {
	c := &counts{rest: look.Caption("")}
	strip := look.Even(look.Step)
	for _, k := range counted {
		one := &count{k, look.Lead("0").Short(40), look.Caption(k.String()).Short(40)}
		t := look.NewTile(k.String(), look.Inset(8, 12, 8, 12, look.Column(0, one.number, one.below)), func() { show(k) })
		t.Normal, t.Over = look.Paint{Fill: look.ColorSurface, Stroke: look.ColorHairline}, look.Paint{Fill: look.ColorSurface, Stroke: look.ColorAccent}
		strip.Add(t)
		c.cells = append(c.cells, one)
	}
	c.Content = strip
	return c
}

// update shows the counts; of processes those that there are, however often they executed something.
func (c *counts) update(s session.Summary, processes, outside int) {
	for _, one := range c.cells {
		t := s.Tallies[one.kind]
		if one.kind == session.Processes {
			t = session.Tally{Count: int64(processes), Failed: int64(outside)}
		}
		one.number.Set(look.Count(t.Count))
		parts := []string{one.kind.String()}
		ink := look.ColorSecondary
		switch {
		case t.Failed > 0:
			word := " failed"
			if one.kind == session.Processes {
				word = " outside"
			}
			parts, ink = append(parts, look.Count(t.Failed)+word), look.ColorBad
		case t.P50 > 0:
			parts = append(parts, look.Latency(t.P50))
		case t.Bytes > 0:
			parts = append(parts, look.Bytes(t.Bytes))
		}
		one.below.Set(strings.Join(parts, " · "))
		one.below.SetColor(ink)
	}
}
