package live

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/test"

	"mirrord/app/console"
	"mirrord/app/look"
	"mirrord/app/look/looktest"
	"mirrord/app/session"
	stream "mirrord/launcher/events"
)

var began = time.Date(2026, 11, 21, 9, 30, 0, 0, time.UTC)

// fake is a session as one has it: a web shop in development.
type fake struct {
	*session.Model // of which the events are taken
	summary        session.Summary
	processes      []session.Process
	variables      []session.Variable
	marks          []session.Mark
	lines          []console.Line
}

func (f *fake) Summary() session.Summary        { return f.summary }
func (f *fake) Processes() []session.Process    { return f.processes }
func (f *fake) Environment() []session.Variable { return f.variables }
func (f *fake) Timeline() []session.Mark        { return f.marks }
func (f *fake) Range() (int, int)               { return 0, len(f.lines) }
func (f *fake) Lines(from, to int) ([]console.Line, int) {
	from, to = max(0, from), min(to, len(f.lines))
	if from >= to {
		return nil, from
	}
	return f.lines[from:to], from
}
func (f *fake) Text(from, to int) string {
	var b strings.Builder
	for _, l := range f.lines[from:to] {
		for _, s := range l {
			b.WriteString(s.Text)
		}
		b.WriteString("\n")
	}
	return b.String()
}
func (f *fake) Search(text string, limit int) (found []console.Match) {
	for i := range f.lines {
		line := f.Text(i, i+1)
		if at := strings.Index(line, text); at >= 0 && len(found) < limit {
			found = append(found, console.Match{Line: i, From: at, To: at + len(text)})
		}
	}
	return found
}
func (f *fake) Clear() { f.lines = nil }

func span(text string, color uint8) console.Span {
	s := console.Span{Text: text}
	if color > 0 {
		s.Style.Foreground = console.Indexed(color)
	}
	return s
}

func shop() *fake {
	f := &fake{summary: session.Summary{State: session.Running, ID: "7a5e91a49bd67ef5", Target: "deployment/cart", Began: began, Ready: 900 * time.Millisecond, Linked: true, Rate: 312,
		Gets: "14 variables, files (read), names, outgoing connections, incoming connections (steal)"}}
	f.summary.Phases = []session.Phase{{Name: "target", State: "done", Message: "deployment/cart: pod cart-7d9f5c-x2x8p", Took: 84 * time.Millisecond}, {Name: "agent", State: "done", Message: "beside the pod's program", Took: 612 * time.Millisecond},
		{Name: "link", State: "done", Took: 71 * time.Millisecond}, {Name: "program", State: "done", Message: "npm run dev", Took: 133 * time.Millisecond}}
	f.summary.Tallies[session.Files] = session.Tally{Count: 12480, Failed: 3, P50: 900 * time.Microsecond}
	f.summary.Tallies[session.Names] = session.Tally{Count: 212, P50: 1200 * time.Microsecond}
	f.summary.Tallies[session.Outgoing] = session.Tally{Count: 1893, Bytes: 48_200_000}
	f.summary.Tallies[session.Incoming] = session.Tally{Count: 340, P50: 4 * time.Millisecond}
	f.summary.Tallies[session.Processes] = session.Tally{Count: 7}
	f.summary.Notices = []session.Notice{{Message: "git runs outside the pod: it is a setuid program", Hint: "its files and connections are this machine’s", Count: 1}}
	zero := 0
	f.processes = []session.Process{
		{PID: 40112, Path: "/usr/bin/npm", Verdict: "inject", Arguments: []string{"npm", "run", "dev"}},
		{PID: 40126, Depth: 1, Path: "/bin/sh", Verdict: "inject", Arguments: []string{"sh", "-c", "node --watch server.js"}},
		{PID: 40127, Depth: 2, Path: "/usr/bin/node", Verdict: "inject", Arguments: []string{"node", "--watch", "server.js"}},
		{PID: 40131, Depth: 3, Path: "/usr/bin/node", Verdict: "inject", Arguments: []string{"node", "server.js"}},
		{PID: 40140, Depth: 4, Path: "/srv/shop/bin/resizer", Verdict: "supervise", Reason: "a Go program: its system calls are answered", Arguments: []string{"resizer"}},
		{PID: 40152, Depth: 4, Path: "/usr/bin/git", Verdict: "outside", Reason: "setuid: the system takes the library away", Arguments: []string{"git", "rev-parse", "HEAD"}, Ended: true, Status: &zero},
	}
	for i, name := range []string{"DATABASE_URL", "FEATURE_CHECKOUT", "HOME", "INVENTORY_URL", "LOG_LEVEL", "NODE_ENV", "PATH", "REDIS_HOST", "SECRET_TOKEN"} {
		v := session.Variable{Name: name, Pod: true, Final: true, From: "pod", Values: &session.Values{Pod: "postgres://cart@db.internal:5432/cart", Final: "postgres://cart@db.internal:5432/cart"}}
		switch {
		case name == "HOME" || name == "PATH":
			v.Local, v.From, v.Values = true, "local", &session.Values{Local: "/home/me", Pod: "/root", Final: "/home/me"}
		case name == "LOG_LEVEL":
			v.From, v.Values = "configuration", &session.Values{Pod: "info", Final: "debug"}
		case name == "SECRET_TOKEN":
			v.From, v.Final, v.Values = "", false, &session.Values{Pod: "…"}
		case i > 3:
			v.Local, v.Values = true, &session.Values{Local: "localhost", Pod: "redis.shop", Final: "redis.shop"}
		}
		f.variables = append(f.variables, v)
	}
	f.marks = []session.Mark{{Time: began.Add(900 * time.Millisecond), Up: true, Text: "connected"}, {Time: began.Add(50 * time.Second), Text: "nothing came from the agent for 5 s"},
		{Time: began.Add(56 * time.Second), Up: true, Away: 6 * time.Second, Text: "the agent is there again"}}
	f.Model = happened()
	f.lines = []console.Line{
		{span("> shop@1.4.0 dev", 0)}, {span("> node --watch server.js", 0)}, {},
		{span("ready", 2), span(" in 412 ms: listening on ", 0), span("http://localhost:8080", 6)},
		{span("db", 4), span("    connected to ", 0), span("db.internal:5432", 6), span(" as cart", 0)},
		{span("warn", 3), span("  FEATURE_CHECKOUT is on: payments go to the sandbox", 0)},
	}
	for i := range 40 {
		verb, path, status, c := "GET", fmt.Sprintf("/cart/%d", 4100+i*7), "200", uint8(2)
		if i%9 == 5 {
			verb, path, status, c = "POST", "/checkout", "502", 1
		}
		f.lines = append(f.lines, console.Line{span(fmt.Sprintf("09:30:%02d ", 10+i), 8), span(fmt.Sprintf("%-5s", verb), 5), span(fmt.Sprintf("%-28s", path), 0), span(status, c), span(fmt.Sprintf("  %d ms", 3+i%11), 8)})
	}
	f.lines = append(f.lines, console.Line{span("error", 1), span(" upstream payments.internal:8443 closed the connection before it answered; it is tried again in 2 s (attempt 3 of 5), then the order is put into the queue", 0)})
	return f
}

// happened are events as a session has them.
func happened() *session.Model {
	base := []stream.Event{
		{Type: stream.ProcessStarted, Path: "/usr/bin/npm", Verdict: "inject", PID: 40112},
		{Type: stream.File, Op: "open", Path: "/etc/shop/config.yaml", Took: 2.1, Bytes: 4096},
		{Type: stream.Name, Name: "db.internal", Addresses: []string{"10.96.0.9"}, Took: 1.3},
		{Type: stream.Connect, Address: "10.96.0.9:5432", Name: "db.internal", Took: 3},
		{Type: stream.File, Op: "open", Path: "/var/run/secrets/kubernetes.io/serviceaccount/token", Took: 0.9, Bytes: 1210},
		{Type: stream.Incoming, Port: 8080, Peer: "10.244.1.7:51522"},
		{Type: stream.File, Op: "open for writing", Path: "/srv/shop/cache/prices.json", Errno: "EROFS", Took: 0.1},
		{Type: stream.Connect, Address: "10.96.0.31:8443", Name: "payments.internal", Errno: "ECONNREFUSED", Took: 2},
		{Type: stream.ConnectEnded, Address: "10.96.0.9:5432", Name: "db.internal", Sent: 18_000, Received: 4_400_000, Took: 61_000},
	}
	m := session.NewModel(1000)
	for i := range 60 {
		ev := base[i%len(base)]
		ev.Time = began.Add(time.Duration(i) * 700 * time.Millisecond)
		m.Add([]stream.Event{ev})
	}
	return m
}

func options(f *fake) Options {
	return Options{Name: "shop", Command: "npm run dev", Model: f, Output: f, Now: func() time.Time { return began.Add(2*time.Minute + 5*time.Second) },
		Stop: func() {}, Again: func() {}, Copy: func(string) {}, Input: func(string) error { return nil }}
}

func show(f *fake, tab int) func() fyne.CanvasObject {
	return func() fyne.CanvasObject {
		v := New(options(f))
		v.Show(tab)
		v.Update()
		return v.Content
	}
}

func TestPictures(t *testing.T) {
	for i, tab := range tabs {
		t.Run(tab, func(t *testing.T) {
			looktest.Pictures(t, "running-"+strings.ToLower(tab), fyne.NewSize(900, 640), show(shop(), i))
		})
	}
}

// long makes all texts as long as they may become.
func long() *fake {
	f := shop()
	path := "/" + strings.Repeat("a-very-long-folder-name/", 12) + "end"
	f.summary.Notices = slices.Repeat([]session.Notice{{Error: true, Message: strings.Repeat("something went wrong with "+path+" ", 2), Hint: strings.Repeat("do this, or that ", 20), Count: 99999}}, 5)
	f.summary.Target = "deployment/" + strings.Repeat("cart-", 50)
	for k := range f.summary.Tallies {
		f.summary.Tallies[k] = session.Tally{Count: 1 << 50, Failed: 1 << 50}
	}
	f.Model = session.NewModel(100)
	for range 100 {
		f.Model.Add([]stream.Event{{Type: stream.File, Path: path, Op: path, Errno: "EADDRNOTAVAIL", Took: 1e9}, {Type: stream.ConnectEnded, Path: path, Name: path, Reason: path, Sent: 1 << 60}})
	}
	for i := range f.processes {
		f.processes[i].Path, f.processes[i].Reason, f.processes[i].Depth, f.processes[i].PID = path, path, 40, 4194304
		f.processes[i].Arguments = []string{path, path, path}
	}
	for i := range f.variables {
		f.variables[i].Name, f.variables[i].Values = strings.Repeat("A_LONG_NAME_", 20), &session.Values{Local: path, Pod: path + path, Final: path + path}
	}
	f.marks = slices.Repeat([]session.Mark{{Time: began.Add(time.Minute), Up: true, Text: path, Away: time.Hour}}, 100)
	f.lines = slices.Repeat([]console.Line{{span(strings.Repeat("x", 5000), 1)}}, 50)
	return f
}

func TestNothingIsCutOff(t *testing.T) {
	for i, tab := range tabs {
		t.Run(tab, func(t *testing.T) {
			looktest.Walk(t, func() fyne.CanvasObject {
				o := options(long())
				o.Edit, o.Terminal = func() {}, func() {}
				o.Name, o.Command = strings.Repeat("shop ", 60), strings.Repeat("npm run dev -- ", 60)
				v := New(o)
				v.Show(i)
				v.Update()
				return v.Content
			})
		})
	}
}

func TestFindingInTheConsole(t *testing.T) {
	looktest.App(t, look.Light)
	v := New(options(shop()))
	w := looktest.Show(t, v.Content, fyne.NewSize(900, 600))
	v.Update()
	v.Focus(w.Canvas())
	test.Type(v.find, "POST")
	c := v.pages[Console].(*terminal)
	places := 0
	for _, m := range c.marks {
		places += len(m)
	}
	if places != 4 || c.status.Text != "4 places have “POST”" {
		t.Fatalf("%d places, %q", places, c.status.Text)
	}
	last := c.at
	v.find.TypedKey(&fyne.KeyEvent{Name: fyne.KeyReturn})
	if c.at >= last {
		t.Errorf("Enter goes from row %d to %d", last, c.at)
	}
	for range 3 {
		v.find.TypedKey(&fyne.KeyEvent{Name: fyne.KeyReturn})
	}
	if c.at != last {
		t.Errorf("after the first comes row %d, not %d", c.at, last)
	}
}

func TestTypingEndsWithTheConsole(t *testing.T) {
	looktest.App(t, look.Light)
	f := shop()
	f.summary.State = session.Running
	v := New(options(f))
	w := looktest.Show(t, v.Content, fyne.NewSize(900, 600))
	v.Update()
	input := v.pages[Console].(*terminal).input
	for name, leave := range map[string]func(){
		"another part":      func() { v.Show(Events) },
		"the program's end": func() { f.summary.State = session.Ended; v.Update(); f.summary.State = session.Running },
		"lines to be copied": func() {
			newStrip(v.pages[Console].(*terminal)).MouseDown(&desktop.MouseEvent{Button: desktop.MouseButtonPrimary})
		},
	} {
		v.Show(Console)
		v.Update()
		w.Canvas().Focus(input)
		if w.Canvas().Focused() != fyne.Focusable(input) {
			t.Fatalf("before %s it has not the keyboard", name)
		}
		if leave(); w.Canvas().Focused() != nil {
			t.Errorf("after %s what is typed still goes to the program", name)
		}
	}
}

func TestChoosingLines(t *testing.T) {
	looktest.App(t, look.Light)
	b := console.New(0)
	o := options(shop())
	o.Output = b
	for i := range 300 {
		fmt.Fprintf(b, "line %d %s\n", i, strings.Repeat("x", i%3*100)) // of one row, and of more
	}
	v := New(o)
	w := looktest.Show(t, v.Content, fyne.NewSize(900, 600))
	v.Update()
	c := v.pages[Console].(*terminal)
	top := fyne.CurrentApp().Driver().AbsolutePositionForObject(c.list)
	height := c.cell.Height + 1
	at := func(row int) fyne.Position { return top.AddXY(30, (float32(row)+0.5)*height-c.list.GetScrollOffset()) }
	press := func(row int, m fyne.KeyModifier) {
		newStrip(c).MouseDown(&desktop.MouseEvent{PointEvent: fyne.PointEvent{AbsolutePosition: at(row)}, Button: desktop.MouseButtonPrimary, Modifier: m})
	}
	want := func(from, to int) {
		t.Helper()
		if got := v.Chosen(); got != b.Text(from, to) || to > from && v.Text() != got {
			t.Errorf("%q, not lines %d to %d", got, from, to-1)
		}
	}
	want(0, 0)
	if v.Text() != b.Text(0, 300) {
		t.Error("without lines that are chosen it is not the text of all")
	}
	end := len(c.rows) - 1
	press(end, 0)
	want(299, 300)
	if c.follow.On || c.status.Text != "1 line is chosen" {
		t.Errorf("follows: %v, %q", c.follow.On, c.status.Text)
	}
	plain := w.Canvas().Capture().At(int(top.X)+100, int(at(end-5).Y))
	press(end-5, fyne.KeyModifierShift)
	from := c.rows[end-5].line
	want(from, 300)
	if got := w.Canvas().Capture().At(int(top.X)+100, int(at(end-5).Y)); got == plain {
		t.Error("nothing is marked")
	}
	fmt.Fprintln(b, "more")
	v.Update()
	want(from, 300)
	newStrip(c).Dragged(&fyne.DragEvent{PointEvent: fyne.PointEvent{AbsolutePosition: fyne.NewPos(0, -10000)}})
	want(0, 300)
	if c.list.GetScrollOffset() != 0 {
		t.Error("a drag above the console does not scroll")
	}
	press(2, 0)
	press(2, 0)
	want(0, 0)
	press(2, 0)
	v.Release()
	want(0, 0)
	press(2, 0)
	v.find.SetText("line 1")
	want(0, 0)
	v.find.SetText("")
	press(2, 0)
	v.Show(Events)
	want(0, 0)

	o.Output = console.New(0)
	v = New(o)
	looktest.Show(t, v.Content, fyne.NewSize(900, 600))
	c = v.pages[Console].(*terminal)
	press(0, 0) // on nothing
	newStrip(c).Dragged(&fyne.DragEvent{})
	if v.Chosen() != "" {
		t.Error("nothing was printed, and it is chosen")
	}
}

func TestTheConsoleFollowsWhatItsBufferLoses(t *testing.T) {
	looktest.App(t, look.Light)
	b := console.New(4096)
	o := options(shop())
	o.Output = b
	v := New(o)
	looktest.Show(t, v.Content, fyne.NewSize(900, 600))
	c := v.pages[Console].(*terminal)
	for i := range 2000 {
		fmt.Fprintf(b, "line %d %s\n", i, strings.Repeat("x", i%300))
		if i%7 == 0 {
			v.Update()
		}
	}
	v.Update()
	first, next := b.Range()
	if first == 0 || c.rows[0].line != first || c.rows[len(c.rows)-1].line > next {
		t.Errorf("rows of the lines %d to %d, there are %d to %d", c.rows[0].line, c.rows[len(c.rows)-1].line, first, next-1)
	}
	for i, r := range c.rows[1:] {
		if before := c.rows[i]; !(r.line == before.line && r.from == before.from+c.columns) && !(r.line == before.line+1 && r.from == 0) {
			t.Fatalf("row %+v comes after %+v", r, before)
		}
	}
}

func TestACountShowsItsEvents(t *testing.T) {
	looktest.App(t, look.Light)
	v := New(options(shop()))
	looktest.Show(t, v.Content, fyne.NewSize(900, 600))
	v.show(session.Outgoing)
	e := v.pages[Events].(*events)
	for _, r := range e.rows {
		if r.Kind != session.Outgoing {
			t.Fatalf("%+v", r)
		}
	}
	if v.tab.Chosen != Events || len(e.rows) == 0 {
		t.Errorf("part %d with %d events", v.tab.Chosen, len(e.rows))
	}
}
