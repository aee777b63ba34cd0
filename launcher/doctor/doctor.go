// Package doctor looks at what a session depends on, on this machine: the system, what it lets into programs, the folders that are used, and whether
// the layer really loads. Each finding says what to do about it.
package doctor

import (
	"context"
	"fmt"
	"time"

	"mirrord/launcher/probe"
	"mirrord/launcher/run"
	"mirrord/layer"
)

// State is how bad a finding is.
type State string

// The states.
const (
	OK      State = "ok"
	Note    State = "note"    // worth knowing; nothing is wrong
	Warning State = "warning" // something will not work that a user may expect
	Wrong   State = "wrong"   // programs will not run in the pod's context
)

// Finding is one thing that was looked at. Names are stable, new ones may come.
type Finding struct {
	Area    string `json:"area"` // "system", "security", "layer", "programs", "folders"
	Name    string `json:"name"` // "sip", "probe.copy"
	State   State  `json:"state"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Report is what doctor -o json prints.
type Report struct {
	System   probe.System `json:"system"`
	Findings []Finding    `json:"findings"`
}

// Worst is the worst state of all findings.
func (r Report) Worst() State {
	worst := OK
	order := map[State]int{OK: 0, Note: 1, Warning: 2, Wrong: 3}
	for _, f := range r.Findings {
		if order[f.State] > order[worst] {
			worst = f.State
		}
	}
	return worst
}

// Options say how to look.
type Options struct {
	Again bool              // try all strategies, also those that are known to work
	Tell  func(what string) // called before what takes long
	Start probe.Start       // run.Probe; tests have their own
}

// Examine looks at everything. It ends early when the context does, then its report is incomplete and the error is the context's.
func Examine(ctx context.Context, o Options) (Report, error) {
	system := run.System()
	r := Report{System: system}
	add := func(area string, all ...Finding) {
		for _, f := range all {
			f.Area = area
			r.Findings = append(r.Findings, f)
		}
	}
	add("system", examineSystem()...)
	add("security", examineSecurity()...)
	add("folders", examineFolders()...)
	if _, err := layer.Library(); err != nil {
		add("layer", Finding{Name: "built", State: Wrong, Message: err.Error(), Hint: "run `make build`, then use bin/mirrord"})
		return r, nil
	}
	folder, err := run.CacheFolder()
	if err != nil {
		return r, nil // a finding about folders says why
	}
	memory := probe.Open(folder, system)
	o.Tell("starting programs with the layer")
	results, err := probe.All(ctx, memory, strategies(), o.Start, o.Again)
	if ctx.Err() != nil {
		return r, ctx.Err()
	}
	if err != nil {
		add("folders", Finding{Name: "memory", State: Warning, Message: "what was found out cannot be kept: " + err.Error()})
	}
	add("programs", ofResults(results)...)
	add("programs", ofLost(memory.Lost())...)
	return r, nil
}

// ofResults tells of the strategies. That the plainest one fails is worse than that another does.
func ofResults(results []probe.Result) (all []Finding) {
	what := map[string]string{}
	for _, s := range strategies() {
		what[s.Name] = s.What
	}
	for _, r := range results {
		f := Finding{Name: "probe." + r.Strategy, State: OK, Message: what[r.Strategy] + " gets the layer"}
		if !r.Works {
			f.State, f.Message = Warning, what[r.Strategy]+" does not get the layer: "+r.Why
			f.Hint = fmt.Sprintf("such programs run outside the pod's context until it works; it is tried again after %d hours, or now by `mirrord doctor --probe`", int(probe.Forgotten.Hours()))
			if r.Strategy == Inject {
				f.State = Wrong
			}
		}
		all = append(all, f)
	}
	return all
}

func ofLost(lost []probe.Lost) (all []Finding) {
	for _, l := range lost {
		all = append(all, Finding{
			Name: "lost", State: Warning, Message: fmt.Sprintf("%s ran without the pod's context %s: %s", l.Path, ago(time.Since(l.When)), l.Reason),
			Hint: "`mirrord sip explain " + l.Path + "` tells how it is started",
		})
	}
	return all
}

func ago(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return "a moment ago"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes ago", int(d.Minutes()))
	}
	return fmt.Sprintf("%d hours ago", int(d.Hours()))
}

// Inject is the strategy without which nothing works.
const Inject = "inject"
