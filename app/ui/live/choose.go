package live

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/driver/desktop"
)

// chosen are whole lines of the console that the user has marked to copy them. They are known by their numbers, so they stay marked when more is printed.
type chosen struct {
	from, to int // both are marked; the first is where it began, and may be the larger
	some     bool
}

func (c chosen) first() int         { return min(c.from, c.to) }
func (c chosen) last() int          { return max(c.from, c.to) }
func (c chosen) has(line int) bool  { return c.some && line >= c.first() && line <= c.last() }
func (c chosen) only(line int) bool { return c.some && c.from == line && c.to == line }

// choose marks lines anew, and has the console stay where they are.
func (t *terminal) choose(c chosen) {
	if t.chosen = c; c.some {
		t.follow.On = false
		t.follow.Refresh()
	}
	t.status.Set(t.words())
	t.list.Refresh()
}

// rowAt is the row at a place of the window, the first or last when it is above or below all; -1 when there is none.
func (t *terminal) rowAt(at fyne.Position) int {
	y := at.Y - fyne.CurrentApp().Driver().AbsolutePositionForObject(t.list).Y + t.list.GetScrollOffset()
	return min(max(int(y/(t.cell.Height+1)), 0), len(t.rows)-1)
}

// MouseDown is part of [desktop.Mouseable]: a press marks a line, or no line any more, and with Shift all from the one before.
func (s *strip) MouseDown(ev *desktop.MouseEvent) {
	i := s.t.rowAt(ev.AbsolutePosition)
	if i < 0 || ev.Button != desktop.MouseButtonPrimary {
		return
	}
	fyne.CurrentApp().Driver().CanvasForObject(s.t.list).Unfocus() // so that an entry does not take the key that copies for its own
	c, line := s.t.chosen, s.t.rows[i].line
	switch {
	case c.some && ev.Modifier&fyne.KeyModifierShift != 0:
		c.to = line
	case c.only(line):
		c.some = false
	default:
		c = chosen{line, line, true}
	}
	s.t.choose(c)
}

// MouseUp is part of [desktop.Mouseable].
func (s *strip) MouseUp(*desktop.MouseEvent) {}

// Dragged is part of [fyne.Draggable]: it marks all from where the pointer went down, and scrolls where it leaves the console.
func (s *strip) Dragged(ev *fyne.DragEvent) {
	i := s.t.rowAt(ev.AbsolutePosition)
	if i < 0 {
		return
	}
	c, line := s.t.chosen, s.t.rows[i].line
	if !c.some {
		c.from, c.some = line, true
	}
	c.to = line
	s.t.list.ScrollTo(i)
	s.t.choose(c)
}

// DragEnd is part of [fyne.Draggable].
func (s *strip) DragEnd() {}
