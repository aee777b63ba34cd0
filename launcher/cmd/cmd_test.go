package cmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/launcher/config"
	"mirrord/launcher/run"
)

func TestGiveValue(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"exec -f -- npm", "exec --config-file=" + defaultConfig + " -- npm"},
		{"exec -f", "exec --config-file=" + defaultConfig},
		{"exec -f --steal npm", "exec --config-file=" + defaultConfig + " --steal npm"},
		{"exec --config-file -t dir:x npm", "exec --config-file=" + defaultConfig + " -t dir:x npm"},
		{"exec -f conf.yaml npm -f", "exec -f conf.yaml npm -f"},
		{"exec -f - npm", "exec -f - npm"},
		{"exec -f=conf.yaml npm", "exec -f=conf.yaml npm"},
		{"exec -t -f npm", "exec -t -f npm"}, // a strange target, but its value
		{"exec --steal -f -- npm", "exec --steal --config-file=" + defaultConfig + " -- npm"},
		{"exec --target dir:x -f -- npm", "exec --target dir:x --config-file=" + defaultConfig + " -- npm"},
		{"exec npm -f", "exec npm -f"},
		{"exec -- tail -f", "exec -- tail -f"},
		{"version -f", "version -f"},
		{"", ""},
	} {
		got := giveValue(newExec(new(run.Ending)), strings.Fields(tt.in))
		if diff := cmp.Diff(strings.Fields(tt.want), got); diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.in, diff)
		}
	}
}

// parse gives what exec's flags say, and the program.
func parse(t *testing.T, line string) ([]config.Override, []string) {
	t.Helper()
	c := newExec(new(run.Ending))
	if err := c.Flags().Parse(giveValue(c, strings.Fields("exec "+line))[1:]); err != nil {
		t.Fatal(err)
	}
	return overrides(c.Flags()), c.Flags().Args()
}

func TestFlags(t *testing.T) {
	for _, tt := range []struct {
		line    string
		set     []config.Override
		command string
	}{
		{"-t dir:x npm start -t y", []config.Override{{Source: "--target", Path: "target", Value: "dir:x"}}, "npm start -t y"},
		{"-t dir:x -- npm start -- z", []config.Override{{Source: "--target", Path: "target", Value: "dir:x"}}, "npm start -- z"},
		{"--steal --no-remote-dns ls", []config.Override{
			{Source: "--steal", Path: "feature.network.incoming", Value: "steal"},
			{Source: "--no-remote-dns", Path: "feature.network.dns.enabled", Value: "false"},
		}, "ls"},
		{"--steal=false ls", nil, "ls"},
		{"-c -e ls", []config.Override{
			{Source: "--accept-invalid-certificates", Path: "accept_invalid_certificates", Value: "true"},
			{Source: "--ephemeral-container", Path: "agent.ephemeral", Value: "true"},
		}, "ls"},
		{"-x A;B ls", []config.Override{{Source: "--override-env-vars-exclude", Path: "feature.env.exclude", Value: "A;B"}}, "ls"},
	} {
		set, command := parse(t, tt.line)
		if diff := cmp.Diff(tt.set, set); diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.line, diff)
		}
		if got := strings.Join(command, " "); got != tt.command {
			t.Errorf("%s: program %q", tt.line, got)
		}
	}
}

// TestEverySettingIsAKey loads each: the configuration panics on a key that it does not know.
func TestEverySettingIsAKey(t *testing.T) {
	dir := t.TempDir()
	for _, s := range settings {
		value := s.value
		if value == "" {
			value = map[string]string{"target": "dir:x", "feature.fs.mode": "local", "feature.env.env_file": "env", "agent.ttl": "1", "agent.startup_timeout": "1"}[s.key]
		}
		if value == "" {
			value = "x"
		}
		if err := os.WriteFile(filepath.Join(dir, "env"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := config.Load(config.LoadOptions{
			Dir:       dir,
			LookupEnv: func(string) (string, bool) { return "", false },
			Flags:     []config.Override{{Source: "--" + s.name, Path: s.key, Value: value}},
		})
		if err != nil && !strings.Contains(err.Error(), "is not built yet") {
			t.Errorf("--%s: %v", s.name, err)
		}
	}
}

func TestOpenEvents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	for range 2 {
		f, err := openEvents(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("line\n"); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	if got, _ := os.ReadFile(path); string(got) != "line\nline\n" {
		t.Errorf("%q: the file is to be appended to", got)
	}
	if f, err := openEvents(""); f != nil || err != nil {
		t.Error(f, err)
	}
	for _, sink := range []string{"fd:", "fd:x", "fd:-1", "fd:0", "fd:987654", filepath.Join(path, "below")} {
		if f, err := openEvents(sink); err == nil || !strings.HasPrefix(err.Error(), "--events: ") {
			t.Errorf("%s: %v, %v", sink, f, err)
		}
	}
}

func TestOwnFailures(t *testing.T) {
	t.Setenv(run.EnvBroker, "")
	t.Chdir(t.TempDir())
	for _, tt := range []struct{ line, want string }{
		{"exce", "hint: did you mean exec?"},
		{"npm", "hint: to run a program: mirrord exec -t TARGET -- npm"},
		{"exec --stael npm", "error: unknown flag: --stael\nhint: did you mean --steal? "},
		{"exec -t dir:x", "error: no program was given\nhint: "},
		{"exec --progress loud -- npm", "error: unknown progress mode"},
		{"exec -t dir:x --fs-mode none -- npm", "--fs-mode"},
		{"version x", "error: mirrord version takes no \"x\"\nhint: "},
		{"session ls x", "error: mirrord session ls takes no \"x\"\nhint: "},
		{"session list", "hint: it is session ls or session stop"},
		{"session stop", "hint: give an ID of"},
		{"verify-config a b", "hint: give one"},
		{"ls x", "error: mirrord ls takes no \"x\"\nhint: "},
		{"ls -t planet", "error: targets have no kind \"planet\"\nhint: kinds are pod, deployment"},
		{"ls -o yaml", "hint: "},
		{"ls --context nowhere", "error: the kubeconfig has no context \"nowhere\"\nhint: it has"},
		{"completion tcsh", "hint: there are for bash"},
		{"exec --steal=maybe npm", "error: --steal is said alone, or with =true or =false, not with \"maybe\"\nhint: "},
		{"exec --events /no/such/folder/log -t dir:x npm", "error: --events: open /no/such/folder/log: no such file or directory\nhint: "},
	} {
		var ending run.Ending
		got := capture(t, func() { ending = Main(strings.Fields(tt.line)) })
		if ending.Status != run.OwnFailure || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %+v\n%s", tt.line, ending, got)
		}
	}
	t.Setenv(run.EnvBroker, "socket:token")
	if got := capture(t, func() { Main(strings.Fields("exec -t dir:x -- npm")) }); !strings.Contains(got, "sessions do not nest\nhint: ") {
		t.Error(got)
	}
}

// capture gives what f writes to standard error.
func capture(t *testing.T, f func()) string {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "stderr")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	original := os.Stderr
	os.Stderr = file
	defer func() { os.Stderr = original }()
	f()
	out, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
