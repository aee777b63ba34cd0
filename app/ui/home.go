package ui

import (
	"fmt"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/widget"

	"mirrord/app/launches"
	"mirrord/app/look"
	"mirrord/app/ui/plan"
)

// home is the page of saved launches.
type home struct {
	w         *Window
	body      fyne.CanvasObject
	below     *fyne.Container
	find      *look.Input
	search    *fyne.Container
	open, add *look.Button
	cards     []launches.Launch // as listed
	all       []launches.Launch
	grid      *fyne.Container
}

func newHome(w *Window) *home {
	h := &home{w: w, below: container.NewStack(), find: look.NewInput("Find"), grid: look.Cells(2*look.Step, 300)}
	h.find.OnChanged = func(string) { h.list() }
	h.find.OnSubmitted = func(string) {
		if len(h.cards) > 0 {
			w.Run(h.cards[0])
		}
	}
	title := look.Title("Launches")
	h.search = look.Fixed(160, look.Field(h.find))
	h.open = look.NewButton("Open folder…", "folder", look.Plain, func() { w.s.Choose(w.Window, w.propose) })
	h.add = look.NewButton("New launch", "plus", look.Primary, func() { w.Edit(launches.Launch{Shared: launches.Default()}, plan.Program) })
	head := look.Inset(3*look.Step, 3*look.Step, 2*look.Step, 3*look.Step, look.Row(look.Step, title, title, h.search, h.open, h.add))
	h.body = look.Fill(0, h.below, head, h.below)
	return h
}

func (h *home) content() fyne.CanvasObject { return h.body }

func (h *home) turn() {
	all, err := h.w.s.Store.List()
	if err != nil {
		h.w.say(err)
	}
	h.all = all
	h.list()
}

func (h *home) list() {
	h.cards = h.cards[:0]
	h.grid.RemoveAll()
	needle := strings.ToLower(h.find.Text)
	for _, l := range h.all {
		if strings.Contains(strings.ToLower(l.Name+" "+strings.Join(l.Command, " ")+" "+l.Target.Path+" "+l.Folder), needle) {
			h.cards = append(h.cards, l)
			h.grid.Add(h.card(l))
		}
	}
	h.search.Hidden = len(h.all) < 2
	h.open.Hidden = len(h.all) == 0 // it stands in the middle then
	if h.add.SetStyle(look.Primary); len(h.all) == 0 {
		h.add.SetStyle(look.Plain)
	}
	var content fyne.CanvasObject
	switch {
	case len(h.all) == 0:
		content = look.Empty("layers", "Run a program as if it ran in a pod",
			"Drop your project’s folder here, or open it. What can be run there is found in package.json, go.mod, pyproject.toml, Procfile, Makefile and others.",
			look.NewButton("Open folder…", "folder", look.Primary, func() { h.w.s.Choose(h.w.Window, h.w.propose) }))
	case len(h.cards) == 0:
		content = look.Empty("search", "Nothing has “"+h.find.Text+"”", "Names, commands, targets and folders were looked at.")
	default:
		content = container.NewVScroll(look.Inset(2, 3*look.Step, 3*look.Step, 3*look.Step, h.grid))
	}
	h.below.Objects = []fyne.CanvasObject{content}
	h.body.Refresh()
}

// card shows a launch; a press opens it.
func (h *home) card(l launches.Launch) fyne.CanvasObject {
	edit := func() { h.w.Edit(l, plan.Program) }
	name := look.Lead(l.Name).Short(80)
	if l.Fault != nil {
		why := look.Body(strings.ReplaceAll(l.Fault.Error(), "\nhint: ", "; ")).In(look.ColorBad).Lines(3).Coded()
		remove := look.NewButton("Remove", "trash", look.Plain, func() { h.remove(l) })
		space := look.Space(1, 1)
		return h.tile(l, look.Fill(6, space, name, why, space, look.Row(look.Step, nil, remove)), nil)
	}
	more := look.NewButton("", "more", look.Quiet, nil)
	more.Name = "More about " + l.Name
	more.OnTap = func() { h.menu(l, more) }
	command := look.Mono(strings.Join(l.Command, " ")).Short(80)
	chosen := 0
	if l.Plain {
		chosen = 1
	}
	mode := look.NewSegmented([]string{"In pod", "Plain"}, chosen, func(i int) {
		l.Plain = i == 1
		h.w.save(l)
		h.turn()
	})
	run := look.NewButton("Run", "play", look.Plain, func() { h.w.Run(l) })
	icon, where := "cube", plan.Short(l.Target.Path)
	switch {
	case strings.HasPrefix(l.Target.Path, "dir:"):
		icon = "folder"
	case l.Target.Path == "":
		where = "no target yet"
	}
	ink := look.ColorAccent
	if l.Plain {
		ink = look.ColorSecondary
	}
	place := look.Body(where).Short(80).In(ink)
	if l.Target.Namespace != "" {
		place.Text += "  in " + l.Target.Namespace
	}
	state, words := result(l.Last)
	when := ""
	if h.w.isRunning(l.ID) {
		state, words = look.ColorGood, "Running"
	} else if !l.Last.Time.IsZero() {
		when = ", " + look.Ago(l.Last.Time.Add(l.Last.Took), h.w.s.Now())
	}
	last := look.Caption(words + when).Short(60).Coded()
	gap, spread := look.Space(1, 1), look.Space(1, 1)
	body := look.Fill(6, gap,
		look.Row(look.Step, name, name, more), command, look.Caption(l.Folder).Path(80),
		look.Space(1, 2), look.Row(look.Step, place, look.NewIcon(icon, 14, ink), place),
		look.Row(look.Step, last, look.Fixed(14, look.NewDot(state)), last),
		gap, look.Row(look.Step, spread, mode, spread, run))
	return h.tile(l, body, edit)
}

func (h *home) tile(l launches.Launch, body fyne.CanvasObject, tap func()) fyne.CanvasObject {
	t := look.NewTile(l.Name, look.Inset(14, 16, 16, 16, body), tap)
	t.Radius, t.Normal, t.Over = 10, look.Paint{Fill: look.ColorSurface, Stroke: look.ColorHairline}, look.Paint{Fill: look.ColorSurface, Stroke: look.ColorAccent}
	t.OnMenu = func(at fyne.Position) { h.popup(l, at) }
	return t
}

// result is how a launch ended the last time.
func result(r launches.Result) (fyne.ThemeColorName, string) {
	switch {
	case r.Time.IsZero():
		return look.ColorHairline, "Never run"
	case r.OK():
		return look.ColorGood, "Ended well"
	case r.Error != "":
		return look.ColorBad, r.Error
	case r.Signal == "SIGTERM" || r.Signal == "SIGINT":
		return look.ColorSecondary, "Stopped"
	case r.Signal != "":
		return look.ColorBad, "Ended by " + r.Signal
	case r.Status != nil:
		return look.ColorBad, fmt.Sprintf("Ended with status %d", *r.Status)
	}
	return look.ColorBad, "Did not run"
}

func (h *home) menu(l launches.Launch, below fyne.CanvasObject) {
	at := fyne.CurrentApp().Driver().AbsolutePositionForObject(below)
	h.popup(l, at.AddXY(0, below.Size().Height))
}

func (h *home) popup(l launches.Launch, at fyne.Position) {
	items := []*fyne.MenuItem{
		fyne.NewMenuItem("Edit", func() { h.w.Edit(l, plan.Program) }),
		fyne.NewMenuItem("Run in a Terminal", func() { h.w.terminal(l) }),
		fyne.NewMenuItem("Copy as Command", func() { h.w.copy(h.w.s.Store.AsCommand(l)) }),
		fyne.NewMenuItem("Duplicate", func() {
			l.ID, l.Last, l.Name = "", launches.Result{}, l.Name+" copy"
			h.w.save(l)
			h.turn()
		}),
		fyne.NewMenuItemSeparator(),
		fyne.NewMenuItem("Delete", func() { h.remove(l) }),
	}
	widget.ShowPopUpMenuAtPosition(fyne.NewMenu("", items...), h.w.Canvas(), at)
}

// remove removes at once; undo is better than a question.
func (h *home) remove(l launches.Launch) {
	if err := h.w.s.Store.Remove(l.ID); err != nil {
		h.w.say(err)
		return
	}
	h.turn()
	h.w.tell(look.NewBanner(false, l.Name+" was deleted", "", look.NewButton("Undo", "restart", look.Plain, h.restore), look.NewButton("", "close", look.Quiet, h.w.hush)).Brief())
}

func (h *home) restore() {
	h.w.hush()
	if _, err := h.w.s.Store.Restore(); err != nil {
		h.w.say(err)
	}
	h.turn()
}
