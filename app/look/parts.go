package look

import (
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/widget"
)

// Box is a surface with rounded corners that follows the theme.
type Box struct {
	widget.BaseWidget
	Paint  Paint
	Radius float32
}

// NewBox makes one.
func NewBox(paint Paint, radius float32) *Box {
	b := &Box{Paint: paint, Radius: radius}
	b.ExtendBaseWidget(b)
	return b
}

// CreateRenderer is part of [fyne.Widget].
func (b *Box) CreateRenderer() fyne.WidgetRenderer {
	r := &boxRenderer{box: b, rect: canvas.NewRectangle(color.Transparent)}
	r.Refresh()
	return r
}

type boxRenderer struct {
	box  *Box
	rect *canvas.Rectangle
}

func (r *boxRenderer) Destroy()                     {}
func (r *boxRenderer) MinSize() fyne.Size           { return fyne.NewSize(1, 1) }
func (r *boxRenderer) Layout(size fyne.Size)        { r.rect.Resize(size) }
func (r *boxRenderer) Objects() []fyne.CanvasObject { return []fyne.CanvasObject{r.rect} }

func (r *boxRenderer) Refresh() {
	r.rect.FillColor, r.rect.CornerRadius = Color(r.box.Paint.Fill), r.box.Radius
	if r.rect.StrokeColor, r.rect.StrokeWidth = Color(r.box.Paint.Stroke), 1; r.box.Paint.Stroke == ColorClear {
		r.rect.StrokeWidth = 0
	}
	r.rect.Refresh()
}

// On is content on a surface of its own.
func On(paint Paint, radius float32, content fyne.CanvasObject) *fyne.Container {
	return container.New(layout.NewStackLayout(), NewBox(paint, radius), content)
}

// Card is content on a raised surface.
func Card(content fyne.CanvasObject) *fyne.Container {
	return On(Paint{ColorSurface, ColorHairline}, 10, Pad(2*Step, content))
}

// Panel is a list or a console on a surface, without margins.
func Panel(content fyne.CanvasObject) *fyne.Container {
	return On(Paint{ColorSurface, ColorHairline}, 10, Pad(1, content))
}

// Field is an entry with a ground and a border.
func Field(entry *Input) *fyne.Container {
	return On(Paint{ColorSurface, ColorHairline}, 6, entry)
}

// Upright separates what is left from what is right.
func Upright() fyne.CanvasObject { return NewBox(Paint{ColorHairline, ColorClear}, 0) }

// Space is an empty stretch.
func Space(width, height float32) fyne.CanvasObject {
	r := canvas.NewRectangle(color.Transparent)
	r.SetMinSize(fyne.NewSize(width, height))
	return r
}

// Dot is a state as a colour; what it means is always said beside it.
type Dot struct {
	widget.BaseWidget
	Color fyne.ThemeColorName
}

// NewDot makes one.
func NewDot(c fyne.ThemeColorName) *Dot {
	d := &Dot{Color: c}
	d.ExtendBaseWidget(d)
	return d
}

// Set changes its colour.
func (d *Dot) Set(c fyne.ThemeColorName) {
	if d.Color != c {
		d.Color = c
		d.Refresh()
	}
}

// CreateRenderer is part of [fyne.Widget].
func (d *Dot) CreateRenderer() fyne.WidgetRenderer {
	r := &dotRenderer{dot: d, circle: canvas.NewCircle(Color(d.Color))}
	return r
}

type dotRenderer struct {
	dot    *Dot
	circle *canvas.Circle
}

func (r *dotRenderer) Destroy()                     {}
func (r *dotRenderer) MinSize() fyne.Size           { return fyne.NewSize(8, 8) }
func (r *dotRenderer) Objects() []fyne.CanvasObject { return []fyne.CanvasObject{r.circle} }
func (r *dotRenderer) Refresh()                     { r.circle.FillColor = Color(r.dot.Color); r.circle.Refresh() }

func (r *dotRenderer) Layout(size fyne.Size) {
	r.circle.Resize(fyne.NewSize(8, 8))
	r.circle.Move(fyne.NewPos((size.Width-8)/2, (size.Height-8)/2))
}

// Badge is a word on a tinted ground.
type Badge struct {
	widget.BaseWidget
	text *Text
	box  *Box
}

// NewBadge makes one in a colour: ColorSecondary, ColorAccent, ColorGood, ColorWarn or ColorBad.
func NewBadge(text string, c fyne.ThemeColorName) *Badge {
	b := &Badge{text: NewText(text, TextCaption, c).Bold(), box: NewBox(Paint{ColorSunken, ColorClear}, 5)}
	b.text.Align = fyne.TextAlignCenter
	b.ExtendBaseWidget(b)
	b.Set(text, c)
	return b
}

// Set changes both.
func (b *Badge) Set(text string, c fyne.ThemeColorName) {
	ground := map[fyne.ThemeColorName]fyne.ThemeColorName{ColorAccent: ColorTint, ColorWarn: ColorWarnTint, ColorBad: ColorBadTint}[c]
	if ground == "" {
		ground = ColorSunken
	}
	if b.text.Text == text && b.text.Color == c && b.box.Paint.Fill == ground {
		return
	}
	b.text.Text, b.text.Color, b.box.Paint.Fill = text, c, ground
	b.Refresh()
}

// CreateRenderer is part of [fyne.Widget].
func (b *Badge) CreateRenderer() fyne.WidgetRenderer {
	return widget.NewSimpleRenderer(container.New(layout.NewStackLayout(), b.box, Sized(0, 18, Inset(0, 7, 0, 7, b.text))))
}

// Banner says what is wrong and what to do, before all else of a view.
type Banner struct {
	widget.BaseWidget
	content fyne.CanvasObject
	texts   []*Text
}

// NewBanner makes one; hint and the actions may be missing. Bad ones are errors, the others warnings. Code between backquotes is shown as such.
func NewBanner(bad bool, message, hint string, actions ...fyne.CanvasObject) *Banner {
	ink, ground := ColorWarn, ColorWarnTint
	if bad {
		ink, ground = ColorBad, ColorBadTint
	}
	texts := []*Text{Body(message).Bold().Wrapped().Coded()}
	said := Column(2, texts[0])
	if hint != "" {
		texts = append(texts, Body(hint).Soft().Wrapped().Coded())
		said.Add(texts[1])
	}
	all := append([]fyne.CanvasObject{NewIcon("alert", 18, ink), said}, actions...)
	b := &Banner{texts: texts, content: On(Paint{ground, ColorClear}, 8, Inset(10, 12, 10, 12, Row(12, said, all...)))}
	b.ExtendBaseWidget(b)
	return b
}

// CreateRenderer is part of [fyne.Widget].
func (b *Banner) CreateRenderer() fyne.WidgetRenderer { return widget.NewSimpleRenderer(b.content) }

// Brief bounds its texts to two lines each, for where other things must stay on the screen.
func (b *Banner) Brief() *Banner {
	for _, t := range b.texts {
		t.Most = 2
	}
	return b
}

// Empty stands where nothing is yet: what would be here, and how it gets here.
func Empty(icon, title, explanation string, actions ...fyne.CanvasObject) fyne.CanvasObject {
	head, text := Lead(title), Body(explanation).Soft().Wrapped()
	head.Align, text.Align = fyne.TextAlignCenter, fyne.TextAlignCenter
	head.Short(100)
	return Middle(400, Column(Step,
		container.NewCenter(NewIcon(icon, 40, "disabled")), Space(1, 4), head, text, Space(1, 4),
		container.NewCenter(Row(Step, nil, actions...))))
}
