package run

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mirrord/launcher/events"
)

// nobody is the number of a process that there is not.
const nobody = math.MaxInt32 - 10

func planned(pid int, path, program, verdict string) events.Event {
	return events.Event{Time: time.Now(), Type: events.ProcessExec, PID: pid, Path: path, Program: program, Verdict: verdict}
}

func said(pid, ppid int, exe string) events.Event {
	return events.Event{Time: time.Now(), Type: events.ProcessInject, PID: pid, PPID: ppid, Path: exe}
}

func TestPlansPairWithHellos(t *testing.T) {
	link := filepath.Join(t.TempDir(), "sh")
	if err := os.Symlink("/usr/bin/dash", link); err != nil {
		t.Fatal(err)
	}
	self := os.Getpid()
	for name, tt := range map[string]struct {
		said []events.Event
		lost []string
	}{
		"executed":                  {[]events.Event{planned(10, "/bin/cat", "", "inject"), said(10, 9, "/usr/bin/cat")}, nil},
		"started":                   {[]events.Event{planned(10, "/bin/cat", "", "copy"), said(11, 10, "/cache/cat")}, nil},
		"never heard of":            {[]events.Event{planned(10, "/bin/cat", "", "exec-only")}, []string{"10 /bin/cat"}},
		"a script":                  {[]events.Event{planned(10, "/x/npm", "/usr/bin/node", "inject"), said(11, 10, "/usr/bin/node")}, nil},
		"under a link's name":       {[]events.Event{planned(10, link, "", "inject"), said(11, 10, "/usr/bin/dash")}, nil},
		"outside, and said so":      {[]events.Event{planned(10, "/bin/su", "", "outside"), planned(10, "/no", "", "fails")}, nil},
		"of an unknown process":     {[]events.Event{planned(0, "/bin/cat", "", "inject")}, nil},
		"two of one parent":         {[]events.Event{planned(10, "/a", "", "inject"), planned(10, "/a", "", "inject"), said(11, 10, "/a")}, []string{"10 /a"}},
		"another child":             {[]events.Event{planned(10, "/a", "", "inject"), said(11, 10, "/b")}, []string{"10 /a"}},
		"its child":                 {[]events.Event{planned(self, "/a", "", "inject"), said(nobody, nobody-1, "/a")}, []string{fmt.Sprint(self, " /a")}},
		"an exec that failed":       {[]events.Event{planned(10, "/a", "", "inject"), planned(10, "/b", "", "inject"), said(10, 9, "/b")}, nil},
		"whose parent has ended":    {[]events.Event{planned(nobody, "/a", "", "inject"), said(11, 1, "/a")}, nil},
		"the hello came first":      {[]events.Event{said(10, 9, "/a"), planned(10, "/a", "", "inject")}, nil},
		"and is used once":          {[]events.Event{said(10, 9, "/a"), planned(10, "/a", "", "inject"), planned(10, "/a", "", "inject")}, []string{"10 /a"}},
		"with another parent there": {[]events.Event{planned(os.Getppid(), "/a", "", "inject"), said(self, 1, "/a")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var p plans
			for _, ev := range tt.said {
				p.note(ev)
			}
			var lost []string
			for _, e := range p.overdue(time.Now().Add(time.Second)) {
				lost = append(lost, fmt.Sprint(e.pid, " ", e.program))
			}
			if diff := cmp.Diff(tt.lost, lost); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPlansAreOverdueAfterFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p plans
		p.note(planned(10, "/a", "", "inject"))
		time.Sleep(4 * time.Second)
		p.note(planned(11, "/b", "", "inject"))
		for _, want := range []int{0, 1, 0} { // the first, once
			if late := p.overdue(time.Now().Add(-helloTime)); len(late) != want {
				t.Errorf("%d are overdue, not %d", len(late), want)
			}
			time.Sleep(1001 * time.Millisecond)
		}
		if len(p.open) != 1 {
			t.Errorf("%d are left", len(p.open))
		}
	})
}

func TestPlansAreBounded(t *testing.T) {
	p := plans{open: make([]plannedExec, maxPlans-1), early: make([]events.Event, maxEarly-1)}
	for i := range 10 {
		p.note(planned(10, "/a", "", "inject"))
		p.note(said(nobody, nobody-1, fmt.Sprint("/", i)))
	}
	if len(p.open) != maxPlans || len(p.early) != maxEarly || p.early[maxEarly-1].Path != "/9" {
		t.Errorf("%d plans, %d hellos are kept", len(p.open), len(p.early))
	}
}
