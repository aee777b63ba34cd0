package cmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"mirrord/launcher/doctor"
	"mirrord/launcher/run"
)

// The statuses of doctor; failures of its own are run.OwnFailure as everywhere.
const (
	isWell = 0
	isIll  = 1
)

func newDoctor(ending *run.Ending) *cobra.Command {
	var again bool
	var output string
	c := &cobra.Command{
		Use:   "doctor [--probe] [-o json]",
		Short: "Look whether programs can run in the context of a pod on this machine",
		Long: `Look whether programs can run in the context of a pod on this machine, and say what to do where they cannot: the
system and what of it keeps the layer out of programs, the folders that are used, security tools, programs that were
lost, and, by starting small programs, whether the layer really loads. What was found out by starting programs is
remembered: what works until the system changes, what fails for a day.

The status is 0 when nothing is wrong (there may be warnings), and 1 when programs will not run in the pod's context.

With -o json it is an object: "system", which the results hold for, and "findings", each with "area", "name", "state"
("ok", "note", "warning", "wrong"), "message", and "hint".`,
		Example:               "  mirrord doctor\n  mirrord doctor --probe                 try all again, also what is known\n  mirrord doctor -o json | jq '.findings[] | select(.state != \"ok\")'",
		DisableFlagsInUseLine: true,
		Args:                  alone,
		RunE: func(c *cobra.Command, _ []string) error {
			asJSON, err := wantsJSON(output)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			defer stop()
			tell, clear := busy(os.Stderr, term.IsTerminal(int(os.Stderr.Fd())))
			report, err := doctor.Examine(ctx, doctor.Options{Again: again, Tell: tell, Start: run.Probe})
			clear()
			if err != nil {
				return err
			}
			ending.Status = isWell
			if report.Worst() == doctor.Wrong {
				ending.Status = isIll
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), report)
			}
			return printReport(c.OutOrStdout(), report)
		},
	}
	c.Flags().BoolVar(&again, "probe", false, "start the small programs again, also where the result is known")
	outputFlag(c, &output)
	return c
}

// busy shows on a terminal what is being done, until clear.
func busy(w io.Writer, terminal bool) (tell func(string), clear func()) {
	if !terminal {
		return func(string) {}, func() {}
	}
	return func(what string) { _, _ = fmt.Fprintf(w, "\r\x1b[K%s…", what) }, func() { _, _ = io.WriteString(w, "\r\x1b[K") }
}

// printReport shows a report to people: what is there by area, then the sum.
func printReport(w io.Writer, r doctor.Report) error {
	fmt.Fprintf(w, "mirrord %s (%s/%s)\n", version(), runtime.GOOS, runtime.GOARCH)
	area := ""
	states := map[doctor.State]int{}
	for _, f := range r.Findings {
		if f.Area != area {
			area = f.Area
			fmt.Fprintf(w, "\n%s\n", area)
		}
		states[f.State]++
		fmt.Fprintf(w, "  %-8s %s\n", f.State, f.Message)
		if f.Hint != "" {
			fmt.Fprintf(w, "  %-8s hint: %s\n", "", f.Hint)
		}
	}
	sum := "all is well"
	switch wrong, warnings := states[doctor.Wrong], states[doctor.Warning]; {
	case wrong > 0 && warnings > 0:
		sum = fmt.Sprintf("%s wrong, and %s", things(wrong), counted(warnings, "warning"))
	case wrong > 0:
		sum = things(wrong) + " wrong"
	case warnings > 0:
		sum = "programs run in the pod's context, with " + counted(warnings, "warning")
	}
	_, err := fmt.Fprintln(w, "\n"+sum)
	return err
}

func things(n int) string {
	if n == 1 {
		return "1 thing is"
	}
	return fmt.Sprintf("%d things are", n)
}
