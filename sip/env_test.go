package sip

import (
	"encoding/json"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// splits are values of -S; nil is refused.
var splits = []struct {
	value string
	words []string
}{
	{"node --x", []string{"node", "--x"}},
	{" \t node\t--x\n", []string{"node", "--x"}},
	{`a "b c" 'd e'`, []string{"a", "b c", "d e"}},
	{`a "" ''`, []string{"a", "", ""}},
	{`a"b c"d`, []string{"ab cd"}},
	{`a\_b "c\_d"`, []string{"a", "b", "c d"}},
	{`a \c b`, []string{"a"}},
	{`a # b`, []string{"a"}},
	{`a#b`, []string{"a#b"}},
	{`a \#b`, []string{"a", "#b"}},
	{`\$a \\ \' \"`, []string{"$a", `\`, "'", `"`}},
	{`'a\'b\\c\d'`, []string{`a'b\c\d`}},
	{`"a'b"`, []string{"a'b"}},
	{`a\tb`, []string{"a\tb"}},
	{"${SIP_TEST_ECHO}x", []string{"1x"}},
	{"a ${SIP_TEST_NONE} b", []string{"a", "b"}},
	{`'${SIP_TEST_ECHO}'`, []string{"${SIP_TEST_ECHO}"}},
	{"", nil}, // nothing to execute
	{`"a`, nil},
	{`a\`, nil},
	{`a\q`, nil},
	{"a $b", nil},
	{"a ${b", nil},
	{"a ${1}", nil},
	{`"a\cb"`, nil},
}

func TestSplitWords(t *testing.T) {
	for _, tt := range splits {
		got, err := splitWords(tt.value, []string{"SIP_TEST_ECHO=1"})
		if tt.value != "" && (err != nil) != (tt.words == nil) {
			t.Errorf("%q: %v", tt.value, err)
		}
		if err == nil {
			if diff := cmp.Diff(tt.words, got); diff != "" {
				t.Errorf("%q: -want +got\n%s", tt.value, diff)
			}
		}
	}
}

// TestEnvSplitsSo holds the table to this machine's env.
func TestEnvSplitsSo(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("GNU's env is asked")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range splits {
		cmd := exec.Command("/usr/bin/env", "-S", self+" "+tt.value)
		cmd.Env = []string{"SIP_TEST_ECHO=1", "GORACE=atexit_sleep_ms=0"}
		out, err := cmd.Output()
		if tt.value == "" || tt.words == nil {
			if tt.value != "" && err == nil {
				t.Errorf("%q: env took it: %s", tt.value, out)
			}
			continue
		}
		var got []string
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%q: %v: %q", tt.value, err, out)
		}
		if diff := cmp.Diff(append([]string{self}, tt.words...), got); diff != "" {
			t.Errorf("%q: -want +env\n%s", tt.value, diff)
		}
	}
}

func TestPlanEnv(t *testing.T) {
	env := []string{"PATH=/usr/bin", "A=1", "B=-S${B}", "HOME=/h"}
	for _, tt := range []struct {
		name   string
		kernel Kernel
		args   string // separated by blanks; "_" stands for one
		want   *envPlan
	}{
		{"plain", Darwin, "node --x", &envPlan{words: []string{"node", "--x"}, env: env, plain: true, path: "/usr/bin"}},
		{"split", Darwin, "-S node_--x y", &envPlan{words: []string{"node", "--x", "y"}, env: env, plain: true, path: "/usr/bin"}},
		{"split, joined", Linux, "-Snode_--x y", &envPlan{words: []string{"node", "--x", "y"}, env: env, plain: true, path: "/usr/bin"}},
		{"options within the split", Darwin, "-S -u_A_X=2_node", &envPlan{words: []string{"node"}, env: []string{"PATH=/usr/bin", "B=-S${B}", "HOME=/h", "X=2"}, path: "/usr/bin"}},
		{"empty environment", Darwin, "-i PATH=/p a", &envPlan{words: []string{"a"}, env: []string{"PATH=/p"}, path: "/p"}},
		{"a dash", Linux, "- a", &envPlan{words: []string{"a"}}},
		{"options in one word", Darwin, "-ivu A a -x", &envPlan{words: []string{"a", "-x"}}},
		{"end of options", Darwin, "-- a", &envPlan{words: []string{"a"}, env: env, plain: true, path: "/usr/bin"}},
		{"other folders", Darwin, "-P /p a", &envPlan{words: []string{"a"}, env: env, path: "/p", altPath: true}},
		{"working directory", Darwin, "-C /w a", &envPlan{words: []string{"a"}, env: env, path: "/usr/bin", chdir: "/w"}},
		{"another value", Darwin, "A=2 A=3 a", &envPlan{words: []string{"a"}, env: []string{"PATH=/usr/bin", "B=-S${B}", "HOME=/h", "A=3"}, path: "/usr/bin"}},
		{"long names", Linux, "--unset=A --split-string=a_b", &envPlan{words: []string{"a", "b"}, env: []string{"PATH=/usr/bin", "B=-S${B}", "HOME=/h"}, path: "/usr/bin"}},
		{"long names are not BSD's", Darwin, "--unset=A a", nil},
		{"-P is not GNU's", Linux, "-P /p a", nil},
		{"unknown", Darwin, "-z a", nil},
		{"no value", Darwin, "-u", nil},
		{"no name", Darwin, "=x a", nil},
		{"a split in itself", Darwin, "-S${B} a", nil},
		{"nothing", Darwin, "", &envPlan{env: env, plain: true, path: "/usr/bin"}},
	} {
		var args []string
		for _, word := range strings.Fields(tt.args) {
			args = append(args, strings.ReplaceAll(word, "_", " "))
		}
		got, err := planEnv(tt.kernel, args, env)
		if (err != nil) != (tt.want == nil) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(envPlan{})); err == nil && diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.name, diff)
		}
	}
}

func FuzzPlanEnv(f *testing.F) {
	for _, tt := range splits {
		f.Add("-S\x00"+tt.value, "A=1")
	}
	f.Add("-i\x00A=2\x00node\x00x", "PATH=/bin")
	f.Add("-S${A}\x00a", "A=-S${A} ${A} ${A}")
	f.Fuzz(func(t *testing.T, args, env string) {
		for _, k := range []Kernel{Linux, Darwin} {
			p, err := planEnv(k, strings.Split(args, "\x00"), strings.Split(env, "\x00"))
			if err != nil {
				continue
			}
			size := 0
			for _, w := range p.words {
				size += len(w)
			}
			if size > len(args)+maxSplits*(maxEnvBytes+len(env)) {
				t.Errorf("%d bytes of words", size)
			}
			if p.plain && p.altPath {
				t.Error("plain, with -P")
			}
		}
	})
}
