package config

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
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
	at := position{source: source}
	d.apply(k, at, &node{at: at, kind: word, text: value})
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
			d.fail(position{source: found[1]}, fmt.Sprintf("is a second configuration beside %s", found[0]), "remove one, or name one with `-f`")
			return
		}
		name, source = found[0], found[0]
	}
	data, err := readSource(name, opts)
	if err != nil {
		d.fail(position{source: source}, "cannot be read: "+err.Error(), "")
		return
	}
	if name == "-" {
		name = "<stdin>"
	}
	d.document(name, data)
}

// document decodes the text of a configuration file.
func (d *decoder) document(name string, data []byte) {
	root, fault := parse(name, data)
	if fault != nil {
		d.faults = append(d.faults, *fault)
		return
	}
	if root == nil || root.kind == null {
		return
	}
	if root.kind != object {
		d.fail(root.at, fmt.Sprintf("a configuration is an object, not %v", root.kind), "")
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

// parse chooses the format by the name's end. What has none (a pipe, stdin) is JSON when it begins like an object, else YAML.
func parse(name string, data []byte) (*node, *Fault) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // the mark that some editors begin with
	if !utf8.Valid(data) {
		return nil, &Fault{Source: name, Problem: "is not UTF-8 text"}
	}
	if f := template(name, string(data)); f != nil {
		return nil, f
	}
	ext := strings.ToLower(filepath.Ext(name))
	if ext == ".json" || ext == "" && bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return parseJSON(name, data)
	}
	if nestedBeyondReason(string(data)) {
		return nil, &Fault{Source: name, Problem: tooDeep}
	}
	switch ext {
	case ".toml":
		return parseTOML(name, data)
	case ".yaml", ".yml", "":
		return parseYAML(name, data)
	}
	return nil, &Fault{Source: name, Problem: fmt.Sprintf("ends in %q, which is no known format", ext), Hint: "json, yaml, yml and toml are read"}
}

// nestedBeyondReason keeps from the YAML and TOML libraries what takes them minutes: thousands of "- ", dotted keys or brackets in each
// other. It counts too much (in strings, say), but nothing real comes near.
func nestedBeyondReason(data string) bool {
	open := 0
	for line := range strings.SplitSeq(data, "\n") {
		key, _, isPair := strings.Cut(line, "=")
		if strings.Count(line, "- ") > 1000 || isPair && strings.Count(key, ".") > 1000 {
			return true
		}
		for _, c := range line {
			switch c {
			case '[', '{':
				open++
			case ']', '}':
				open = max(0, open-1)
			}
			if open > 200 {
				return true
			}
		}
	}
	return false
}

// template finds the braces of the peer's templates, which would otherwise reach the program as text.
func template(name, data string) *Fault {
	at := -1
	for _, brace := range []string{"{{", "{%"} {
		if i := strings.Index(data, brace); i >= 0 && (at < 0 || i < at) {
			at = i
		}
	}
	if at < 0 {
		return nil
	}
	f := placeOf(name, []byte(data), at).fault(fmt.Sprintf("templates (%q) are not rendered", data[at:at+2]))
	f.Hint = "write the value itself, or give it by a flag or a variable"
	return f
}
