package look

import (
	"fmt"
	"strconv"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
)

// Count is a number with thin groups: "12,345".
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Many is a number with its noun.
func Many(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return Count(int64(n)) + " " + more
}

// Bytes is an amount of data: "1.4 MB".
func Bytes(n int64) string {
	units := []string{"B", "KB", "MB", "GB", "TB", "PB", "EB"}
	v, i := float64(n), 0
	for v >= 999.5 && i+1 < len(units) {
		v, i = v/1000, i+1
	}
	if i == 0 || v >= 99.5 {
		return fmt.Sprintf("%.0f %s", v, units[i])
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}

// Duration is a time that people wait: "7 s", "2:05 min", "3 h 20 min".
func Duration(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d:%02d min", d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// Latency is a time that machines wait: "0.4 ms", "1.2 s".
func Latency(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// Ago is a moment in words.
func Ago(t, now time.Time) string {
	switch d := now.Sub(t); {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return Many(int(d/time.Minute), "minute ago", "minutes ago")
	case d < 24*time.Hour:
		return Many(int(d/time.Hour), "hour ago", "hours ago")
	case d < 7*24*time.Hour:
		return Many(int(d/(24*time.Hour)), "day ago", "days ago")
	}
	return t.Format("2 Jan 2006")
}

// Fixed is object exactly width wide.
func Fixed(width float32, object fyne.CanvasObject) *fyne.Container {
	return container.New(fixed(width), object)
}

type fixed float32

func (f fixed) MinSize(objects []fyne.CanvasObject) fyne.Size {
	return fyne.NewSize(float32(f), objects[0].MinSize().Height)
}

func (f fixed) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	objects[0].Move(fyne.NewPos(0, 0))
	objects[0].Resize(size)
}

// flow puts objects side by side and begins a new line where they do not fit.
type flow struct {
	gap, below float32
	width      float32 // of the last layout
}

// Flow puts objects side by side, in as many lines as they need.
func Flow(gap, below float32, objects ...fyne.CanvasObject) *fyne.Container {
	return container.New(&flow{gap: gap, below: below}, objects...)
}

func (f *flow) MinSize(objects []fyne.CanvasObject) (min fyne.Size) {
	for _, o := range objects {
		if o.Visible() {
			min = min.Max(o.MinSize())
		}
	}
	if f.width > 0 {
		min.Height = f.place(objects, f.width, false)
	}
	return min
}

func (f *flow) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	f.width = size.Width
	f.place(objects, size.Width, true)
}

func (f *flow) place(objects []fyne.CanvasObject, width float32, move bool) float32 {
	x, y, h := float32(0), float32(0), float32(0)
	for _, o := range objects {
		if !o.Visible() {
			continue
		}
		m := o.MinSize()
		if x > 0 && x+m.Width > width {
			x, y, h = 0, y+h+f.below, 0
		}
		if move {
			o.Move(fyne.NewPos(x, y))
			o.Resize(m)
		}
		x, h = x+m.Width+f.gap, fyne.Max(h, m.Height)
	}
	return y + h
}
