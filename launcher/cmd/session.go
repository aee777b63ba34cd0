package cmd

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"mirrord/launcher/run"
)

// sessionLine is a session as session ls -o json prints it. Names are stable, new ones may come.
type sessionLine struct {
	ID        string    `json:"id"`
	Target    string    `json:"target"`
	Program   string    `json:"program"`
	Arguments int       `json:"arguments"` // how many there are; what they say may be secret
	Cwd       string    `json:"cwd"`
	Started   time.Time `json:"started"`
	Ports     []int     `json:"ports"` // never null
	PID       int       `json:"pid"`   // of mirrord exec, or of the broker when that has ended
	State     string    `json:"state"` // "running", or "remaining": the program has ended, processes that it started have not
}

func newSession() *cobra.Command {
	c := &cobra.Command{
		Use:                   "session ls|stop",
		Aliases:               []string{"sessions"},
		Short:                 "List and stop the sessions that are running",
		DisableFlagsInUseLine: true,
		Args:                  cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, words []string) error {
			if len(words) > 0 {
				return fmt.Errorf("unknown command session %s\nhint: it is session ls or session stop", words[0])
			}
			return c.Help()
		},
	}
	c.AddCommand(newSessionList(), newSessionStop())
	return c
}

func newSessionList() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "ls [-o json]",
		Short: "List the sessions that are running",
		Long: `List the sessions of this user that are running. Of the program's arguments only their number is kept, because
they may hold secrets. PORTS are the pod's ports that the program has listened on.

With -o json it is a list of objects: "id", "target", "program", "arguments" (how many), "cwd", "started", "ports",
"pid", and "state": "running", or "remaining" when only processes that the program has left keep the session open.`,
		DisableFlagsInUseLine: true,
		Args:                  alone,
		RunE: func(c *cobra.Command, _ []string) error {
			asJSON, err := wantsJSON(output)
			if err != nil {
				return err
			}
			all, err := run.Sessions()
			if err != nil {
				return err
			}
			lines := make([]sessionLine, len(all))
			for i, s := range all {
				lines[i] = lineOf(s)
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), lines)
			}
			return printSessions(c.OutOrStdout(), lines, time.Now())
		},
	}
	outputFlag(c, &output)
	return c
}

func lineOf(s run.Session) sessionLine {
	l := sessionLine{s.ID, s.Target, s.Program, s.Arguments, s.Cwd, s.Started, s.Ports, s.Outer.PID, "running"}
	if !s.Outer.Alive() {
		l.PID, l.State = s.Broker.PID, "remaining"
	}
	if l.Ports == nil {
		l.Ports = []int{}
	}
	return l
}

func printSessions(w io.Writer, lines []sessionLine, now time.Time) error {
	if len(lines) == 0 {
		_, err := fmt.Fprintln(w, "no sessions are running")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "ID\tTARGET\tPROGRAM\tPORTS\tAGE\tPID\tSTATE\tFOLDER")
	for _, l := range lines {
		program := l.Program
		if l.Arguments > 0 {
			program += " (+" + strconv.Itoa(l.Arguments) + ")"
		}
		var ports []string
		for _, p := range l.Ports {
			ports = append(ports, strconv.Itoa(p))
		}
		if ports == nil {
			ports = []string{"-"}
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", l.ID, printable(l.Target), printable(program), strings.Join(ports, ","), age(now.Sub(l.Started)), l.PID, l.State, printable(l.Cwd))
	}
	return table.Flush()
}

// printable keeps names, which may hold anything, from controlling the terminal and the table.
func printable(s string) string {
	if q := strconv.Quote(s); q != `"`+s+`"` {
		return q
	}
	return s
}

// age is a duration in its largest unit, as people say it.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func newSessionStop() *cobra.Command {
	var all bool
	var output string
	c := &cobra.Command{
		Use:   "stop ID...|--all [-o json]",
		Short: "End sessions",
		Long: `End sessions of this user, and wait until they are gone. The program gets SIGTERM; what is left of a session after ten
seconds is killed. The beginning of an ID is enough if no other session begins with it.

With -o json it prints the object {"stopped": [ID...]}.`,
		Example:               "  mirrord session stop 3f2a\n  mirrord session stop --all",
		DisableFlagsInUseLine: true,
		ValidArgsFunction: func(*cobra.Command, []string, string) (ids []string, _ cobra.ShellCompDirective) {
			running, _ := run.Sessions()
			for _, s := range running {
				ids = append(ids, cobra.CompletionWithDesc(s.ID, printable(s.Target+" "+s.Program)))
			}
			return ids, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, ids []string) error {
			asJSON, err := wantsJSON(output)
			if err != nil {
				return err
			}
			running, err := run.Sessions()
			if err != nil {
				return err
			}
			chosen := running
			switch {
			case all && len(ids) > 0:
				return errors.New("both IDs and --all were given\nhint: give one of them")
			case !all && len(ids) == 0:
				return errors.New("no session was named\nhint: give an ID of `mirrord session ls`, or --all")
			case !all:
				if chosen, err = choose(running, ids); err != nil {
					return err
				}
			}
			stopped := []string{}
			var failed []error
			for _, s := range chosen {
				if err := s.Stop(); err != nil {
					failed = append(failed, err)
					continue
				}
				stopped = append(stopped, s.ID)
				if !asJSON {
					fmt.Fprintf(c.OutOrStdout(), "stopped %s (%s, %s)\n", s.ID, printable(s.Target), printable(s.Program))
				}
			}
			if len(chosen) == 0 && !asJSON {
				fmt.Fprintln(c.OutOrStdout(), "no sessions are running")
			}
			if asJSON {
				failed = append(failed, printJSON(c.OutOrStdout(), map[string][]string{"stopped": stopped}))
			}
			return errors.Join(failed...)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "end all sessions of this user")
	outputFlag(c, &output)
	return c
}

// choose finds sessions by the beginnings of their IDs.
func choose(running []run.Session, ids []string) (chosen []run.Session, err error) {
	seen := map[string]bool{}
	for _, id := range ids {
		var found []run.Session
		for _, s := range running {
			if id != "" && strings.HasPrefix(s.ID, id) {
				found = append(found, s)
			}
		}
		switch {
		case len(found) == 0:
			return nil, fmt.Errorf("no session %q of this user is running\nhint: `mirrord session ls` lists those that are", id)
		case len(found) > 1:
			return nil, fmt.Errorf("%d sessions begin with %q\nhint: write more of the ID", len(found), id)
		case !seen[found[0].ID]:
			seen[found[0].ID] = true
			chosen = append(chosen, found[0])
		}
	}
	return chosen, nil
}
