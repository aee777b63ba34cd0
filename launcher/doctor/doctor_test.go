package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mirrord/launcher/probe"
)

// states are the findings that are not OK, as "name state".
func states(all []Finding) (out []string) {
	for _, f := range all {
		if f.State != OK {
			out = append(out, f.Name+" "+string(f.State))
		}
		if f.Message == "" || (f.State == Warning || f.State == Wrong) && f.Hint == "" {
			out = append(out, f.Name+" says too little")
		}
	}
	return out
}

func TestMac(t *testing.T) {
	good := mac{version: "26.1", build: "25B78", arch: "arm64", sip: true, rosetta: true, developer: "/Library/Developer/CommandLineTools"}
	for name, tt := range map[string]struct {
		change func(*mac)
		want   []string
	}{
		"as it should be":  {func(*mac) {}, nil},
		"SIP is off":       {func(m *mac) { m.sip = false }, []string{"sip note"}},
		"no Rosetta":       {func(m *mac) { m.rosetta = false }, []string{"rosetta warning"}},
		"Intel has none":   {func(m *mac) { m.arch, m.rosetta = "x86_64", false }, nil},
		"under Rosetta":    {func(m *mac) { m.translated = true }, []string{"rosetta warning"}},
		"without tools":    {func(m *mac) { m.developer = "" }, []string{"developer-tools note"}},
		"all of it, newer": {func(m *mac) { m.developer, m.rosetta, m.sip = "", false, false }, []string{"sip note", "rosetta warning", "developer-tools note"}},
	} {
		m := good
		tt.change(&m)
		if diff := cmp.Diff(tt.want, states(m.findings())); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestSecurityTools(t *testing.T) {
	root := t.TempDir()
	if got := securityTools(root); len(got) != 1 || got[0].State != OK {
		t.Errorf("%+v", got)
	}
	for _, path := range []string{
		"Library/SystemExtensions/0C1F-22/com.crowdstrike.falcon.Agent.systemextension", "Applications/Falcon.app", "Applications/Santa.app",
		"Library/SystemExtensions/0C1F-23/com.example.other.systemextension",
	} {
		if err := os.MkdirAll(filepath.Join(root, path), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, f := range securityTools(root) {
		got = append(got, f.Message)
		if f.State != Note || f.Hint == "" || f.Name != "tool" {
			t.Errorf("%+v", f)
		}
	}
	want := []string{
		"Santa is installed: /Applications/Santa.app",
		"CrowdStrike Falcon is installed: /Library/SystemExtensions/0C1F-22/com.crowdstrike.falcon.Agent.systemextension",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLinux(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	plain := "Name:\tdoctor\nNoNewPrivs:\t0\nSeccomp:\t0\nSeccomp_filters:\t0\n"
	for name, tt := range map[string]struct {
		root     fstest.MapFS
		system   []string
		security []string
	}{
		"as it should be": {fstest.MapFS{"proc/self/status": file(plain), "proc/sys/kernel/yama/ptrace_scope": file("1\n"), "proc/self/attr/current": file("unconfined\n"),
			"etc/ld.so.preload": file("\n"), "sys/fs/selinux/enforce": file("0")}, nil, nil},
		"a container": {fstest.MapFS{"proc/self/status": file(strings.ReplaceAll(plain, "Seccomp:\t0", "Seccomp:\t2")),
			"proc/self/attr/current": file("docker-default (enforce)\n\x00")}, []string{"seccomp note"}, []string{"apparmor note"}},
		"locked down": {fstest.MapFS{"proc/self/status": file(strings.ReplaceAll(plain, "NoNewPrivs:\t0", "NoNewPrivs:\t1")), "proc/sys/kernel/yama/ptrace_scope": file("3"),
			"sys/fs/selinux/enforce": file("1"), "etc/ld.so.preload": file("/lib/x.so\n")}, []string{"privileges note", "ptrace note"}, []string{"selinux note", "preload note"}},
		"no proc": {fstest.MapFS{}, []string{"proc wrong"}, nil},
	} {
		if diff := cmp.Diff(tt.system, states(linuxFindings(tt.root, "Linux 6.1"))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff(tt.security, states(linuxSecurity(tt.root))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestFolders(t *testing.T) {
	none := func(string) bool { return false }
	all := func(string) bool { return true }
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, make([]byte, 3<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		found Finding
		state State
		text  string
	}{
		"a cache":             {examineCache(dir, none), OK, "1 file, 3 KiB"},
		"one to be made":      {examineCache(filepath.Join(dir, "a", "b"), none), OK, "empty"},
		"noexec":              {examineCache(dir, all), Wrong, "noexec"},
		"a blank":             {examineCache(filepath.Join(dir, "a b"), none), Wrong, "divided"},
		"a file":              {examineCache(filepath.Join(file, "mirrord"), none), Wrong, "no folder"},
		"temporary":           {examineTemp(dir, none), OK, dir},
		"temporary, noexec":   {examineTemp(dir, all), Note, "noexec"},
		"temporary, of a lie": {examineTemp(filepath.Join(dir, "a"), none), Wrong, "cannot be used"},
	} {
		if f := tt.found; f.State != tt.state || !strings.Contains(f.Message, tt.text) || (f.State == Wrong) != (f.Hint != "") {
			t.Errorf("%s: %+v", name, f)
		}
	}
	store := filepath.Join(t.TempDir(), "copies")
	if f := examineCopies(store); f.State != OK || f.Message != "no program needed a copy yet" {
		t.Errorf("%+v", f)
	}
	if err := os.MkdirAll(filepath.Join(store, "origins"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(store, "origins", "k"), nil, 0o600), os.Chmod(store, 0o700)); err != nil {
		t.Fatal(err)
	}
	if f := examineCopies(store); f.State != OK || !strings.HasPrefix(f.Message, "1 program has a copy") {
		t.Errorf("%+v", f)
	}
	if err := os.Chmod(store, 0o777); err != nil {
		t.Fatal(err)
	}
	if f := examineCopies(store); f.State != Warning || f.Hint == "" || !strings.Contains(f.Message, "other users may write") {
		t.Errorf("%+v", f)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestResults(t *testing.T) {
	all := slices.Concat(
		ofResults([]probe.Result{{Strategy: Inject, Works: true}, {Strategy: "copy", Why: "killed"}}),
		ofResults([]probe.Result{{Strategy: Inject, Why: "killed"}}),
		ofLost([]probe.Lost{{Path: "/bin/a", Reason: "why", When: time.Now().Add(-3 * time.Hour)}}),
	)
	want := []string{"probe.copy warning", "probe.inject wrong", "lost warning"}
	if diff := cmp.Diff(want, states(all)); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(all[3].Message, "3 hours ago") {
		t.Error(all[3])
	}
	if (Report{Findings: all}).Worst() != Wrong || (Report{Findings: all[3:]}).Worst() != Warning || (Report{}).Worst() != OK {
		t.Error("the worst is another")
	}
}

func TestExamineEnds(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	told := false
	_, err := Examine(ctx, Options{
		Tell: func(string) { told = true },
		Start: func(ctx context.Context, program string, args ...string) error {
			cancel()
			return ctx.Err()
		},
	})
	if told && !errors.Is(err, context.Canceled) { // a build without the layer starts nothing
		t.Error(err)
	}
}
