// Package accept is for those who have a Mac (`make accept-mac`); its tests, which run anywhere, hold the script to what every Mac has.
package accept

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mvdan.cc/sh/v3/syntax"
)

// command is a row of commands.tsv.
type command struct{ name, path, since, source string }

func commands(t *testing.T) map[string]command {
	t.Helper()
	text, err := os.ReadFile("commands.tsv")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]command{}
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		c := strings.Split(line, "\t")
		if len(c) != 4 || slices.Contains(c, "") || all[c[0]].name != "" {
			t.Fatalf("line %d is wrong: %q", i+1, line)
		}
		if i > 0 {
			all[c[0]] = command{c[0], c[1], c[2], c[3]}
		}
	}
	return all
}

// builtins are those of bash 3.2 that the script uses.
var builtins = strings.Fields(`[ : cd command continue echo exit export kill local printf return set shift test trap true wait`)

// called are the commands that a script calls, by name: those that limited runs too.
func called(t *testing.T, script string) map[string]bool {
	t.Helper()
	f, err := os.Open(script)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	parsed, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(f, script)
	if err != nil {
		t.Fatal(err)
	}
	names, own := map[string]bool{}, map[string]bool{}
	syntax.Walk(parsed, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.FuncDecl:
			own[n.Name.Value] = true
		case *syntax.CallExpr:
			for len(n.Args) > 0 {
				name := n.Args[0].Lit()
				if name != "" {
					names[name] = true
				}
				if name != "limited" || len(n.Args) < 3 {
					break
				}
				n.Args = n.Args[2:] // limited SECONDS COMMAND...
			}
		}
		return true
	})
	for name := range names {
		if own[name] || slices.Contains(builtins, name) || strings.HasPrefix(name, "./") { // a program that it has made
			delete(names, name)
		}
	}
	return names
}

func TestScriptCallsOnlyWhatIsListed(t *testing.T) {
	table := commands(t)
	names := called(t, "mac")
	for name := range names {
		if table[name].name == "" {
			t.Errorf("%s is called and not in commands.tsv", name)
		}
	}
	for name, c := range table {
		if !names[name] && name != "bash" && name != "mirrord" { // the script's own interpreter, and what $mirrord is
			t.Errorf("%s is in commands.tsv and not called", name)
		}
		if c.path != "-" && name != "mirrord" && !regexp.MustCompile(`^/(usr/)?s?bin/`+regexp.QuoteMeta(name)+`$`).MatchString(c.path) {
			t.Errorf("%s cannot be at %s", name, c.path)
		}
	}
	if len(names) < 20 {
		t.Errorf("only %d calls were found", len(names))
	}
}

func TestShellcheck(t *testing.T) {
	path, err := exec.LookPath("shellcheck")
	if err != nil {
		t.Skip("left out: shellcheck is not installed")
	}
	if out, err := exec.Command(path, "mac").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// stand are scripts in the place of commands that only a Mac has, or that would do something here.
var stand = map[string]string{
	"uname":        `echo Darwin`,
	"mktemp":       `mkdir -p "$STAGE/work" && echo "$STAGE/work"`,
	"csrutil":      `echo "System Integrity Protection status: $SIP."`,
	"sysctl":       `echo 1`,
	"sw_vers":      `echo 26.1`,
	"xcode-select": `echo /Library/Developer/CommandLineTools`,
	"codesign":     `exit 0`,
	"dd":           `cat > /dev/null`,
	"lipo":         `case $* in *-archs*) echo x86_64 arm64e ;; *) exit 1 ;; esac`,
	"stat":         `echo restricted`,
	"arch":         `exit 0`,
	"dns-sd":       `echo Currently running daemon`,
	"pgrep":        `exit 1`,
	"go":           `echo "go $*"`,
	"file":         `echo "/bin/ls: Mach-O universal binary with 2 architectures: [x86_64:] [arm64e:]"`,
	"clang":        `while [ "$1" != -o ]; do shift; done; printf '#!/bin/sh\n[ -z "$DYLD_INSERT_LIBRARIES" ] || exit 42\n' > "$2"; chmod +x "$2"`,
	"mirrord":      `echo "mirrord $*"`,
}

// TestOnAStage runs the script where there is nothing but the commands of the table, on a Mac that is made up: what it calls beyond them is not found.
func TestOnAStage(t *testing.T) {
	table := commands(t)
	for _, sip := range []string{"enabled", "disabled"} {
		t.Run("SIP "+sip, func(t *testing.T) {
			t.Parallel()
			stage := t.TempDir()
			bin := filepath.Join(stage, "commands")
			for _, dir := range []string{bin, filepath.Join(stage, "bin"), filepath.Join(stage, "tests", "accept", "programs")} {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for name := range table {
				place := filepath.Join(bin, name)
				if name == "mirrord" {
					place = filepath.Join(stage, "bin", name)
				}
				if text, ok := stand[name]; ok {
					text = "#!/bin/bash\nPATH=/usr/bin:/bin\n" + text + "\n"
					if err := os.WriteFile(place, []byte(text), 0o755); err != nil {
						t.Fatal(err)
					}
				} else if path, err := exec.LookPath(name); err != nil {
					t.Fatalf("%s is a command of every Unix, or needs a stand-in: %v", name, err)
				} else if err := os.Symlink(path, place); err != nil {
					t.Fatal(err)
				}
			}
			script, err := os.ReadFile("mac")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(stage, "tests", "accept", "mac"), script, 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("/bin/bash", filepath.Join(stage, "tests", "accept", "mac"))
			cmd.Env = []string{"PATH=" + bin, "HOME=" + stage, "STAGE=" + stage, "SIP=" + sip}
			out, err := cmd.CombinedOutput()
			if strings.Contains(string(out), "not found") || strings.Contains(string(out), "unbound") || strings.Contains(string(out), "syntax error") {
				t.Fatalf("%v\n%s", err, out)
			}
			if first, _, _ := strings.Cut(string(out), "\n"); first != "System Integrity Protection status: "+sip+"." {
				t.Errorf("it begins with %q", first)
			}
			checkReport(t, filepath.Join(stage, "bin", "accept-mac.md"), sip == "enabled")
			if _, err := os.Stat(filepath.Join(stage, "work")); err == nil {
				t.Error("its folder is left behind")
			}
		})
	}
}

// checkReport looks for a row for each thing that is not confirmed.
func checkReport(t *testing.T, name string, sip bool) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	verdicts := map[string]string{}
	items := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\| (\S+) \| (.*?) \| ([a-z ]+) \| .* \|$`).FindAllStringSubmatch(string(text), -1) {
		items[m[1]], verdicts[m[2]] = true, m[3]
	}
	for i := range 12 {
		if !items[fmt.Sprint(i+1)] {
			t.Errorf("there is no row for item %d", i+1)
		}
	}
	for _, row := range []string{"debugserver started by Foundation from a plain program", "the path that CoreFoundation sees in a copy", "an unlinked file is told by device and inode",
		"orphans are ended with their session", "scripts"} {
		if verdicts[row] == "" {
			t.Errorf("there is no row %q", row)
		}
	}
	policies := map[string]string{"ad hoc": "proven", "hardened": "refuted", "arm64e of another signature": "refuted", "signatures with pages of 16 KiB": "proven"}
	for row, want := range policies { // the made-up Mac lets all programs run, and all take libraries
		if !sip {
			want = "not proven"
		}
		if verdicts[row] != want {
			t.Errorf("%s: %q, not %q\n%s", row, verdicts[row], want, text)
		}
	}
}
