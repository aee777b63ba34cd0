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
var builtins = strings.Fields(`[ : cd command continue echo exit export kill local printf read return set shift test trap true wait`)

// called are the commands that a script calls, by name: those that limited and await run too, and those whose path it asks for.
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
				if name != "limited" && name != "await" && name != "command" || len(n.Args) < 3 {
					break
				}
				n.Args = n.Args[2:] // limited SECONDS COMMAND..., command -v COMMAND
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

// stand are scripts in the place of commands that only a Mac has, or that would do something here. STAGE is the folder, MAC what kind of Mac it is: well, ill (what can be refuted
// is), broken (the app does not start), or remote (nobody is at its screen).
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
	"pgrep":        `case $* in *Contents/MacOS/mirrord-app) cat "$STAGE/pid" ;; *) exit 1 ;; esac`,
	"go":           `echo "go $*"; [ "$MAC" = well ]`,
	"file":         `echo "/bin/ls: Mach-O universal binary with 2 architectures: [x86_64:] [arm64e:]"`,
	"mirrord":      `echo "mirrord $*"`,
	"plutil":       `echo "$*: OK"; [ "$MAC" = well ]`,
	"launchctl":    `if [ "$MAC" = remote ]; then echo Background; else echo Aqua; fi`,
	"ps":           `echo mirrord-app HOME=/ PATH=/usr/bin:/bin:/usr/sbin:/sbin`,
	"clang": `case $* in *windows.c*) n=1; [ "$MAC" = well ] || n=0; text="echo $n $n" ;; *) text='[ -z "$DYLD_INSERT_LIBRARIES" ] || exit 42' ;; esac
		while [ "$1" != -o ]; do shift; done
		printf '#!/bin/sh\n%s\n' "$text" > "$2"; chmod +x "$2"`,
	// The app runs until it is ended, and calls its command with the PATH of the login shell; on a Mac that is ill, with the one it has.
	"open": `app=${!#}/Contents/MacOS
		[ -x "$app/mirrord-app" ] && [ "$MAC" != broken ] || exit 1
		sleep 1000 > /dev/null 2>&1 &
		echo $! > "$STAGE/pid"
		if [ "$MAC" = well ]; then PATH=/opt/homebrew/bin:$PATH; else PATH=/usr/bin:/bin:/usr/sbin:/sbin; fi
		"$app/mirrord" version > /dev/null`,
}

// onAStage runs the script where there is nothing but the commands of the table, on a Mac that is made up: what it calls beyond them is not found. It returns the report.
func onAStage(t *testing.T, sip, mac string, app bool) string {
	stage := t.TempDir()
	bin := filepath.Join(stage, "commands")
	write := func(place, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(place, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name := range commands(t) {
		place := filepath.Join(bin, name)
		if name == "mirrord" {
			place = filepath.Join(stage, "bin", name)
		}
		if text, ok := stand[name]; ok {
			write(place, fmt.Sprintf("#!/bin/bash\nPATH=/usr/bin:/bin STAGE=%s SIP=%s MAC=%s\n%s\n", stage, sip, mac, text))
		} else if path, err := exec.LookPath(name); err != nil {
			t.Fatalf("%s is a command of every Unix, or needs a stand-in: %v", name, err)
		} else if err := os.MkdirAll(bin, 0o755); err != nil {
			t.Fatal(err)
		} else if err := os.Symlink(path, place); err != nil {
			t.Fatal(err)
		}
	}
	script, err := os.ReadFile("mac")
	if err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(stage, "tests", "accept", "mac"), string(script))
	write(filepath.Join(stage, "Info.plist"), "")
	if app {
		write(filepath.Join(stage, "bin", "mirrord-app"), "")
	}
	cmd := exec.Command("/bin/bash", filepath.Join(stage, "tests", "accept", "mac"))
	cmd.Env = []string{"PATH=" + bin, "HOME=" + stage}
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "not found") || strings.Contains(string(out), "unbound") || strings.Contains(string(out), "syntax error") {
		t.Fatalf("%v\n%s", err, out)
	}
	if first, _, _ := strings.Cut(string(out), "\n"); first != "System Integrity Protection status: "+sip+"." {
		t.Errorf("it begins with %q", first)
	}
	if _, err := os.Stat(filepath.Join(stage, "work")); err == nil {
		t.Error("its folder is left behind")
	}
	if pid, err := os.ReadFile(filepath.Join(stage, "pid")); err == nil && !ended(strings.TrimSpace(string(pid))) {
		t.Error("the app is left running")
	}
	command, err := os.ReadFile(filepath.Join(stage, "bin", "mirrord.app", "Contents", "MacOS", "mirrord"))
	if app && (mac == "well" || mac == "ill") && (err != nil || !strings.Contains(string(command), stand["mirrord"])) {
		t.Errorf("the bundle that is left has another command: %v\n%s", err, command)
	}
	report, err := os.ReadFile(filepath.Join(stage, "bin", "accept-mac.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(report)
}

// ended says whether a process has, or is about to: it was told to.
func ended(pid string) bool {
	for range 100 {
		out, err := exec.Command("ps", "-o", "stat=", "-p", pid).Output()
		if err != nil || strings.HasPrefix(string(out), "Z") {
			return true
		}
	}
	return false
}

func TestOnAStage(t *testing.T) {
	for _, sip := range []string{"enabled", "disabled"} {
		t.Run("SIP "+sip, func(t *testing.T) {
			t.Parallel()
			checkReport(t, onAStage(t, sip, "well", true), sip == "enabled")
		})
	}
	const (
		bundle  = "the app starts as a bundle"
		runs    = "the app goes on running"
		path    = "the app calls its command with the PATH of the login shell"
		window  = "the window is on the screen"
		tray    = "the tray"
		inShell = "interactive programs open in Terminal"
		login   = "the login shell tells its PATH where Finder gives a bare one"
		plist   = "Info.plist"
	)
	for name, c := range map[string]struct {
		mac  string
		app  bool
		want map[string]string
	}{
		"all is well": {"well", true, map[string]string{bundle: "proven", path: "proven", window: "proven", tray: "proven", runs: "proven", inShell: "proven", login: "proven", plist: "proven",
			"the PATH that an app is started with": "seen", "notifications": "left out", "the local network": "left out"}},
		"nothing works": {"ill", true, map[string]string{bundle: "proven", path: "refuted", window: "refuted", tray: "left out", runs: "proven", inShell: "refuted", login: "refuted", plist: "refuted"}},
		"no start":      {"broken", true, map[string]string{bundle: "refuted", path: "", window: "", tray: ""}},
		"no app":        {"well", false, map[string]string{bundle: "left out", path: "", window: "", tray: "", inShell: "proven", login: "proven", plist: "proven"}},
		"nobody there":  {"remote", true, map[string]string{bundle: "left out", path: "", inShell: "left out"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report := onAStage(t, "enabled", c.mac, c.app)
			for row, want := range c.want {
				if got := verdicts(report)[row]; got != want {
					t.Errorf("%s: %q, not %q", row, got, want)
				}
			}
			if t.Failed() {
				t.Log(report)
			}
		})
	}
}

var reported = regexp.MustCompile(`(?m)^\| (\S+) \| (.*?) \| ([a-z ]+) \| .* \|$`)

// verdicts are those of a report, by row.
func verdicts(report string) map[string]string {
	all := map[string]string{}
	for _, m := range reported.FindAllStringSubmatch(report, -1) {
		all[m[2]] = m[3]
	}
	return all
}

// checkReport looks for a row for each thing that is not confirmed.
func checkReport(t *testing.T, text string, sip bool) {
	t.Helper()
	verdicts, items := verdicts(text), map[string]bool{}
	for _, m := range reported.FindAllStringSubmatch(text, -1) {
		items[m[1]] = true
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
