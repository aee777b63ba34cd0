// Package cmd is the command line: a file per sub-command. It turns words into options and errors into text; what a command does is elsewhere.
package cmd

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"mirrord/launcher/config"
	"mirrord/launcher/progress"
	"mirrord/launcher/run"
)

// Main runs the command line and returns how the process should end.
func Main(args []string) run.Ending {
	var ending run.Ending
	root := &cobra.Command{
		Use:   "mirrord COMMAND",
		Short: "Run a program on this machine as if it ran inside a pod",
		Long: `mirrord runs a program on this machine as if it ran inside a pod: with the pod's
environment, files, name resolution, outgoing and incoming traffic.`,
		Example:                    "  mirrord exec --steal -t dir:./pod -- npm start\n  mirrord exec --help",
		SuggestionsMinimumDistance: 2,
		SilenceUsage:               true,
		SilenceErrors:              true,
		DisableFlagsInUseLine:      true,
		Args:                       cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, words []string) error {
			if len(words) > 0 {
				return unknownCommand(c, words[0])
			}
			return c.Help()
		},
	}
	exec := newExec(&ending)
	root.AddCommand(exec, newVerifyConfig(&ending), newSchema(), newList(), newSnapshot(), newSession(), newSIP(&ending), newDoctor(&ending), newVersion(), newMan(), newBroker())
	addCompletion(root)
	root.SetFlagErrorFunc(flagError)
	root.SetArgs(giveValue(exec, args))
	root.SetHelpTemplate(helpTemplate)
	// Help that was asked for is output; everything else goes to standard error.
	root.SetOut(os.Stdout)
	root.SetErr(os.Stderr)
	if c, err := root.ExecuteC(); err != nil {
		if isForPrograms(c) {
			failed := run.FailureEvent(err)
			_ = printJSON(os.Stdout, failure{failed.Message, failed.Hint})
		}
		return fail(err)
	}
	return ending
}

// failure is what commands print in place of the JSON that they were asked for. Names are stable.
type failure struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
}

// isForPrograms says whether the command was to print JSON.
func isForPrograms(c *cobra.Command) bool {
	output, asJSON := c.Flags().Lookup("output"), c.Flags().Lookup("json")
	return output != nil && output.Value.String() == "json" || asJSON != nil && asJSON.Value.String() == "true"
}

// fail reports an error of ours. Every one of them, a word misspelt on the command line too, gives the same status: others are the program's.
func fail(err error) run.Ending {
	printer(progress.Auto).Show(run.FailureEvent(err))
	return run.Ending{Status: run.OwnFailure}
}

func printer(mode progress.Mode) *progress.Printer {
	return progress.New(os.Stderr, mode, term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("TERM") != "dumb")
}

func flagError(c *cobra.Command, err error) error {
	hint := c.CommandPath() + " --help lists the flags"
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := config.Nearest(unknown.GetSpecifiedName(), names); near != "" && len(unknown.GetSpecifiedName()) > 2 {
			hint = "did you mean --" + near + "? " + hint
		}
	}
	var wrong *pflag.InvalidValueError
	if errors.As(err, &wrong) && wrong.GetFlag().NoOptDefVal == "true" {
		return fmt.Errorf("--%s is said alone, or with =true or =false, not with %q\nhint: %s", wrong.GetFlag().Name, wrong.GetValue(), hint)
	}
	if c.Name() == "exec" {
		hint += "; flags of the program come after it, or after --"
	}
	return fmt.Errorf("%w\nhint: %s", err, hint)
}

// alone is for commands that take no words.
func alone(c *cobra.Command, words []string) error {
	if len(words) > 0 {
		return fmt.Errorf("%s takes no %q\nhint: %s --help says what it takes", c.CommandPath(), words[0], c.CommandPath())
	}
	return nil
}

func unknownCommand(c *cobra.Command, word string) error {
	hint := "to run a program: mirrord exec -t TARGET -- " + word
	if near := c.SuggestionsFor(word); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return errors.New("unknown command " + word + "\nhint: " + hint)
}

// helpTemplate shows how to use a command before it lists what there is.
const helpTemplate = `{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}{{end}}

Usage:
  {{.UseLine}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}
`
