// Package probe finds out by trying which ways of starting a program with the layer work on this machine, and remembers the answers: what a system
// allows is not written down anywhere, and changes with its releases.
package probe

import (
	"context"
	"errors"
	"time"
)

// Patience is how long the layer may take to report in a probe.
const Patience = 10 * time.Second

// Forgotten is the age at which a failure is tried again: the reason may have been a busy machine, or a tool that is gone. What worked once works
// until the system changes.
const Forgotten = 24 * time.Hour

// System is what results depend on. Those of another system do not count.
type System struct {
	Build    string `json:"build"`    // of the operating system: "25F71", on Linux the kernel's release
	Hardware string `json:"hardware"` // "arm64", "x86_64"
	SIP      bool   `json:"sip"`      // System Integrity Protection is on
	Rosetta  bool   `json:"rosetta"`
	Layer    string `json:"layer"` // tells builds of the layer apart
}

// Strategy is one way to start a program.
type Strategy struct {
	Name string // "inject", "copy"; stable
	What string // for people: "a program as it is"
	// Prepare gives a program that ends by itself, started in this way, and its arguments. ErrNone says that there is none on this machine.
	Prepare func(context.Context) (program string, args []string, err error)
}

// CopyOf begins the names of strategies that run a copy of one slice; its architecture follows.
const CopyOf = "copy."

// ErrNone is for strategies that this machine has no use for.
var ErrNone = errors.New("there is nothing to try it with")

// Result is what is known of a strategy.
type Result struct {
	Strategy string    `json:"strategy"`
	Works    bool      `json:"works"`
	Why      string    `json:"why,omitempty"` // it does not
	When     time.Time `json:"when"`
}

// Start runs a program with the layer, and is nil once the layer has reported: run.Probe.
type Start func(ctx context.Context, program string, args ...string) error

// All gives the results of the strategies in their order, of those that are not known by trying them one after the other; with again of all. Those
// with ErrNone are left out. When the results cannot be kept there is an error besides them.
func All(ctx context.Context, m *Memory, strategies []Strategy, start Start, again bool) ([]Result, error) {
	var all []Result
	for _, s := range strategies {
		if r, ok := m.result(s.Name); ok && !again {
			all = append(all, r)
			continue
		}
		program, args, err := s.Prepare(ctx)
		if errors.Is(err, ErrNone) {
			continue
		}
		if err == nil {
			err = within(ctx, func(ctx context.Context) error { return start(ctx, program, args...) })
		}
		if ctx.Err() != nil {
			return all, ctx.Err() // says nothing about the strategy
		}
		r := Result{Strategy: s.Name, Works: err == nil, When: time.Now().UTC().Truncate(time.Second)}
		if err != nil {
			r.Why = err.Error()
		}
		all = append(all, r)
		m.setResult(r)
	}
	return all, m.save()
}

func within(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	return do(ctx)
}
