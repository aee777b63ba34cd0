package cmd

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/sip"
	"mirrord/sip/siptest"
)

// commands are what is explained on every described Mac.
var commands = []string{
	"npm start",
	"/Users/ann/.nvm/bin/npm start",
	"/Users/ann/.nvm/bin/tool --version",
	"/bin/sh start.sh --port 80",
	"./start.sh",
	".git/hooks/pre-commit",
	"python3 -m http.server",
	"git commit",
	"ls -l",
	"/Applications/Shop.app/Contents/MacOS/Shop",
	"sudo -n true",
	"security find-identity",
	"./windows.sh",
	"./outer now",
	"./bare",
	"./lost",
	"./notes.txt",
	"sandbox-exec -n no true",
	"/usr/libexec/keeper",
	"/Applications/Reader.app/Contents/MacOS/Reader",
	"validating",
	"sealed",
	"sectioned",
	"bought",
	"aa",
	"loose",
	"elder",
	"fetch",
	"curl http://cart/",
	"env -i PATH=/bin ls",
	"env",
	"env -P /usr/local/bin:/bin ls",
	"nothing",
}

func TestExplain(t *testing.T) {
	hosts, err := filepath.Glob("../../sip/testdata/mac*.yaml")
	if err != nil || len(hosts) < 6 {
		t.Fatal(hosts, err)
	}
	for _, file := range hosts {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			golden(t, "testdata/explain-"+name+".txt", explainAll(t, file))
			golden(t, "testdata/explain-"+name+".txt", explainAll(t, siptest.Mac(t, file))) // the same of real bytes
		})
	}
}

func explainAll(t *testing.T, description string) []byte {
	t.Helper()
	host, err := sip.ReadHost(description)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, command := range commands {
		out.WriteString("$ ")
		explain(sip.For(host), strings.Fields(command)).print(&out)
		out.WriteString("\n")
	}
	return out.Bytes()
}

func TestSystemName(t *testing.T) {
	for want, s := range map[string]sip.System{
		"Linux, amd64": {Arch: "amd64", SIP: true},
		"macOS 26.2 (25C56), Apple silicon with Rosetta":     {Kernel: sip.Darwin, Version: "26.2", Build: "25C56", Arch: "arm64", Rosetta: true, SIP: true},
		"macOS 15.5, Intel, System Integrity Protection off": {Kernel: sip.Darwin, Version: "15.5", Arch: "x86_64"},
	} {
		if got := systemName(s); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// The README shows what is printed.
func TestReadmeExplains(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	const typed = "$ mirrord sip explain --host sip/testdata/mac15-apple.yaml ./start.sh\n"
	_, want, _ := strings.Cut(string(text), typed)
	want, _, _ = strings.Cut(want, "```")
	host, err := sip.ReadHost("../../sip/testdata/mac15-apple.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	explain(sip.For(host), []string{"./start.sh"}).print(&got)
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("-README +printed\n%s", diff)
	}
}

func TestExplainJSON(t *testing.T) {
	host, err := sip.ReadHost("../../sip/testdata/mac15-apple.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for _, command := range []string{"npm start", "/Users/ann/.nvm/bin/npm start", "python3", "git status", "./windows.sh"} {
		if err := printJSON(&got, explain(sip.For(host), strings.Fields(command))); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "testdata/explain.json", got.Bytes())
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s, `go test ./launcher/cmd -update` writes it (-want +got):\n%s", file, diff)
	}
}
