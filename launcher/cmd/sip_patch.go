package cmd

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"mirrord/codesign"
	"mirrord/codesign/macho"
	"mirrord/launcher/progress"
	"mirrord/launcher/run"
	"mirrord/sip/patch"
)

// isRefused is the status of sip patch for programs that cannot be copied; the others are as for sip verify.
const isRefused = 1

func newSIPPatch(ending *run.Ending) *cobra.Command {
	var to, arch string
	var asJSON bool
	c := &cobra.Command{
		Use:   "patch FILE -o OUT [--slice x86_64|arm64] [--json]",
		Short: "Make the copy of a macOS program that takes libraries, on any system",
		Long: `Make the copy of a macOS program that mirrord would run in its place: one slice, signed ad hoc, without the entitlements,
team, flags and launch constraints of the original, with absolute paths to its libraries. FILE is not changed.

The status is 0 when OUT was written, 1 when the program cannot be copied, and 2 when FILE is not a Mach-O file or is
broken.`,
		Example:               "  mirrord sip patch /bin/ls -o ls\n  mirrord sip patch --slice x86_64 /usr/bin/env -o env && mirrord sip verify env",
		DisableFlagsInUseLine: true,
		RunE: func(c *cobra.Command, words []string) error {
			if len(words) != 1 {
				return fmt.Errorf("sip patch takes one file, not %d\nhint: mirrord sip patch FILE -o OUT", len(words))
			}
			if to == "" {
				return errors.New("nothing says where the copy goes\nhint: mirrord sip patch FILE -o OUT")
			}
			if arch != "" && arch != "x86_64" && arch != "arm64" {
				return fmt.Errorf("there is no slice %q to copy\nhint: --slice x86_64 or --slice arm64; without it, it is arm64 if the program has that", arch)
			}
			p, err := patchFile(words[0], to, arch)
			var format *macho.FormatError
			var refused *patch.RefusedError
			switch {
			case errors.As(err, &refused):
				ending.Status = isRefused
			case errors.Is(err, macho.ErrNotMachO) || errors.As(err, &format):
				ending.Status = notMachO
			case err != nil:
				return err
			}
			if err != nil {
				printer(progress.Auto).Show(run.FailureEvent(err))
				return nil
			}
			ending.Status = allRight
			if asJSON {
				return printJSON(c.OutOrStdout(), p)
			}
			return p.print(c.OutOrStdout())
		},
	}
	c.Flags().StringVarP(&to, "output", "o", "", "the `file` to write")
	c.Flags().StringVar(&arch, "slice", "", "the `architecture` to copy: x86_64 or arm64")
	c.Flags().BoolVar(&asJSON, "json", false, "print what was done as JSON")
	_ = c.RegisterFlagCompletionFunc("slice", cobra.FixedCompletions([]string{"arm64", "x86_64"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// patched is what sip patch tells; its JSON has stable names, new ones may come.
type patched struct {
	Original   string `json:"original"` // absolute, without symbolic links
	Out        string `json:"out"`
	Arch       string `json:"arch"`
	Size       int64  `json:"size"` // bytes
	Identifier string `json:"identifier"`
	CDHash     string `json:"cdhash"`

	// What the original's signature has and the copy's has not.
	Flags        []string       `json:"dropped_flags"`
	Team         string         `json:"dropped_team,omitempty"`
	Platform     uint8          `json:"dropped_platform,omitempty"`
	Entitlements map[string]any `json:"dropped_entitlements"`
	Constraints  []string       `json:"dropped_constraints"` // by whom they are for
	CMS          int            `json:"dropped_cms"`         // bytes of certificates
	Restricted   bool           `json:"dropped_restrict"`    // a section __RESTRICT,__restrict

	Paths []absolutePath `json:"paths"`
}

type absolutePath struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// patchFile writes a copy of a slice of the program in a file.
func patchFile(name, to, arch string) (*patched, error) {
	f, size, err := openProgram(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := replaceable(f, to); err != nil {
		return nil, err
	}
	p := &patched{Out: to, Flags: []string{}, Constraints: []string{}, Paths: []absolutePath{}}
	if p.Original, err = filepath.Abs(name); err == nil {
		p.Original, err = filepath.EvalSymlinks(p.Original)
	}
	if err != nil {
		return nil, err
	}
	var made patch.Copy
	p.Size, err = replace(to, func(w io.Writer) error {
		before, err := f.Stat()
		if err != nil {
			return err
		}
		if made, err = patch.Make(w, f, size, patch.Options{Arch: arch, Path: p.Original}); err != nil {
			return err
		}
		if after, err := f.Stat(); err != nil || after.Size() != size || !after.ModTime().Equal(before.ModTime()) {
			return errors.Join(errors.New("it changes while it is being read\nhint: try again when it is installed"), err)
		}
		return nil
	})
	switch {
	case errors.Is(err, patch.ErrNoRoom):
		return nil, fmt.Errorf("%s: %w\nhint: mirrord exec runs it all the same, from a folder with links to what is beside the original", name, err)
	case errors.Is(err, macho.ErrNotMachO):
		return nil, fmt.Errorf("%s: %w\nhint: only programs of macOS can be patched", name, err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p.Arch, p.Identifier, p.CDHash, p.Restricted = made.Arch, made.Identifier, made.CDHash, made.Restricted
	for _, path := range made.Paths {
		p.Paths = append(p.Paths, absolutePath{path.From, path.To})
	}
	return p, p.compare(f, size)
}

// compare tells what the original's signature had.
func (p *patched) compare(f *os.File, size int64) error {
	m, err := macho.Read(f, size)
	if err != nil {
		return err
	}
	r, err := codesign.Inspect(m)
	if err != nil {
		return err
	}
	for _, s := range r.Slices {
		if s.Arch != p.Arch {
			continue
		}
		for _, flag := range s.FlagNames {
			if flag != "adhoc" {
				p.Flags = append(p.Flags, flag)
			}
		}
		p.Team, p.Platform, p.Entitlements, p.CMS = s.Team, s.Platform, s.Entitlements, s.CMS
		p.Constraints = slices.AppendSeq(p.Constraints, maps.Keys(s.Constraints))
		slices.Sort(p.Constraints)
		break
	}
	return nil
}

// replaceable makes sure that nothing but a file of no use is replaced: neither the original nor what is no file.
func replaceable(original *os.File, to string) error {
	at, err := os.Lstat(to)
	if err != nil {
		return nil // it is not there, or creating it tells what is wrong
	}
	if at.Mode()&os.ModeSymlink == 0 && !at.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file\nhint: -o takes the path of the copy itself", to)
	}
	there, err := os.Stat(to)
	if err != nil {
		return nil
	}
	if info, err := original.Stat(); err != nil || os.SameFile(info, there) {
		return errors.Join(fmt.Errorf("%s is the program itself, which is never changed\nhint: write the copy to another place: -o ./%s.copy", to, filepath.Base(to)), err)
	}
	return nil
}

// replace writes a program beside its place and puts it there when it is complete.
func replace(to string, write func(io.Writer) error) (size int64, err error) {
	w, err := os.CreateTemp(filepath.Dir(to), ".mirrord-*")
	if err != nil {
		return 0, fmt.Errorf("%w\nhint: give a path in a folder that you may write to", err)
	}
	defer func() {
		if err != nil {
			w.Close()
			os.Remove(w.Name())
		}
	}()
	if err := write(w); err != nil {
		return 0, err
	}
	info, err := w.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), errors.Join(w.Chmod(0o755), w.Close(), os.Rename(w.Name(), to))
}

// print shows people what was done.
func (p *patched) print(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "%s: the %s slice of %s, signed ad hoc, %s\n\n", printable(p.Out), p.Arch, printable(p.Original), bytesOf(uint64(p.Size)))
	row := func(name, format string, args ...any) {
		fmt.Fprintf(table, "  %s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("identifier", "%s", printable(p.Identifier))
	row("cdhash", "%s", p.CDHash)
	dropped := p.dropped()
	if len(dropped) == 0 {
		dropped = []string{"nothing"}
	}
	name := "dropped"
	for _, each := range dropped {
		row(name, "%s", each)
		name = ""
	}
	name = "made absolute"
	for _, path := range p.Paths {
		row(name, "%s → %s", printable(path.From), printable(path.To))
		name = ""
	}
	return table.Flush()
}

// dropped says what the copy lost, a line each.
func (p *patched) dropped() (lines []string) {
	if p.Platform != 0 {
		lines = append(lines, fmt.Sprintf("being one of Apple's own (platform %d)", p.Platform))
	}
	if p.Team != "" {
		lines = append(lines, "team "+printable(p.Team))
	}
	if len(p.Flags) > 0 {
		lines = append(lines, "flags "+strings.Join(p.Flags, ", "))
	}
	if p.Restricted {
		lines = append(lines, "section __RESTRICT,__restrict")
	}
	if p.CMS > 0 {
		lines = append(lines, "certificates, "+bytesOf(uint64(p.CMS)))
	}
	if len(p.Constraints) > 0 {
		lines = append(lines, "launch constraints: "+strings.Join(p.Constraints, ", "))
	}
	for _, key := range slices.Sorted(maps.Keys(p.Entitlements)) {
		lines = append(lines, "entitlement "+printable(key))
	}
	return lines
}
