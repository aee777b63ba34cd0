package cli

import (
	"context"
	"encoding/json"
)

// Finding is one thing that doctor has looked at.
type Finding struct {
	Area    string `json:"area"`
	Name    string `json:"name"`
	State   string `json:"state"` // "ok", "note", "warning", "wrong"
	Message string `json:"message"`
	Hint    string `json:"hint"` // what to do; may be empty
}

// Doctor looks whether programs can run in a pod's context on this machine. It may start small programs, which takes seconds the first time; again tries all anew.
func (t *Tool) Doctor(ctx context.Context, again bool) ([]Finding, error) {
	words := []string{"doctor", "-o", "json"}
	if again {
		words = append(words, "--probe")
	}
	var report struct{ Findings []Finding }
	err := t.ask(ctx, &report, words...)
	return report.Findings, err
}

// Explanation is what a command leads to.
type Explanation struct {
	System  string       `json:"system"`
	Verdict string       `json:"verdict"` // fails, inject, exec-only, copy, supervise, outside
	Reason  string       `json:"reason"`
	Notes   []string     `json:"notes"`
	Hops    []Hop        `json:"hops"`
	Path    string       `json:"path"` // what is executed, or copied, in the end
	Argv    []string     `json:"argv"`
	Error   string       `json:"error"` // the command cannot be executed; the rest is as far as that goes
	Hint    string       `json:"hint"`
	Then    *Explanation `json:"then"` // what the program executes next; nil mostly
}

// Hop is a file on the way: a script, an interpreter, a program.
type Hop struct {
	Path    string   `json:"path"`
	Real    string   `json:"real"`    // where links lead; empty: Path
	Verdict string   `json:"verdict"` // resolve, or as an Explanation's
	Slice   string   `json:"slice"`   // of a copy on macOS
	Reason  string   `json:"reason"`
	Notes   []string `json:"notes"`
}

// Explain tells what a command started in folder leads to, without starting it.
func (t *Tool) Explain(ctx context.Context, folder string, command []string) (x Explanation, err error) {
	in := *t
	in.Dir = folder
	err = in.ask(ctx, &x, append([]string{"sip", "explain", "--json", "--"}, command...)...)
	return x, err
}

// Review is what is wrong with a configuration.
type Review struct {
	Valid    bool    `json:"valid"`
	File     string  `json:"file"` // empty: there is none
	Faults   []Fault `json:"faults"`
	Warnings []struct{ Message, Hint string }
	Config   json.RawMessage `json:"config"` // what it comes to, as a configuration again; null when there are faults
}

// Fault is a place of a configuration that is wrong.
type Fault struct {
	Source  string `json:"source"`
	Line    int    `json:"line"` // from 1; 0 when unknown
	Column  int    `json:"column"`
	Field   string `json:"field"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

// Verify checks a configuration file as exec in folder would read it; an empty file is the folder's own.
func (t *Tool) Verify(ctx context.Context, folder, file string) (r Review, err error) {
	in := *t
	in.Dir = folder
	words := []string{"verify-config", "-o", "json"}
	if file != "" {
		words = append(words, "-f", file)
	}
	err = in.ask(ctx, &r, words...)
	return r, err
}
