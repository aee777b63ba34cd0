package look

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
)

// column stacks objects; the width comes first, so wrapped text may decide its own height. Each of grow shares what is left.
type column struct {
	gap  float32
	grow map[fyne.CanvasObject]bool
}

// Column stacks what is visible of objects with gap between them, each as wide as the column.
func Column(gap float32, objects ...fyne.CanvasObject) *fyne.Container {
	return container.New(&column{gap: gap}, objects...)
}

// Fill is a column in which the object grow takes the height that the others leave.
func Fill(gap float32, grow fyne.CanvasObject, objects ...fyne.CanvasObject) *fyne.Container {
	return container.New(&column{gap: gap, grow: map[fyne.CanvasObject]bool{grow: true}}, objects...)
}

func (c *column) MinSize(objects []fyne.CanvasObject) (min fyne.Size) {
	gap := float32(0)
	for _, o := range objects {
		if o.Visible() {
			m := o.MinSize()
			min.Width = fyne.Max(min.Width, m.Width)
			min.Height += m.Height + gap
			gap = c.gap
		}
	}
	return min
}

func (c *column) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	heights, used, growing, gap := make([]float32, len(objects)), float32(0), 0, float32(0)
	for i, o := range objects {
		if !o.Visible() {
			continue
		}
		if o.Size().Width != size.Width {
			o.Resize(fyne.NewSize(size.Width, o.MinSize().Height))
		}
		heights[i] = o.MinSize().Height
		used += heights[i] + gap
		gap = c.gap
		if c.grow[o] {
			growing++
		}
	}
	y := float32(0)
	for i, o := range objects {
		if !o.Visible() {
			continue
		}
		if c.grow[o] && size.Height > used {
			heights[i] += (size.Height - used) / float32(growing)
		}
		o.Move(fyne.NewPos(0, y))
		o.Resize(fyne.NewSize(size.Width, heights[i]))
		y += heights[i] + c.gap
	}
}

// row puts objects side by side, centred upright; grow takes the width that the others leave.
type row struct {
	gap  float32
	grow fyne.CanvasObject
	tall bool // as high as the row
}

// Row puts what is visible of objects side by side with gap between them; grow, if not nil, takes the width that is left.
func Row(gap float32, grow fyne.CanvasObject, objects ...fyne.CanvasObject) *fyne.Container {
	return container.New(&row{gap: gap, grow: grow}, objects...)
}

// Panes is a row whose objects are as high as it is.
func Panes(gap float32, grow fyne.CanvasObject, objects ...fyne.CanvasObject) *fyne.Container {
	return container.New(&row{gap: gap, grow: grow, tall: true}, objects...)
}

func (r *row) MinSize(objects []fyne.CanvasObject) (min fyne.Size) {
	gap := float32(0)
	for _, o := range objects {
		if o.Visible() {
			m := o.MinSize()
			min.Width += m.Width + gap
			min.Height = fyne.Max(min.Height, m.Height)
			gap = r.gap
		}
	}
	return min
}

func (r *row) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	left := size.Width - r.MinSize(objects).Width
	x := float32(0)
	for _, o := range objects {
		if !o.Visible() {
			continue
		}
		m := o.MinSize()
		if o == r.grow && left > 0 {
			m.Width += left
		}
		if o == r.grow && o.Size().Width != m.Width {
			o.Resize(m) // wrapped text is higher or lower then
			m.Height = o.MinSize().Height
		}
		y := (size.Height - m.Height) / 2
		if r.tall {
			y, m.Height = 0, size.Height
		}
		o.Move(fyne.NewPos(x, y))
		o.Resize(m)
		x += m.Width + r.gap
	}
}

// Inset is object with space around it.
func Inset(top, right, bottom, left float32, object fyne.CanvasObject) *fyne.Container {
	return container.New(inset{top, right, bottom, left}, object)
}

// Pad is object with the same space on all sides.
func Pad(all float32, object fyne.CanvasObject) *fyne.Container {
	return Inset(all, all, all, all, object)
}

type inset struct{ top, right, bottom, left float32 }

func (p inset) MinSize(objects []fyne.CanvasObject) (min fyne.Size) {
	for _, o := range objects {
		if o.Visible() {
			min = min.Max(o.MinSize())
		}
	}
	return min.AddWidthHeight(p.left+p.right, p.top+p.bottom)
}

func (p inset) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	for _, o := range objects {
		o.Move(fyne.NewPos(p.left, p.top))
		o.Resize(size.SubtractWidthHeight(p.left+p.right, p.top+p.bottom))
	}
}

// cells is a grid whose columns are as many as fit, all of the same size.
type cells struct {
	gap, width float32
	across     int // of the last layout
}

// Cells puts objects into as many columns as fit when each is at least width wide; all have the height of the highest.
func Cells(gap, width float32, objects ...fyne.CanvasObject) *fyne.Container {
	return container.New(&cells{gap: gap, width: width, across: 1}, objects...)
}

func (c *cells) MinSize(objects []fyne.CanvasObject) fyne.Size {
	h, n := c.height(objects)
	rows := float32((n + c.across - 1) / c.across)
	return fyne.NewSize(c.width, fyne.Max(0, rows*(h+c.gap)-c.gap))
}

func (c *cells) height(objects []fyne.CanvasObject) (h float32, n int) {
	for _, o := range objects {
		if o.Visible() {
			h = fyne.Max(h, o.MinSize().Height)
			n++
		}
	}
	return h, n
}

func (c *cells) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	c.across = max(1, int((size.Width+c.gap)/(c.width+c.gap)))
	h, _ := c.height(objects)
	w := (size.Width+c.gap)/float32(c.across) - c.gap
	n := 0
	for _, o := range objects {
		if o.Visible() {
			o.Move(fyne.NewPos(float32(n%c.across)*(w+c.gap), float32(n/c.across)*(h+c.gap)))
			o.Resize(fyne.NewSize(w, h))
			n++
		}
	}
}

// Sized is object at least as large as size; a side of 0 is the object's own.
func Sized(width, height float32, object fyne.CanvasObject) *fyne.Container {
	return container.New(sized{width, height}, object)
}

type sized struct{ width, height float32 }

func (s sized) MinSize(objects []fyne.CanvasObject) fyne.Size {
	min := objects[0].MinSize()
	return fyne.NewSize(fyne.Max(min.Width, s.width), fyne.Max(min.Height, s.height))
}

func (s sized) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	objects[0].Move(fyne.NewPos(0, 0))
	objects[0].Resize(size)
}

// Middle is object in the middle, at most width wide.
func Middle(width float32, object fyne.CanvasObject) *fyne.Container {
	return container.New(middle(width), object)
}

type middle float32

func (m middle) MinSize(objects []fyne.CanvasObject) fyne.Size { return objects[0].MinSize() }

func (m middle) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	o := objects[0]
	w := fyne.Min(size.Width, float32(m))
	o.Resize(fyne.NewSize(w, o.MinSize().Height))
	h := fyne.Min(size.Height, o.MinSize().Height)
	o.Resize(fyne.NewSize(w, h))
	o.Move(fyne.NewPos((size.Width-w)/2, (size.Height-h)/2))
}

// even gives all objects the same width.
type even struct{ gap float32 }

// Even puts objects side by side, each as wide as the others.
func Even(gap float32, objects ...fyne.CanvasObject) *fyne.Container {
	return container.New(even{gap}, objects...)
}

func (e even) MinSize(objects []fyne.CanvasObject) (min fyne.Size) {
	for _, o := range objects {
		min = min.Max(o.MinSize())
	}
	n := float32(len(objects))
	return fyne.NewSize(n*(min.Width+e.gap)-e.gap, min.Height)
}

func (e even) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	w := (size.Width+e.gap)/float32(len(objects)) - e.gap
	for i, o := range objects {
		o.Move(fyne.NewPos(float32(i)*(w+e.gap), 0))
		o.Resize(fyne.NewSize(w, size.Height))
	}
}

// Least is a layout that gives its object all there is, and asks for no more than a size, whatever the object wants: for what can be scrolled.
func Least(width, height float32) fyne.Layout { return least{width, height} }

type least struct{ width, height float32 }

func (l least) MinSize([]fyne.CanvasObject) fyne.Size { return fyne.NewSize(l.width, l.height) }

func (l least) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	for _, o := range objects {
		o.Move(fyne.NewPos(0, 0))
		o.Resize(size)
	}
}
