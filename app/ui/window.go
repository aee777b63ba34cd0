package ui

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/dialog"

	"mirrord/app/launches"
	"mirrord/app/look"
	"mirrord/app/ui/plan"
)

// Window is the window with all that it shows. It belongs to the goroutine of the toolkit; what its Services do elsewhere comes back by [fyne.Do].
type Window struct {
	fyne.Window
	s       Services
	app     fyne.App
	nav     [3]*navItem
	running *fyne.Container
	heading *look.Text
	page    *fyne.Container
	notice  *fyne.Container
	pages   [3]page
	shown   any // the page, *plan.View or *running that is on the screen
	runs    []*running
	tray    func(*fyne.Menu) // nil: there is none
	ending  func()           // ends the app
}

// page is one of those that the sidebar always names.
type page interface {
	content() fyne.CanvasObject
	turn() // it comes onto the screen
}

// The pages.
const (
	Home = iota
	Sessions
	Machine
)

// navItem is a row of the sidebar.
type navItem struct {
	tile *look.Tile
	text *look.Text
	icon *look.Icon
	dot  *look.Dot
}

func newNavItem(text, icon string, tap func()) *navItem {
	n := &navItem{text: look.Body(text).Short(40), dot: look.NewDot(look.ColorGood)}
	row := look.Row(10, n.text, look.Space(1, 1), n.text)
	if icon != "" {
		n.icon = look.NewIcon(icon, 16, look.ColorSecondary)
		row.Objects[0] = n.icon
	} else {
		row.Objects[0] = look.Fixed(16, n.dot)
	}
	n.tile = look.NewTile(text, look.Sized(0, 32, look.Inset(0, 10, 0, 10, row)), tap)
	n.tile.Radius = 6
	return n
}

func (n *navItem) choose(yes bool) {
	n.tile.Normal, n.text.Color = look.Paint{Fill: look.ColorClear, Stroke: look.ColorClear}, look.ColorText
	ink := look.ColorSecondary
	if yes {
		n.tile.Normal, n.text.Color, ink = look.Paint{Fill: look.ColorTint, Stroke: look.ColorClear}, look.ColorAccent, look.ColorAccent
	}
	if n.icon != nil {
		n.icon.Color = ink
	}
	n.tile.Refresh()
}

// New makes the window of an app; it is shown by its method Show.
func New(app fyne.App, s Services) *Window {
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Go == nil {
		s.Go = func(f func()) { go f() }
	}
	if s.Notify == nil {
		s.Notify = func(title, text string) { app.SendNotification(fyne.NewNotification(title, text)) }
	}
	w := &Window{Window: app.NewWindow("mirrord"), s: s, app: app, running: look.Column(2), heading: look.Caption("Runs"), page: container.NewStack(), notice: look.Column(0)}
	if w.s.Choose == nil {
		w.s.Choose = chooseFolder
	}
	w.SetPadded(false)
	w.pages = [3]page{newHome(w), newSessions(w), newMachine(w)}
	for i, one := range []struct{ text, icon string }{{"Launches", "grid"}, {"Sessions", "activity"}, {"This machine", "health"}} {
		w.nav[i] = newNavItem(one.text, one.icon, func() { w.Turn(i) })
	}
	w.heading.Hide()
	mark := look.Row(look.Step, nil, look.NewIcon("layers", 20, look.ColorAccent), look.Lead("mirrord"))
	list := container.NewVScroll(w.running)
	side := look.Fill(2, list, look.Inset(8, 8, 16, 10, mark), w.nav[0].tile, w.nav[1].tile, w.nav[2].tile, look.Inset(16, 0, 4, 10, w.heading), list, look.Inset(0, 0, 0, 10, look.Caption(s.Version).Short(60)))
	sidebar := look.On(look.Paint{Fill: look.ColorSidebar, Stroke: look.ColorClear}, 0, look.Inset(12, 10, 12, 10, side))
	main := look.Fill(0, w.page, w.notice, w.page)
	w.SetContent(look.Panes(0, main, look.Fixed(200, sidebar), look.Fixed(1, look.Upright()), main))
	w.notice.Hide()
	if s.Trouble != nil {
		w.say(s.Trouble)
	} else if s.Check != nil {
		var err error
		w.async(func(ctx context.Context) { err = s.Check(ctx) }, func() {
			if err != nil {
				w.say(err)
			}
		})
	}
	w.shortcuts()
	w.SetOnDropped(func(_ fyne.Position, dropped []fyne.URI) {
		if len(dropped) > 0 {
			w.propose(dropped[0].Path())
		}
	})
	w.Resize(remembered(app.Preferences()))
	app.Lifecycle().SetOnStopped(w.remember)
	w.Turn(Home)
	return w
}

func chooseFolder(parent fyne.Window, chosen func(string)) {
	d := dialog.NewFolderOpen(func(folder fyne.ListableURI, err error) {
		if err == nil && folder != nil {
			chosen(folder.Path())
		}
	}, parent)
	d.Show() // before Resize, which fails on one that is not shown
	d.Resize(fyne.NewSize(760, 520))
}

// async runs work elsewhere, and then done on the toolkit's goroutine.
func (w *Window) async(work func(ctx context.Context), done func()) {
	w.s.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		work(ctx)
		fyne.Do(done)
	})
}

// say shows what went wrong above the page until it is closed.
func (w *Window) say(err error) {
	message, hint, _ := strings.Cut(err.Error(), "\nhint: ")
	w.tell(look.NewBanner(true, message, hint, look.NewButton("", "close", look.Quiet, w.hush)).Brief())
}

func (w *Window) tell(o fyne.CanvasObject) {
	w.notice.Objects = []fyne.CanvasObject{look.Inset(16, 24, 0, 24, o)}
	w.notice.Show()
	w.Content().Refresh()
}

func (w *Window) hush() {
	w.notice.Hide()
	w.Content().Refresh()
}

// Turn goes to one of the pages of the sidebar.
func (w *Window) Turn(i int) {
	w.show(w.pages[i], w.pages[i].content())
	w.pages[i].turn()
}

// show puts something onto the page and marks its name in the sidebar.
func (w *Window) show(what any, content fyne.CanvasObject) {
	w.shown = what
	look.LetGo(w.Content())
	w.page.Objects = []fyne.CanvasObject{content}
	for i, n := range w.nav {
		n.choose(what == w.pages[i])
	}
	for _, r := range w.runs {
		r.item.choose(what == r)
	}
	w.page.Refresh()
}

// Edit opens a launch.
func (w *Window) Edit(l launches.Launch, step int) *plan.View {
	v := plan.New(plan.Options{
		Launch: l, Tool: w.s.Tool, Recent: w.s.Store.Recent(), Read: w.s.Read, Async: w.async,
		Choose: func(chosen func(string)) { w.s.Choose(w.Window, chosen) },
		Copy:   w.copy, AsText: w.s.Store.AsCommand,
		Save:  func(l launches.Launch) { w.save(l); w.Turn(Home) },
		Run:   func(l launches.Launch) { w.Run(w.save(l)) },
		Close: func() { w.Turn(Home) },
	})
	w.show(v, v.Content)
	v.Show(step)
	return v
}

// Open opens a new launch for a folder, or for the folder of a file.
func (w *Window) Open(path string) { w.propose(path) }

// propose opens a new launch for a folder, or for the folder of a file.
func (w *Window) propose(path string) {
	folder, err := w.s.Read(path)
	if err != nil {
		w.say(err)
		return
	}
	l := launches.Launch{Folder: folder.Path, Name: folder.Name, Shared: launches.Default()}
	if folder.Pod {
		l = launches.Launch{Target: launches.Target{Path: "dir:" + folder.Path}, Shared: launches.Default()}
	} else if len(folder.Proposals) > 0 {
		l.Command = folder.Proposals[0].Command
	}
	w.Edit(l, plan.Program)
}

// save keeps a launch; the target counts as used.
func (w *Window) save(l launches.Launch) launches.Launch {
	if l.Name == "" {
		l.Name = filepath.Base(l.Folder)
	}
	saved, err := w.s.Store.Save(l)
	if err != nil {
		w.say(err)
		return l
	}
	if l.Target.Path != "" {
		if err := w.s.Store.Used(l.Target); err != nil {
			w.say(err)
		}
	}
	return saved
}

func (w *Window) copy(text string) {
	w.app.Clipboard().SetContent(text)
}

// OnClose has the window ask before it ends what it has started; ended is called when all of that has ended.
func (w *Window) OnClose(ended func()) {
	w.ending = ended
	w.SetCloseIntercept(w.closing)
}

// left are the runs that have not ended.
func (w *Window) left() (left []*running) {
	for _, r := range w.runs {
		if !r.over {
			left = append(left, r)
		}
	}
	return left
}

func (w *Window) closing() {
	n := len(w.left())
	if n == 0 {
		w.ending()
		return
	}
	ask := dialog.NewConfirm("Quit mirrord?", look.Many(n, "program that was started here ends", "programs that were started here end")+".", func(yes bool) {
		if yes {
			w.quit()
		}
	}, w.Window)
	ask.SetConfirmText("Quit")
	ask.SetDismissText("Stay")
	ask.Show()
}

// quit stops what runs, and ends when it has ended.
func (w *Window) quit() {
	left := w.left()
	for _, r := range left {
		r.Stop()
	}
	w.s.Go(func() {
		for _, r := range left {
			<-r.done
		}
		fyne.Do(w.ending)
	})
}
