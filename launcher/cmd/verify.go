package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"mirrord/launcher/config"
	"mirrord/launcher/config/document"
	"mirrord/launcher/config/reference"
	"mirrord/launcher/run"
)

// The statuses of verify-config; failures of mirrord itself are run.OwnFailure as everywhere.
const (
	isValid   = 0
	hasFaults = 1
)

// review is what verify-config -o json prints. Names are stable, new ones may come.
type review struct {
	Valid    bool           `json:"valid"`
	File     string         `json:"file"`     // "" when there is none
	Faults   []faultLine    `json:"faults"`   // never null
	Warnings []warningLine  `json:"warnings"` // never null
	Config   *config.Config `json:"config"`   // with variables and defaults; null when there are faults
}

type faultLine struct {
	Source  string `json:"source"`           // the file, or the name of the variable
	Line    int    `json:"line,omitempty"`   // from 1; absent when unknown
	Column  int    `json:"column,omitempty"` // likewise
	Field   string `json:"field,omitempty"`  // the key
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

type warningLine struct {
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func newVerifyConfig(ending *run.Ending) *cobra.Command {
	var file, output string
	c := &cobra.Command{
		Use:   "verify-config [-f FILE] [-o json]",
		Short: "Check a configuration, and print what it comes to",
		Long: `Check a configuration file as exec would read it, with the variables that are set, and print all faults with line
and column, or what the configuration comes to.

The status is 0 when exec would take the configuration, with or without warnings, and 1 when it would not.

With -o json it is an object: "valid", "file" (empty without one), "faults" (each with "source", "line", "column",
"field", "message", "hint"), "warnings" ("message", "hint"), and "config", a configuration that says the same with
nothing left out, or null.`,
		Example: `  mirrord verify-config                    the file that exec finds
  mirrord verify-config -f other.yaml
  mirrord verify-config -o json | jq .config`,
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     cobra.FixedCompletions(configFormats, cobra.ShellCompDirectiveFilterFileExt),
		RunE: func(c *cobra.Command, words []string) error {
			if len(words) > 0 { // users of the leading peer name the file without a flag
				if file != "" || len(words) > 1 {
					return errors.New("two files were named\nhint: give one, with -f or without")
				}
				file = words[0]
			}
			asJSON, err := wantsJSON(output)
			if err != nil {
				return err
			}
			r := examine(config.LoadOptions{File: file})
			ending.Status = isValid
			if !r.Valid {
				ending.Status = hasFaults
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), r)
			}
			return r.print(c.OutOrStdout())
		},
	}
	c.Flags().StringVarP(&file, "config-file", "f", "", "configuration `FILE` (json, yaml, toml; - is standard input); default: .mirrord/mirrord.json or the like")
	_ = c.MarkFlagFilename("config-file", configFormats...)
	outputFlag(c, &output)
	return c
}

func examine(o config.LoadOptions) review {
	r := review{File: o.Source(), Faults: []faultLine{}, Warnings: []warningLine{}}
	conf, warnings, err := config.Load(o)
	var all *config.Error
	if errors.As(err, &all) {
		for _, f := range all.Faults {
			r.Faults = append(r.Faults, faultLine{f.Source, f.Line, f.Column, f.Field, f.Problem, f.Hint})
		}
		return r
	}
	r.Valid, r.Config = true, conf
	for _, w := range warnings {
		r.Warnings = append(r.Warnings, warningLine(w))
	}
	if conf.Target.Path == "" {
		r.Warnings = append(r.Warnings, warningLine{Message: "no target is given", Hint: "name it in `target`, or with `mirrord exec -t dir:PATH`"})
	}
	return r
}

// print shows a review to people. The faults are those that exec would show.
func (r review) print(w io.Writer) error {
	what := r.File
	if what == "" {
		what = "the configuration without a file"
	}
	if !r.Valid {
		fmt.Fprintf(w, "%s is not valid: %s\n", what, counted(len(r.Faults), "fault"))
	}
	for _, f := range r.Faults {
		fmt.Fprintln(w, document.Fault{Place: document.Place{Source: f.Source, Line: f.Line, Column: f.Column}, Field: f.Field, Problem: f.Message, Hint: f.Hint})
	}
	if !r.Valid {
		return nil
	}
	fmt.Fprintf(w, "%s is valid\n", what)
	for _, warning := range r.Warnings {
		fmt.Fprintf(w, "warning: %s\n", warning.Message)
		if warning.Hint != "" {
			fmt.Fprintf(w, "hint: %s\n", warning.Hint)
		}
	}
	fmt.Fprintln(w, "\nwith variables and defaults it says:")
	return printJSON(w, r.Config)
}

func newSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of configuration files, for editors",
		Long: `Print the JSON Schema (draft-07) of configuration files. An editor that is shown it completes keys, explains them and
marks faults: save it and name it in the file as "$schema", or in the editor's settings.`,
		Example:               "  mirrord schema > .mirrord/schema.json    and in mirrord.json: \"$schema\": \"./schema.json\"",
		DisableFlagsInUseLine: true,
		Args:                  alone,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := c.OutOrStdout().Write(reference.Schema())
			return err
		},
	}
}

// outputFlag is -o, the same for all commands that print something that programs want to read.
func outputFlag(c *cobra.Command, output *string) {
	c.Flags().StringVarP(output, "output", "o", "", "`FORMAT` of what is printed: json, or plain text")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "plain"}, cobra.ShellCompDirectiveNoFileComp))
}

func wantsJSON(output string) (bool, error) {
	switch output {
	case "json":
		return true, nil
	case "", "plain":
		return false, nil
	}
	return false, fmt.Errorf("-o: unknown format %q\nhint: it is json or plain", output)
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
