package progress

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/launcher/events"
)

var session = []events.Event{
	{Type: events.SessionStarted, Session: "1", Target: "dir:pod"},
	{Type: events.Phase, Phase: "target", State: "started"},
	{Type: events.Phase, Phase: "target", State: "done", Message: "dir:pod"},
	{Type: events.Phase, Phase: "program", State: "started", Message: "dir:pod (cart-7d9f): 2 variables, files (read)"},
	{Type: events.ProcessStarted, PID: 7, Path: "/bin/npm", Verdict: "inject"},
	{Type: events.Listen, Port: 8080, ActualPort: 8080},
	{Type: events.Listen, Port: 80, ActualPort: 41234},
	{Type: events.Warning, Message: "no", Hint: "do"},
	{Type: events.Warning, Message: "no", Hint: "do"},
	{Type: events.File, Op: "open", Path: "/etc/hosts"},
	{Type: events.ProcessLost, PID: 5, Path: "/usr/bin/cat", Reason: "why"},
	{Type: events.ProcessLost, PID: 6, Path: "/usr/bin/cat", Reason: "why else"},
	{Type: events.ProcessOutside, PID: 8, Path: "/usr/bin/go", Reason: "static"},
	{Type: events.ProcessOutside, PID: 9, Path: "/usr/bin/go", Reason: "static"},
	{Type: events.FileLocal, Op: "open", Path: "/var/log/\x1b[2Japp"},
	{Type: events.FileLocal, Op: "open", Path: "/no/such/folder/file", Errno: "EROFS"},
	{Type: events.FileLocked, Op: "lock"},
	{Type: events.SessionEnded, Succeeded: map[events.Type]int{events.File: 12000, events.Connect: 1, events.ProcessExec: 3}, Failed: map[events.Type]int{events.File: 7, events.Connect: 2}},
}

func show(mode Mode, terminal bool, all []events.Event) string {
	var out strings.Builder
	p := New(&out, mode, terminal)
	for _, ev := range all {
		p.Show(ev)
	}
	return out.String()
}

const body = `mirrord: ready: dir:pod (cart-7d9f): 2 variables, files (read)
mirrord: port 80: on this machine the program listens on 41234 instead
mirrord: warning: no
mirrord: hint: do
mirrord: warning: /usr/bin/cat runs without the pod's context: why
mirrord: hint: ` + "`mirrord doctor`" + ` tells whether programs get the layer on this machine
mirrord: in the pod: 12000 files opened, 1 connection made, 2 connections failed
mirrord: ran outside the pod's context: /usr/bin/go: static
mirrord: written on this machine, not in the pod: /var/log/` + "\ufffd" + `[2Japp
mirrord: written nowhere: /no/such/folder/file: the folder /no/such/folder is not on this machine
mirrord: files of the pod were locked: the locks are this machine's, nobody in the pod sees them
`

func TestModes(t *testing.T) {
	for _, tt := range []struct {
		mode     Mode
		terminal bool
		want     string
	}{
		{Auto, false, body},
		{Auto, true, "mirrord: target…\r\x1b[K" + body},
		{Plain, true, "mirrord: target: done (dir:pod)\n" + body},
		{Off, true, ""},
	} {
		if diff := cmp.Diff(tt.want, show(tt.mode, tt.terminal, session)); diff != "" {
			t.Errorf("%s, terminal %v: -want +got\n%s", tt.mode, tt.terminal, diff)
		}
	}
}

// The line names what has run longest of what runs side by side, and a slow start says where its time went.
func TestSlowStart(t *testing.T) {
	start := []events.Event{
		{Type: events.Phase, Phase: "layer", State: "started"},
		{Type: events.Phase, Phase: "target", State: "started"},
		{Type: events.Phase, Phase: "layer", State: "done", Took: 1},
		{Type: events.Phase, Phase: "target", State: "done", Took: 130},
		{Type: events.Phase, Phase: "agent", State: "started"},
		{Type: events.Phase, Phase: "agent", State: "done", Took: 1770},
		{Type: events.Phase, Phase: "program", State: "started", Took: 1999, Message: "all"},
	}
	const clear = "\r\x1b[K"
	want := "mirrord: layer…" + clear + "mirrord: layer…" + clear + "mirrord: target…" + clear + "mirrord: agent…" + clear + "mirrord: ready in 2.0 s (target 0.1, agent 1.8): all\n"
	if diff := cmp.Diff(want, show(Auto, true, start)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	start[len(start)-1].Took = 999
	if got := show(Auto, false, start); got != "mirrord: ready: all\n" {
		t.Errorf("a quick one: %q", got)
	}
}

func TestJSONIsEventsOnly(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(show(JSON, true, session), "\n"), "\n")
	if len(lines) != len(session) {
		t.Fatalf("%d lines", len(lines))
	}
	for i, line := range lines {
		var ev events.Event
		if err := json.Unmarshal([]byte(line), &ev); err != nil || ev.Type != session[i].Type {
			t.Errorf("line %d: %v %q", i, err, line)
		}
	}
}

func TestFailureIsAlwaysShown(t *testing.T) {
	failure := []events.Event{{Type: events.Phase, Phase: "target", State: "started"}, {Type: events.Failed, Message: "it broke", Hint: "mend it"}}
	for mode, want := range map[Mode]string{
		Off:  "error: it broke\nhint: mend it\n",
		Auto: "mirrord: target…\r\x1b[Kerror: it broke\nhint: mend it\n",
	} {
		if diff := cmp.Diff(want, show(mode, true, failure)); diff != "" {
			t.Errorf("%s: -want +got\n%s", mode, diff)
		}
	}
}

func TestSummaryIsShort(t *testing.T) {
	var many []events.Event
	for i := range 1000 {
		many = append(many, events.Event{Type: events.FileLocal, Path: fmt.Sprint("/f", i)})
	}
	out := show(Auto, false, append(many, events.Event{Type: events.SessionEnded}))
	if n := strings.Count(out, "\n"); n != maxListed+1 || !strings.Contains(out, "990 more") {
		t.Errorf("%d lines\n%s", n, out)
	}
}

func TestProgramOutside(t *testing.T) {
	out := show(Auto, false, []events.Event{{Type: events.ProcessStarted, Path: "/bin/go", Verdict: "outside", Reason: "static"}})
	if want := "mirrord: warning: /bin/go runs outside the pod's context: static\n"; out != want {
		t.Errorf("%q", out)
	}
}

// Whatever becomes of the connection to the pod is said as warnings are, each once.
func TestLink(t *testing.T) {
	var out strings.Builder
	p := New(&out, Auto, false)
	for range 2 {
		p.Show(events.Event{Type: events.Link, State: "lost", Message: "it is lost", Hint: "wait"})
		p.Show(events.Event{Type: events.Link, State: "restored", Message: "it is there again"})
	}
	if want := "mirrord: warning: it is lost\nmirrord: hint: wait\nmirrord: warning: it is there again\n"; out.String() != want {
		t.Errorf("%q", out.String())
	}
}

func TestParseMode(t *testing.T) {
	for in, want := range map[string]Mode{"": Auto, "STD": Auto, "dumb": Plain, "json": JSON, "off": Off} {
		if got, err := ParseMode(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	if _, err := ParseMode("loud"); err == nil || !strings.Contains(err.Error(), "\nhint: ") {
		t.Error(err)
	}
}
