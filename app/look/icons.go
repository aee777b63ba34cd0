package look

import (
	"fmt"
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/widget"
)

// strokes are the icons: lines of one weight in a square of 24.
var strokes = map[string]string{
	"play":     "M7 4.5 L19 12 L7 19.5 Z",
	"stop":     "M6 6 H18 V18 H6 Z",
	"restart":  "M19.5 12 A7.5 7.5 0 1 1 17 6.4 M17.5 2.5 V6.8 H13.2",
	"plus":     "M12 5 V19 M5 12 H19",
	"more":     "M5.5 12 H6.5 M11.5 12 H12.5 M17.5 12 H18.5",
	"copy":     "M9 9 H20 V20 H9 Z M5 15 H4 V4 H15 V5",
	"search":   "M11 4 A7 7 0 1 0 11 18 A7 7 0 1 0 11 4 M16.2 16.2 L20.5 20.5",
	"grid":     "M4 4 H10.5 V10.5 H4 Z M13.5 4 H20 V10.5 H13.5 Z M4 13.5 H10.5 V20 H4 Z M13.5 13.5 H20 V20 H13.5 Z",
	"activity": "M3 12 H7.5 L10 5 L14 19 L16.5 12 H21",
	"check":    "M5 12.5 L10 17.5 L19.5 7",
	"health":   "M12 3 L19.5 6 V11.5 C19.5 16 16.5 19.3 12 21 C7.5 19.3 4.5 16 4.5 11.5 V6 Z M8.5 12 L11 14.5 L15.5 9.7",
	"alert":    "M12 3.5 L21.5 20 H2.5 Z M12 10 V14.5 M12 17 V17.4",
	"folder":   "M3 6 H9.5 L11.5 8.5 H21 V19 H3 Z",
	"cube":     "M12 3 L20 7.5 V16.5 L12 21 L4 16.5 V7.5 Z M4 7.5 L12 12 L20 7.5 M12 12 V21",
	"cloud":    "M7 18.5 A4.5 4.5 0 0 1 6.6 9.6 A6 6 0 0 1 18 10.6 A4 4 0 0 1 17.5 18.5 Z",
	"layers":   "M12 3.5 L21 8.5 L12 13.5 L3 8.5 Z M3.8 13 L12 17.6 L20.2 13",
	"terminal": "M3 5 H21 V19 H3 Z M7 9.5 L10 12 L7 14.5 M12.5 15 H16.5",
	"file":     "M6 3 H14 L18.5 7.5 V21 H6 Z M14 3 V7.5 H18.5",
	"braces":   "M9 4 C6.5 4 7.5 7 7.5 9 C7.5 11 6.5 12 5 12 C6.5 12 7.5 13 7.5 15 C7.5 17 6.5 20 9 20 M15 4 C17.5 4 16.5 7 16.5 9 C16.5 11 17.5 12 19 12 C17.5 12 16.5 13 16.5 15 C16.5 17 17.5 20 15 20",
	"out":      "M7 17 L17 7 M9 7 H17 V15",
	"in":       "M17 7 L7 17 M15 17 H7 V9",
	"right":    "M9.5 6 L15.5 12 L9.5 18",
	"left":     "M14.5 6 L8.5 12 L14.5 18",
	"down":     "M6 9.5 L12 15.5 L18 9.5",
	"close":    "M6 6 L18 18 M18 6 L6 18",
	"pencil":   "M4 20 L5 15.5 L16.5 4 L20 7.5 L8.5 19 Z M14 6.5 L17.5 10",
	"trash":    "M4.5 6.5 H19.5 M9 6.5 V4 H15 V6.5 M6.5 6.5 L7.5 20.5 H16.5 L17.5 6.5",
	"clock":    "M12 3.5 A8.5 8.5 0 1 0 12 20.5 A8.5 8.5 0 1 0 12 3.5 M12 7.5 V12.3 L15.2 14.2",
	"tree":     "M5 4 V17.5 H12 M5 9.5 H12 M12.5 7.5 H19.5 V11.5 H12.5 Z M12.5 15.5 H19.5 V19.5 H12.5 Z",
}

// Icon is one of the strokes in a colour.
type Icon struct {
	widget.BaseWidget
	Name  string
	Side  float32
	Color fyne.ThemeColorName
}

// NewIcon makes an icon with sides of size.
func NewIcon(name string, size float32, c fyne.ThemeColorName) *Icon {
	i := &Icon{Name: name, Side: size, Color: c}
	i.ExtendBaseWidget(i)
	return i
}

// Set changes what it is.
func (i *Icon) Set(name string, c fyne.ThemeColorName) {
	if i.Name != name || i.Color != c {
		i.Name, i.Color = name, c
		i.Refresh()
	}
}

// Drawing is an icon as a picture in a colour, for what takes no colour of the theme: menus, the tray.
func Drawing(name string, c color.Color) fyne.Resource {
	r, g, b, _ := c.RGBA()
	hex := fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8)
	return fyne.NewStaticResource("stroke-"+name+hex+".svg", fmt.Appendf(nil,
		`<svg xmlns="http://www.w3.org/2000/svg" width="24" height="24" viewBox="0 0 24 24"><path d="%s" fill="none" stroke="%s" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round"/></svg>`,
		strokes[name], hex))
}

// CreateRenderer is part of [fyne.Widget].
func (i *Icon) CreateRenderer() fyne.WidgetRenderer {
	r := &iconRenderer{icon: i, image: canvas.NewImageFromResource(Drawing(i.Name, Color(i.Color)))}
	r.image.FillMode = canvas.ImageFillContain
	return r
}

type iconRenderer struct {
	icon  *Icon
	image *canvas.Image
}

func (r *iconRenderer) Destroy()                     {}
func (r *iconRenderer) MinSize() fyne.Size           { return fyne.NewSquareSize(r.icon.Side) }
func (r *iconRenderer) Objects() []fyne.CanvasObject { return []fyne.CanvasObject{r.image} }

func (r *iconRenderer) Layout(size fyne.Size) {
	side := r.icon.Side
	r.image.Resize(fyne.NewSquareSize(side))
	r.image.Move(fyne.NewPos((size.Width-side)/2, (size.Height-side)/2))
}

func (r *iconRenderer) Refresh() {
	if res := Drawing(r.icon.Name, Color(r.icon.Color)); res.Name() != r.image.Resource.Name() {
		r.image.Resource = res
		r.image.Refresh()
	}
}

// Logo is the app's picture, for the dock and the tray.
func Logo() fyne.Resource {
	return fyne.NewStaticResource("mirrord.svg", []byte(
		`<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64" viewBox="0 0 24 24"><rect x="0" y="0" width="24" height="24" rx="5.5" fill="#4f56d3"/><path d="M12 4.8 L19.6 9 L12 13.2 L4.4 9 Z" fill="none" stroke="#ffffff" stroke-width="1.6" stroke-linejoin="round"/><path d="M5 13.2 L12 17.2 L19 13.2" fill="none" stroke="#ffffff" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"/></svg>`))
}
