package cmd

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"mirrord/launcher/run"
	"mirrord/sip"
)

// cannotRun is explain's status for a command that would fail to start.
const cannotRun = 1

// explanation is what sip explain --json prints. Names are stable, new ones may come.
type explanation struct {
	System      string     `json:"system"`
	Command     []string   `json:"command,omitempty"`
	Verdict     string     `json:"verdict"` // fails, inject, exec-only, copy, supervise, outside
	Slice       string     `json:"slice,omitempty"`
	ExecOnly    bool       `json:"exec_only,omitempty"` // with copy
	Reason      string     `json:"reason,omitempty"`
	Notes       []string   `json:"notes"` // never null, as all lists
	Hops        []hopLine  `json:"hops"`
	Path        string     `json:"path,omitempty"` // what is executed; with copy: what is copied
	Argv        []string   `json:"argv"`
	Environment []editLine `json:"environment"`
	Error       string     `json:"error,omitempty"`
	Hint        string     `json:"hint,omitempty"`

	Then *explanation `json:"then,omitempty"` // what the program, an env, executes next
}

type hopLine struct {
	Path     string   `json:"path"`
	Real     string   `json:"real,omitempty"`
	Verdict  string   `json:"verdict"`
	Slice    string   `json:"slice,omitempty"`
	ExecOnly bool     `json:"exec_only,omitempty"`
	Reason   string   `json:"reason,omitempty"`
	Notes    []string `json:"notes"`
}

type editLine struct {
	Name   string `json:"name"`
	Value  string `json:"value,omitempty"`
	Effect string `json:"effect"` // "set"; "layer first" and "layer removed" of a list of libraries

	Variant string `json:"variant,omitempty"` // with "layer first": "arm64e" when it is not the layer's plain library
}

func newSIPExplain(ending *run.Ending) *cobra.Command {
	var host string
	var asJSON bool
	c := &cobra.Command{
		Use:   "explain [--host FILE] [--json] COMMAND [ARGUMENT...]",
		Short: "Tell what a command leads to: every script, interpreter and program, with the verdict and why",
		Long: `Tell how a command would be started: every file on the way, what becomes of it and why, and the words that would be
executed in the end. Nothing is started.

  resolve     another program does the work, and is decided about in its place
  inject      the layer loads into the program
  exec-only   the layer loads, and only follows the programs that this one starts
  copy        a copy without what keeps the layer out (rights, a signature) is executed in the program's place
  supervise   mirrord answers the program's system calls, and those of all that it starts (Linux)
  outside     the program runs, but without the pod, and so does what it starts
  fails       the program cannot be executed

With --host the command is one of the Mac that FILE describes: only what it names exists. The status is 1 for a command
that cannot be executed.`,
		Example: `  mirrord sip explain npm start
  mirrord sip explain --host mac.yaml -- npm start`,
		DisableFlagsInUseLine: true,
		RunE: func(c *cobra.Command, command []string) error {
			if len(command) == 0 {
				return errors.New("no command is given\nhint: mirrord sip explain npm start")
			}
			engine := run.Engine()
			if host != "" {
				described, err := sip.ReadHost(host)
				var faults *sip.FileError
				switch {
				case errors.As(err, &faults):
					return err
				case err != nil:
					return fmt.Errorf("the description of a Mac: %w\nhint: --host names a yaml file with the keys mac and files", err)
				}
				engine = sip.For(described)
			}
			x := explain(engine, command)
			if x.Error != "" {
				ending.Status = cannotRun
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), x)
			}
			x.print(c.OutOrStdout())
			return nil
		},
	}
	c.Flags().SetInterspersed(false) // the command's flags are its own
	c.Flags().StringVar(&host, "host", "", "`FILE` that describes a Mac (yaml); default: this machine")
	c.Flags().BoolVar(&asJSON, "json", false, "print an object for programs")
	_ = c.MarkFlagFilename("host", "yaml", "yml")
	return c
}

// explain decides about a command as it would be typed on the engine's host.
func explain(engine *sip.Engine, command []string) *explanation {
	sys := engine.Host().System()
	r := sip.Request{Path: command[0], Argv0: command[0], Args: append([]string{}, command[1:]...), Cwd: sys.Cwd, Env: sys.Env, Search: true, Trace: true}
	for _, kv := range sys.Env {
		if value, ok := strings.CutPrefix(kv, "PATH="); ok {
			r.PathVar = value
		}
	}
	x := explanationOf(sys, engine.Decide(r))
	x.Command = command
	return x
}

func explanationOf(sys sip.System, v sip.Verdict) *explanation {
	x := &explanation{
		System: systemName(sys), Verdict: v.Kind.String(), Slice: v.Slice, ExecOnly: v.Light, Reason: v.Reason, Path: v.Path,
		Notes: append([]string{}, v.Notes...), Argv: append([]string{}, v.Argv...), Hops: []hopLine{}, Environment: []editLine{},
	}
	for _, h := range v.Hops {
		x.Hops = append(x.Hops, hopLine{h.Path, h.Real, h.Kind.String(), h.Slice, h.Light, h.Reason, append([]string{}, h.Notes...)})
	}
	if v.Err != nil {
		x.Error = v.Err.Error()
		var failed *sip.Error
		if errors.As(v.Err, &failed) {
			x.Hint = failed.Hint
		}
		return x
	}
	libraries := map[sip.Kernel]string{sip.Linux: "LD_PRELOAD", sip.Darwin: "DYLD_INSERT_LIBRARIES"}[sys.Kernel]
	effect := "layer first" // also of what is supervised, for whom it is passed on
	if v.Kind == sip.Outside {
		effect = "layer removed"
	}
	x.Environment = append(x.Environment, editLine{Name: libraries, Effect: effect, Variant: v.Variant})
	for _, e := range v.Edits {
		x.Environment = append(x.Environment, editLine{Name: e.Name, Value: e.Value, Effect: "set"})
	}
	if v.Next != nil {
		x.Then = explanationOf(sys, *v.Next)
	}
	return x
}

func systemName(s sip.System) string {
	name := s.Kernel.String()
	if s.Version != "" {
		name += " " + s.Version
	}
	if s.Build != "" {
		name += " (" + s.Build + ")"
	}
	switch {
	case s.Kernel == sip.Linux:
		name += ", " + s.Arch
	case s.Arch == "x86_64":
		name += ", Intel"
	case s.Rosetta:
		name += ", Apple silicon with Rosetta"
	default:
		name += ", Apple silicon without Rosetta"
	}
	if s.Kernel == sip.Darwin && !s.SIP {
		name += ", System Integrity Protection off"
	}
	return name
}

// print shows an explanation to people.
func (x *explanation) print(w io.Writer) {
	fmt.Fprintf(w, "%s\non %s\n\n", quoted(x.Command), x.System)
	x.printHops(w)
	for then := x.Then; then != nil; then = then.Then {
		fmt.Fprint(w, "\nthen it executes\n\n")
		then.printHops(w)
	}
}

func (x *explanation) printHops(w io.Writer) {
	for _, h := range x.Hops {
		fmt.Fprintf(w, "  %s\n", printable(h.Path))
		if h.Real != "" {
			fmt.Fprintf(w, "      is %s\n", printable(h.Real))
		}
		verdict := h.Verdict
		if h.Slice != "" {
			verdict += "(" + h.Slice + ")"
		}
		if h.ExecOnly {
			verdict += ", exec-only"
		}
		fmt.Fprintf(w, "      %s\n", strings.TrimSuffix(verdict+": "+visible(h.Reason), ": "))
		for _, note := range h.Notes {
			fmt.Fprintf(w, "      note: %s\n", visible(note))
		}
	}
	if x.Error != "" {
		fmt.Fprintf(w, "  fails: %s\n", visible(x.Error))
		if x.Hint != "" {
			fmt.Fprintf(w, "  hint: %s\n", x.Hint)
		}
		return
	}
	what := printable(x.Path)
	if x.Verdict == sip.Copy.String() {
		what = "a copy of " + what
	}
	if x.Verdict == sip.Supervise.String() {
		what += ", under supervision"
	}
	fmt.Fprintf(w, "\n  executes  %s\n  argv      %s\n", what, quoted(x.Argv))
	for i, e := range x.Environment {
		title := "env"
		if i > 0 {
			title = ""
		}
		line := e.Name + "=" + printable(e.Value)
		switch e.Effect {
		case "layer first":
			line = e.Name + " begins with the layer"
			if e.Variant != "" {
				line += ", its " + e.Variant + " variant"
			}
		case "layer removed":
			line = e.Name + " without the layer"
		}
		fmt.Fprintf(w, "  %-8s  %s\n", title, line)
	}
}

// quoted is words as a shell would take them.
func quoted(words []string) string {
	out := make([]string, len(words))
	for i, word := range words {
		switch {
		case visible(word) != word:
			out[i] = "$'" + strings.ReplaceAll(visible(word), "'", `\'`) + "'"
		case word == "" || strings.ContainsAny(word, " \"'\\$`*?[]{}()<>|&;#~!"):
			out[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		default:
			out[i] = word
		}
	}
	return strings.Join(out, " ")
}

// visible is a sentence that may hold anything, kept from controlling the terminal.
func visible(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
	}
	return b.String()
}
