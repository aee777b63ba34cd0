package ui

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/driver/desktop"

	"mirrord/app/launches"
	"mirrord/app/ui/plan"
)

// mod is Command on a Mac, Control elsewhere.
const mod = fyne.KeyModifierShortcutDefault

// act is something that a key and the menu do.
type act struct {
	name string
	key  fyne.KeyName
	mod  fyne.KeyModifier
	do   func()
}

func (w *Window) acts() []act {
	return []act{
		{"New Launch", fyne.KeyN, mod, func() { w.Edit(launches.Launch{Shared: launches.Default()}, plan.Program) }},
		{"Open Folder…", fyne.KeyO, mod, func() { w.s.Choose(w.Window, w.propose) }},
		{"Run", fyne.KeyR, mod, w.runShown},
		{"Stop", fyne.KeyPeriod, mod, func() {
			if r := w.current(); r != nil && !r.over {
				r.Stop()
			}
		}},
		{"Find", fyne.KeyF, mod, func() {
			if r := w.current(); r != nil {
				r.view.Focus(w.Canvas())
			} else if w.shown == w.pages[Home] {
				w.Canvas().Focus(w.pages[Home].(*home).find)
			}
		}},
		{"Choose Target", fyne.KeyK, mod, func() {
			if v, ok := w.shown.(*plan.View); ok {
				v.Find(w.Canvas())
			}
		}},
		{"Next Part", fyne.KeyRightBracket, mod, func() {
			switch shown := w.shown.(type) {
			case *plan.View:
				shown.Next()
			case *running:
				shown.view.Next()
			}
		}},
		{"Copy What Is Shown", fyne.KeyC, mod | fyne.KeyModifierShift, func() {
			switch shown := w.shown.(type) {
			case *plan.View:
				w.copy(w.s.Store.AsCommand(shown.Launch()))
			case *running:
				w.copy(shown.view.Text())
			}
		}},
		{"Launches", fyne.Key1, mod, func() { w.Turn(Home) }},
		{"Sessions", fyne.Key2, mod, func() { w.Turn(Sessions) }},
		{"This Machine", fyne.Key3, mod, func() { w.Turn(Machine) }},
		{"Newest Run", fyne.Key4, mod, func() {
			if n := len(w.runs); n > 0 {
				w.runs[n-1].item.tile.OnTap()
			}
		}},
	}
}

// runShown runs what is on the screen: the launch one makes, the run once more, or the first card.
func (w *Window) runShown() {
	switch shown := w.shown.(type) {
	case *plan.View:
		shown.Run()
	case *running:
		w.again(shown)
	case *home:
		if len(shown.cards) > 0 {
			w.Run(shown.cards[0])
		}
	}
}

// shortcuts binds keys and makes the menu of the same acts.
func (w *Window) shortcuts() {
	acts := w.acts()
	items := make([]*fyne.MenuItem, len(acts))
	for i, a := range acts {
		s := &desktop.CustomShortcut{KeyName: a.key, Modifier: a.mod}
		items[i] = fyne.NewMenuItem(a.name, a.do)
		items[i].Shortcut = s
		w.Canvas().AddShortcut(s, func(fyne.Shortcut) { a.do() })
	}
	w.Canvas().AddShortcut(&fyne.ShortcutCopy{}, func(fyne.Shortcut) { // an entry that has the keyboard hears it first
		if r := w.current(); r != nil && r.view.Chosen() != "" {
			w.copy(r.view.Chosen())
		}
	})
	undo := fyne.NewMenuItem("Undo Delete", w.pages[Home].(*home).restore)
	w.SetMainMenu(fyne.NewMainMenu(fyne.NewMenu("File", items[0], items[1], fyne.NewMenuItemSeparator(), undo), fyne.NewMenu("Session", items[2:8]...), fyne.NewMenu("Go", items[8:]...)))
	w.Canvas().SetOnTypedKey(func(ev *fyne.KeyEvent) {
		if ev.Name == fyne.KeyEscape {
			if w.notice.Visible() {
				w.hush()
			} else if _, ok := w.shown.(*plan.View); ok {
				w.Turn(Home)
			} else if r := w.current(); r != nil {
				r.view.Release()
			}
		}
	})
}

// Tray shows the runs in the system's tray.
func (w *Window) Tray(set func(*fyne.Menu)) {
	w.tray = set
	set(w.trayMenu())
}

func (w *Window) trayMenu() *fyne.Menu {
	m := fyne.NewMenu("mirrord", fyne.NewMenuItem("Open mirrord", func() { w.Show(); w.RequestFocus() }))
	for _, r := range w.runs {
		if !r.over {
			stop := fyne.NewMenuItem("Stop "+r.Launch.Name, func() { r.Stop() })
			m.Items = append(m.Items, stop)
		}
	}
	quit := fyne.NewMenuItem("Quit", func() { w.Show(); w.RequestFocus(); w.closing() }) // the toolkit's own would not ask
	quit.IsQuit = true
	m.Items = append(m.Items, fyne.NewMenuItemSeparator(), fyne.NewMenuItem("Stop All Sessions", func() { w.pages[Sessions].(*sessions).stop() }), quit)
	return m
}
