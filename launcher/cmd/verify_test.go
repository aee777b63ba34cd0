package cmd

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/launcher/config"
	"mirrord/launcher/config/reference"
	"mirrord/launcher/run"
)

// output gives what a command prints on standard output, and how it ends.
func output(t *testing.T, args ...string) (string, run.Ending) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	original := os.Stdout
	os.Stdout = w
	defer func() { os.Stdout = original }()
	all := make(chan []byte)
	go func() {
		text, _ := io.ReadAll(r)
		all <- text
	}()
	ending := Main(args)
	w.Close()
	return string(<-all), ending
}

// The shape of the JSON is a promise to editors.
func TestVerifyConfig(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"bad.yaml":  "targt: dir:pod\nfeature: {network: {incoming: {http_filter: {header_filter: x}}}}\n",
		"good.json": `{"target": "dir:pod", "telemetry": false, "feature": {"env": {"override": {"A": "1"}}, "network": {"incoming": "steal"}}}`,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		line   string
		status int
		want   string
	}{
		{"verify-config -f bad.yaml -o json", 1, `{"valid":false,"file":"bad.yaml","faults":[
			{"source":"bad.yaml","line":1,"column":1,"field":"targt","message":"is unknown","hint":"did you mean ` + "`target`" + `?"},
			{"source":"bad.yaml","line":2,"column":32,"field":"feature.network.incoming.http_filter","message":"is not built yet","hint":"without a filter, ` + "`ports`" + ` chooses what is stolen"}
			],"warnings":[],"config":null}`},
		{"verify-config good.json --output json", 0, `{"valid":true,"file":"good.json","faults":[],"warnings":[{"message":"without effect here: telemetry"}],"config":
			{"target":{"path":"dir:pod"},"feature":{"env":{"override":{"A":"1"}},"fs":{"mode":"read"},"network":{"incoming":{"mode":"steal","ignore_localhost":false},
			"outgoing":{"tcp":true,"udp":true,"ignore_localhost":false},"dns":{"enabled":true},"ipv6":true},"hostname":true},"skip_build_tools":true,"agent":{"startup_timeout":60,"communication_timeout":30}}}`},
	} {
		got, ending := output(t, strings.Fields(tt.line)...)
		var want, have any
		if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(got), &have); err != nil {
			t.Fatalf("%s: %v\n%s", tt.line, err, got)
		}
		if diff := cmp.Diff(want, have); diff != "" || ending.Status != tt.status {
			t.Errorf("%s: status %d (-want +got):\n%s", tt.line, ending.Status, diff)
		}
	}

	got, ending := output(t, "verify-config", "bad.yaml")
	if ending.Status != 1 || !strings.HasPrefix(got, "bad.yaml is not valid: 2 faults\nbad.yaml:1:1: field `targt` is unknown\nhint: did you mean `target`?\nbad.yaml:2:32: ") {
		t.Errorf("%d %s", ending.Status, got)
	}
	t.Setenv("MIRRORD_CONFIG_FILE", "good.json")
	got, ending = output(t, "verify-config")
	if ending.Status != 0 || !strings.HasPrefix(got, "good.json is valid\nwarning: without effect here: telemetry\n") {
		t.Errorf("%d %s", ending.Status, got)
	}
	// What it prints is a configuration that says the same.
	_, resolved, _ := strings.Cut(got, "says:\n")
	if err := os.WriteFile("again.json", []byte(resolved), 0o600); err != nil {
		t.Fatal(err)
	}
	first, _, err1 := config.Load(config.LoadOptions{File: "good.json"})
	again, _, err2 := config.Load(config.LoadOptions{File: "again.json"})
	if diff := cmp.Diff(first, again); err1 != nil || err2 != nil || diff != "" {
		t.Errorf("%v %v\n%s", err1, err2, diff)
	}
}

func TestVersionForPrograms(t *testing.T) {
	got, _ := output(t, "version", "-o", "json")
	var b build
	if err := json.Unmarshal([]byte(got), &b); err != nil || b.System == "" || b.Architecture == "" || b.Version == "" {
		t.Errorf("%s %v", got, err)
	}
	if got := capture(t, func() { Main([]string{"version", "-o", "xml"}) }); !strings.Contains(got, "unknown format") || !strings.Contains(got, "\nhint: ") {
		t.Error(got)
	}
}

func TestSchemaIsPrinted(t *testing.T) {
	if got, _ := output(t, "schema"); got != string(reference.Schema()) {
		t.Error(got)
	}
}

func TestCompletion(t *testing.T) {
	work := t.TempDir()
	t.Chdir(work)
	for _, name := range []string{"pods/cart/pod.yaml", "pods/shop/api/pod.yaml", "pods/note", "pods/.hidden/x", "bin/npm", "bin/npx", "m.json"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", filepath.Join(work, "bin"))
	const file, none, noSpace, filter = ":0", ":4", ":6", ":8"
	for _, tt := range []struct {
		line string // the last word is being typed; a final blank: nothing yet
		want string
	}{
		{"exec -t ", "dir: " + noSpace},
		{"exec -t d", "dir: " + noSpace},
		{"exec -t pod/", none},
		{"exec -t dir:po", "dir:pods/ " + noSpace},
		{"exec -t dir:pods/", "dir:pods/cart dir:pods/shop/ " + noSpace},
		{"exec -t dir:pods/c", "dir:pods/cart " + none},
		{"exec --target=dir:./pods/.h", "dir:./pods/.hidden/ " + noSpace},
		{"exec -t dir:gone/", none},
		{"exec -f ", "json yaml yml toml " + filter},
		{"exec --fs-mode ", "read write overlay local localwithoverrides " + none},
		{"exec -t dir:x --ste", "--steal " + none},
		{"exec -t dir:x np", "npm npx " + file},
		// What follows the program is its own.
		{"exec -t dir:x npm ", file},
		{"exec -t dir:x npm --ste", file},
		{"exec -t dir:x npm -t ", file},
		{"exec -t dir:x -- npm --fs-mode ", file},
		{"exec -t dir:x -- --ste", file},
		{"verify-config -o ", "json plain " + none},
		{"verify-config ", "json yaml yml toml " + filter},
	} {
		words := append([]string{"__complete"}, strings.Split(tt.line, " ")...)
		var got []string
		capture(t, func() {
			text, _ := output(t, words...)
			for line := range strings.Lines(text) {
				word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
				got = append(got, word)
			}
		})
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%q: %q, not %q", tt.line, strings.Join(got, " "), tt.want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		for _, name := range []string{"completion", "completions"} {
			if got, ending := output(t, name, shell); ending.Status != 0 || !strings.Contains(got, "__complete") {
				t.Errorf("%s %s: %v %.100s", name, shell, ending, got)
			}
		}
	}
}

// The page is read by the program that shows it; its complaints are errors.
func TestManual(t *testing.T) {
	text, _ := output(t, "man")
	for _, want := range []string{".TH MIRRORD 1\n", "\\-\\-steal\n", "feature.fs.mode\n", ".SH EXIT STATUS\n", ".SS mirrord verify\\-config"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the manual page", want)
		}
	}
	if _, err := exec.LookPath("groff"); err != nil {
		t.Skip("left out: groff is not installed")
	}
	groff := exec.Command("groff", "-man", "-ww", "-z", "-Tutf8")
	groff.Stdin = strings.NewReader(text)
	var complaints bytes.Buffer
	groff.Stderr = &complaints
	if err := groff.Run(); err != nil || complaints.Len() > 0 {
		t.Errorf("%v\n%s", err, complaints.String())
	}
}
