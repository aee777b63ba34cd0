package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

// TestMain is the mirrord command too, when FAKE says what it prints and how it ends.
func TestMain(m *testing.M) {
	if text, isFake := os.LookupEnv("FAKE"); isFake {
		switch text {
		case "hang":
			asked := make(chan os.Signal, 1)
			signal.Notify(asked, os.Interrupt)
			<-asked
			os.Exit(1)
		case "large":
			for chunk := strings.Repeat(" ", 1<<20); ; {
				if _, err := os.Stdout.WriteString(chunk); err != nil {
					os.Exit(1)
				}
			}
		case "killed":
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		case "words":
			fmt.Printf("[{\"id\": %q, \"cwd\": %q}]", strings.Join(os.Args[1:], " "), os.Getenv("PWD"))
			os.Exit(0)
		}
		fmt.Print(text)
		fmt.Fprint(os.Stderr, os.Getenv("FAKE_STDERR"))
		status := 0
		fmt.Sscan(os.Getenv("FAKE_STATUS"), &status)
		os.Exit(status)
	}
	goleak.VerifyTestMain(m)
}

func fake(t *testing.T, text string, env ...string) *Tool {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &Tool{Path: self, Env: append(append(os.Environ(), "FAKE="+text), env...)}
}

func TestAnswers(t *testing.T) {
	ctx := t.Context()
	contexts, err := fake(t, `{"contexts": [{"name": "a", "current": true, "new": 7}]}`).Contexts(ctx)
	if diff := cmp.Diff([]Context{{Name: "a", Current: true}}, contexts); diff != "" || err != nil {
		t.Error(err, diff)
	}
	targets, err := fake(t, `{"namespace": "shop", "targets": [{"target": "pod/x", "ports": [80], "ready": 1, "pods": 2}], "hidden": ["jobs"]}`).Targets(ctx, "", "")
	if diff := cmp.Diff(Targets{"shop", []Target{{Target: "pod/x", Ports: []int{80}, Ready: 1, Pods: 2}}, []string{"jobs"}}, targets); diff != "" || err != nil {
		t.Error(err, diff)
	}
	findings, err := fake(t, `{"findings": [{"state": "wrong", "message": "m", "hint": "h"}]}`, "FAKE_STATUS=1").Doctor(ctx, true)
	if diff := cmp.Diff([]Finding{{State: "wrong", Message: "m", Hint: "h"}}, findings); diff != "" || err != nil {
		t.Error(err, diff)
	}
	x, err := fake(t, `{"verdict": "fails", "error": "not found", "hint": "h", "hops": [{"path": "/x"}]}`, "FAKE_STATUS=1").Explain(ctx, "/", []string{"x"})
	if err != nil || x.Error != "not found" || len(x.Hops) != 1 { // it is the answer, not a failure of the command
		t.Errorf("%+v, %v", x, err)
	}
	r, err := fake(t, `{"valid": false, "faults": [{"line": 3}], "warnings": [{"message": "w"}], "config": {"a": 1}}`, "FAKE_STATUS=1").Verify(ctx, "/", "f")
	if err != nil || r.Valid || r.Faults[0].Line != 3 || r.Warnings[0].Message != "w" || string(r.Config) != `{"a": 1}` {
		t.Errorf("%+v, %v", r, err)
	}
	stopped, err := fake(t, `{"stopped": ["a"]}`).Stop(ctx)
	if diff := cmp.Diff([]string{"a"}, stopped); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

// words are those that the command was called with.
func TestWords(t *testing.T) {
	tool := fake(t, "words")
	for _, tt := range []struct {
		call func() error
		want string
	}{
		{func() error { return tool.ask(t.Context(), new([]Session), access([]string{"ls"}, "c x", "n")...) }, "ls --context=c x --target-namespace=n"},
	} {
		var all []Session
		if err := tt.call(); err != nil {
			t.Error(err)
		}
		if all, _ = tool.Sessions(t.Context()); len(all) != 1 || all[0].ID != "session ls -o json" {
			t.Errorf("%+v", all)
		}
	}
}

func TestErrorsAreInWords(t *testing.T) {
	said := `{"error": "cannot list namespaces: your user may not", "hint": "ask for a role"}`
	for name, tt := range map[string]struct {
		tool          *Tool
		message, hint string
	}{
		"as JSON":     {fake(t, said, "FAKE_STATUS=125", "FAKE_STDERR=error: x"), "cannot list namespaces: your user may not", "ask for a role"},
		"as text":     {fake(t, "", "FAKE_STATUS=125", "FAKE_STDERR=warning: w\nerror: unknown flag: --new\nhint: --help lists them\n"), "unknown flag: --new", "--help lists them"},
		"silent":      {fake(t, "", "FAKE_STATUS=3"), "mirrord ls contexts ended with exit status 3 and said nothing", "run it in a terminal"},
		"killed":      {fake(t, "killed"), "mirrord ls contexts ended with signal: killed and said nothing", "run it in a terminal"},
		"garbage":     {fake(t, "garbage"), "mirrord ls contexts printed what is no JSON", ""},
		"other JSON":  {fake(t, "[1]"), "mirrord ls contexts printed what is no JSON", ""},
		"endless":     {fake(t, "large"), "mirrord ls contexts printed more than 32 MiB", ""},
		"not there":   {&Tool{Path: "/does/not/exist"}, "cannot start /does/not/exist: ", "the app needs the mirrord command beside it"},
		"no program":  {&Tool{Path: "/"}, "cannot start /: ", "the app needs the mirrord command beside it"},
		"wrong place": {&Tool{Path: "/bin/true", Dir: "/does/not/exist"}, "cannot start /bin/true: ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tt.tool.Contexts(t.Context())
			var e *Error
			if !errors.As(err, &e) || !strings.HasPrefix(e.Message, tt.message) || tt.hint != "" && e.Hint != tt.hint || !strings.HasPrefix(err.Error(), e.Message) {
				t.Errorf("%v", err)
			}
		})
	}
}

// What a login plugin says is often the way out.
func TestOthersHaveTheirSay(t *testing.T) {
	_, err := fake(t, `{"error": "cannot list", "hint": "log in"}`, "FAKE_STATUS=125", "FAKE_STDERR=warning: w\n\nSSO session expired,\n run aws sso login\nerror: cannot list\nof two lines\nhint: log in\n").Contexts(t.Context())
	var e *Error
	if !errors.As(err, &e) || e.Said != "SSO session expired,\nrun aws sso login" {
		t.Errorf("%+v", e)
	}
	for text, want := range map[string]string{"": "", "error: x\n": "", "a\nb\nc\nd\ne\nf\ng": "c\nd\ne\nf\ng", "hint: x": ""} {
		if got := others(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestPatience(t *testing.T) {
	tool := fake(t, "hang")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var e *Error
	if _, err := tool.Sessions(ctx); !errors.As(err, &e) || !strings.Contains(e.Message, "took too long") {
		t.Errorf("%v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := tool.Sessions(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestFind(t *testing.T) {
	bundle := "/A/M.app/Contents"
	for _, tt := range []struct {
		name, executable string
		env              map[string]string
		there            []string
		want             string
	}{
		{"beside", "/opt/mirrord-app", nil, []string{"/opt/mirrord", "/usr/bin/mirrord"}, "/opt/mirrord"},
		{"in PATH", "/opt/mirrord-app", nil, []string{"/usr/bin/mirrord"}, "/usr/bin/mirrord"},
		{"bundle", bundle + "/MacOS/mirrord-app", nil, []string{bundle + "/Resources/mirrord"}, bundle + "/Resources/mirrord"},
		{"bundle, better", bundle + "/MacOS/mirrord-app", nil, []string{bundle + "/Resources/mirrord", bundle + "/MacOS/mirrord"}, bundle + "/MacOS/mirrord"},
		{"named", "/opt/mirrord-app", map[string]string{"MIRRORD_BIN": "/x/other"}, []string{"/opt/mirrord", "/x/other"}, "/x/other"},
		{"named wrongly", "/opt/mirrord-app", map[string]string{"MIRRORD_BIN": "/x/other"}, []string{"/opt/mirrord"}, ""},
		{"the app has its name", "/opt/mirrord", nil, []string{"/opt/mirrord"}, ""},
		{"nowhere", "/opt/mirrord-app", nil, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := map[string]string{"PATH": "relative:/usr/bin"}
			for k, v := range tt.env {
				env[k] = v
			}
			got, err := Find(Where{tt.executable, func(name string) string { return env[name] }, func(path string) bool {
				for _, there := range tt.there {
					if path == there {
						return true
					}
				}
				return false
			}})
			var e *Error
			switch {
			case tt.want == "" && (!errors.As(err, &e) || e.Hint == ""):
				t.Errorf("%+v, %v", got, err)
			case tt.want != "" && (err != nil || got.Path != tt.want):
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	t.Setenv("MIRRORD_BIN", "")
	t.Setenv("PATH", t.TempDir())
	if _, err := Find(Where{Executable: filepath.Join(t.TempDir(), "app")}); err == nil {
		t.Error("found in empty folders")
	}
}

func TestVersion(t *testing.T) {
	v, err := fake(t, `{"version": "1.2", "layer": true}`).Version(t.Context())
	if err != nil || v.Mismatch("1.2") != nil || v.Mismatch("") != nil {
		t.Errorf("%+v, %v", v, err)
	}
	if e := v.Mismatch("1.3"); e == nil || !strings.Contains(e.Message, "version 1.2, the app of 1.3") {
		t.Errorf("%v", e)
	}
	if e := (Version{Version: "1.3"}).Mismatch("1.3"); e == nil || e.Hint == "" {
		t.Errorf("without its layer: %v", e)
	}
	if _, err := fake(t, `{}`).Version(t.Context()); err == nil {
		t.Error("no version")
	}
}
