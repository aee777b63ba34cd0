package look

import (
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/widget"
)

// Paint is how a surface looks at the moment.
type Paint struct{ Fill, Stroke fyne.ThemeColorName }

// Press is an area that can be pressed with a pointer, with Enter and with the space bar: what Button, Tile and Chip have in common. It shows that it has the keyboard's focus.
// Name is what those call it who do not see it.
type Press struct {
	widget.BaseWidget
	Content fyne.CanvasObject
	Radius  float32
	OnTap   func()
	OnMenu  func(at fyne.Position) // a secondary tap, in the canvas; nil: nothing
	Normal  Paint
	Over    Paint // under the pointer
	Name    string
	Deaf    bool // it is disabled

	hovered, focused bool
}

// AccessibilityLabel is part of [fyne.Accessible].
func (p *Press) AccessibilityLabel() string { return p.Name }

// AccessibilityRole is part of [fyne.Accessible].
func (p *Press) AccessibilityRole() fyne.AccessibleRole { return fyne.AccessibleRoleButton }

// MouseIn is part of [desktop.Hoverable].
func (p *Press) MouseIn(*desktop.MouseEvent) { p.hovered = true; p.paint() }

// MouseMoved is part of [desktop.Hoverable].
func (p *Press) MouseMoved(*desktop.MouseEvent) {}

// MouseOut is part of [desktop.Hoverable].
func (p *Press) MouseOut() { p.hovered = false; p.paint() }

// Tapped is part of [fyne.Tappable].
func (p *Press) Tapped(*fyne.PointEvent) {
	if p.OnTap != nil && !p.Deaf {
		p.OnTap()
	}
}

// TappedSecondary is part of [fyne.SecondaryTappable].
func (p *Press) TappedSecondary(ev *fyne.PointEvent) {
	if p.OnMenu != nil && !p.Deaf {
		p.OnMenu(ev.AbsolutePosition)
	}
}

func (p *Press) paint() { p.BaseWidget.Refresh() }

// CreateRenderer is part of [fyne.Widget].
func (p *Press) CreateRenderer() fyne.WidgetRenderer {
	r := &pressRenderer{press: p, back: canvas.NewRectangle(color.Transparent), ring: canvas.NewRectangle(nil)}
	r.objects = []fyne.CanvasObject{r.back, p.Content, r.ring}
	r.color()
	return r
}

type pressRenderer struct {
	press      *Press
	back, ring *canvas.Rectangle
	objects    []fyne.CanvasObject
}

func (r *pressRenderer) Destroy()                     {}
func (r *pressRenderer) MinSize() fyne.Size           { return r.press.Content.MinSize() }
func (r *pressRenderer) Objects() []fyne.CanvasObject { return r.objects }

func (r *pressRenderer) Layout(size fyne.Size) {
	for _, o := range r.objects {
		o.Resize(size)
	}
}

func (r *pressRenderer) color() {
	p := r.press
	paint := p.Normal
	if p.hovered && !p.Deaf {
		paint = p.Over
	}
	r.back.FillColor, r.back.StrokeColor, r.back.StrokeWidth, r.back.CornerRadius = Color(paint.Fill), Color(paint.Stroke), 1, p.Radius
	r.ring.FillColor, r.ring.StrokeColor, r.ring.StrokeWidth, r.ring.CornerRadius = Color(ColorClear), Color("focus"), 2, p.Radius
	r.ring.Hidden = !p.focused
}

func (r *pressRenderer) Refresh() {
	if r.objects[1] != r.press.Content {
		r.objects[1] = r.press.Content
		r.Layout(r.press.Size())
	}
	r.color()
	r.back.Refresh()
	r.ring.Refresh()
	r.press.Content.Refresh()
}

// Button is a Press that the keyboard reaches, with a word, an icon, or both.
type Button struct {
	Press
	text  *Text
	icon  *Icon
	style Style
}

// Style is how much a button asks for attention.
type Style int

// The styles. A view has one Primary button at most.
const (
	Plain Style = iota
	Primary
	Danger
	Quiet // without a border
)

// NewButton makes a button; an empty icon or text is left out.
func NewButton(text, icon string, style Style, tap func()) *Button {
	b := &Button{style: style}
	b.OnTap, b.Name, b.Radius = tap, text, 6
	b.text = Body(text)
	b.text.Align = fyne.TextAlignCenter
	parts := []fyne.CanvasObject{}
	if icon != "" {
		b.icon = NewIcon(icon, 14, ColorText)
		parts = append(parts, b.icon)
	}
	side := Step / 2 * 3
	if text != "" {
		parts = append(parts, b.text)
	} else {
		b.Name, side = icon, 7
	}
	b.Content = Sized(0, 28, Inset(0, side, 0, side, Row(6, nil, parts...)))
	b.restyle()
	b.ExtendBaseWidget(b)
	return b
}

func (b *Button) restyle() {
	ink := ColorText
	switch b.style {
	case Primary:
		ink, b.Normal, b.Over = ColorOnAccent, Paint{ColorAccent, ColorAccent}, Paint{ColorAccent, ColorText}
		b.text.Style.Bold = true
	case Danger:
		ink, b.Normal, b.Over = ColorBad, Paint{"button", ColorHairline}, Paint{ColorBadTint, ColorBad}
	case Quiet:
		ink, b.Normal, b.Over = ColorSecondary, Paint{ColorClear, ColorClear}, Paint{"hover", ColorClear}
	default:
		b.Normal, b.Over = Paint{"button", ColorHairline}, Paint{ColorSunken, ColorHairline}
	}
	if b.Deaf {
		ink, b.Normal = "disabled", Paint{"disabledButton", ColorHairline}
		if b.style == Quiet {
			b.Normal = Paint{ColorClear, ColorClear}
		}
	}
	b.text.Color = ink
	if b.icon != nil {
		b.icon.Color = ink
	}
}

// SetStyle changes its style.
func (b *Button) SetStyle(s Style) { b.style = s; b.Refresh() }

// Enabled lets it hear or not.
func (b *Button) Enabled(yes bool) {
	if b.Deaf == yes {
		b.Deaf = !yes
		b.Refresh()
	}
}

// Refresh is part of [fyne.CanvasObject].
func (b *Button) Refresh() { b.restyle(); b.BaseWidget.Refresh() }

// FocusGained is part of [fyne.Focusable].
func (p *Button) FocusGained() { p.focused = true; p.paint() }

// FocusLost is part of [fyne.Focusable].
func (p *Button) FocusLost() { p.focused = false; p.paint() }

// TypedRune is part of [fyne.Focusable].
func (p *Button) TypedRune(rune) {}

// TypedKey is part of [fyne.Focusable].
func (p *Button) TypedKey(ev *fyne.KeyEvent) { p.key(ev) }

// key presses it, or lets go of the keyboard: then the window hears the key.
func (p *Press) key(ev *fyne.KeyEvent) {
	switch ev.Name {
	case fyne.KeySpace, fyne.KeyReturn, fyne.KeyEnter:
		p.Tapped(nil)
	case fyne.KeyEscape:
		escape(p.Content, ev) // which is on the canvas, whatever has p in it
	}
}

// escape takes the keyboard away from what is on o's canvas, and gives the key to the window.
func escape(o fyne.CanvasObject, ev *fyne.KeyEvent) {
	c := fyne.CurrentApp().Driver().CanvasForObject(o)
	if c == nil {
		return
	}
	c.Unfocus()
	if heard := c.OnTypedKey(); heard != nil {
		heard(ev)
	}
}

// Input is an entry that Escape empties, or leaves when it is empty.
type Input struct{ widget.Entry }

// NewInput makes one; hint stands in it while it is empty.
func NewInput(hint string) *Input {
	i := &Input{}
	i.ExtendBaseWidget(i)
	i.SetPlaceHolder(hint)
	return i
}

// TypedKey is part of [fyne.Focusable].
func (i *Input) TypedKey(ev *fyne.KeyEvent) {
	switch {
	case ev.Name != fyne.KeyEscape:
		i.Entry.TypedKey(ev)
	case i.Text != "":
		i.SetText("")
	default:
		escape(i, ev)
	}
}

// LetGo takes the keyboard away from i, which is no longer on the screen: the toolkit would go on writing into it.
func (i *Input) LetGo() {
	if c := fyne.CurrentApp().Driver().CanvasForObject(i); c != nil && c.Focused() == fyne.Focusable(i) {
		c.Unfocus()
	}
}

// LetGo does so to whatever entry of o's canvas has the keyboard.
func LetGo(o fyne.CanvasObject) {
	if c := fyne.CurrentApp().Driver().CanvasForObject(o); c != nil {
		if i, ok := c.Focused().(*Input); ok {
			i.LetGo()
		}
	}
}

// Tile is a Press that the keyboard reaches, with any content.
type Tile struct{ Press }

// NewTile makes one.
func NewTile(name string, content fyne.CanvasObject, tap func()) *Tile {
	t := &Tile{Press{Content: content, OnTap: tap, Name: name, Radius: 8, Normal: Paint{ColorClear, ColorClear}, Over: Paint{"hover", ColorClear}}}
	t.ExtendBaseWidget(t)
	return t
}

// FocusGained is part of [fyne.Focusable].
func (t *Tile) FocusGained() { t.focused = true; t.paint() }

// FocusLost is part of [fyne.Focusable].
func (t *Tile) FocusLost() { t.focused = false; t.paint() }

// TypedRune is part of [fyne.Focusable].
func (t *Tile) TypedRune(rune) {}

// TypedKey is part of [fyne.Focusable].
func (t *Tile) TypedKey(ev *fyne.KeyEvent) { t.key(ev) }
