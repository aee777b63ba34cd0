package live

import (
	"fmt"
	"image/color"
	"math"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/widget"

	"mirrord/app/console"
	"mirrord/app/look"
	"mirrord/app/session"
)

// terminal shows the output, wrapped to the width, and follows its end unless one has scrolled up.
type terminal struct {
	o      Options
	body   *fyne.Container
	list   *widget.List
	status *look.Text
	follow *look.Chip
	input  *look.Input
	typing *fyne.Container // around it
	size   [2]int          // what the program was told

	rows        []row // of the lines first to next-1
	first, next int
	columns     int
	needle      string
	marks       map[int][]console.Match // by line
	at          int                     // the row of the place that is shown
	cell        fyne.Size
	chosen      chosen
}

// row is a piece of a line that fits into the width.
type row struct{ line, from int }

const consolePoints = 12

func newTerminal(o Options) *terminal {
	t := &terminal{o: o, columns: 80}
	t.cell = fyne.MeasureText("M", consolePoints, fyne.TextStyle{Monospace: true})
	t.cell.Height = float32(math.Ceil(float64(t.cell.Height))) // so that rows meet, and are as far apart as each other
	t.list = widget.NewList(func() int { return len(t.rows) }, func() fyne.CanvasObject { return newStrip(t) }, func(i int, o fyne.CanvasObject) {
		if i < len(t.rows) {
			o.(*strip).show(t.rows[i])
		}
	})
	t.status = look.Caption("").Short(60)
	t.follow = look.NewChip("Follow", true, func(on bool) {
		if on {
			t.list.ScrollToBottom()
		}
	})
	t.input = look.NewInput("Type to the program")
	t.input.TextStyle.Monospace = true
	t.input.OnSubmitted = func(text string) {
		if err := o.Input(text + "\n"); err == nil {
			t.input.SetText("")
		}
	}
	t.typing = look.Fixed(200, look.Field(t.input))
	panel := look.On(look.Paint{Fill: look.ColorSurface, Stroke: look.ColorHairline}, 10, look.Pad(12, container.New(&watch{resized: t.resized}, look.Tight(t.list))))
	t.body = look.Fill(look.Step, panel, panel, look.Row(look.Step, t.status, t.status, t.typing, t.follow))
	return t
}

func (t *terminal) content() fyne.CanvasObject { return t.body }

// watch tells the size that its object gets.
type watch struct {
	resized func(size fyne.Size)
	size    fyne.Size
}

func (w *watch) MinSize(objects []fyne.CanvasObject) fyne.Size { return fyne.NewSize(120, 60) }

func (w *watch) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	objects[0].Resize(size)
	if w.size != size {
		w.size = size
		w.resized(size)
	}
}

func (t *terminal) resized(size fyne.Size) {
	columns, rows := max(20, int((size.Width-10)/t.cell.Width)), max(4, int(size.Height/(t.cell.Height+1))) // the scroll bar is over the end
	if told := [2]int{columns, rows}; t.o.Resize != nil && t.size != told {
		t.size = told
		t.o.Resize(columns, rows)
	}
	if columns != t.columns {
		t.columns = columns
		t.rewrap()
		t.list.Refresh()
		t.stick()
	}
}

func (t *terminal) rewrap() {
	t.first, t.next, t.rows = 0, 0, t.rows[:0]
	t.pull()
}

// pull takes over what the buffer has got and lost. The last line may have grown, so it is taken anew.
func (t *terminal) pull() {
	first, next := t.o.Output.Range()
	gone := 0
	for gone < len(t.rows) && t.rows[gone].line < first {
		gone++
	}
	t.rows = t.rows[gone:]
	const redrawn = 50 // progress bars move the cursor up to so many lines
	from := max(first, min(t.next, next)-redrawn)
	if t.next == 0 {
		from = first
	}
	for len(t.rows) > 0 && t.rows[len(t.rows)-1].line >= from {
		t.rows = t.rows[:len(t.rows)-1]
	}
	lines, at := t.o.Output.Lines(from, next)
	for i, l := range lines {
		n := 0
		for _, span := range l {
			n += len([]rune(span.Text))
		}
		t.rows = append(t.rows, row{at + i, 0})
		for f := t.columns; f < n; f += t.columns {
			t.rows = append(t.rows, row{at + i, f})
		}
	}
	t.first, t.next = first, next
	t.chosen.some = t.chosen.some && t.chosen.last() >= first
}

func (t *terminal) update(s session.Summary) {
	if over := s.State == session.Ended || t.o.Input == nil; over == t.typing.Visible() {
		if t.typing.Hidden = over; over {
			t.input.LetGo()
		}
		t.body.Refresh()
	}
	t.pull()
	t.look()
	t.list.Refresh()
	t.stick()
	t.status.Set(t.words())
}

// words are what is to be said about what is shown.
func (t *terminal) words() string {
	switch {
	case t.chosen.some:
		return look.Many(t.chosen.last()-t.chosen.first()+1, "line is", "lines are") + " chosen"
	case t.needle != "":
		n := 0
		for _, m := range t.marks {
			n += len(m)
		}
		return look.Many(n, "place has", "places have") + " “" + t.needle + "”"
	case t.first > 0:
		return look.Many(t.next, "line", "lines") + fmt.Sprintf(", of which the first %s are gone", look.Count(int64(t.first)))
	}
	return look.Many(t.next, "line", "lines")
}

func (t *terminal) stick() {
	if t.follow.On && t.needle == "" {
		t.list.ScrollToBottom()
	}
}

func (t *terminal) look() {
	if t.marks = nil; t.needle == "" {
		return
	}
	t.marks = map[int][]console.Match{}
	for _, m := range t.o.Output.Search(t.needle, 1000) {
		t.marks[m.Line] = append(t.marks[m.Line], m)
	}
}

// search marks all places and shows the last.
func (t *terminal) search(text string) {
	if t.needle = text; text == "" {
		return
	}
	t.chosen.some = false
	t.look()
	t.at = len(t.rows)
	t.back()
}

// back shows the place before the one that is shown, and after the first the last.
func (t *terminal) back() {
	for range t.rows {
		if t.at--; t.at < 0 || t.at >= len(t.rows) {
			t.at = len(t.rows) - 1
		}
		if r := t.rows[t.at]; r.from == 0 && len(t.marks[r.line]) > 0 {
			t.list.ScrollTo(t.at)
			return
		}
	}
}

func (t *terminal) text() string {
	first, next := t.o.Output.Range()
	if t.chosen.some {
		first, next = t.chosen.first(), t.chosen.last()+1
	}
	return t.o.Output.Text(first, next)
}

// strip is one row on the screen: pieces of text, each in its style, on a grid.
type strip struct {
	widget.BaseWidget
	t       *terminal
	objects []fyne.CanvasObject
}

func newStrip(t *terminal) *strip {
	s := &strip{t: t}
	s.ExtendBaseWidget(s)
	return s
}

func (s *strip) show(r row) {
	lines, _ := s.t.o.Output.Lines(r.line, r.line+1)
	s.objects = s.objects[:0]
	if len(lines) == 1 {
		s.draw(r, lines[0])
	}
	s.Refresh()
}

func (s *strip) draw(r row, line console.Line) {
	at, end := 0, r.from+s.t.columns
	if s.t.chosen.has(r.line) {
		mark := canvas.NewRectangle(look.Color("selection"))
		s.place(mark, 0, s.t.columns)
		mark.Resize(mark.Size().AddWidthHeight(0, 1)) // up to the next row
	}
	for _, m := range s.t.marks[r.line] {
		if from, to := max(m.From, r.from), min(m.To, end); from < to {
			s.place(canvas.NewRectangle(look.Color("focus")), from-r.from, to-from)
		}
	}
	for _, span := range line {
		runes := []rune(span.Text)
		from, to := max(at, r.from), min(at+len(runes), end)
		if from < to {
			piece := strings.ReplaceAll(string(runes[from-at:to-at]), "\t", " ")
			ink, ground := colors(span.Style)
			if ground != nil {
				s.place(canvas.NewRectangle(ground), from-r.from, to-from)
			}
			text := canvas.NewText(piece, ink)
			text.TextSize, text.TextStyle = consolePoints, fyne.TextStyle{Monospace: true, Bold: span.Style.Bold}
			s.place(text, from-r.from, to-from)
		}
		at += len(runes)
	}
}

func (s *strip) place(o fyne.CanvasObject, column, width int) {
	o.Move(fyne.NewPos(float32(column)*s.t.cell.Width, 0))
	o.Resize(fyne.NewSize(float32(width)*s.t.cell.Width, s.t.cell.Height))
	s.objects = append(s.objects, o)
}

func (s *strip) CreateRenderer() fyne.WidgetRenderer { return &stripRenderer{s} }

type stripRenderer struct{ s *strip }

func (r *stripRenderer) Destroy()                     {}
func (r *stripRenderer) Layout(fyne.Size)             {}
func (r *stripRenderer) MinSize() fyne.Size           { return fyne.NewSize(20, r.s.t.cell.Height+1) }
func (r *stripRenderer) Objects() []fyne.CanvasObject { return r.s.objects }
func (r *stripRenderer) Refresh()                     { canvas.Refresh(r.s) }

// ansi are the first 16 colours of terminals, for light and for dark grounds.
var ansi = [2][16]uint32{
	{0x1d1d1f, 0xb3261e, 0x1f7a41, 0x8a5a00, 0x2f4fc4, 0x8f3aa8, 0x0f7484, 0x5c5c63, 0x8a8a92, 0xd0342c, 0x1f8a4c, 0xa36a00, 0x4f63e0, 0xa64dc0, 0x1a8798, 0x1d1d1f},
	{0x5c5c63, 0xff7b72, 0x5ccf8a, 0xe3b341, 0x8ea2ff, 0xd78cf0, 0x56c8d8, 0xd0d0d6, 0x7c7c84, 0xff9a93, 0x7fe0a5, 0xf2cc6a, 0xaab8ff, 0xe6aef8, 0x86dde8, 0xffffff},
}

func colors(s console.Style) (ink, ground color.Color) {
	ink, ground = pigment(s.Foreground), pigment(s.Background)
	if s.Inverse {
		if ground == nil {
			ground = look.Color(look.ColorSunken)
		}
		if ink == nil {
			ink = look.Color(look.ColorText)
		}
		ink, ground = ground, ink
	}
	if ink == nil {
		ink = look.Color(look.ColorText)
		if s.Faint {
			ink = look.Color(look.ColorSecondary)
		}
	}
	return ink, ground
}

// pigment is a terminal's colour; nil is the view's own.
func pigment(c console.Color) color.Color {
	if r, g, b, ok := c.Parts(); ok {
		return color.NRGBA{r, g, b, 255}
	}
	n, ok := c.Index()
	switch {
	case !ok:
		return nil
	case n < 16:
		dark := 0
		if look.IsDark() {
			dark = 1
		}
		v := ansi[dark][n]
		return color.NRGBA{uint8(v >> 16), uint8(v >> 8), uint8(v), 255}
	case n < 232:
		level := func(v uint8) uint8 {
			if v == 0 {
				return 0
			}
			return 55 + 40*v
		}
		n -= 16
		return color.NRGBA{level(n / 36), level(n / 6 % 6), level(n % 6), 255}
	}
	gray := 8 + 10*(n-232)
	return color.NRGBA{gray, gray, gray, 255}
}
