package cmd

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mirrord/launcher/config"
	"mirrord/launcher/config/reference"
)

func newMan() *cobra.Command {
	return &cobra.Command{
		Use:                   "man",
		Short:                 "Print the manual page",
		Long:                  "Print the manual page, mirrord(1), in the language of man.",
		Example:               "  mirrord man | man -l -\n  mirrord man > ~/.local/share/man/man1/mirrord.1",
		DisableFlagsInUseLine: true,
		Args:                  alone,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(c.OutOrStdout(), manual(c.Root()))
			return err
		},
	}
}

// page is a manual page (man(7)) in the making.
type page struct{ strings.Builder }

func (p *page) section(title string) { fmt.Fprintf(p, ".SH %s\n", title) }

// text adds lines as they are, empty ones as the border of a paragraph.
func (p *page) text(s string) {
	for line := range strings.Lines(s) {
		if line = strings.TrimRight(line, "\n"); line == "" {
			p.WriteString(".PP\n")
			continue
		}
		p.WriteString(roff(line) + "\n")
	}
}

// entry adds a term and what it means.
func (p *page) entry(term, meaning string) {
	fmt.Fprintf(p, ".TP\n.B %s\n", roff(term))
	p.text(meaning)
}

func (p *page) example(s string) {
	p.WriteString(".PP\n.nf\n")
	p.text(s)
	p.WriteString(".fi\n")
}

// roff keeps text from being taken for requests or escapes.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "`", `\(ga`, "'", `\(aq`).Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}

// manual is the page about the whole command line. Its words are those of --help.
func manual(root *cobra.Command) string {
	var p page
	p.WriteString(".TH MIRRORD 1\n")
	p.section("NAME")
	p.text("mirrord - run a program on this machine as if it ran inside a pod")
	p.section("SYNOPSIS")
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			p.text(c.UseLine())
			p.WriteString(".br\n")
		}
	}
	p.section("DESCRIPTION")
	p.text(root.Long)
	p.section("COMMANDS")
	p.commands(root)
	p.section("CONFIGURATION")
	p.text("Flags win over variables, variables over the file, the file over the defaults.")
	for _, k := range config.Keys() {
		if k.Class == "works" && (!k.Section || len(k.Words) > 0) {
			meaning := reference.Describe(k.Path)
			if k.Variable != "" {
				meaning += " (" + k.Variable + ")"
			}
			p.entry(k.Path, meaning)
		}
	}
	p.section("FILES")
	p.entry(".mirrord/mirrord.json, .yaml, .yml, .toml", "the configuration, in the working directory")
	p.section("EXIT STATUS")
	p.text("Of exec:")
	for _, s := range statuses {
		p.entry(s[0], s[1])
	}
	return p.String()
}

func (p *page) commands(parent *cobra.Command) {
	for _, c := range parent.Commands() {
		if !c.IsAvailableCommand() || c.Name() == "help" || c.Parent() != c.Root() && c.Parent().Name() == "completion" {
			continue
		}
		fmt.Fprintf(p, ".SS %s\n", roff(c.UseLine()))
		long := c.Long
		if long == "" {
			long = c.Short
		}
		p.text(long)
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" {
				return
			}
			value, usage := pflag.UnquoteUsage(f)
			term := "--" + f.Name
			if f.Shorthand != "" {
				term = "-" + f.Shorthand + ", " + term
			}
			if value != "" {
				term += " " + value
			}
			p.entry(term, usage)
		})
		if c.Example != "" {
			p.example(c.Example)
		}
		p.commands(c)
	}
}

// statuses are those of exec.
var statuses = [][2]string{
	{"the program's own", "when it ran; when a signal killed it, exec ends by the same signal"},
	{"125", "mirrord itself failed; error: and hint: lines on standard error say why and what to do"},
	{"126", "the program cannot be executed"},
	{"127", "the program was not found"},
}
