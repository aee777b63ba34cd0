package look

import (
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"
)

// within is the theme inside a list: no shadow at the ends of what can be scrolled, since a border is there already, and its own space between rows.
type within struct{ gap float32 }

func (w within) Color(n fyne.ThemeColorName, v fyne.ThemeVariant) color.Color {
	if n == theme.ColorNameShadow {
		return color.Transparent
	}
	return fyne.CurrentApp().Settings().Theme().Color(n, v)
}

func (w within) Font(s fyne.TextStyle) fyne.Resource     { return Theme{}.Font(s) }
func (w within) Icon(n fyne.ThemeIconName) fyne.Resource { return Theme{}.Icon(n) }
func (w within) Size(n fyne.ThemeSizeName) float32 {
	if n == theme.SizeNamePadding {
		return w.gap
	}
	return Theme{}.Size(n)
}

// Tight puts a list's rows close together.
func Tight(list *widget.List) fyne.CanvasObject {
	list.HideSeparators = true
	return container.NewThemeOverride(list, within{0})
}

// Airy leaves a little space between a list's rows.
func Airy(list *widget.List) fyne.CanvasObject {
	list.HideSeparators = true
	return container.NewThemeOverride(list, within{2})
}
