package live

import (
	"fmt"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/widget"

	"mirrord/app/look"
	"mirrord/app/session"
)

// shown is how many rows the list has at most; the filter is applied to all that are kept.
const shown = 2000

// events is the list of what happens, with filters.
type events struct {
	o      Options
	body   *fyne.Container
	list   *widget.List
	chips  []*look.Chip
	failed *look.Chip
	follow *look.Chip
	status *look.Text
	detail *fyne.Container
	more   *look.Text
	filter session.Filter
	rows   []session.Row
}

var kinds = []session.Kind{session.Files, session.Names, session.Outgoing, session.Incoming, session.Processes, session.Messages}

var kindIcons = map[session.Kind]string{session.Files: "file", session.Names: "search", session.Outgoing: "out", session.Incoming: "in", session.Processes: "tree", session.Messages: "activity"}

func newEvents(o Options) *events {
	e := &events{o: o}
	bar := look.Flow(6, 6)
	for _, k := range kinds {
		chip := look.NewChip(k.String(), false, func(on bool) {
			if e.filter.Kinds &^= 1 << k; on {
				e.filter.Kinds |= 1 << k
			}
			e.pull()
		})
		e.chips = append(e.chips, chip)
		bar.Add(chip)
	}
	e.failed = look.NewChip("Failed only", false, func(on bool) { e.filter.Failed = on; e.pull() })
	bar.Add(e.failed)
	e.follow = look.NewChip("Follow", true, func(bool) { e.pull() })
	e.status = look.Caption("").Short(60)
	e.more = look.Mono("").Wrapped()
	e.detail = look.On(look.Paint{Fill: look.ColorSunken, Stroke: look.ColorClear}, 8, look.Pad(12, e.more))
	e.detail.Hide()
	e.list = widget.NewList(func() int { return len(e.rows) }, func() fyne.CanvasObject { return newLine() }, func(i int, o fyne.CanvasObject) {
		if i < len(e.rows) {
			o.(*line).show(e.rows[i])
		}
	})
	e.list.OnSelected = func(i int) {
		if i < len(e.rows) {
			e.follow.On = false
			e.follow.Refresh()
			e.more.Code = e.rows[i].Kind == session.Messages
			e.more.Set(full(e.rows[i]))
			e.detail.Show()
			e.body.Refresh()
		}
	}
	panel := look.Panel(look.Sized(200, 96, look.Tight(e.list)))
	e.body = look.Fill(look.Step, panel, bar, panel, e.detail, look.Row(look.Step, e.status, e.status, e.follow))
	return e
}

func (e *events) content() fyne.CanvasObject { return e.body }

func (e *events) only(k session.Kind) {
	e.filter.Kinds = 1 << k
	for i, c := range e.chips {
		c.On = kinds[i] == k
		c.Refresh()
	}
}

func (e *events) search(text string) { e.filter.Text = text; e.pull() }

func (e *events) pull() {
	rows, matching := e.o.Model.Rows(e.filter, shown)
	e.rows = rows
	words := look.Many(matching, "event", "events")
	if matching > len(rows) {
		words += fmt.Sprintf(", the last %s are listed", look.Count(int64(len(rows))))
	}
	s := e.o.Model.Summary()
	if s.Rate >= 1 {
		words += fmt.Sprintf(" · %s/s", look.Count(int64(s.Rate)))
	}
	if s.Dropped > 0 {
		words += " · " + look.Count(s.Dropped) + " dropped"
	}
	if s.Garbage > 0 {
		words += " · " + look.Many(int(s.Garbage), "line was", "lines were") + " no event"
	}
	e.status.Set(words)
	e.list.Refresh()
	if e.follow.On {
		e.list.ScrollToBottom()
	}
}

func (e *events) update(session.Summary) { e.pull() }

func (e *events) text() string {
	var b strings.Builder
	for _, r := range e.rows {
		b.WriteString(strings.ReplaceAll(full(r), "\n", "\t") + "\n")
	}
	return b.String()
}

// full is all that a row has, a thing per line.
func full(r session.Row) string {
	parts := []string{r.Time.Format("15:04:05.000") + "  " + string(r.Type), r.Title}
	if r.Detail != "" {
		parts = append(parts, r.Detail)
	}
	tail := ""
	if r.Errno != "" {
		tail += r.Errno + "  "
	}
	if r.Took >= 0 {
		tail += look.Latency(r.Took) + "  "
	}
	if r.Bytes > 0 {
		tail += look.Bytes(r.Bytes) + "  "
	}
	if r.PID != 0 {
		tail += fmt.Sprint("process ", r.PID)
	}
	if tail != "" {
		parts = append(parts, strings.TrimSpace(tail))
	}
	return strings.Join(parts, "\n")
}

// line is an event on the screen.
type line struct {
	widget.BaseWidget
	body          fyne.CanvasObject
	clock, detail *look.Text
	title, took   *look.Text
	icon          *look.Icon
	errno         *look.Badge
}

func newLine() *line {
	l := &line{
		clock:  look.NewText("00:00:00", look.TextCaption, look.ColorSecondary),
		icon:   look.NewIcon("file", 14, look.ColorSecondary),
		title:  look.Mono("").Path(60),
		detail: look.Caption("").Short(40),
		errno:  look.NewBadge("", look.ColorBad),
		took:   look.Caption("").Short(40),
	}
	l.clock.Style.Monospace = true
	l.took.Align = fyne.TextAlignTrailing
	l.body = look.Sized(0, 24, look.Inset(0, 16, 0, 12, look.Row(10, l.title, l.clock, l.icon, l.title, look.Fixed(210, look.Row(6, l.detail, l.errno, l.detail)), look.Fixed(52, l.took))))
	l.ExtendBaseWidget(l)
	return l
}

func (l *line) CreateRenderer() fyne.WidgetRenderer { return widget.NewSimpleRenderer(l.body) }

func (l *line) show(r session.Row) {
	l.clock.Set(r.Time.Format("15:04:05"))
	ink := look.ColorSecondary
	if r.Bad() {
		ink = look.ColorBad
	}
	l.icon.Set(kindIcons[r.Kind], ink)
	said := r.Kind == session.Messages // a sentence of mirrord's; all else are names, and of a path its end matters
	l.title.Code, l.title.Head, l.detail.Code = said, !said, said
	l.title.Set(r.Title)
	l.detail.Set(r.Detail)
	if l.errno.Hidden = r.Errno == ""; r.Errno != "" {
		l.errno.Set(r.Errno, look.ColorBad)
	}
	switch {
	case r.Took >= 0:
		l.took.Set(look.Latency(r.Took))
	case r.Bytes > 0:
		l.took.Set(look.Bytes(r.Bytes))
	default:
		l.took.Set("")
	}
	l.Refresh()
}
