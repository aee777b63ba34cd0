package document

import (
	"strings"
	"testing"
)

func TestFaults(t *testing.T) {
	for _, test := range []struct{ name, content, want string }{
		{"m.json", "{\"é\": }}", "m.json:1:7: invalid character '}' looking for beginning of value"},
		{"m.json", "{\n\"a\": 1,\n}", "m.json:3:1: invalid character '}' looking for beginning of object key string"},
		{"m.json", "{\"a\": [1, 2}", "m.json:1:12: invalid character '}' after array element"},
		{"m.json", "{\"a\": {}", "m.json:1:9: the file ends before the configuration does"},
		{"m.json", "{} x", "m.json:1:4: something follows the end of the configuration"},
		{"m.json", "{\"a\": 1, \"a\": 2}", "m.json:1:10: the key \"a\" is given twice"},
		{"m.json", strings.Repeat("[", 100) + strings.Repeat("]", 100), "m.json:1:34: is nested too deeply"},
		{"m.yaml", "feature:\n\tenv: 1\n", "m.yaml:2:1: found character '\t' that cannot start any token"},
		{"m.yaml", "a: 1\na: 2\n", "m.yaml:2:1: mapping key \"a\" already defined at [1:1]"},
		{"m.toml", "a = 1\nb = [1,\nc = 2\n", "m.toml:3:1: expected value but found \"c\" instead"},
		{"m.yaml", "a: *x\n", "m.yaml:1:4: no anchor \"x\" comes before this alias"},
		{"m.yaml", "--- {}\n---\ntarget: x\n", "m.yaml:3:1: a second document begins here; a configuration is one"},
		{"m.yaml", strings.Repeat("[", 100) + strings.Repeat("]", 100), "m.yaml:1:34: is nested too deeply"},
		{"m.yaml", strings.Repeat("- ", 5000), "m.yaml: is nested too deeply"},
		{"m.yaml", strings.Repeat("[\n", 5000), "m.yaml: is nested too deeply"},
		{"m.toml", "a" + strings.Repeat(".a", 5000) + " = 1", "m.toml: is nested too deeply"},
		{"m.ini", "", "m.ini: ends in \".ini\", which is no known format\nhint: json, yaml, yml and toml are read"},
		{"m.json", "\xff", "m.json: is not UTF-8 text"},
		{"m.json", "{\"target\":\n  \"dir:é{{ key }}\"}", "m.json:2:9: templates (\"{{\") are not rendered\nhint: write the value itself, or give it by a flag or a variable"},
		{"m.yaml", "a: 1\n# {% if x %}\n", "m.yaml:2:3: templates (\"{%\") are not rendered\nhint: write the value itself, or give it by a flag or a variable"},
	} {
		if _, fault := Parse(test.name, []byte(test.content)); fault == nil || fault.String() != test.want {
			t.Errorf("%s %.60q:\ngot  %v\nwant %s", test.name, test.content, fault, test.want)
		}
	}
}

// lines is a tree as text: each value with its place.
func lines(n *Node, indent, name string, out *strings.Builder) {
	out.WriteString(indent + n.At.String() + " " + name + n.String() + "\n")
	for _, item := range n.Items {
		lines(item, indent+" ", "", out)
	}
	for _, m := range n.Members {
		lines(m.Value, indent+" ", m.Name+"@"+m.At.String()+"=", out)
	}
}

// Every format gives the same values. The places are as exact as the libraries have them; TOML's are only near.
func TestPlaces(t *testing.T) {
	for _, test := range []struct{ name, content, want string }{
		{"m.json", "{\n\t\"é\": [1, \"two\"],\n\t\"b\": {\"c\": true, \"d\": null}\n}", "" +
			"m.json:1:1 an object\n m.json:2:7 é@m.json:2:2=a list\n  m.json:2:8 1\n  m.json:2:11 \"two\"\n" +
			" m.json:3:7 b@m.json:3:2=an object\n  m.json:3:13 c@m.json:3:8=true\n  m.json:3:24 d@m.json:3:19=nothing\n"},
		{"m.yaml", "é: [1, two]\nb:\n  c: true\n  d:\n", "" +
			"m.yaml:1:1 an object\n m.yaml:1:4 é@m.yaml:1:1=a list\n  m.yaml:1:5 1\n  m.yaml:1:8 \"two\"\n" +
			" m.yaml:3:3 b@m.yaml:2:1=an object\n  m.yaml:3:6 c@m.yaml:3:3=true\n  m.yaml:4:6 d@m.yaml:4:3=nothing\n"},
		{"m.toml", "\"é\" = [1, \"two\"]\nb = {c = true}\n", "" +
			"m.toml:1:1 an object\n m.toml:1:8 é@m.toml:1:8=a list\n  m.toml:1:8 1\n  m.toml:1:8 \"two\"\n" +
			" m.toml:2:6 b@m.toml:2:6=an object\n  m.toml:2:6 c@m.toml:2:6=true\n"},
	} {
		root, fault := Parse(test.name, []byte(test.content))
		if fault != nil {
			t.Errorf("%s: %v", test.name, fault)
			continue
		}
		var got strings.Builder
		if lines(root, "", "", &got); got.String() != test.want {
			t.Errorf("%s:\n%s\nwant\n%s", test.name, &got, test.want)
		}
	}
}

// Whatever the text, Parse ends with a tree or a fault that can be shown.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"a: &a [*a]\n<<: *a\n? [x]\n: y\n", "{\"a\": {\"b\": [1,", "- !!str 4\n--- |\n x", "[[a]]\nb.c = 1", "é: {{"} {
		for _, name := range []string{"m.json", "m.yaml", "m.toml", "m"} {
			f.Add(s, name)
		}
	}
	f.Fuzz(func(t *testing.T, content, name string) {
		if _, fault := Parse(name, []byte(content)); fault != nil && (fault.Problem == "" || fault.Source != name) {
			t.Fatalf("%+v cannot be shown", fault)
		}
	})
}
