package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/agent/wire"
	"mirrord/launcher/config"
	"mirrord/launcher/events"
	"mirrord/launcher/rules"
	"mirrord/sip"
)

func TestInject(t *testing.T) {
	for _, tt := range []struct {
		name      string
		env, want []string
	}{
		{"plain", []string{"A=b"}, []string{"A=b", preload + "=/l.so", "MIRRORD_BROKER=s:t"}},
		{"the user's own stay, behind", []string{preload + "=/x.so /y.so", "A=b"}, []string{"A=b", preload + "=/l.so:/x.so /y.so", "MIRRORD_BROKER=s:t"}},
		{"empty", []string{preload + "="}, []string{preload + "=/l.so", "MIRRORD_BROKER=s:t"}},
	} {
		if diff := cmp.Diff(tt.want, inject(tt.env, "/l.so", "s:t")); diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.name, diff)
		}
	}
}

// What is this machine's depends on where programs are looked for, and on what the pod has.
func TestCompileRules(t *testing.T) {
	for _, tt := range []struct {
		name         string
		capabilities []string
		env          []string
		path         string
		want         rules.Action
	}{
		{"a folder that is nobody's", nil, nil, "/var/lib/x", rules.Remote},
		{"in which programs are looked for", nil, []string{"PATH=/usr/bin:/var/lib"}, "/var/lib/x", rules.Local},
		{"certificates of the pod", []string{"certs"}, nil, "/etc/ssl/certs/ca.pem", rules.Remote},
		{"of which it has none", nil, nil, "/etc/ssl/certs/ca.pem", rules.Local},
	} {
		raw, err := compileRules(&plan{Config: config.Default()}, wire.Hello{Capabilities: tt.capabilities}, tt.env, "/var/cache/mirrord/layer.so", sip.Verdict{})
		if err != nil {
			t.Fatal(err)
		}
		file, err := rules.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := file.Classify(tt.path, false); got != tt.want {
			t.Errorf("%s: %s is %v, want %v", tt.name, tt.path, got, tt.want)
		}
	}
}

func TestProgramDirs(t *testing.T) {
	here := t.TempDir()
	if err := os.WriteFile(filepath.Join(here, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got := programDirs(strings.Join([]string{"/usr/bin", "", ".", "bin", here + "/", here + "/none", here + "/file"}, ":"))
	if diff := cmp.Diff([]string{"/usr/bin", here}, got); diff != "" {
		t.Error(diff)
	}
}

func TestLookup(t *testing.T) {
	env := []string{"PATHS=x", "PATH=/a", "broken", "PATH=/b=c"}
	if got := lookup(env, "PATH"); got != "/b=c" {
		t.Error(got)
	}
	if got := lookup(env, "HOME"); got != "" {
		t.Error(got)
	}
}

func TestDifferent(t *testing.T) {
	got := different([]string{"A=1", "B=2", "C=3"}, []string{"A=1", "B=3", "D=4=5"})
	want := events.Event{Type: events.Environment, Names: []string{"B", "D"}, Values: map[string]string{"B": "3", "D": "4=5"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestVariables(t *testing.T) {
	local := []string{"HOME=/me", "FEATURE=here", "SAME=x", "GONE=1", "odd"}
	pod := map[string]string{"FEATURE": "pod", "SAME": "x", "PASSWORD": strings.Repeat("s", events.MaxValue+1), "HOME": "/root", "EXCLUDED": "y"}
	final := []string{"HOME=/me", "FEATURE=pod", "SAME=x", "PASSWORD=" + pod["PASSWORD"], "LEVEL=debug"}
	want := []events.Variable{
		{Name: "EXCLUDED", Pod: true}, {Name: "FEATURE", Local: true, Pod: true, From: "pod"}, {Name: "GONE", Local: true}, {Name: "HOME", Local: true, Pod: true, From: "local"},
		{Name: "LEVEL", From: "configuration"}, {Name: "PASSWORD", Pod: true, From: "pod"}, {Name: "SAME", Local: true, Pod: true, From: "local"},
	}
	if diff := cmp.Diff(want, variables(local, pod, final, false)); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	all := variables(local, pod, final, true)
	if v := all[1]; v.LocalValue != "here" || v.PodValue != "pod" || v.Value != "pod" || len(all[5].Value) != events.MaxValue {
		t.Errorf("%+v", v)
	}
	var many []string
	for i := range 2 * events.MaxVariables {
		many = append(many, fmt.Sprint("V", i, "="))
	}
	if n := len(variables(many, nil, many, false)); n != events.MaxVariables {
		t.Errorf("%d variables", n)
	}
}

func TestEndingsTravel(t *testing.T) {
	for _, e := range []Ending{{}, {Status: 7}, {Signal: syscall.SIGTERM}, {Signal: syscall.Signal(40)}} {
		if got, ok := endingFrom(e.event(events.Event{})); !ok || got != e {
			t.Errorf("%+v became %+v", e, got)
		}
	}
	if _, ok := endingFrom(events.Event{}); ok {
		t.Error("an event without an ending has one")
	}
}

func TestFailureEvent(t *testing.T) {
	for text, want := range map[string]events.Event{
		"a":                                  {Message: "a"},
		"a\nhint: b":                         {Message: "a", Hint: "b"},
		"x:1: a\nhint: b\nx:2: c\nhint: d":   {Message: "x:1: a\nhint: b\nx:2: c\nhint: d"},
		"2 faults\nx:1: a\nx:2: c\nhint: do": {Message: "2 faults\nx:1: a\nx:2: c", Hint: "do"},
	} {
		want.Type = events.Failed
		if diff := cmp.Diff(want, FailureEvent(errors.New(text))); diff != "" {
			t.Errorf("%q: -want +got\n%s", text, diff)
		}
	}
}

func TestClosers(t *testing.T) {
	var order []int
	failure := errors.New("no")
	c := closers{
		func() error { order = append(order, 1); return failure },
		func() error { order = append(order, 2); return nil },
	}
	if err := c.close(); !errors.Is(err, failure) {
		t.Error(err)
	}
	if err := c.close(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]int{2, 1}, order); diff != "" {
		t.Error(diff)
	}
}

func TestBearsMark(t *testing.T) {
	for _, tt := range []struct {
		env  []string
		want bool
	}{
		{[]string{"A=b", EnvBroker + "=/tmp/mirrord-0123abcd/s:ffff"}, true},
		{[]string{EnvBroker + "=/tmp/mirrord-other/s:ffff"}, false},
		{[]string{"X" + EnvBroker + "=0123abcd"}, false},
		{nil, false},
	} {
		if got := bearsMark(tt.env, "0123abcd"); got != tt.want {
			t.Errorf("%q: %v", tt.env, got)
		}
	}
	if bearsMark([]string{EnvBroker + "=x"}, "") {
		t.Error("a session without an id has every process")
	}
}
