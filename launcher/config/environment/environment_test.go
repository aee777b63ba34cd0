package environment

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var pod = map[string]string{
	"DB_HOST": "db", "DB_PASSWORD": "secret", "READ_TIMEOUT": "30", "FEATURE": "on", "HOSTNAME": "cart-7d9f",
	"PATH": "/pod/bin", "HOME": "/pod", "JAVA_HOME": "/pod/java", "BUNDLE_PATH": "/pod/gems", "LD_PRELOAD": "/pod/jemalloc.so", "MIRRORD_BROKER": "x", "PWD": "/pod",
}

func TestSelected(t *testing.T) {
	all := map[string]string{"DB_HOST": "db", "DB_PASSWORD": "secret", "READ_TIMEOUT": "30", "FEATURE": "on", "HOSTNAME": "cart-7d9f"}
	for name, test := range map[string]struct {
		env  Choice
		want map[string]string
	}{
		"nothing said":         {Choice{}, all},
		"include":              {Choice{Include: []string{"DB_*", "FEATUR?"}}, map[string]string{"DB_HOST": "db", "DB_PASSWORD": "secret", "FEATURE": "on"}},
		"include cannot force": {Choice{Include: []string{"PATH", "LD_PRELOAD", "FEATURE"}}, map[string]string{"FEATURE": "on"}},
		"exclude":              {Choice{Exclude: []string{"DB_*", "*TIME*", "HOSTNAME"}}, map[string]string{"FEATURE": "on"}},
		"exclude by case":      {Choice{Exclude: []string{"feature", "DB_*", "*TIME*", "HOSTNAME"}}, map[string]string{"FEATURE": "on"}},
		"none":                 {Choice{Exclude: []string{"*"}}, map[string]string{}},
		"override goes on top of nothing": {Choice{Exclude: []string{"*"}, Override: map[string]string{"PATH": "/mine", "X": "1"}},
			map[string]string{"PATH": "/mine", "X": "1"}},
		"order": {Choice{Include: []string{"READ_TIMEOUT"}, File: map[string]string{"READ_TIMEOUT": "file", "WRITE_TIMEOUT": "file", "A": "file", "B": "file"},
			Mapping: map[string]string{"TIMEOUT$": "mapped", "^B$": "mapped", "^B": "later"}, Override: map[string]string{"WRITE_TIMEOUT": "override"}},
			map[string]string{"READ_TIMEOUT": "mapped", "WRITE_TIMEOUT": "override", "A": "file", "B": "later"}},
	} {
		before := len(pod)
		got := test.env.selected(pod)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(got, test.env.selected(got)); diff != "" {
			t.Errorf("%s: choosing again changes it:\n%s", name, diff)
		}
		if len(pod) != before {
			t.Errorf("%s: the argument was changed", name)
		}
	}
}

func TestCompose(t *testing.T) {
	local := []string{"PATH=/bin", "HOME=/home/u", "FEATURE=off", "Aws_Profile=me", "WITHOUT", "DB_HOST=localhost", "DB_HOST=again"}
	remote := map[string]string{"FEATURE": "on", "DB_HOST": "db", "AWS_PROFILE": "pod", "AWS_REGION": "x", "PATH": "/pod", "": "empty", "A=B": "c", "NUL": "a\x00b", "MULTI": "a\nb=c"}
	choice := Choice{Unset: []string{"aws_profile", "aws_region"}, Override: map[string]string{"HOME": "/elsewhere"}}
	env, warnings := choice.Compose(local, remote)
	if diff := cmp.Diff([]string{"PATH=/bin", "WITHOUT", "DB_HOST=db", "FEATURE=on", "HOME=/elsewhere", "MULTI=a\nb=c"}, env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	want := []string{
		`the pod's variable "" is left out: its name is empty`,
		`the pod's variable "A=B" is left out: its name has a '=' or NUL in it`,
		`the pod's variable "NUL" is left out: its value has a NUL in it`,
	}
	if diff := cmp.Diff(want, warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestWildcards(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "", true}, {"*", "A", true}, {"*", "a/b", true}, {"a*c", "a/b/c", true}, {"?", "/", true}, {"?", "AB", false}, {"A?C", "ABC", true},
		{"A*", "BA", false}, {"*A", "BA", true}, {"[A]", "A", false}, {"[A]", "[A]", true}, {`\*`, `\x`, true}, {`\*`, "*", false}, {"A/B", "A/B", true}, {"", "A", false},
	} {
		if got := matchAny([]string{test.pattern}, test.name); got != test.want {
			t.Errorf("%q on %q: %v", test.pattern, test.name, got)
		}
	}
}

func TestFile(t *testing.T) {
	content := "# comment\nA=1\n export B = two words # not this\nC=\"a\\nb \\\"q\\\" \\x $C # this\" # not this\nD='lit\\n\neral'\nE=\nF=a#b\nG=\"x \r\ny\"\r\n \t\nA=2\r\n"
	got, faults := ParseFile(".env", content)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	want := map[string]string{"A": "2", "B": "two words", "C": "a\nb \"q\" \\x $C # this", "D": "lit\\n\neral", "E": "", "F": "a#b", "G": "x \ny"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFileFaults(t *testing.T) {
	content := "A=1\nno assignment\n=x\nB=\"\n\nx\" y\nE=\x00\nC='open\n"
	_, faults := ParseFile(".env", content)
	var got []string
	for _, f := range faults {
		got = append(got, f.String())
	}
	want := []string{
		".env:2: is not NAME=value\nhint: a comment begins with #",
		".env:3: is not NAME=value\nhint: a comment begins with #",
		".env:6: \"y\" follows the closing quote",
		".env:7: the value has a NUL in it",
		".env:8: the quote of C is not closed",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzFile(f *testing.F) {
	f.Add("A=1\nexport B=\"x\\\ny\" # z\nC='\n'\n")
	f.Fuzz(func(t *testing.T, data string) {
		values, faults := ParseFile("f", data)
		for name, value := range values {
			if len(faults) == 0 && Unusable(name, value) != "" {
				t.Fatalf("%q=%q is accepted", name, value)
			}
		}
		for _, fault := range faults {
			if fault.Line < 1 || fault.Line > strings.Count(data, "\n")+1 {
				t.Fatalf("line %d", fault.Line)
			}
		}
	})
}
