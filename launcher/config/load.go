package config

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mirrord/launcher/config/document"
	"mirrord/launcher/config/environment"
)

// maxFile bounds a configuration or variables file in bytes; nobody writes that much by hand.
const maxFile = 64 << 10

// LoadOptions says where the configuration comes from. The zero value is the default file and the process's environment.
type LoadOptions struct {
	// File is the configuration file, "-" is Stdin. Empty: the variable MIRRORD_CONFIG_FILE, else .mirrord/mirrord.{json,yaml,yml,toml}
	// where there is one.
	File string
	// Dir is what relative paths start from; empty is the working directory.
	Dir string
	// Stdin is read for the file "-" only; nil is os.Stdin.
	Stdin io.Reader
	// LookupEnv reads variables; nil is os.LookupEnv.
	LookupEnv func(string) (string, bool)
	// Flags win over everything.
	Flags []Override
}

// Source is the name of the file that Load reads, as far as that can be known before; "" when there is none.
func (o LoadOptions) Source() string {
	name := o.File
	if name == "" && o.LookupEnv != nil {
		name, _ = o.LookupEnv("MIRRORD_CONFIG_FILE")
	} else if name == "" {
		name = os.Getenv("MIRRORD_CONFIG_FILE")
	}
	if found := existing(o.Dir); name == "" && len(found) > 0 {
		name = found[0]
	}
	return name
}

// Override is a key that a flag sets.
type Override struct {
	Source string // the flag as the user knows it: "--fs-mode"
	Path   string // the key: "feature.fs.mode". One that is not in the table is a programming error and panics
	Value  string // as text; the elements of a list have ';' between them
}

// Warning is something that the user should know and that stops nothing.
type Warning struct {
	Message string
	Hint    string // may be empty
}

// Error is everything wrong with the configuration, never empty.
type Error struct{ Faults []document.Fault }

func (e *Error) Error() string {
	var lines []string
	if len(e.Faults) > 1 {
		lines = append(lines, fmt.Sprintf("%d faults in the configuration", len(e.Faults)))
	}
	for _, f := range e.Faults {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}

// Load reads, merges and checks the configuration: flags win over variables, variables over the file, the file over the defaults. The
// error is an *Error with everything that is wrong.
func Load(opts LoadOptions) (*Config, []Warning, error) {
	if opts.LookupEnv == nil {
		opts.LookupEnv = os.LookupEnv
	}
	d := newDecoder()
	d.readFile(opts)
	for _, k := range keys {
		if k.variable == "" {
			continue
		}
		if v, _ := opts.LookupEnv(k.variable); v != "" {
			d.word(k, k.variable, v)
		}
	}
	for _, f := range opts.Flags {
		k, ok := lookup(f.Path)
		if !ok {
			panic(fmt.Sprintf("config: the flag %s sets the unknown key %q", f.Source, f.Path))
		}
		d.word(k, f.Source, f.Value)
	}
	d.readVariables(opts.Dir)
	warnings := d.check()
	if len(d.faults) > 0 {
		return nil, nil, &Error{sorted(d.faults)}
	}
	return d.config, warnings, nil
}

func (d *decoder) word(k key, source, value string) {
	at := document.Place{Source: source}
	d.apply(k, at, &document.Node{At: at, Kind: document.Word, Text: value})
}

// readFile finds, reads and decodes the configuration file.
func (d *decoder) readFile(opts LoadOptions) {
	name, source := opts.File, "--config-file"
	if name == "" {
		name, _ = opts.LookupEnv("MIRRORD_CONFIG_FILE")
		source = "MIRRORD_CONFIG_FILE"
	}
	if name == "" {
		found := existing(opts.Dir)
		if len(found) == 0 {
			return
		}
		if len(found) > 1 {
			d.fail(document.Place{Source: found[1]}, fmt.Sprintf("is a second configuration beside %s", found[0]), "remove one, or name one with `-f`")
			return
		}
		name, source = found[0], found[0]
	}
	data, err := readSource(name, opts)
	if err != nil {
		d.fail(document.Place{Source: source}, "cannot be read: "+err.Error(), "")
		return
	}
	if name == "-" {
		name = "<stdin>"
	}
	d.document(name, data)
}

// document decodes the text of a configuration file.
func (d *decoder) document(name string, data []byte) {
	root, fault := document.Parse(name, data)
	if fault != nil {
		d.faults = append(d.faults, *fault)
		return
	}
	if root == nil || root.Kind == document.Null {
		return
	}
	if root.Kind != document.Object {
		d.fail(root.At, fmt.Sprintf("a configuration is an object, not %v", root.Kind), "")
		return
	}
	d.object("", root)
	d.path = ""
}

func existing(dir string) []string {
	var found []string
	for _, ext := range []string{"json", "yaml", "yml", "toml"} {
		name := filepath.Join(".mirrord", "mirrord."+ext)
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			found = append(found, name)
		}
	}
	return found
}

func readSource(name string, opts LoadOptions) ([]byte, error) {
	if name == "-" {
		if opts.Stdin == nil {
			opts.Stdin = os.Stdin
		}
		return readBounded(opts.Stdin)
	}
	return readPath(name, opts.Dir)
}

func readPath(name, dir string) ([]byte, error) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f)
}

func readBounded(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("it is larger than %d KiB", maxFile>>10)
	}
	return data, err
}

// readVariables reads the env file, when there is one, relative to dir.
func (d *decoder) readVariables(dir string) {
	name := d.config.Feature.Env.EnvFile
	if name == "" {
		return
	}
	d.path = "feature.env.env_file"
	data, err := readPath(name, dir)
	if err != nil {
		d.fail(d.origin[d.path], "cannot be read: "+err.Error(), "")
		return
	}
	values, faults := environment.ParseFile(name, string(data))
	d.config.Feature.Env.File = values
	d.faults = append(d.faults, faults...)
}

// sorted puts the faults in the order of a reader: source by source as they were met, from top to bottom.
func sorted(faults []document.Fault) []document.Fault {
	met := map[string]int{}
	for _, f := range faults {
		if _, ok := met[f.Source]; !ok {
			met[f.Source] = len(met)
		}
	}
	slices.SortStableFunc(faults, func(a, b document.Fault) int {
		return cmp.Or(cmp.Compare(met[a.Source], met[b.Source]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return faults
}
