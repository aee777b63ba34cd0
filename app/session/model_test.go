package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mirrord/launcher/events"
)

var then = time.Date(2026, 11, 21, 7, 0, 0, 0, time.UTC)

func status(n int) *int { return &n }

// at numbers the times of events, a second apart.
func at(all ...events.Event) []events.Event {
	for i := range all {
		all[i].Time = then.Add(time.Duration(i) * time.Second)
	}
	return all
}

func TestSummary(t *testing.T) {
	m := NewModel(0)
	m.Add(at(
		events.Event{Type: events.SessionStarted, Session: "7a5e", Target: "deployment/cart"},
		events.Event{Type: events.Phase, Phase: "target", State: "started"},
		events.Event{Type: events.Phase, Phase: "target", State: "done", Message: "pod cart-1", Took: 12},
		events.Event{Type: events.Warning, Message: "odd", Hint: "look"},
		events.Event{Type: events.Phase, Phase: "program", State: "started", Message: "2 variables", Took: 1500},
	))
	if s := m.Summary(); s.State != Running || s.Ready != 1500*time.Millisecond || s.Gets != "2 variables" || !s.Linked || s.ID != "7a5e" || s.Target != "deployment/cart" {
		t.Errorf("%+v", s)
	}
	m.Add(at(
		events.Event{Type: events.File, Path: "/a", Op: "open", Bytes: 100, Took: 1},
		events.Event{Type: events.File, Path: "/b", Op: "open", Errno: "ENOENT", Took: 3},
		events.Event{Type: events.File, Path: "/c", Op: "open", Errno: "EACCES"},
		events.Event{Type: events.Connect, Address: "10.0.0.1:80", Errno: "ECONNREFUSED"},
		events.Event{Type: events.Connect, Address: "10.0.0.1:81", Name: "db", Took: 20},
		events.Event{Type: events.ConnectEnded, Address: "10.0.0.1:81", Name: "db", Sent: 5, Received: 7, Took: 9000},
		events.Event{Type: events.Name, Name: "db", Errno: "NODATA"},
		events.Event{Type: events.Listen, Port: 8080, ActualPort: 40000},
		events.Event{Type: events.Listen, Port: 80},
		events.Event{Type: events.Listen, Port: 8080, ActualPort: 40000},
		events.Event{Type: events.Incoming, Port: 80, Peer: "10.0.0.9:5"},
		events.Event{Type: events.Warning, Message: "odd", Hint: "look"},
		events.Event{Type: events.Warning, Message: "7 events were lost", Lost: 7},
		events.Event{Type: events.Failed, Message: "it broke", Hint: "mend it"},
		events.Event{Type: "of.tomorrow", Message: "?"},
		events.Event{Type: events.Warning, Message: "2 processes remain", Remaining: 2},
		events.Event{Type: events.SessionEnded, Status: status(3), Remaining: 2, Succeeded: map[events.Type]int{events.File: 11}, Failed: map[events.Type]int{events.File: 2}},
	))
	s := m.Summary()
	if s.State != Leftover || s.Remain != 2 || *s.Status != 3 || s.Dropped != 7 {
		t.Errorf("%+v", s)
	}
	if f := s.Tallies[Files]; f.Count != 13 || f.Failed != 1 || f.Bytes != 100 || f.P50 <= 0 || f.P99 < f.P50 {
		t.Errorf("files: %+v", f)
	}
	if f := s.Tallies[Outgoing]; f.Count != 2 || f.Failed != 1 || f.Bytes != 12 || f.P99 < 15*time.Millisecond || f.P99 > 25*time.Millisecond {
		t.Errorf("outgoing: %+v", f)
	}
	if f := s.Tallies[Names]; f.Count != 1 || f.Failed != 0 {
		t.Errorf("names: %+v", f)
	}
	if diff := cmp.Diff([]Port{{Port: 80}, {Port: 8080, Actual: 40000}}, s.Ports); diff != "" {
		t.Error(diff)
	}
	want := []Notice{{Error: true, Message: "it broke", Hint: "mend it", Count: 1}, {Message: "odd", Hint: "look", Count: 2}, {Message: "7 events were lost", Count: 1}}
	if diff := cmp.Diff(want, s.Notices, cmpopts.IgnoreFields(Notice{}, "Time")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Phase{{"target", "done", "pod cart-1", 12 * time.Millisecond}, {"program", "started", "2 variables", 1500 * time.Millisecond}}, s.Phases); diff != "" {
		t.Error(diff)
	}
}

func TestRowsAreFiltered(t *testing.T) {
	m := NewModel(4)
	titles := func(f Filter, limit int) string {
		rows, matching := m.Rows(f, limit)
		var all []string
		for _, r := range rows {
			all = append(all, fmt.Sprint(r.Number, r.Title))
		}
		return fmt.Sprint(matching, all)
	}
	if got := titles(Filter{}, 10); got != "0 []" {
		t.Error(got)
	}
	m.Add(at(
		events.Event{Type: events.File, Path: "/srv/one", Op: "open"},
		events.Event{Type: events.Name, Name: "Database.internal", Errno: "NOTFOUND"},
		events.Event{Type: events.File, Path: "/srv/TWO", Op: "open", Errno: "EACCES"},
	))
	for _, tt := range []struct {
		filter Filter
		limit  int
		want   string
	}{
		{Filter{}, 10, "3 [1/srv/one 2Database.internal 3/srv/TWO]"},
		{Filter{}, 2, "3 [2Database.internal 3/srv/TWO]"},
		{Filter{}, 0, "3 []"},
		{Filter{Kinds: 1 << Files}, 10, "2 [1/srv/one 3/srv/TWO]"},
		{Filter{Kinds: 1<<Files | 1<<Names, Text: "T"}, 10, "2 [2Database.internal 3/srv/TWO]"},
		{Filter{Text: "two"}, 10, "1 [3/srv/TWO]"},
		{Filter{Text: "eacces"}, 10, "1 [3/srv/TWO]"},
		{Filter{Failed: true}, 10, "2 [2Database.internal 3/srv/TWO]"},
		{Filter{Text: "nowhere"}, 10, "0 []"},
	} {
		for range 2 { // the second time is the remembered one
			if got := titles(tt.filter, tt.limit); got != tt.want {
				t.Errorf("%+v: %s, not %s", tt.filter, got, tt.want)
			}
		}
	}
	titles(Filter{Kinds: 1 << Files}, 10)
	m.Add(at(
		events.Event{Type: events.File, Path: "/srv/four"},
		events.Event{Type: events.File, Path: "/srv/five"},
		events.Event{Type: events.Name, Name: "six"},
	))
	if got := titles(Filter{Kinds: 1 << Files}, 10); got != "3 [3/srv/TWO 4/srv/four 5/srv/five]" {
		t.Error(got)
	}
	for i := range 100 {
		m.Add(at(events.Event{Type: events.Name, Name: fmt.Sprint(i)}))
	}
	if got := titles(Filter{Kinds: 1 << Files}, 10); got != "0 []" {
		t.Error(got)
	}
	if got := titles(Filter{}, 2); got != "4 [10598 10699]" {
		t.Error(got)
	}
}

func TestContains(t *testing.T) {
	for _, tt := range []struct {
		text, lower string
		want        bool
	}{{"", "", true}, {"", "a", false}, {"ABC", "bc", true}, {"abc", "abcd", false}, {"ÄRGER", "ärger", true}, {"aab", "ab", true}, {"x", "é", false}} {
		if got := contains(tt.text, tt.lower); got != tt.want {
			t.Errorf("%q in %q: %v", tt.lower, tt.text, got)
		}
	}
}

// Every type of the golden file of events is a row with a title, or known not to be one.
func TestEveryEventIsShown(t *testing.T) {
	text, err := os.ReadFile("../../launcher/events/testdata/events.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	m := NewModel(0)
	for line := range bytes.Lines(text) {
		var ev events.Event
		if err := json.Unmarshal(line, &ev); err != nil {
			t.Fatal(err)
		}
		row, ok := m.row(&ev)
		if ok != (ev.Type != events.Environment) || ok && (row.Title == "" || row.Kind >= kinds || row.Kind.String() == "") {
			t.Errorf("%s: %+v, %v", ev.Type, row, ok)
		}
		m.Add([]events.Event{ev})
	}
	if _, n := m.Rows(Filter{}, 0); n < 20 {
		t.Errorf("%d rows", n)
	}
}

func TestProcessTree(t *testing.T) {
	m := NewModel(0)
	m.Add(at(
		events.Event{Type: events.ProcessInject, PID: 10, PPID: 9, Path: "/usr/bin/node"}, // may come before the next
		events.Event{Type: events.ProcessStarted, PID: 10, PPID: 9, Path: "/usr/bin/node", Verdict: "inject", Arguments: []string{"npm", "start"}},
		events.Event{Type: events.ProcessExec, PID: 10, Path: "/bin/ping", Verdict: "copy", Reason: "without its capabilities"},
		events.Event{Type: events.ProcessInject, PID: 11, PPID: 10, Path: "/bin/ping"}, // a child that was spawned
		events.Event{Type: events.ProcessExec, PID: 11, Path: "/srv/run", Program: "/bin/sh", Verdict: "inject"},
		events.Event{Type: events.ProcessInject, PID: 11, PPID: 10, Path: "/bin/sh"}, // it executes another
		events.Event{Type: events.ProcessOutside, PID: 12, PPID: 11, Path: "/bin/su", Verdict: "outside", Reason: "setuid"},
		events.Event{Type: events.ProcessInject, PID: 13, PPID: 12, Path: "/app", Verdict: "supervise"},
		events.Event{Type: events.ProcessLost, PID: 14, PPID: 10, Path: "/lost", Reason: "silent"},
		events.Event{Type: events.ProcessInject, PID: 20, PPID: 77, Path: "/orphan"},
		events.Event{Type: events.ProcessExited, PID: 10, Status: status(1)},
		events.Event{Type: events.ProcessExited, PID: 999, Status: status(1)},
	))
	show := func() string {
		var b strings.Builder
		for _, p := range m.Processes() {
			fmt.Fprintf(&b, "%s%d %s %s %s inside=%t ended=%t\n", strings.Repeat("  ", p.Depth), p.PID, p.Path, p.Verdict, p.Reason, p.Inside(), p.Ended)
		}
		return b.String()
	}
	want := `10 /usr/bin/node inject  inside=true ended=true
  11 /bin/sh inject  inside=true ended=false
    12 /bin/su outside setuid inside=false ended=false
      13 /app supervise  inside=true ended=false
  14 /lost lost silent inside=false ended=false
20 /orphan inject  inside=true ended=false
`
	if diff := cmp.Diff(want, show()); diff != "" {
		t.Error(diff)
	}
	if !m.Sweep(func(pid int) bool { return pid != 13 }) || m.Sweep(func(pid int) bool { return pid != 13 }) {
		t.Error("one is gone, once")
	}
	if got := show(); !strings.Contains(got, "13 /app supervise  inside=true ended=true") {
		t.Error(got)
	}
	m.Add(at(events.Event{Type: events.ProcessInject, PID: 13, PPID: 20, Path: "/reused"}))
	if got := show(); !strings.HasSuffix(got, "20 /orphan inject  inside=true ended=false\n  13 /reused inject  inside=true ended=false\n") {
		t.Error(got)
	}
}

func TestCopyIsToldByItsExec(t *testing.T) {
	m := NewModel(0)
	m.Add(at(
		events.Event{Type: events.ProcessStarted, PID: 10, Path: "/bin/sh", Verdict: "inject"},
		events.Event{Type: events.ProcessExec, PID: 10, Path: "/bin/ping", Verdict: "copy", Reason: "without its capabilities"},
		events.Event{Type: events.ProcessInject, PID: 11, PPID: 10, Path: "/bin/ping"},
	))
	if p := m.Processes()[1]; p.Verdict != "copy" || p.Reason != "without its capabilities" || p.Depth != 1 {
		t.Errorf("%+v", p)
	}
}

func TestManyProcessesAreForgotten(t *testing.T) {
	m := NewModel(10)
	for i := range 2*maxProcesses + 5 {
		m.Add([]events.Event{{Type: events.ProcessInject, PID: i + 1, PPID: i, Path: "/bin/deep"}})
	}
	all := m.Processes()
	if len(all) > maxProcesses || all[len(all)-1].PID != 2*maxProcesses+5 {
		t.Errorf("%d processes", len(all))
	}
}

func TestOddProcesses(t *testing.T) {
	m := NewModel(10)
	m.Add([]events.Event{
		{Type: events.ProcessInject, PID: 1, PPID: 2}, {Type: events.ProcessInject, PID: 2, PPID: 1}, // a circle
		{Type: events.ProcessInject, PID: 3, PPID: 3}, {Type: events.ProcessInject}, {Type: events.ProcessInject, PID: -5, PPID: -5},
	})
	if all := m.Processes(); len(all) != 5 {
		t.Errorf("%+v", all)
	}
}

func TestEnvironmentAndTimeline(t *testing.T) {
	m := NewModel(0)
	m.Add(at(
		events.Event{Type: events.SessionStarted, Target: "pod/a"},
		events.Event{Type: events.Environment, Names: []string{"DB"}, Variables: []events.Variable{
			{Name: "DB", Pod: true, From: "pod", PodValue: "x", Value: "x"}, {Name: "HOME", Local: true, Pod: true, From: "local"}, {Name: "SECRET", Pod: true},
		}},
		events.Event{Type: events.Phase, Phase: "program", State: "started"},
		events.Event{Type: events.Link, State: "lost", Message: "the connection is lost"},
		events.Event{Type: events.Link, State: "restored", Message: "it is there again"},
		events.Event{Type: events.Link, State: "lost", Message: "the connection is lost"},
		events.Event{Type: events.Link, State: "gone", Message: "the pod was deleted", Hint: "start again"},
	))
	want := []Variable{
		{Name: "DB", Pod: true, Final: true, From: "pod", Values: &Values{Pod: "x", Final: "x"}},
		{Name: "HOME", Local: true, Pod: true, Final: true, From: "local"},
		{Name: "SECRET", Pod: true},
	}
	if diff := cmp.Diff(want, m.Environment()); diff != "" {
		t.Error(diff)
	}
	marks := []Mark{
		{then.Add(2 * time.Second), true, "connected", 0}, {then.Add(3 * time.Second), false, "the connection is lost", 0},
		{then.Add(4 * time.Second), true, "it is there again", time.Second}, {then.Add(5 * time.Second), false, "the connection is lost", 0},
		{then.Add(6 * time.Second), false, "the pod was deleted", 0},
	}
	if diff := cmp.Diff(marks, m.Timeline()); diff != "" {
		t.Error(diff)
	}
	if s := m.Summary(); s.Linked || len(s.Notices) != 1 || !s.Notices[0].Error || s.Notices[0].Message != "the pod was deleted" {
		t.Errorf("%+v", s)
	}
}

func TestHostileEventsAreBounded(t *testing.T) {
	m := NewModel(100)
	long := strings.Repeat("ä", 1<<20)
	for i := range 2000 {
		text := fmt.Sprint(i, long[:2*min(i, 3000)])
		m.Add([]events.Event{
			{Type: events.Warning, Message: text}, {Type: events.Phase, Phase: text}, {Type: events.Listen, Port: i}, {Type: events.Link, State: "lost"},
			{Type: events.File, Path: text, Errno: text},
		})
	}
	m.Add([]events.Event{{Type: events.File, Path: long, Took: -5, Bytes: -1}, {Type: events.Failed, Message: long}, {Type: events.Environment, Variables: make([]events.Variable, 3*events.MaxVariables)}})
	s := m.Summary()
	rows, _ := m.Rows(Filter{}, 1000)
	if len(s.Notices) > maxNotices || !s.Notices[0].Error || len(s.Ports) > maxPorts || len(s.Phases) > maxPhases || len(m.Timeline()) > maxMarks || len(m.Environment()) > events.MaxVariables || len(rows) != 100 {
		t.Errorf("%d notices, %d ports, %d phases, %d rows", len(s.Notices), len(s.Ports), len(s.Phases), len(rows))
	}
	for _, r := range rows {
		if len(r.Title) > maxText+len("…") {
			t.Errorf("%d bytes of title", len(r.Title))
		}
	}
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewModel(0)
		for range 25 {
			m.Add(make([]events.Event, 10))
			time.Sleep(100 * time.Millisecond)
		}
		if got := m.Summary().Rate; got < 90 || got > 100 {
			t.Errorf("%v events in a second", got)
		}
		time.Sleep(2 * time.Second)
		if got := m.Summary().Rate; got != 0 {
			t.Errorf("%v events in a second of silence", got)
		}
	})
}

func TestQuantiles(t *testing.T) {
	var l latencies
	if l.quantile(0.5) != 0 {
		t.Error("of nothing")
	}
	for i := 1; i <= 1000; i++ {
		l.add(time.Duration(i) * time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 0: time.Millisecond, 1: time.Second} {
		if got := l.quantile(q); got < want*4/5 || got > want*6/5 {
			t.Errorf("%v: %v, not about %v", q, got, want)
		}
	}
	l.add(-time.Second)
	l.add(1000 * time.Hour)
}

func TestReadEvents(t *testing.T) {
	long := `{"event":"file","path":"` + strings.Repeat("x", 10<<20) + `"}` // 10 MiB
	fits := `{"event":"file","path":"` + strings.Repeat("y", 1<<20) + `"}`
	input := strings.Join([]string{
		`{"event":"file","path":"/a"}`, "", "garbage", `{"event":7}`, `{}`, "\x00\xff", long, fits, `{"event":"name","name":"b","unknown":[{}]}`, `[]`, `{"event":"file","path":"broken of`,
	}, "\n")
	for name, r := range map[string]io.Reader{"at once": strings.NewReader(input), "piecewise": io.MultiReader(strings.NewReader(input[:40]), strings.NewReader(input[40:]))} {
		var got []events.Event
		garbage := 0
		ReadEvents(r, func(batch []events.Event, n int) {
			got = append(got, batch...)
			garbage += n
		})
		if len(got) != 3 || got[0].Path != "/a" || len(got[1].Path) != 1<<20 || got[2].Name != "b" || garbage != 7 {
			t.Errorf("%s: %d events, %d lines of garbage", name, len(got), garbage)
		}
	}
}

func FuzzReadEvents(f *testing.F) {
	f.Add([]byte(`{"event":"file","path":"/a"}` + "\n" + `{"event":"session.ended","status":3}`))
	f.Add([]byte("\n\nx\n" + `{"event":"process.injected","pid":1,"ppid":1}` + "\n" + `{"event":"environment","variables":[{"name":"A"}]}`))
	f.Add([]byte(`{"event":"link","state":"lost"}` + "\n" + `{"event":"phase","phase":"program","state":"started","milliseconds":1e300}`))
	f.Fuzz(func(t *testing.T, input []byte) {
		m := NewModel(10)
		ReadEvents(bytes.NewReader(input), func(batch []events.Event, n int) {
			if len(batch) > maxBatch {
				t.Fatalf("%d events in a batch", len(batch))
			}
			m.Add(batch)
		})
		m.Summary()
		m.Processes()
		if rows, _ := m.Rows(Filter{Text: "a"}, 100); len(rows) > 10 {
			t.Fatalf("%d rows", len(rows))
		}
	})
}

// traffic is events as a busy program makes them.
func traffic(n int) []events.Event {
	all := make([]events.Event, n)
	for i := range all {
		switch ev := &all[i]; i % 4 {
		case 0, 1:
			*ev = events.Event{Type: events.File, Op: "open", Path: fmt.Sprintf("/srv/www/assets/%d/chunk-%d.js", i%100, i), Took: float64(i%50) / 10, Bytes: int64(i)}
		case 2:
			*ev = events.Event{Type: events.Name, Name: fmt.Sprintf("service-%d.shop.svc.cluster.local", i%40), Took: 1}
		case 3:
			*ev = events.Event{Type: events.Connect, Address: fmt.Sprintf("10.96.%d.%d:8080", i%256, i%200), Name: "service.shop", Took: 2}
		}
		all[i].Time = then.Add(time.Duration(i) * time.Millisecond)
	}
	return all
}

// BenchmarkEvents is from the bytes of the command to the model, per event, while a view looks at it after each batch.
func BenchmarkEvents(b *testing.B) {
	var lines bytes.Buffer
	for _, ev := range traffic(5000) {
		line, _ := json.Marshal(ev)
		lines.Write(append(line, '\n'))
	}
	m := NewModel(0)
	b.ReportAllocs()
	for n := 0; n < b.N; n += 5000 {
		ReadEvents(bytes.NewReader(lines.Bytes()), func(batch []events.Event, _ int) {
			m.Add(batch)
			m.Summary()
			m.Rows(Filter{Kinds: 1 << Files, Text: "chunk-1"}, 200)
		})
	}
}

// BenchmarkMemory is what 100,000 events take.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		m := NewModel(0)
		for i := range 100 {
			var batch []events.Event
			for _, ev := range traffic(1000) {
				ev.Path = strings.Replace(ev.Path, "www", fmt.Sprint("www", i), 1)
				batch = append(batch, ev)
			}
			m.Add(batch)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB")
		runtime.KeepAlive(m)
	}
}
