package live

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/widget"

	"mirrord/app/look"
	"mirrord/app/session"
)

// table is a list of rows of one kind with a line about them.
type table[T any] struct {
	body   *fyne.Container
	list   *widget.List
	status *look.Text
	rows   []T
	needle string
}

func newTable[T any](create func() fyne.CanvasObject, show func(o fyne.CanvasObject, row T), above ...fyne.CanvasObject) *table[T] {
	t := &table[T]{status: look.Caption("").Short(60)}
	t.list = widget.NewList(func() int { return len(t.rows) }, create, func(i int, o fyne.CanvasObject) {
		if i < len(t.rows) {
			show(o, t.rows[i])
		}
	})
	panel := look.Panel(look.Sized(200, 96, look.Tight(t.list)))
	t.body = look.Fill(look.Step, panel, append(above, panel, t.status)...)
	return t
}

func (t *table[T]) content() fyne.CanvasObject { return t.body }

// set shows the rows of which words has the needle.
func (t *table[T]) set(rows []T, words func(T) string, status string) {
	if t.needle != "" {
		rows = slices.DeleteFunc(slices.Clone(rows), func(r T) bool { return !strings.Contains(strings.ToLower(words(r)), t.needle) })
		status = fmt.Sprintf("%d of ", len(rows)) + status
	}
	t.rows = rows
	t.status.Set(status)
	t.list.Refresh()
}

func (t *table[T]) search(text string) { t.needle = strings.ToLower(text) }

// cells is a row of a table.
type cells struct {
	widget.BaseWidget
	body fyne.CanvasObject
}

func (c *cells) CreateRenderer() fyne.WidgetRenderer { return widget.NewSimpleRenderer(c.body) }

// processes is the tree of the session's processes.
type processes struct {
	*table[session.Process]
	o Options
}

type processCells struct {
	cells
	indent             *fyne.Container
	name, pid, why, at *look.Text
	verdict            *look.Badge
}

func newProcesses(o Options) *processes {
	create := func() fyne.CanvasObject {
		c := &processCells{name: look.Mono("").Short(60), pid: look.NewText("0000000", look.TextCaption, look.ColorSecondary), why: look.Caption("").Short(60).Coded(),
			at: look.Caption("").Short(90), verdict: look.NewBadge("in the pod", look.ColorGood)}
		c.pid.Style.Monospace = true
		c.indent = look.Sized(0, 1, look.Space(0, 1))
		texts := look.Column(0, c.name, c.why)
		c.body = look.Sized(0, 40, look.Inset(0, 16, 0, 12, look.Row(10, texts, c.indent, look.NewIcon("terminal", 14, look.ColorSecondary), texts, c.verdict, look.Fixed(64, c.at), c.pid)))
		c.ExtendBaseWidget(c)
		return c
	}
	p := &processes{o: o}
	p.table = newTable(create, func(o fyne.CanvasObject, one session.Process) { o.(*processCells).show(one) })
	return p
}

func (c *processCells) show(p session.Process) {
	c.indent.Objects[0] = look.Space(float32(min(p.Depth, 12))*20, 1)
	name := path.Base(p.Path)
	if len(p.Arguments) > 1 {
		name += " " + strings.Join(p.Arguments[1:], " ")
	}
	c.name.Set(name)
	c.name.SetColor(look.ColorText)
	c.pid.Set(fmt.Sprintf("%7d", p.PID))
	c.why.Hidden = p.Reason == ""
	c.why.Set(p.Reason)
	verdict, ink := verdictWords(p.Verdict)
	c.verdict.Set(verdict, ink)
	switch {
	case !p.Ended:
		c.at.Set("running")
		c.at.SetColor(look.ColorGood)
	case p.Signal != "":
		c.at.Set(p.Signal)
		c.at.SetColor(look.ColorBad)
	case p.Status != nil && *p.Status != 0:
		c.at.Set(fmt.Sprintf("status %d", *p.Status))
		c.at.SetColor(look.ColorBad)
	default:
		c.at.Set("ended")
		c.at.SetColor(look.ColorSecondary)
		c.name.SetColor(look.ColorSecondary)
	}
	c.Refresh()
}

func verdictWords(v string) (string, fyne.ThemeColorName) {
	switch v {
	case "outside":
		return "outside", look.ColorWarn
	case "lost":
		return "lost", look.ColorBad
	case "copy":
		return "in the pod, a copy", look.ColorGood
	case "supervise":
		return "in the pod, answered", look.ColorGood
	}
	return "in the pod", look.ColorGood
}

func (p *processes) update(session.Summary) {
	all := p.o.Model.Processes()
	running, outside := 0, 0
	for _, one := range all {
		if !one.Ended {
			running++
		}
		if !one.Inside() {
			outside++
		}
	}
	words := fmt.Sprintf("%s, %d running", look.Many(len(all), "process", "processes"), running)
	if outside > 0 {
		words += fmt.Sprintf(", %d outside the pod", outside)
	}
	p.set(all, func(one session.Process) string {
		return fmt.Sprint(one.Path, one.Arguments, one.PID, one.Verdict, one.Reason)
	}, words)
}

func (p *processes) text() string {
	var b strings.Builder
	for _, one := range p.rows {
		fmt.Fprintf(&b, "%s%s\t%d\t%s\t%s\n", strings.Repeat("  ", one.Depth), one.Path, one.PID, one.Verdict, one.Reason)
	}
	return b.String()
}

// environment compares the variables of this machine, of the pod, and of the program.
type environment struct {
	*table[session.Variable]
	o     Options
	which *look.Segmented
}

type variableCells struct {
	cells
	name, value, was *look.Text
	from             *look.Badge
}

func newEnvironment(o Options) *environment {
	e := &environment{o: o}
	e.which = look.NewSegmented([]string{"Changed", "From the pod", "All"}, 0, func(int) { e.update(session.Summary{}) })
	create := func() fyne.CanvasObject {
		c := &variableCells{name: look.Mono(""), value: look.Mono("").Short(80), was: look.NewText("", look.TextCaption, look.ColorSecondary), from: look.NewBadge("pod", look.ColorAccent)}
		c.name.Short(40)
		c.was.Short(40)
		c.body = look.Sized(0, 28, look.Inset(0, 16, 0, 12, look.Row(12, c.value, look.Fixed(200, c.name), look.Fixed(104, container.NewHBox(c.from)), c.value, look.Fixed(150, c.was))))
		c.ExtendBaseWidget(c)
		return c
	}
	e.table = newTable(create, func(o fyne.CanvasObject, v session.Variable) { o.(*variableCells).show(v) }, look.Row(look.Step, nil, e.which))
	return e
}

func (c *variableCells) show(v session.Variable) {
	c.name.Set(v.Name)
	ink := look.ColorSecondary
	switch v.From {
	case "pod":
		ink = look.ColorAccent
	case "":
		ink = look.ColorWarn
	}
	c.from.Set(source(v), ink)
	value, was := "", ""
	if v.Values != nil {
		value = v.Values.Final
		if v.Local && v.Values.Local != v.Values.Final {
			was = "here: " + v.Values.Local
		} else if v.Pod && v.Values.Pod != v.Values.Final {
			was = "in the pod: " + v.Values.Pod
		}
	} else if v.Local && v.From == "pod" {
		was = "replaces this machine’s"
	}
	c.value.Set(value)
	c.was.Set(was)
	c.Refresh()
}

func source(v session.Variable) string {
	switch v.From {
	case "local":
		return "this machine"
	case "":
		return "left out"
	}
	return v.From
}

func (e *environment) update(session.Summary) {
	all := e.o.Model.Environment()
	kept := slices.DeleteFunc(slices.Clone(all), func(v session.Variable) bool {
		switch e.which.Chosen {
		case 0:
			return v.From == "local"
		case 1:
			return v.From != "pod"
		}
		return false
	})
	e.set(kept, func(v session.Variable) string { return v.Name }, fmt.Sprintf("%s of %d", look.Many(len(kept), "variable", "variables"), len(all)))
}

func (e *environment) text() string {
	var b strings.Builder
	for _, v := range e.rows {
		value := ""
		if v.Values != nil {
			value = v.Values.Final
		}
		fmt.Fprintf(&b, "%s=%s\t%s\n", v.Name, value, source(v))
	}
	return b.String()
}

// timeline shows when the link to the pod was there, and how long the start took.
type timeline struct {
	*table[moment]
	o     Options
	strip *fyne.Container
	ends  [2]*look.Text
}

// moment is a phase of the start or a change of the link.
type moment struct {
	at           time.Time
	ink          fyne.ThemeColorName
	title, words string
	took         time.Duration
}

type momentCells struct {
	cells
	clock, title, words, took *look.Text
	dot                       *look.Dot
}

func newTimeline(o Options) *timeline {
	t := &timeline{o: o}
	t.ends = [2]*look.Text{look.Caption("").Short(60), look.Caption("").Short(60)}
	t.strip = container.New(&spans{})
	create := func() fyne.CanvasObject {
		c := &momentCells{clock: look.NewText("00:00:00", look.TextCaption, look.ColorSecondary), title: look.Body("").Short(60), words: look.Caption("").Short(100).Coded(), took: look.Caption("").Short(70),
			dot: look.NewDot(look.ColorGood)}
		c.clock.Style.Monospace = true
		c.took.Align = fyne.TextAlignTrailing
		c.body = look.Sized(0, 28, look.Inset(0, 16, 0, 12, look.Row(12, c.words, c.clock, c.dot, look.Fixed(180, c.title), c.words, look.Fixed(70, c.took))))
		c.ExtendBaseWidget(c)
		return c
	}
	gap := look.Space(1, 1)
	t.table = newTable(create, func(o fyne.CanvasObject, m moment) { o.(*momentCells).show(m) },
		look.Column(4, look.Sized(0, 16, t.strip), look.Row(look.Step, gap, t.ends[0], gap, t.ends[1])))
	return t
}

func (c *momentCells) show(m moment) {
	if c.clock.Set(m.at.Format("15:04:05")); m.at.IsZero() {
		c.clock.Set("starting")
	}
	c.dot.Set(m.ink)
	c.title.Set(m.title)
	c.words.Set(m.words)
	c.took.Set("")
	if m.took > 0 {
		c.took.Set(look.Latency(m.took))
	}
	c.Refresh()
}

func (t *timeline) update(s session.Summary) {
	var all []moment
	for _, p := range s.Phases {
		ink := look.ColorGood
		switch {
		case p.State == "failed":
			ink = look.ColorBad
		case p.State == "started" && s.State == session.Starting:
			ink = look.ColorAccent
		}
		all = append(all, moment{ink: ink, title: startWords(p.Name), words: p.Message, took: p.Took})
	}
	marks := t.o.Model.Timeline()
	lost := 0
	for _, m := range marks {
		one := moment{at: m.Time, ink: look.ColorGood, title: "Linked to the pod", words: m.Text, took: m.Away}
		switch {
		case !m.Up:
			lost++
			one.ink, one.title = look.ColorWarn, "Link lost"
		case m.Away > 0:
			one.title = "Linked again"
		}
		all = append(all, one)
	}
	end := t.o.Now()
	if !s.Ended.IsZero() {
		end = s.Ended
	}
	t.draw(s, marks, end)
	t.set(all, func(m moment) string { return m.title + m.words }, lostWords(lost))
}

func lostWords(times int) string {
	if times == 0 {
		return "The link to the pod was never lost"
	}
	return "The link to the pod was lost " + look.Many(times, "time", "times")
}

// startWords names a phase of the start.
func startWords(phase string) string {
	if phase == "" {
		return "Start"
	}
	return strings.ToUpper(phase[:1]) + phase[1:]
}

// draw puts the strip together: a stretch of colour from each mark to the next.
func (t *timeline) draw(s session.Summary, marks []session.Mark, end time.Time) {
	l := t.strip.Layout.(*spans)
	whole := end.Sub(s.Began)
	t.strip.RemoveAll()
	l.from = l.from[:0]
	add := func(at time.Time, ink fyne.ThemeColorName) {
		f := float32(0)
		if whole > 0 {
			f = min(1, max(0, float32(at.Sub(s.Began))/float32(whole)))
		}
		l.from = append(l.from, f)
		t.strip.Add(look.NewBox(look.Paint{Fill: ink, Stroke: look.ColorClear}, 3))
	}
	add(s.Began, look.ColorSunken)
	for _, m := range marks {
		add(m.Time, map[bool]fyne.ThemeColorName{true: look.ColorGood, false: look.ColorWarn}[m.Up])
	}
	t.strip.Refresh()
	if !s.Began.IsZero() {
		t.ends[0].Set(s.Began.Format("15:04:05"))
		t.ends[1].Set(end.Format("15:04:05"))
	}
}

// spans lays out stretches that begin at parts of the width.
type spans struct{ from []float32 }

func (l *spans) MinSize([]fyne.CanvasObject) fyne.Size { return fyne.NewSize(40, 12) }

func (l *spans) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	for i, o := range objects {
		to := float32(1)
		if i+1 < len(l.from) {
			to = l.from[i+1]
		}
		x := l.from[i] * size.Width
		o.Move(fyne.NewPos(x, 0))
		o.Resize(fyne.NewSize(max(2, to*size.Width-x-1), size.Height))
	}
}

func (t *timeline) text() string {
	var b strings.Builder
	for _, m := range t.rows {
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\n", m.at.Format("15:04:05"), m.title, m.words, m.took)
	}
	return b.String()
}
