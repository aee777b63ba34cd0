package look

import (
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/widget"
)

// Segmented is a choice of one among a few. The arrow keys move it.
type Segmented struct {
	widget.BaseWidget
	Words    []string
	Chosen   int
	OnChoose func(i int)
	Alarm    func(i int) bool // which choices have the colour of warnings when chosen; nil: none

	focused bool
}

// NewSegmented makes one.
func NewSegmented(words []string, chosen int, choose func(i int)) *Segmented {
	s := &Segmented{Words: words, Chosen: chosen, OnChoose: choose}
	s.ExtendBaseWidget(s)
	return s
}

// Choose chooses, and tells so if it is a change.
func (s *Segmented) Choose(i int) {
	if i < 0 || i >= len(s.Words) || i == s.Chosen {
		return
	}
	s.Chosen = i
	s.Refresh()
	if s.OnChoose != nil {
		s.OnChoose(i)
	}
}

// Tapped is part of [fyne.Tappable].
func (s *Segmented) Tapped(ev *fyne.PointEvent) {
	x := float32(2)
	for i, w := range s.widths() {
		if x += w; ev.Position.X < x || i == len(s.Words)-1 {
			s.Choose(i)
			return
		}
	}
}

// Cursor is part of [desktop.Cursorable].
func (s *Segmented) Cursor() desktop.Cursor { return desktop.DefaultCursor }

// FocusGained is part of [fyne.Focusable].
func (s *Segmented) FocusGained() { s.focused = true; s.Refresh() }

// FocusLost is part of [fyne.Focusable].
func (s *Segmented) FocusLost() { s.focused = false; s.Refresh() }

// TypedRune is part of [fyne.Focusable].
func (s *Segmented) TypedRune(rune) {}

// TypedKey is part of [fyne.Focusable].
func (s *Segmented) TypedKey(ev *fyne.KeyEvent) {
	switch ev.Name {
	case fyne.KeyLeft:
		s.Choose(s.Chosen - 1)
	case fyne.KeyRight:
		s.Choose(s.Chosen + 1)
	case fyne.KeySpace:
		s.Choose((s.Chosen + 1) % len(s.Words))
	case fyne.KeyEscape:
		escape(s, ev)
	}
}

func (s *Segmented) widths() []float32 {
	all := make([]float32, len(s.Words))
	for i, w := range s.Words {
		all[i] = fyne.MeasureText(w, TextBody, fyne.TextStyle{Bold: true}).Width + 24
	}
	return all
}

// CreateRenderer is part of [fyne.Widget].
func (s *Segmented) CreateRenderer() fyne.WidgetRenderer {
	r := &segmentedRenderer{s: s, back: canvas.NewRectangle(color.Transparent), thumb: canvas.NewRectangle(nil)}
	r.objects = []fyne.CanvasObject{r.back, r.thumb}
	for range s.Words {
		t := Body("")
		t.Align = fyne.TextAlignCenter
		r.words = append(r.words, t)
		r.objects = append(r.objects, t)
	}
	r.Refresh()
	return r
}

type segmentedRenderer struct {
	s           *Segmented
	back, thumb *canvas.Rectangle
	words       []*Text
	objects     []fyne.CanvasObject
}

func (r *segmentedRenderer) Destroy()                     {}
func (r *segmentedRenderer) Objects() []fyne.CanvasObject { return r.objects }

func (r *segmentedRenderer) MinSize() fyne.Size {
	w := float32(4)
	for _, one := range r.s.widths() {
		w += one
	}
	return fyne.NewSize(w, 28)
}

func (r *segmentedRenderer) Layout(size fyne.Size) {
	r.back.Resize(size)
	x := float32(2)
	for i, w := range r.s.widths() {
		r.words[i].Move(fyne.NewPos(x, 0))
		r.words[i].Resize(fyne.NewSize(w, size.Height))
		if i == r.s.Chosen {
			r.thumb.Move(fyne.NewPos(x, 2))
			r.thumb.Resize(fyne.NewSize(w, size.Height-4))
		}
		x += w
	}
}

func (r *segmentedRenderer) Refresh() {
	r.back.FillColor, r.back.StrokeColor, r.back.StrokeWidth, r.back.CornerRadius = Color(ColorSunken), Color(ColorHairline), 1, 7
	r.thumb.FillColor, r.thumb.StrokeColor, r.thumb.StrokeWidth, r.thumb.CornerRadius = Color("button"), Color(ColorHairline), 1, 5
	if r.s.focused {
		r.thumb.StrokeColor, r.thumb.StrokeWidth = Color("focus"), 2
	}
	for i, t := range r.words {
		t.Text, t.Color, t.Style.Bold = r.s.Words[i], ColorSecondary, false
		if i == r.s.Chosen {
			t.Color, t.Style.Bold = ColorText, true
			if r.s.Alarm != nil && r.s.Alarm(i) {
				t.Color = ColorWarn
				r.thumb.FillColor, r.thumb.StrokeColor = Color(ColorWarnTint), Color(ColorWarn)
			}
		}
		t.Refresh()
	}
	r.Layout(r.s.Size())
	r.back.Refresh()
	r.thumb.Refresh()
}

// Chip is a filter that is on or off.
type Chip struct {
	Tile
	On     bool
	text   *Text
	change func(on bool)
}

// NewChip makes one.
func NewChip(text string, on bool, change func(on bool)) *Chip {
	c := &Chip{On: on, change: change, text: NewText(text, 12, ColorSecondary)}
	c.Name, c.Radius = text, 12
	c.Content = Sized(0, 24, Inset(0, 10, 0, 10, c.text))
	c.OnTap = func() {
		c.On = !c.On
		c.Refresh()
		c.change(c.On)
	}
	c.style()
	c.ExtendBaseWidget(c)
	return c
}

func (c *Chip) style() {
	c.text.Color, c.Normal, c.Over = ColorSecondary, Paint{ColorSurface, ColorHairline}, Paint{ColorSunken, ColorHairline}
	if c.On {
		c.text.Color, c.Normal, c.Over = ColorAccent, Paint{ColorTint, ColorTint}, Paint{ColorTint, ColorAccent}
	}
}

// Refresh is part of [fyne.CanvasObject].
func (c *Chip) Refresh() { c.style(); c.BaseWidget.Refresh() }
