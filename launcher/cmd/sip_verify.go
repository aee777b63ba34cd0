package cmd

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"mirrord/codesign"
	"mirrord/codesign/macho"
	"mirrord/launcher/progress"
	"mirrord/launcher/run"
)

// The statuses of sip verify; a file that cannot be opened is run.OwnFailure.
const (
	allRight = 0
	isWrong  = 1
	notMachO = 2
)

func newSIPVerify(ending *run.Ending) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify FILE [--json]",
		Short: "Check the code signatures of a macOS program, on any system",
		Long: `Check the code signatures of a macOS program: of every slice, all hashes of pages, entitlements, requirements and launch
constraints, and whether the system would take them for what they are. Certificates are not checked.

The status is 0 when every hash is right, or nothing is signed, 1 when something is wrong, and 2 when the file is not a
Mach-O file or is broken before its signature.`,
		Example:               "  mirrord sip verify /bin/ls\n  mirrord sip verify --json node | jq '.slices[].entitlements'",
		DisableFlagsInUseLine: true,
		RunE: func(c *cobra.Command, words []string) error {
			if len(words) != 1 {
				return fmt.Errorf("sip verify takes one file, not %d\nhint: mirrord sip verify FILE", len(words))
			}
			r, err := verifyFile(words[0])
			var format *macho.FormatError
			if errors.Is(err, macho.ErrNotMachO) || errors.As(err, &format) {
				printer(progress.Auto).Show(run.FailureEvent(err))
				ending.Status = notMachO
				return nil
			}
			if err != nil {
				return err
			}
			ending.Status = allRight
			if !r.Valid() {
				ending.Status = isWrong
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), r)
			}
			return printSignatures(c.OutOrStdout(), words[0], r)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return c
}

func verifyFile(name string) (*codesign.Report, error) {
	f, size, err := openProgram(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := codesign.Verify(f, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w\nhint: only programs and libraries of macOS can be verified", name, err)
	}
	return r, nil
}

// openProgram opens regular files only: a FIFO would wait for a writer.
func openProgram(name string) (*os.File, int64, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, 0, fmt.Errorf("%w\nhint: give the path of a program", err)
	}
	if info.IsDir() {
		return nil, 0, fmt.Errorf("%s is a directory: %w\nhint: the program of an .app is in its Contents/MacOS", name, macho.ErrNotMachO)
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is no regular file: %w", name, macho.ErrNotMachO)
	}
	f, err := os.Open(name)
	return f, info.Size(), err
}

// printSignatures shows a report to people: the verdict first, then each slice.
func printSignatures(w io.Writer, name string, r *codesign.Report) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "%s: %s\n", printable(name), summary(r))
	for i := range r.Slices {
		printSlice(table, &r.Slices[i])
	}
	return table.Flush()
}

// summary is the verdict on a file.
func summary(r *codesign.Report) string {
	faults, signed := 0, 0
	for _, s := range r.Slices {
		faults += len(s.Faults)
		if s.Unreadable != "" {
			faults++
		}
		if s.Signed {
			signed++
		}
	}
	of := ""
	if r.Fat {
		of = " in " + counted(len(r.Slices), "slice")
	}
	switch {
	case faults > 0:
		return counted(faults, "fault") + of
	case signed == 0:
		return "not signed" + of
	case signed < len(r.Slices):
		return fmt.Sprintf("every hash is right%s, of which %d signed", of, signed)
	}
	return "every hash is right" + of
}

func printSlice(w io.Writer, s *codesign.Slice) {
	fmt.Fprintf(w, "\n%s %s, %s at byte %d\n", s.Arch, s.Kind, bytesOf(uint64(s.Size)), s.Offset)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	if s.Unreadable != "" {
		row("WRONG", "%s", s.Unreadable)
	}
	for _, f := range s.Faults {
		row("WRONG", "%s", f)
	}
	if s.Signed {
		printClaims(row, s)
	} else if s.Unreadable == "" {
		row("not signed", "")
	}
	for _, d := range s.Directories {
		row("hashes", "%s", hashesOf(d))
	}
	for _, n := range s.Notes {
		row("note", "%s", n)
	}
}

// printClaims shows what a signature says about its program.
func printClaims(row func(name, format string, args ...any), s *codesign.Slice) {
	row("identifier", "%s", printable(s.Identifier))
	if s.Team != "" {
		row("team", "%s", printable(s.Team))
	}
	if s.Platform != 0 {
		row("platform", "%d: one of Apple's own", s.Platform)
	}
	flags := "none"
	if s.Flags != 0 {
		flags = fmt.Sprintf("%#x %s", s.Flags, strings.Join(s.FlagNames, ", "))
	}
	row("flags", "%s", flags)
	if s.Runtime != "" {
		row("runtime", "%s", s.Runtime)
	}
	row("cdhash", "%s", s.CDHash)
	certificates := "none"
	if s.CMS > 0 {
		certificates = bytesOf(uint64(s.CMS))
	}
	row("certificates", "%s", certificates)
	if s.Requirements != nil {
		row("requirements", "%s", strings.Join(s.Requirements, ", "))
	}
	name := "entitlements"
	for _, key := range slices.Sorted(maps.Keys(s.Entitlements)) {
		row(name, "%s: %s", printable(key), valueText(s.Entitlements[key]))
		name = ""
	}
	for _, whom := range slices.Sorted(maps.Keys(s.Constraints)) {
		row("constraint", "%s: %s", whom, valueText(s.Constraints[whom]))
	}
}

func hashesOf(d codesign.Directory) string {
	text := "one hash for all"
	if d.PageSize > 0 {
		text = counted(d.Pages, "page") + " of " + bytesOf(d.PageSize)
	}
	state := "right"
	if len(d.BadPages) > 0 {
		state = fmt.Sprintf("%d of them wrong", len(d.BadPages))
	}
	text = d.Hash + ": " + text + " " + state
	for _, slot := range slices.Sorted(maps.Keys(d.SpecialSlots)) {
		text += ", " + slot + " " + d.SpecialSlots[slot]
	}
	return text
}

// bytesOf is a size as people say it.
func bytesOf(n uint64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d bytes", n)
	case n < 1<<20:
		return strconv.FormatUint((n+1<<9)>>10, 10) + " KiB"
	}
	return strconv.FormatUint((n+1<<19)>>20, 10) + " MiB"
}

// valueText writes a value of entitlements; text in it, which may hold anything, in quotes.
func valueText(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case []byte:
		return fmt.Sprintf("%x", v)
	case []any:
		parts := make([]string, len(v))
		for i, each := range v {
			parts[i] = valueText(each)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		parts := make([]string, 0, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, printable(key)+": "+valueText(v[key]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprint(v)
}
