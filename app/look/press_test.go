package look

import (
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"
)

func TestATileShowsItsPaint(t *testing.T) {
	test.NewTempApp(t).Settings().SetTheme(Theme{Variant: Light})
	tile := NewTile("tile", Sized(40, 40, Space(1, 1)), func() {})
	w := test.NewTempWindow(t, tile)
	w.SetPadded(false)
	w.Resize(fyne.NewSize(40, 40))
	at := func() any { return w.Canvas().Capture().At(20, 20) }
	before := at()
	tile.Normal = Paint{ColorAccent, ColorClear}
	tile.Refresh()
	if at() == before {
		t.Error("another paint is not shown")
	}
	tile.Normal = Paint{ColorClear, ColorClear}
	tile.Refresh()
	if at() != before {
		t.Error("the first paint is not shown again")
	}
}
