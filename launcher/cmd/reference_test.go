package cmd

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/launcher/config"
	"mirrord/launcher/config/reference"
)

var update = flag.Bool("update", false, "write the files that are made from tables")

const keysFile = "../config/keys.md"

func TestReferenceIsFresh(t *testing.T) {
	want := keysPage(t)
	if *update {
		if err := os.WriteFile(keysFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(keysFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is stale, `go test ./launcher/cmd -update` writes it (-want +got):\n%s", keysFile, diff)
	}
}

// The README's table has every key that users of the leading peer know.
func TestReadmeTableIsFresh(t *testing.T) {
	const file, begin, end = "../../README.md", "<!-- keys: made by `go test ./launcher/cmd -update` -->\n", "<!-- end of keys -->\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no %q and %q", file, begin, end)
	}
	want := readmeTable()
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		got = want
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s is stale, `go test ./launcher/cmd -update` writes it (-want +got):\n%s", file, diff)
	}
}

// readmeTable has a row for each section of the configuration that holds keys, and a column for each class.
func readmeTable() string {
	var b strings.Builder
	b.WriteString("| below | works | one warning | not built: an error |\n| --- | --- | --- | --- |\n")
	classes := map[string]int{"works": 0, "ignored": 1, "unbuilt": 2}
	var sections []string
	rows := map[string]*[3][]string{}
	for _, k := range config.Keys() {
		section, name := "", k.Path
		if i := strings.LastIndexByte(k.Path, '.'); i >= 0 {
			section, name = k.Path[:i], k.Path[i+1:]
		}
		if k.Section && k.Class == "works" {
			continue // its row says so
		}
		if rows[section] == nil {
			rows[section] = new([3][]string)
			sections = append(sections, section)
		}
		column := &rows[section][classes[k.Class]]
		*column = append(*column, "`"+name+"`")
	}
	for _, section := range sections {
		row := rows[section]
		title := "`" + section + "`"
		if section == "" {
			title = "the top"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", title, strings.Join(row[0], " "), strings.Join(row[1], " "), strings.Join(row[2], " "))
	}
	return b.String()
}

// keysPage is the page about all keys, their variables and flags.
func keysPage(t *testing.T) string {
	var b strings.Builder
	b.WriteString(`# Keys of the configuration

Made from the table of keys by ` + "`go test ./launcher/cmd -update`" + `; ` + "`mirrord schema`" + ` prints the same for editors. A list may be given as its only element; in a
variable or flag its elements have ` + "`;`" + ` between them.

## What works

| key | value | default | flag, variable | |
| --- | --- | --- | --- | --- |
`)
	flags := map[string][]string{}
	for _, s := range settings {
		name := "--" + s.name
		if s.short != "" {
			name = "-" + s.short + ", " + name
		}
		if s.value != "" {
			name += " (" + s.value + ")"
		}
		flags[s.key] = append(flags[s.key], name)
	}
	other := map[string][]config.Key{}
	for _, k := range config.Keys() {
		if k.Class != "works" {
			other[k.Class] = append(other[k.Class], k)
			continue
		}
		value, def := valueOf(t, k.Path)
		if value == "" {
			continue // only a section
		}
		ways := flags[k.Path]
		if k.Variable != "" {
			ways = append(ways, k.Variable)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", k.Path, value, def, strings.Join(ways, "<br>"), cell(reference.Describe(k.Path)))
	}
	b.WriteString("\n## One warning\n\nThese make no difference here; one line names those that were given.\n\n")
	var names []string
	for _, k := range other["ignored"] {
		names = append(names, "`"+k.Path+"`")
	}
	b.WriteString(strings.Join(names, ", ") + "\n\n## Not built yet\n\nThese would change what the program sees, so they are errors, except for the value that asks for what happens anyway.\n\n| key | no error | instead | |\n| --- | --- | --- | --- |\n")
	for _, k := range other["unbuilt"] {
		fine := ""
		if k.Fine != "" {
			fine = "`" + k.Fine + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.Path, fine, cell(k.Hint), cell(reference.Describe(k.Path)))
	}
	return b.String()
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// valueOf says what a key takes, by the schema, and its default. Both are empty for a section without a shorthand.
func valueOf(t *testing.T, path string) (value, def string) {
	type schema struct {
		Type       any
		Enum       []string
		AnyOf      []schema
		Properties map[string]schema
		Default    any
	}
	var s schema
	if err := json.Unmarshal(reference.Schema(), &s); err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(path, ".") {
		for _, alternative := range s.AnyOf {
			if alternative.Properties != nil {
				s = alternative
			}
		}
		s = s.Properties[name]
	}
	var values []string
	var list func(s schema)
	list = func(s schema) {
		types, _ := s.Type.([]any)
		if s.Type != nil && types == nil {
			types = []any{s.Type}
		}
		for _, each := range types {
			switch {
			case each == "boolean":
				values = append(values, "true, false")
			case each == "string" && s.Enum != nil:
				values = append(values, strings.Join(s.Enum, ", "))
			case each == "string":
				values = append(values, "text")
			case each == "integer":
				values = append(values, "number")
			case each == "array":
				values = append(values, "list")
			case s.Properties == nil:
				values = append(values, "object")
			}
		}
		for _, alternative := range s.AnyOf {
			list(alternative)
		}
	}
	list(s)
	value = strings.Join(values, ", ")
	switch value {
	case "list, text":
		value = "list of text"
	case "list, number":
		value = "list of numbers"
	case "list, list":
		value = "list of pairs"
	}
	if s.Default != nil {
		def = fmt.Sprint(s.Default)
	}
	return value, def
}
