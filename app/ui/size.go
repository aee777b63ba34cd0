package ui

import (
	"math"

	"fyne.io/fyne/v2"
)

// The window has the size that it had when the app ended, within what shows something and what screens have: what is remembered may come from another screen, or from anyone.
var (
	usual    = fyne.NewSize(1080, 720)
	smallest = fyne.NewSize(600, 400)
	largest  = fyne.NewSize(3840, 2160)
)

// The names under which the toolkit's preferences have it.
const (
	prefersWidth  = "window.width"
	prefersHeight = "window.height"
)

// remembered is the size to begin with.
func remembered(p fyne.Preferences) fyne.Size {
	bound := func(name string, usual, least, most float32) float32 {
		v := p.FloatWithFallback(name, float64(usual))
		if math.IsNaN(v) {
			return usual
		}
		return float32(min(max(v, float64(least)), float64(most)))
	}
	return fyne.NewSize(bound(prefersWidth, usual.Width, smallest.Width, largest.Width), bound(prefersHeight, usual.Height, smallest.Height, largest.Height))
}

// remember notes the size of the window. A whole screen is none: the next time there may be another.
func (w *Window) remember() {
	if w.FullScreen() {
		return
	}
	size := w.Canvas().Size() // which it keeps when the window is gone
	w.app.Preferences().SetFloat(prefersWidth, float64(size.Width))
	w.app.Preferences().SetFloat(prefersHeight, float64(size.Height))
}
