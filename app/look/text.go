package look

import (
	"math"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/widget"
)

// Text is a text without margins, so that texts align with what is above them. What does not fit ends with an ellipsis, or is wrapped; text is never cut without a sign.
type Text struct {
	widget.BaseWidget
	Text  string
	Point float32 // its size
	Color fyne.ThemeColorName
	Style fyne.TextStyle
	Align fyne.TextAlign
	Wrap  bool    // into lines; a line is broken between words, and within one that is too long
	Head  bool    // the beginning may go, as for paths
	Code  bool    // it is a sentence of mirrord's: what stands between backquotes is code, and is shown so
	Most  int     // lines at most, when it wraps, the last with an ellipsis; 0: as many as it takes
	Least float32 // how narrow it may become; 0: as wide as it is when it neither wraps nor may become narrower
	lines []string
	width float32 // for which lines were made; 0: as wide as they like
}

// NewText is a text that keeps its width.
func NewText(text string, size float32, color fyne.ThemeColorName) *Text {
	t := &Text{Text: text, Point: size, Color: color}
	t.ExtendBaseWidget(t)
	return t
}

// Body, Caption and the others are the texts that views are made of.
func Body(text string) *Text { return NewText(text, TextBody, ColorText) }

// Caption explains.
func Caption(text string) *Text { return NewText(text, TextCaption, ColorSecondary) }

// Title names a view.
func Title(text string) *Text { return NewText(text, TextTitle, ColorText).Bold().Short(40) }

// Lead names a part of a view.
func Lead(text string) *Text { return NewText(text, TextLead, ColorText).Bold() }

// Mono is what programs read or write.
func Mono(text string) *Text {
	t := NewText(text, 12, ColorText)
	t.Style.Monospace = true
	return t
}

// Bold makes it semi-bold.
func (t *Text) Bold() *Text { t.Style.Bold = true; return t }

// Soft gives it the colour of explanations.
func (t *Text) Soft() *Text { t.Color = ColorSecondary; return t }

// In gives it a colour.
func (t *Text) In(c fyne.ThemeColorName) *Text { t.Color = c; return t }

// Wrapped lets it take several lines.
func (t *Text) Wrapped() *Text { t.Wrap = true; return t }

// Lines lets it take several lines, but no more than most.
func (t *Text) Lines(most int) *Text { t.Most = most; return t.Wrapped() }

// Coded shows what stands between backquotes as code, without them.
func (t *Text) Coded() *Text { t.Code = true; return t }

// Short lets it become as narrow as least, with an ellipsis.
func (t *Text) Short(least float32) *Text { t.Least = least; return t }

// Path is [Text.Short] for what ends with the part that matters.
func (t *Text) Path(least float32) *Text { t.Head = true; return t.Short(least) }

// Set shows another text.
func (t *Text) Set(text string) {
	if t.Text != text {
		t.Text = text
		t.Refresh()
	}
}

// SetColor shows it in another colour.
func (t *Text) SetColor(c fyne.ThemeColorName) {
	if t.Color != c {
		t.Color = c
		t.Refresh()
	}
}

func (t *Text) lineHeight() float32 {
	h := fyne.MeasureText("Mg", t.Point, t.Style).Height
	return float32(int(h + 0.99))
}

// MinSize is part of [fyne.CanvasObject].
func (t *Text) MinSize() fyne.Size {
	switch {
	case t.Wrap:
		n := max(1, len(t.lines))
		if t.width == 0 {
			n = strings.Count(t.Text, "\n") + 1
		}
		return fyne.NewSize(fyne.Max(t.Least, 48), float32(n)*t.lineHeight())
	case t.Least > 0 && wider(t.Text, t.Least):
		return fyne.NewSize(t.Least, t.lineHeight())
	case t.Least > 0:
		return fyne.NewSize(fyne.Min(t.Least, t.measure(t.whole())+1), t.lineHeight())
	}
	return fyne.NewSize(t.measure(t.whole())+1, t.lineHeight())
}

// Resize is part of [fyne.CanvasObject].
func (t *Text) Resize(size fyne.Size) {
	if t.width != size.Width {
		t.width = size.Width
		t.fit()
	}
	t.BaseWidget.Resize(size)
}

// Refresh is part of [fyne.CanvasObject].
func (t *Text) Refresh() {
	t.fit()
	t.BaseWidget.Refresh()
}

// whole is its text as lines are made of it.
func (t *Text) whole() string {
	if t.Code {
		return encoded(t.Text)
	}
	return t.Text
}

// fit makes lines for width.
func (t *Text) fit() {
	switch {
	case t.width <= 0:
		t.lines = []string{t.whole()}
	case t.Wrap:
		t.lines = wrap(t.whole(), t.width, t.Most, t.measure)
	default:
		t.lines = []string{shorten(t.whole(), t.width, t.Head, t.measure)}
	}
}

// narrowest is less than the width of any letter, in points. It bounds how much of a long text is measured.
const narrowest = 2

// fitting is how many runes of the beginning (or end) fit into width together with sign. It adds up single letters, whose widths are remembered, and then looks whether that was right.
func fitting(runes []rune, width float32, head bool, sign string, measure func(string) float32) int {
	n := 0
	for sum := measure(sign); n < len(runes); n++ {
		r := runes[n]
		if head {
			r = runes[len(runes)-1-n]
		}
		if sum += measure(string(r)); sum > width {
			break
		}
	}
	for n > 0 && measure(cut(runes, n, head, sign)) > width {
		n--
	}
	return n
}

// shorten is s, or as much of its beginning (or end) as fits into width with an ellipsis.
func shorten(s string, width float32, head bool, measure func(string) float32) string {
	if !wider(s, width) && measure(s) <= width {
		return s
	}
	runes := []rune(s)
	return cut(runes, fitting(runes, width, head, "…", measure), head, "…")
}

func cut(runes []rune, n int, head bool, sign string) string {
	if head {
		return sign + string(runes[len(runes)-n:])
	}
	return strings.TrimRight(string(runes[:n]), " ") + sign
}

// wrap breaks s into lines, at most most of them if that is not 0.
func wrap(s string, width float32, most int, measure func(string) float32) (lines []string) {
	for _, paragraph := range strings.Split(s, "\n") {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			if most > 0 && len(lines) > most {
				break
			}
			longest := wider(word, width)
			switch {
			case line == "":
				line = word
			case !longest && measure(line+" "+word) <= width:
				line += " " + word
			default:
				lines, line = append(lines, line), word
			}
			for runes := []rune(line); len(runes) > 1 && (longest || measure(line) > width); runes = []rune(line) {
				n := max(1, fitting(runes, width, false, "", measure))
				lines, line = append(lines, string(runes[:n])), string(runes[n:])
				longest = wider(line, width)
			}
		}
		lines = append(lines, line)
	}
	if most > 0 && len(lines) > most {
		lines = lines[:most]
		if last := lines[most-1] + "…"; measure(last) <= width {
			lines[most-1] = last
		} else {
			lines[most-1] = shorten(last+last, width, false, measure)
		}
	}
	return lines
}

// CreateRenderer is part of [fyne.Widget].
func (t *Text) CreateRenderer() fyne.WidgetRenderer {
	t.fit()
	r := &textRenderer{text: t}
	r.Refresh()
	return r
}

type textRenderer struct {
	text    *Text
	objects []fyne.CanvasObject
}

func (r *textRenderer) Destroy()                     {}
func (r *textRenderer) MinSize() fyne.Size           { return r.text.MinSize() }
func (r *textRenderer) Objects() []fyne.CanvasObject { return r.objects }

func (r *textRenderer) Layout(size fyne.Size) {
	t, h := r.text, r.text.lineHeight()
	y, n := float32(0), 0
	if !t.Wrap {
		y = fyne.Max(0, (size.Height-h)/2)
	}
	for _, line := range t.lines {
		parts := t.pieces(line)
		if len(parts) == 1 && !parts[0].code {
			o := r.object(n, parts[0])
			o.Alignment = t.Align
			o.Move(fyne.NewPos(0, y))
			o.Resize(fyne.NewSize(size.Width, h))
			n++
		} else {
			n = r.mix(n, parts, size.Width, y)
		}
		y += h
	}
	r.objects = r.objects[:n]
}

// mix lays out a line of several faces on one base line, from object n on, and returns the next one's number.
func (r *textRenderer) mix(n int, parts []piece, width, y float32) int {
	t, driver := r.text, fyne.CurrentApp().Driver()
	scale := 1.0
	if c := driver.CanvasForObject(t); c != nil {
		scale = float64(c.Scale())
	}
	pixels := func(units float32) float64 { return math.Ceil(float64(units) * scale) } // base lines are drawn on whole ones
	_, base := driver.RenderedTextSize("M", t.Point, t.Style, nil)
	x, first := float32(0), n
	for _, p := range parts {
		o := r.object(n, p)
		box, own := driver.RenderedTextSize(o.Text, o.TextSize, o.TextStyle, nil)
		o.Alignment = fyne.TextAlignLeading
		o.Move(fyne.NewPos(x, y+float32((pixels(base)-pixels(own))/scale)))
		o.Resize(box)
		x += box.Width
		n++
	}
	shift := map[fyne.TextAlign]float32{fyne.TextAlignCenter: (width - x) / 2, fyne.TextAlignTrailing: width - x}[t.Align]
	for _, o := range r.objects[first:n] {
		o.Move(o.Position().AddXY(shift, 0))
	}
	return n
}

// object is the canvas's text number n, made to show a piece.
func (r *textRenderer) object(n int, p piece) *canvas.Text {
	if n == len(r.objects) {
		r.objects = append(r.objects, &canvas.Text{})
	}
	o := r.objects[n].(*canvas.Text)
	ink := r.text.Color
	if p.code && ink == ColorSecondary {
		ink = ColorText // it is what one is to type
	}
	o.Text, o.Color = p.text, Color(ink)
	o.TextSize, o.TextStyle = r.text.face(p.code)
	return o
}

func (r *textRenderer) Refresh() {
	r.Layout(r.text.Size())
	for _, o := range r.objects {
		o.Refresh()
	}
}
