package ui

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"
	"github.com/google/go-cmp/cmp"

	"mirrord/app/cli"
	"mirrord/app/console"
	"mirrord/app/launches"
	"mirrord/app/look"
	"mirrord/app/look/looktest"
	"mirrord/app/proposals"
	"mirrord/app/session"
	"mirrord/app/ui/plan"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// fake is the rest of the world.
type fake struct {
	saved    []launches.Launch
	removed  *launches.Launch
	ran      map[string]launches.Result
	sessions []cli.Session
	findings []cli.Finding
	stopped  []string
	started  []*session.Model
	changed  []chan struct{}
	notes    []string
	copied   string
}

func (f *fake) Contexts(context.Context) ([]cli.Context, error) { return nil, nil }
func (f *fake) Namespaces(context.Context, string) (cli.Namespaces, error) {
	return cli.Namespaces{}, nil
}
func (f *fake) Targets(context.Context, string, string) (cli.Targets, error) {
	return cli.Targets{}, nil
}
func (f *fake) Doctor(context.Context, bool) ([]cli.Finding, error) { return f.findings, nil }
func (f *fake) Explain(context.Context, string, []string) (cli.Explanation, error) {
	return cli.Explanation{}, nil
}
func (f *fake) Sessions(context.Context) ([]cli.Session, error) { return f.sessions, nil }
func (f *fake) Stop(_ context.Context, ids ...string) ([]string, error) {
	if f.stopped = append(f.stopped, ids...); len(ids) == 0 {
		f.sessions = nil
	}
	return ids, nil
}

func (f *fake) List() ([]launches.Launch, error) { return f.saved, nil }
func (f *fake) Save(l launches.Launch) (launches.Launch, error) {
	if l.ID == "" {
		l.ID = l.Name
	}
	for i, one := range f.saved {
		if one.ID == l.ID {
			f.saved[i] = l
			return l, nil
		}
	}
	f.saved = append(f.saved, l)
	return l, nil
}
func (f *fake) Remove(id string) error {
	for i, l := range f.saved {
		if l.ID == id {
			f.removed = &l
			f.saved = append(f.saved[:i:i], f.saved[i+1:]...)
		}
	}
	return nil
}
func (f *fake) Restore() (launches.Launch, error) {
	if f.removed == nil {
		return launches.Launch{}, errors.New("nothing was deleted")
	}
	f.saved = append(f.saved, *f.removed)
	return *f.removed, nil
}
func (f *fake) Recent() []launches.Target          { return nil }
func (f *fake) Used(launches.Target) error         { return nil }
func (f *fake) AsCommand(l launches.Launch) string { return "mirrord exec -f " + l.ID }
func (f *fake) Ran(id string, r launches.Result) error {
	f.ran[id] = r
	return nil
}

func (f *fake) services() Services {
	return Services{
		Tool: f, Store: f, Version: "0.1.0", Now: func() time.Time { return now }, Go: func(work func()) { work() },
		Start: func(l launches.Launch) (*Run, error) {
			m, c := session.NewModel(1000), make(chan struct{})
			f.started, f.changed = append(f.started, m), append(f.changed, c)
			return &Run{Launch: l, Model: m, Output: console.New(1 << 20), Changed: c, Stop: func() { close(c) }}, nil
		},
		Terminal: func(launches.Launch) error {
			return &cli.Error{Message: "there is no terminal here", Hint: "install one"}
		},
		Read: func(folder string) (proposals.Folder, error) {
			return proposals.Folder{Path: folder, Name: filepath.Base(folder), Proposals: []proposals.Proposal{{Name: "npm start", Command: []string{"npm", "start"}, Source: "package.json"}}}, nil
		},
		Notify: func(title, text string) { f.notes = append(f.notes, title+": "+text) },
		Choose: func(_ fyne.Window, chosen func(string)) { chosen("/home/me/src/new") },
	}
}

func world() *fake {
	zero, one := 0, 1
	at := func(ago time.Duration) time.Time { return now.Add(-ago) }
	return &fake{
		ran: map[string]launches.Result{},
		saved: []launches.Launch{
			{ID: "shop", Name: "shop", Folder: "/home/me/src/shop", Command: []string{"npm", "run", "dev"}, Target: launches.Target{Context: "staging", Namespace: "shop", Path: "deployment/cart"}, Shared: launches.Default(),
				Last: launches.Result{Time: at(30 * time.Minute), Took: 25 * time.Minute, Status: &zero}},
			{ID: "billing", Name: "billing", Folder: "/home/me/src/billing", Command: []string{"go", "run", "./cmd/billing", "--dry-run"}, Target: launches.Target{Namespace: "money", Path: "statefulset/ledger"}, Shared: launches.Default(),
				Last: launches.Result{Time: at(26 * time.Hour), Took: time.Second, Status: &one}},
			{ID: "search", Name: "search, offline", Folder: "/home/me/src/search", Command: []string{"python3", "-m", "search.server"}, Target: launches.Target{Path: "dir:/home/me/pods/search.pod"}, Shared: launches.Default()},
			{ID: "docs", Name: "docs", Folder: "/home/me/src/docs", Command: []string{"make", "serve"}, Plain: true, Target: launches.Target{Path: "deployment/docs"}, Shared: launches.Default(),
				Last: launches.Result{Time: at(3 * time.Hour), Error: "no pod of deployment/docs is ready"}},
			{ID: "old", Name: "old", Fault: &cli.Error{Message: "old.json:7:3: unknown key “tagret”", Hint: "is it `target`?"}},
		},
		sessions: []cli.Session{
			{ID: "7a5e91a49bd67ef5", Target: "deployment/cart", Program: "/usr/bin/npm", Arguments: 2, Folder: "/home/me/src/shop", Started: at(5 * time.Minute), Ports: []int{8080}, State: "running"},
			{ID: "11", Target: "dir:/home/me/pods/cart", Program: "/usr/bin/python3", Folder: "/home/me/src/tools", Started: at(4 * time.Hour), State: "remaining"},
			{ID: "12", Target: "statefulset/ledger", Program: "/home/me/go/bin/air", Arguments: 1, Folder: "/home/me/src/billing", Started: at(70 * time.Second), Ports: []int{9090, 9091}, State: "running"},
		},
		findings: []cli.Finding{
			{Name: "supervision", State: "wrong", Message: "Go programs and static ones run outside: this kernel has no seccomp notifications", Hint: "use a kernel from 5.14 on"},
			{Name: "lost", State: "warning", Message: "/usr/bin/puma ran without the pod's context 2 days ago: it was not heard of", Hint: "`mirrord sip explain /usr/bin/puma` tells how it is started"},
			{Name: "release", State: "ok", Message: "Linux 6.1.0-18-amd64 on x86_64"},
			{Name: "ptrace", State: "note", Message: "tracing is for administrators only (yama/ptrace_scope 2): debuggers attach to nothing, also within a session", Hint: "sysctl kernel.yama.ptrace_scope=1, until the next start of the system"},
			{Name: "cache", State: "ok", Message: "/home/me/.cache/mirrord is the cache: 7 files, 186 KiB"},
			{Name: "probe.inject", State: "ok", Message: "a program as it is gets the layer"},
		},
	}
}

// window makes one and returns what is in it.
func window(f *fake, then func(w *Window)) func() fyne.CanvasObject {
	return func() fyne.CanvasObject {
		w := New(fyne.CurrentApp(), f.services())
		then(w)
		return w.Content()
	}
}

var size = fyne.NewSize(1100, 680)

func TestPictures(t *testing.T) {
	for name, then := range map[string]func(w *Window){
		"home":     func(*Window) {},
		"sessions": func(w *Window) { w.Turn(Sessions) },
		"machine":  func(w *Window) { w.Turn(Machine) },
	} {
		t.Run(name, func(t *testing.T) { looktest.Pictures(t, name, size, window(world(), then)) })
	}
	t.Run("first", func(t *testing.T) {
		f := &fake{}
		looktest.Pictures(t, "home-first", size, window(f, func(*Window) {}))
	})
	t.Run("trouble", func(t *testing.T) {
		looktest.Pictures(t, "home-trouble", size, func() fyne.CanvasObject {
			s := world().services()
			s.Check = func(context.Context) error {
				return &cli.Error{Message: "the mirrord command is not there: looked for /Applications/mirrord.app/Contents/MacOS/mirrord", Hint: "put it beside the app, or set MIRRORD_BIN to where it is"}
			}
			return New(fyne.CurrentApp(), s).Content()
		})
	})
}

func TestNothingIsCutOff(t *testing.T) {
	long := strings.Repeat("very-long-", 30)
	f := world()
	for i := range f.saved {
		l := &f.saved[i]
		l.Name, l.Folder, l.Command, l.Target = long, "/"+long, []string{long, long}, launches.Target{Namespace: long, Path: "deployment/" + long}
		l.Last.Error, l.Last.Time = long, now
		if l.Fault != nil {
			l.Fault = errors.New(long + long)
		}
	}
	for i := range f.sessions {
		f.sessions[i].Program, f.sessions[i].Folder, f.sessions[i].Target, f.sessions[i].Arguments = "/"+long, "/"+long, long, 1<<30
		f.sessions[i].Ports, f.sessions[i].Started = make([]int, 100), time.Time{}
	}
	for i := range f.findings {
		f.findings[i].Name, f.findings[i].Message, f.findings[i].Hint = long, long, "`"+long+"`"
	}
	for i := range []string{"home", "sessions", "machine"} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			looktest.Walk(t, window(f, func(w *Window) {
				w.Turn(i)
				w.say(&cli.Error{Message: long + long, Hint: long + long})
				for range 40 {
					w.runs = append(w.runs, &running{Run: &Run{Model: session.NewModel(1)}, item: newNavItem(long, "", nil)})
				}
				w.list()
			}))
		})
	}
}

// key does what a shortcut does.
func key(w *Window, k fyne.KeyName) {
	for _, a := range w.acts() {
		if a.key == k {
			a.do()
			return
		}
	}
	panic("no such shortcut: " + k)
}

func TestAFolderBecomesARunByKeys(t *testing.T) {
	looktest.App(t, look.Light)
	f := &fake{ran: map[string]launches.Result{}}
	s := f.services()
	work := make(chan func(), 10) // what the window starts to follow a run, must not run before its time
	s.Go = func(f func()) { work <- f }
	w := New(fyne.CurrentApp(), s)
	defer w.Close()
	next := func() { (<-work)() }
	key(w, fyne.KeyO)
	next() // reads the folder
	v, ok := w.shown.(*plan.View)
	if !ok {
		t.Fatalf("%T is shown", w.shown)
	}
	if key(w, fyne.KeyR); len(f.started) != 0 || w.shown != any(v) {
		t.Fatal("it ran without a target")
	}
	l := v.Launch()
	l.Target.Path = "dir:/home/me/pods/cart"
	v = w.Edit(l, plan.Check)
	key(w, fyne.KeyR)
	for len(f.started) == 0 {
		next()
	}
	if len(f.started) != 1 || len(f.saved) != 1 || w.current() == nil || !w.running.Objects[0].Visible() {
		t.Fatalf("%d started, %d saved, %T is shown", len(f.started), len(f.saved), w.shown)
	}
	r := w.current()
	key(w, fyne.KeyPeriod)
	for !r.over {
		next()
	}
	if _, ok := f.ran["new"]; !ok || len(f.notes) != 1 {
		t.Errorf("%v was noted, %q was told", f.ran, f.notes)
	}
}

func TestARunLeadsBackToItsLaunch(t *testing.T) {
	looktest.App(t, look.Light)
	f := world()
	s := f.services()
	s.Go = func(func()) {}
	w := New(fyne.CurrentApp(), s)
	defer w.Close()
	ran := f.saved[0]
	w.begin(&Run{Launch: ran, Model: session.NewModel(1), Output: console.New(0), Changed: make(chan struct{})}, ran)
	f.saved[0].Command = []string{"npm", "test"} // since then
	edit := func() []string {
		w.Canvas().Focus(named(w.Content(), "Edit"))
		named(w.Content(), "Edit").TypedKey(&fyne.KeyEvent{Name: fyne.KeyReturn})
		v, ok := w.shown.(*plan.View)
		if !ok {
			t.Fatalf("%T is shown", w.shown)
		}
		return v.Launch().Command
	}
	if diff := cmp.Diff(f.saved[0].Command, edit()); diff != "" {
		t.Error(diff)
	}
	f.saved = f.saved[1:]
	w.runs[0].item.tile.OnTap()
	if diff := cmp.Diff(ran.Command, edit()); diff != "" {
		t.Errorf("of one that was deleted: %s", diff)
	}
}

// named is the button of a name.
func named(o fyne.CanvasObject, name string) (found *look.Button) {
	var children []fyne.CanvasObject
	switch o := o.(type) {
	case *look.Button:
		if o.Name == name {
			return o
		}
	case *fyne.Container:
		children = o.Objects
	case fyne.Widget:
		children = test.WidgetRenderer(o).Objects()
	}
	for _, c := range children {
		if found = named(c, name); found != nil {
			return found
		}
	}
	return nil
}

func TestTheKeyboardReachesAll(t *testing.T) {
	looktest.App(t, look.Light)
	f := world()
	w := New(fyne.CurrentApp(), f.services())
	defer w.Close()
	w.Resize(size)
	var order []string
	for len(order) < 100 {
		w.Canvas().FocusNext()
		name := "an entry"
		if named, ok := w.Canvas().Focused().(fyne.Accessible); ok {
			name = named.AccessibilityLabel()
		} else if _, ok := w.Canvas().Focused().(*look.Segmented); ok {
			name = "a choice"
		}
		if len(order) > 0 && name == order[0] {
			break
		}
		order = append(order, name)
	}
	want := []string{"Launches", "Sessions", "This machine", "an entry", "Open folder…", "New launch"}
	for _, l := range f.saved[:4] {
		want = append(want, l.Name, "More about "+l.Name, "a choice", "Run")
	}
	want = append(want, "old", "Remove")
	if diff := cmp.Diff(want, order); diff != "" {
		t.Error(diff)
	}
}

func TestEscapeLeavesOneThingAtATime(t *testing.T) {
	looktest.App(t, look.Light)
	w := New(fyne.CurrentApp(), world().services())
	defer w.Close()
	v := w.Edit(launches.Launch{Shared: launches.Default()}, plan.Target)
	v.Find(w.Canvas())
	find := w.Canvas().Focused().(*look.Input)
	test.Type(find, "cart")
	escape := &fyne.KeyEvent{Name: fyne.KeyEscape}
	if find.TypedKey(escape); find.Text != "" || w.shown != any(v) {
		t.Fatalf("%q is left, %T is shown", find.Text, w.shown)
	}
	if find.TypedKey(escape); w.Canvas().Focused() != nil || w.shown != any(w.pages[Home]) {
		t.Errorf("%v has the keyboard, %T is shown", w.Canvas().Focused(), w.shown)
	}
}

func TestKeysDoNotGoWhereNobodySees(t *testing.T) {
	looktest.App(t, look.Light)
	f := world()
	w := New(fyne.CurrentApp(), f.services())
	defer w.Close()
	gone := func(from string) {
		t.Helper()
		if got := w.Canvas().Focused(); got != nil {
			t.Errorf("%s still has the keyboard: %T", from, got)
		}
	}
	key(w, fyne.KeyF)
	w.Turn(Sessions)
	gone("the search of launches")
	v := w.Edit(f.saved[0], plan.Target)
	v.Find(w.Canvas())
	v.Next()
	gone("the search of targets")
	v.Find(w.Canvas())
	w.Turn(Home)
	gone("the search of targets, of a launch that was left")
}

func TestTheSidebarTellsThePage(t *testing.T) {
	looktest.App(t, look.Light)
	w := New(fyne.CurrentApp(), world().services())
	defer w.Close()
	ground := func(i int) any {
		at := fyne.CurrentApp().Driver().AbsolutePositionForObject(w.nav[i].tile)
		return w.Canvas().Capture().At(int(at.X)+4, int(at.Y)+8)
	}
	chosen, other := ground(Home), ground(Sessions)
	if chosen == other {
		t.Fatal("the page that is shown is not marked")
	}
	w.Turn(Sessions)
	if ground(Home) != other || ground(Sessions) != chosen {
		t.Error("the mark does not follow")
	}
}

func TestChoosingAFolder(t *testing.T) {
	looktest.App(t, look.Light)
	s := world().services()
	s.Choose = nil
	w := New(fyne.CurrentApp(), s)
	defer w.Close()
	key(w, fyne.KeyO)
	if w.Canvas().Overlays().Top() == nil {
		t.Error("nobody asks for the folder")
	}
}

func TestQuittingAsksAndStops(t *testing.T) {
	looktest.App(t, look.Light)
	f := world()
	s := f.services()
	w := New(fyne.CurrentApp(), s)
	quit := 0
	work := make(chan func(), 10)
	w.s.Go = func(f func()) { work <- f }
	w.OnClose(func() { quit++ })
	w.Run(f.saved[0])
	(<-work)() // starts it
	follow := <-work
	tray := w.trayMenu().Items
	if last := tray[len(tray)-1]; !last.IsQuit {
		t.Errorf("the tray ends with %q", last.Label)
	} else {
		last.Action()
	}
	ask := w.Canvas().Overlays().Top()
	if ask == nil || quit != 0 {
		t.Fatalf("asked: %v, quit %d times", ask != nil, quit)
	}
	w.quit()
	follow()
	(<-work)()
	if quit != 1 || !w.runs[0].over {
		t.Errorf("quit %d times, over: %v", quit, w.runs[0].over)
	}
}

func TestDeletingCanBeUndone(t *testing.T) {
	looktest.App(t, look.Light)
	f := world()
	w := New(fyne.CurrentApp(), f.services())
	defer w.Close()
	h := w.pages[Home].(*home)
	h.remove(f.saved[1])
	if len(h.cards) != 4 || !w.notice.Visible() {
		t.Fatalf("%d cards, notice %v", len(h.cards), w.notice.Visible())
	}
	h.restore()
	if len(h.cards) != 5 || w.notice.Visible() {
		t.Errorf("%d cards, notice %v", len(h.cards), w.notice.Visible())
	}
}

func TestFindingALaunch(t *testing.T) {
	looktest.App(t, look.Light)
	f := world()
	w := New(fyne.CurrentApp(), f.services())
	defer w.Close()
	h := w.pages[Home].(*home)
	key(w, fyne.KeyF)
	if w.Canvas().Focused() != fyne.Focusable(h.find) {
		t.Fatal("the search has not the keyboard")
	}
	test.Type(h.find, "LEDGER")
	if len(h.cards) != 1 || h.cards[0].ID != "billing" {
		t.Errorf("%+v", h.cards)
	}
}

func TestSessionsAreStopped(t *testing.T) {
	looktest.App(t, look.Light)
	f := world()
	w := New(fyne.CurrentApp(), f.services())
	defer w.Close()
	key(w, fyne.Key2)
	s := w.pages[Sessions].(*sessions)
	s.stop("12")
	if strings.Join(f.stopped, " ") != "12" {
		t.Errorf("%q", f.stopped)
	}
	test.Tap(s.every)
	if len(s.all) != 0 || s.every.Visible() {
		t.Errorf("%d are left", len(s.all))
	}
}

func TestFailuresAreSaidAndClosed(t *testing.T) {
	looktest.App(t, look.Light)
	w := New(fyne.CurrentApp(), world().services())
	defer w.Close()
	if w.terminal(launches.Launch{}); !w.notice.Visible() {
		t.Fatal("nothing was said")
	}
	w.Canvas().OnTypedKey()(&fyne.KeyEvent{Name: fyne.KeyEscape})
	if w.notice.Visible() {
		t.Error("Escape does not close it")
	}
}

func TestTheWindowKeepsItsSize(t *testing.T) {
	app := looktest.App(t, look.Light)
	begin := func() *Window {
		w := New(app, world().services())
		t.Cleanup(w.Close)
		return w
	}
	w := begin()
	if got := w.Canvas().Size(); got != usual {
		t.Errorf("the first is %v", got)
	}
	chosen := fyne.NewSize(1300, 810)
	w.Resize(chosen)
	w.remember()
	w = begin()
	if got := w.Canvas().Size(); got != chosen {
		t.Errorf("after %v: %v", chosen, got)
	}
	w.SetFullScreen(true)
	w.Resize(fyne.NewSize(1920, 1080))
	w.remember()
	if got := remembered(app.Preferences()); got != chosen {
		t.Errorf("after a whole screen: %v", got)
	}
	for _, odd := range []struct{ width, height float64 }{{-1, 1e300}, {0, math.Inf(1)}, {math.NaN(), math.NaN()}} {
		app.Preferences().SetFloat(prefersWidth, odd.width)
		app.Preferences().SetFloat(prefersHeight, odd.height)
		if got := remembered(app.Preferences()); got.Width < smallest.Width || got.Height < smallest.Height || got.Width > largest.Width || got.Height > largest.Height {
			t.Errorf("of %v: %v", odd, got)
		}
	}
}
