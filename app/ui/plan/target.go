package plan

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/widget"

	"mirrord/app/cli"
	"mirrord/app/launches"
	"mirrord/app/look"
)

// targets is the second step: columns from the cluster to the workload, as folders are shown. Typing filters the column one is in.
type targets struct {
	v       *View
	body    fyne.CanvasObject
	find    *look.Input
	chosen  *look.Text
	icon    *look.Icon
	columns [3]*list
	recent  *fyne.Container
	asked   bool

	place     int // which row of the first column is chosen: Cluster contexts begin at contextRow
	contexts  []cli.Context
	kube      string // chosen context
	namespace string
	trouble   *fyne.Container
	serial    int // of the last question; answers to others are too late
}

// list is a column.
type list struct {
	title *look.Text
	list  *widget.List
	body  fyne.CanvasObject
	note  *look.Text
	all   []item
	shown []item
	pick  func(item)
	now   string // the key of what is chosen
}

// item is a row of a column.
type item struct {
	key, icon, title, detail string
	dot                      fyne.ThemeColorName
}

func newTargets(v *View) *targets {
	t := &targets{v: v, find: look.NewInput("Type to find a context, namespace or workload, or the path of a pod directory"), chosen: look.Mono("").Short(80), icon: look.NewIcon("cube", 16, look.ColorAccent), recent: look.Flow(6, 6), trouble: look.Column(look.Step)}
	t.find.OnChanged = func(string) { t.filter() }
	t.find.OnSubmitted = func(string) { t.first() }
	t.columns[0] = newList("From", func(i item) { t.from(i) })
	t.columns[1] = newList("Namespace", func(i item) { t.in(i.key) })
	t.columns[2] = newList("Workload", func(i item) { t.choose(launches.Target{Context: t.kube, Namespace: t.namespace, Path: i.key}) })
	t.trouble.Hide()
	panes := look.Panes(0, t.columns[2].body, look.Fixed(184, t.columns[0].body), look.Fixed(1, look.Upright()), look.Fixed(168, t.columns[1].body), look.Fixed(1, look.Upright()), t.columns[2].body)
	box := look.Panel(panes)
	now := look.Row(look.Step, t.chosen, t.icon, t.chosen)
	t.body = look.Inset(0, 3*look.Step, 2*look.Step, 3*look.Step, look.Fill(12, box, look.Field(t.find), t.recent, t.trouble, box, now))
	return t
}

func newList(title string, pick func(item)) *list {
	l := &list{title: look.Caption(title).Short(40), pick: pick, note: look.Caption("").Wrapped()}
	l.list = widget.NewList(func() int { return len(l.shown) }, func() fyne.CanvasObject { return newCell() }, func(i int, o fyne.CanvasObject) {
		if i < len(l.shown) {
			o.(*cell).show(l.shown[i], l.shown[i].key == l.now)
		}
	})
	l.list.OnSelected = func(i int) {
		l.list.UnselectAll()
		if i < len(l.shown) {
			l.now = l.shown[i].key
			pick(l.shown[i])
			l.list.Refresh()
		}
	}
	note := look.Inset(0, 12, 8, 12, l.note)
	scroll := container.New(look.Least(80, 96), look.Airy(l.list))
	l.body = look.Fill(0, scroll, look.Inset(10, 12, 4, 12, l.title), note, scroll)
	l.note.Hide()
	return l
}

// set shows other rows; note says why there are none, or what is missing.
func (l *list) set(all []item, note string) {
	l.all = all
	l.note.Set(note)
	l.note.Hidden = note == ""
	l.filter("")
	l.body.Refresh()
}

func (l *list) filter(text string) int {
	words := strings.Fields(strings.ToLower(text))
	l.shown = slices.DeleteFunc(slices.Clone(l.all), func(i item) bool {
		for _, w := range words {
			if !strings.Contains(strings.ToLower(i.title+" "+i.detail), w) {
				return true
			}
		}
		return false
	})
	l.list.Refresh()
	return len(l.shown)
}

// filter shows what has the typed words: in the last column that has anything like it.
func (t *targets) filter() {
	text := t.find.Text
	for i := len(t.columns) - 1; i >= 0; i-- {
		if len(t.columns[i].all) > 0 && (t.columns[i].filter(text) > 0 || i == 0) {
			for j := range i {
				t.columns[j].filter("")
			}
			return
		}
	}
}

// first takes the path that was typed, or the first row that the typed words leave. When nothing is typed it goes on, if there is a target.
func (t *targets) first() {
	if dir := strings.TrimPrefix(t.find.Text, "dir:"); filepath.IsAbs(dir) {
		t.find.SetText("")
		t.choose(launches.Target{Path: "dir:" + filepath.Clean(dir)})
		return
	}
	if t.find.Text == "" {
		if t.v.launch.Target.Path != "" {
			t.v.forward()
		}
		return
	}
	t.filter() // rows may have come since
	for _, l := range slices.Backward(t.columns[:]) {
		if len(l.shown) > 0 {
			one := l.shown[0]
			l.now = one.key
			t.find.SetText("")
			l.pick(one)
			return
		}
	}
}

const (
	nowhere   = "\x00nowhere"
	directory = "\x00directory"
)

// turn asks for contexts the first time.
func (t *targets) turn() {
	t.name()
	if t.asked {
		return
	}
	t.asked = true
	t.recents()
	var err error
	t.v.o.Async(func(ctx context.Context) { t.contexts, err = t.v.o.Tool.Contexts(ctx) }, func() { t.places(err) })
}

func (t *targets) recents() {
	t.recent.RemoveAll()
	t.recent.Add(look.Sized(0, 24, look.Caption("Recent")))
	for i, r := range t.v.o.Recent {
		if i == 4 {
			break
		}
		t.recent.Add(look.NewChip(Short(r.Path), false, func(bool) { t.choose(r); t.recents() }))
	}
	t.recent.Hidden = len(t.v.o.Recent) == 0
}

// Short is a target's name without what is the same for most.
func Short(target string) string {
	if dir, ok := strings.CutPrefix(target, "dir:"); ok {
		return "dir:" + path.Base(dir)
	}
	if target == "targetless" {
		return "without a pod"
	}
	if runes := []rune(target); len(runes) > 40 {
		return string(runes[:39]) + "…"
	}
	return target
}

func (t *targets) places(err error) {
	all := []item{{key: directory, icon: "folder", title: "Pod directory…", detail: "a pod as a folder"}}
	now := ""
	for _, c := range t.contexts {
		all = append(all, item{key: c.Name, icon: "cloud", title: c.Name, detail: c.Cluster})
		if c.Name == t.v.launch.Target.Context || (t.v.launch.Target.Context == "" && c.Current) {
			now = c.Name
		}
	}
	note := ""
	if len(t.contexts) == 0 && err == nil {
		note = "Your kubeconfig has no cluster."
	}
	t.columns[0].now = now
	t.columns[0].set(all, note)
	if err != nil {
		t.problem(err, func() { t.asked = false; t.turn() })
		return
	}
	if now != "" {
		t.cluster(now, t.v.launch.Target.Namespace)
	}
}

// problem says what is wrong, above the columns, with a way to try once more.
func (t *targets) problem(err error, again func()) {
	t.trouble.RemoveAll()
	t.trouble.Hidden = err == nil
	if err != nil {
		t.trouble.Add(banner(err, look.NewButton("Try again", "restart", look.Plain, again)))
	}
	t.v.Content.Refresh()
}

func (t *targets) from(i item) {
	if i.key != directory {
		t.cluster(i.key, "")
		return
	}
	t.columns[1].set(nil, "")
	t.columns[2].set(nil, "")
	t.v.o.Choose(func(folder string) { t.choose(launches.Target{Path: "dir:" + folder}) })
}

// cluster lists the namespaces of a context.
func (t *targets) cluster(kube, namespace string) {
	t.kube, t.namespace = kube, namespace
	t.problem(nil, nil)
	t.columns[1].set(nil, "Asking the cluster…")
	t.columns[2].set(nil, "")
	t.serial++
	serial := t.serial
	var all cli.Namespaces
	var err error
	t.v.o.Async(func(ctx context.Context) { all, err = t.v.o.Tool.Namespaces(ctx, kube) }, func() {
		if serial != t.serial {
			return
		}
		if err != nil {
			t.columns[1].set(nil, "The cluster did not answer.")
			t.problem(err, func() { t.cluster(kube, namespace) })
			return
		}
		var items []item
		for _, n := range all.Names {
			items = append(items, item{key: n, title: n})
		}
		if namespace == "" {
			namespace = all.Current
		}
		t.columns[1].set(items, "")
		t.in(namespace)
	})
}

// in lists the workloads of a namespace.
func (t *targets) in(namespace string) {
	t.namespace = namespace
	t.columns[1].now = namespace
	t.columns[1].list.Refresh()
	t.columns[2].set([]item{nobody}, "Asking the cluster…")
	t.serial++
	serial, kube := t.serial, t.kube
	var all cli.Targets
	var err error
	t.v.o.Async(func(ctx context.Context) { all, err = t.v.o.Tool.Targets(ctx, kube, namespace) }, func() {
		if serial != t.serial {
			return
		}
		if err != nil {
			t.columns[2].set([]item{nobody}, "The workloads could not be listed.")
			t.problem(err, func() { t.in(namespace) })
			return
		}
		t.problem(nil, nil)
		t.workloads(all)
	})
}

var nobody = item{key: "targetless", icon: "cloud", title: "Without a pod", detail: "names and connections of the cluster, all else from here"}

func (t *targets) workloads(all cli.Targets) {
	var items []item
	for _, w := range all.Targets {
		ports := ""
		for _, p := range w.Ports {
			ports += fmt.Sprintf(" :%d", p)
		}
		one := item{key: w.Target, icon: "cube", title: w.Target, detail: fmt.Sprintf("%d/%d ready%s", w.Ready, w.Pods, ports), dot: look.ColorGood}
		switch {
		case w.Ready == 0:
			one.dot = look.ColorBad
		case w.Ready < w.Pods:
			one.dot = look.ColorWarn
		}
		items = append(items, one)
		if len(w.Containers) > 1 && !strings.HasPrefix(w.Target, "service/") {
			for _, c := range w.Containers {
				items = append(items, item{key: w.Target + "/container/" + c, icon: "layers", title: "container/" + c, detail: "of " + w.Target})
			}
		}
	}
	items = append(items, nobody)
	note := ""
	switch {
	case len(all.Hidden) > 0:
		note = "You may not list " + strings.Join(all.Hidden, ", ") + "."
	case len(all.Targets) == 0:
		note = "Nothing runs in this namespace."
	}
	t.columns[2].now = t.v.launch.Target.Path
	t.columns[2].set(items, note)
}

func (t *targets) choose(chosen launches.Target) {
	t.v.launch.Target = chosen
	t.columns[2].now = chosen.Path
	t.columns[2].list.Refresh()
	t.v.fault.Hide()
	t.name()
	t.v.changed()
}

// name says what is chosen.
func (t *targets) name() {
	words, icon, ink := "", "cube", look.ColorAccent
	switch c := t.v.launch.Target; {
	case c.Path == "":
		words, ink = "Nothing is chosen yet", look.ColorSecondary
	case strings.HasPrefix(c.Path, "dir:"):
		words, icon = c.Path, "folder"
	default:
		words = c.Path
		if c.Namespace != "" {
			words += "  in  " + c.Namespace
		}
		if c.Context != "" {
			words += "  of  " + c.Context
		}
	}
	t.chosen.Set(words)
	t.icon.Set(icon, ink)
}

// cell is an item on the screen.
type cell struct {
	widget.BaseWidget
	icon          *look.Icon
	title, detail *look.Text
	dot           *look.Dot
	mark          *look.Box
	body          fyne.CanvasObject
}

func newCell() *cell {
	c := &cell{icon: look.NewIcon("cube", 14, look.ColorSecondary), title: look.Body("").Short(40), detail: look.Caption("").Short(40), dot: look.NewDot(look.ColorGood),
		mark: look.NewBox(look.Paint{Fill: look.ColorClear, Stroke: look.ColorClear}, 6)}
	texts := look.Column(0, c.title, c.detail)
	c.body = look.Inset(0, 6, 0, 6, container.NewStack(c.mark, look.Sized(0, 38, look.Inset(0, 8, 0, 8, look.Row(10, texts, c.icon, texts, c.dot)))))
	c.ExtendBaseWidget(c)
	return c
}

func (c *cell) CreateRenderer() fyne.WidgetRenderer { return widget.NewSimpleRenderer(c.body) }

func (c *cell) show(i item, chosen bool) {
	ink, back := look.ColorText, look.ColorClear
	if chosen {
		ink, back = look.ColorAccent, look.ColorTint
	}
	c.mark.Paint.Fill = back
	c.title.Text, c.title.Color = i.title, ink
	c.detail.Text, c.detail.Hidden = i.detail, i.detail == ""
	if c.icon.Hidden = i.icon == ""; i.icon != "" {
		c.icon.Set(i.icon, ink)
	}
	if c.dot.Hidden = i.dot == ""; i.dot != "" {
		c.dot.Set(i.dot)
	}
	c.Refresh()
}
