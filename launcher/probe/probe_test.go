package probe

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// machine is a made-up one: works says which strategies do.
type machine struct {
	works map[string]error
	tried []string
}

func (m *machine) strategies(names ...string) (all []Strategy) {
	for _, name := range names {
		all = append(all, Strategy{Name: name, Prepare: func(context.Context) (string, []string, error) {
			if name == "none" {
				return "", nil, ErrNone
			}
			return "/bin/" + name, []string{"x"}, nil
		}})
	}
	return all
}

func (m *machine) start(ctx context.Context, program string, args ...string) error {
	m.tried = append(m.tried, program)
	if program == "/bin/hangs" {
		<-ctx.Done()
		return ctx.Err()
	}
	return m.works[program]
}

func TestAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := filepath.Join(t.TempDir(), "cache")
		mac := System{Build: "25F71", Hardware: "arm64", SIP: true, Rosetta: true, Layer: "abc"}
		m := &machine{works: map[string]error{"/bin/copy": errors.New("killed")}}
		for _, step := range []struct {
			name   string
			change func(*System)
			wait   time.Duration
			again  bool
			mended bool
			tried  []string
			works  []bool
		}{
			{name: "nothing is known", tried: []string{"/bin/inject", "/bin/copy"}, works: []bool{true, false}},
			{name: "all is known", wait: 23 * time.Hour, works: []bool{true, false}},
			{name: "a failure of yesterday", wait: 2 * time.Hour, mended: true, tried: []string{"/bin/copy"}, works: []bool{true, true}},
			{name: "a success lasts", wait: 1000 * time.Hour, works: []bool{true, true}},
			{name: "asked to", again: true, tried: []string{"/bin/inject", "/bin/copy"}, works: []bool{true, true}},
			{name: "another build", change: func(s *System) { s.Build = "26A428" }, tried: []string{"/bin/inject", "/bin/copy"}, works: []bool{true, true}},
			{name: "SIP is off", change: func(s *System) { s.SIP = false }, tried: []string{"/bin/inject", "/bin/copy"}, works: []bool{true, true}},
			{name: "no Rosetta", change: func(s *System) { s.Rosetta = false }, tried: []string{"/bin/inject", "/bin/copy"}, works: []bool{true, true}},
			{name: "other hardware", change: func(s *System) { s.Hardware = "x86_64" }, tried: []string{"/bin/inject", "/bin/copy"}, works: []bool{true, true}},
			{name: "another layer", change: func(s *System) { s.Layer = "def" }, tried: []string{"/bin/inject", "/bin/copy"}, works: []bool{true, true}},
		} {
			time.Sleep(step.wait)
			if step.mended {
				m.works = nil
			}
			if step.change != nil {
				step.change(&mac)
			}
			m.tried = nil
			all, err := All(t.Context(), Open(folder, mac), m.strategies("inject", "none", "copy"), m.start, step.again)
			if err != nil {
				t.Fatal(err)
			}
			var works []bool
			for _, r := range all {
				works = append(works, r.Works)
				if r.Works != (r.Why == "") {
					t.Errorf("%s: %+v", step.name, r)
				}
			}
			if diff := cmp.Diff(step.tried, m.tried) + cmp.Diff(step.works, works); diff != "" {
				t.Errorf("%s: %s", step.name, diff)
			}
		}
	})
}

func TestAProbeTakesTenSecondsAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{}
		began := time.Now()
		all, err := All(t.Context(), Open(t.TempDir(), System{}), m.strategies("hangs", "inject"), m.start, false)
		if err != nil || len(all) != 2 || all[0].Works || !all[1].Works {
			t.Errorf("%+v %v", all, err)
		}
		if took := time.Since(began); took != Patience {
			t.Errorf("it took %v", took)
		}
	})
}

func TestWhatIsInterruptedIsNotRemembered(t *testing.T) {
	folder := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	m := &machine{}
	start := func(ctx context.Context, program string, args ...string) error {
		cancel()
		return ctx.Err()
	}
	if _, err := All(ctx, Open(folder, System{}), m.strategies("inject"), start, false); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, ok := Open(folder, System{}).result("inject"); ok {
		t.Error("it is")
	}
}

func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		one := System{Build: "1"}
		for _, path := range []string{"/bin/a", "/bin/b", "/bin/a"} {
			if err := Open(folder, one).Lose(path, "why"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		var paths []string
		for _, l := range Open(folder, one).Lost() {
			paths = append(paths, l.Path)
		}
		if diff := cmp.Diff([]string{"/bin/b", "/bin/a"}, paths); diff != "" {
			t.Error(diff)
		}
		if n := len(Open(folder, System{Build: "2"}).Lost()); n != 0 {
			t.Errorf("%d on another system", n)
		}
		m := Open(folder, one)
		for i := range maxLost + 10 {
			if err := m.Lose("/bin/"+string(rune('a'+i)), "why"); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(m.Lost()); n != maxLost {
			t.Errorf("%d are kept", n)
		}
		time.Sleep(25 * time.Hour)
		if n := len(Open(folder, one).Lost()); n != 0 {
			t.Errorf("%d after a day", n)
		}
	})
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(`{"system":{"build":"1"},"results":[{"strategy":"inject","works":true,"when":"2026-11-21T10:00:00Z"}],"lost":[{"path":"/a"}]}`))
	f.Add([]byte(`{"results":null`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, "probes.json"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		m := Open(folder, System{Build: "1"})
		if err := m.Lose("/b", "why"); err != nil {
			t.Fatal(err)
		}
		if again := Open(folder, System{Build: "1"}); len(again.Lost()) == 0 {
			t.Error("what was noted is not remembered")
		}
	})
}

func TestCopies(t *testing.T) {
	folder := t.TempDir()
	m := &machine{works: map[string]error{"/bin/copy.arm64": errors.New("killed")}}
	if _, err := All(t.Context(), Open(folder, System{}), m.strategies("inject", "copy.arm64", "copy.x86_64"), m.start, false); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"arm64": false, "x86_64": true}
	if diff := cmp.Diff(want, Open(folder, System{}).Copies()); diff != "" {
		t.Error(diff)
	}
}
