// Package looktest takes pictures of views without a screen, and looks for what people would call broken: things that are cut off, that overlap, or that lie outside.
package looktest

import (
	"errors"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/test"

	"mirrord/app/look"
)

var update = flag.Bool("update", false, "write the pictures anew")

// Sizes of the window: the smallest that is promised, and a large one.
var sizes = []fyne.Size{fyne.NewSize(900, 600), fyne.NewSize(1440, 900)}

// App is the toolkit without a screen, in one of the palettes.
func App(t testing.TB, variant look.Variant) fyne.App {
	app := test.NewTempApp(t)
	app.Settings().SetTheme(look.Theme{Variant: variant})
	return app
}

// Show puts content into a window of a size and lets it settle.
func Show(t testing.TB, content fyne.CanvasObject, size fyne.Size) fyne.Window {
	w := test.NewWindow(content)
	t.Cleanup(w.Close)
	w.SetPadded(false)
	w.Resize(size)
	Settle(w)
	return w
}

// Settle lets layouts find their end, as the frames of a real window do: the height of wrapped text is known after its width.
func Settle(w fyne.Window) {
	for range 3 {
		relayout(w.Content())
	}
}

func relayout(o fyne.CanvasObject) {
	if c, ok := o.(*fyne.Container); ok {
		if c.Layout != nil {
			c.Layout.Layout(c.Objects, c.Size())
		}
		for _, child := range c.Objects {
			relayout(child)
		}
	} else if w, ok := o.(fyne.Widget); ok {
		r := test.WidgetRenderer(w)
		r.Layout(w.Size())
		for _, child := range r.Objects() {
			relayout(child)
		}
	}
}

// Pictures compares a view with its pictures in app/screens, light and dark. make gets the palette's app ready and returns what is in the window.
func Pictures(t *testing.T, name string, size fyne.Size, make func() fyne.CanvasObject) {
	for v, word := range map[look.Variant]string{look.Light: "light", look.Dark: "dark"} {
		t.Run(word, func(t *testing.T) {
			App(t, v)
			w := Show(t, make(), size)
			compare(t, name+"-"+word+".png", w.Canvas().Capture())
		})
	}
}

// compare fails when more than a few pixels differ: text is drawn with the rounding of the machine.
func compare(t *testing.T, name string, got image.Image) {
	t.Helper()
	path := filepath.Join(screens(t), name)
	if *update {
		write(t, path, got)
		return
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("there is no picture %s: look at what `go test ./app/... -update` makes", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	if got.Bounds() != want.Bounds() {
		t.Fatalf("%s: %v, the picture has %v", name, got.Bounds(), want.Bounds())
	}
	differ, all := 0, got.Bounds().Dx()*got.Bounds().Dy()
	for y := got.Bounds().Min.Y; y < got.Bounds().Max.Y; y++ {
		for x := got.Bounds().Min.X; x < got.Bounds().Max.X; x++ {
			if !near(got.At(x, y), want.At(x, y)) {
				differ++
			}
		}
	}
	if differ*5000 > all {
		path := filepath.Join(t.ArtifactDir(), name)
		write(t, path, got)
		t.Errorf("%s: %d of %d pixels differ; it looks like %s now", name, differ, all, path)
	}
}

func near(a, b color.Color) bool {
	ar, ag, ab, _ := a.RGBA()
	br, bg, bb, _ := b.RGBA()
	const most = 40 << 8
	return max(ar, br)-min(ar, br) < most && max(ag, bg)-min(ag, bg) < most && max(ab, bb)-min(ab, bb) < most
}

// screens is app/screens, wherever the test is.
func screens(t testing.TB) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for filepath.Base(dir) != "app" {
		if dir == filepath.Dir(dir) {
			t.Fatal("not below app")
		}
		dir = filepath.Dir(dir)
	}
	return filepath.Join(dir, "screens")
}

func write(t testing.TB, path string, picture image.Image) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(f, picture); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// Walk looks at every object of a view, light and dark, at the smallest and at a large size: at least its smallest size, inside its parent, not over a sibling.
func Walk(t *testing.T, make func() fyne.CanvasObject) {
	for v, word := range map[look.Variant]string{look.Light: "light", look.Dark: "dark"} {
		for _, size := range sizes {
			t.Run(fmt.Sprintf("%s %vx%v", word, size.Width, size.Height), func(t *testing.T) {
				App(t, v)
				w := Show(t, make(), size)
				if got := w.Canvas().Size(); got != size {
					t.Errorf("the window grew to %v", got)
				}
				for _, fault := range Faults(w.Content()) {
					t.Error(fault)
				}
			})
		}
	}
}

// slack is for the rounding of fractions of a pixel.
const slack = 1.01

// Faults are what is wrong with the layout of a tree of objects.
func Faults(o fyne.CanvasObject) []string { return faults(o, "") }

func faults(o fyne.CanvasObject, path string) (found []string) {
	if !o.Visible() {
		return nil
	}
	path += "/" + kind(o)
	min, size := o.MinSize(), o.Size()
	if size.Width+slack < min.Width || size.Height+slack < min.Height {
		found = append(found, fmt.Sprintf("%s is %v, smaller than its least %v", path, size, min))
	}
	children, free := parts(o)
	for i, c := range children {
		if !c.Visible() {
			continue
		}
		if p, s := c.Position(), c.Size(); !free && (p.X < -slack || p.Y < -slack || p.X+s.Width > size.Width+slack || p.Y+s.Height > size.Height+slack) {
			found = append(found, fmt.Sprintf("%s: %s at %v of %v is outside %v", path, kind(c), p, s, size))
		}
		for _, d := range children[i+1:] {
			if overlap(c, d) && !layered(o, c, d) {
				found = append(found, fmt.Sprintf("%s: %s at %v of %v is over %s at %v of %v", path, kind(c), c.Position(), c.Size(), kind(d), d.Position(), d.Size()))
			}
		}
		found = append(found, faults(c, path)...)
	}
	return found
}

// parts are the children of o; free ones may be outside, because they can be scrolled there.
func parts(o fyne.CanvasObject) (children []fyne.CanvasObject, free bool) {
	switch o := o.(type) {
	case *fyne.Container:
		return o.Objects, false
	case *look.Text, *look.Segmented, *look.Icon:
		return nil, false // they draw themselves: that their words fit is what their least sizes say
	case *look.Input:
		return nil, false // its inside is the toolkit's own
	case fyne.Widget:
		if fmt.Sprintf("%T", o) == "*widget.Shadow" {
			return nil, false // lies outside on purpose
		}
		_, scrolls := o.(fyne.Scrollable)
		return test.WidgetRenderer(o).Objects(), scrolls || fmt.Sprintf("%T", o) == "*widget.listLayout"
	}
	return nil, false
}

func overlap(a, b fyne.CanvasObject) bool {
	if !b.Visible() {
		return false
	}
	p, s, q, r := a.Position(), a.Size(), b.Position(), b.Size()
	return p.X+s.Width > q.X+slack && q.X+r.Width > p.X+slack && p.Y+s.Height > q.Y+slack && q.Y+r.Height > p.Y+slack
}

// layered says whether a lies behind or before b on purpose: grounds, rings and pages of the same size, and what the toolkit draws.
func layered(parent, a, b fyne.CanvasObject) bool {
	if _, ours := parent.(*fyne.Container); !ours {
		return true
	}
	ground := func(o fyne.CanvasObject) bool {
		switch o.(type) {
		case *look.Box, *canvas.Rectangle:
			return true
		}
		return false
	}
	return ground(a) || ground(b)
}

func kind(o fyne.CanvasObject) string {
	switch o := o.(type) {
	case *look.Text:
		return fmt.Sprintf("Text(%.40q)", o.Text)
	case *look.Button:
		return fmt.Sprintf("Button(%.40q)", o.Name)
	case *fyne.Container:
		return fmt.Sprintf("%T", o.Layout)
	}
	return fmt.Sprintf("%T", o)
}
