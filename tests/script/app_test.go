//go:build linux || darwin

package script

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mirrord/app/cli"
	"mirrord/app/launches"
	"mirrord/app/runner"
	"mirrord/app/session"
)

// appTool is the command as the app has it, in folders of this test's own.
func appTool(t *testing.T) (tool *cli.Tool, work string) {
	t.Helper()
	work = t.TempDir()
	for name, text := range map[string]string{
		"pod/pod.yaml":             "name: cart-7d9f\nenv: {PASSWORD: s3cret, FEATURE: pod}\nhosts: {inventory: 10.96.0.7}\n",
		"pod/rootfs/srv/data/motd": "hello from the pod\n",
	} {
		path := filepath.Join(work, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run, err := os.MkdirTemp("", "run") // a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	return &cli.Tool{Path: filepath.Join(bin, "mirrord"), Env: append(os.Environ(), "XDG_RUNTIME_DIR="+run, "XDG_CACHE_HOME="+filepath.Join(work, "cache"), "FEATURE=here",
		"KUBECONFIG="+filepath.Join(work, "kubeconfig"), "MIRRORD_PROGRESS_MODE=")}, work
}

func output(s *runner.Session) string {
	first, next := s.Console.Range()
	return s.Console.Text(first, next)
}

// A whole session, as the window shows it: from a saved launch to the end by its stop button.
func TestAppSession(t *testing.T) {
	tool, work := appTool(t)
	store, err := launches.Open(filepath.Join(work, "launches"))
	if err != nil {
		t.Fatal(err)
	}
	saved, err := store.Save(launches.Launch{
		Name: "Cart", Folder: work, Target: launches.Target{Path: "dir:" + filepath.Join(work, "pod")}, Shared: launches.Default(),
		Command: []string{"sh", "-c", `cat /srv/data/motd; getent hosts inventory > /dev/null; env -i /bin/true; test -t 1 && printf '\033[31mred\033[0m %s\n' "$PASSWORD"; read -r word; echo "$word"; exec sleep 1000`},
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := runner.Start(tool, runner.Launch{Command: saved.Command, Folder: saved.Folder, Config: store.File(saved.ID)}, runner.Options{Interval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	await := func(what string, there func() bool) {
		t.Helper()
		for !there() {
			if _, ok := <-s.Changed(); !ok && !there() {
				t.Fatalf("it has ended before %s: %+v\n%s", what, s.Model.Summary(), output(s))
			}
		}
	}
	await("it prints", func() bool { return strings.Contains(output(s), "red s3cret\n") })
	if err := s.Input("typed\n"); err != nil {
		t.Fatal(err)
	}
	await("it echoes", func() bool { return strings.HasSuffix(output(s), "typed\ntyped\n") })
	await("it sleeps", func() bool {
		return slices.ContainsFunc(s.Model.Processes(), func(p session.Process) bool {
			return strings.HasSuffix(p.Path, "sleep") && p.Depth == 0 && p.Verdict == "inject" && !p.Ended
		})
	})
	sum := s.Model.Summary()
	if f := sum.Tallies[session.Files]; f.Count == 0 || f.Bytes != 19 || f.P50 <= 0 || sum.Tallies[session.Names].Count == 0 || sum.Garbage != 0 || len(sum.Notices) != 0 {
		t.Errorf("%+v", sum)
	}
	if rows, n := s.Model.Rows(session.Filter{Kinds: 1 << session.Files, Text: "MOTD"}, 10); n != 1 || rows[0].Title != "/srv/data/motd" || rows[0].Bytes != 19 || rows[0].Took <= 0 {
		t.Errorf("%+v", rows)
	}
	for _, v := range s.Model.Environment() {
		if v.Name == "FEATURE" && (v != session.Variable{Name: "FEATURE", Local: true, Pod: true, Final: true, From: "pod"}) {
			t.Errorf("%+v", v)
		}
	}
	running, err := tool.Sessions(t.Context())
	if err != nil || len(running) != 1 || running[0].ID != sum.ID || running[0].Folder != work {
		t.Errorf("%+v, %v", running, err)
	}
	s.Stop()
	for range s.Changed() {
	}
	if sum := s.Model.Summary(); sum.State != session.Ended || sum.Signal != "SIGTERM" || len(sum.Notices) != 0 {
		t.Errorf("%+v", sum)
	}
	for _, p := range s.Model.Processes() {
		if !p.Ended {
			t.Errorf("%+v", p)
		}
	}
	if running, err := tool.Sessions(t.Context()); err != nil || len(running) != 0 {
		t.Errorf("%+v, %v", running, err)
	}
}

// startApp starts a program in the pod's context and waits until the session is in a state.
func startApp(t *testing.T, tool *cli.Tool, work, program string, state session.State) *runner.Session {
	t.Helper()
	s, err := runner.Start(tool, runner.Launch{Command: []string{"sh", "-c", program}, Folder: work, Target: "dir:pod"}, runner.Options{Interval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for s.Model.Summary().State != state {
		if _, ok := <-s.Changed(); !ok {
			t.Fatalf("%+v\n%s", s.Model.Summary(), output(s))
		}
	}
	return s
}

// The command is killed in the middle: it is told, and the program is gone with it.
func TestAppCommandKilled(t *testing.T) {
	tool, work := appTool(t)
	s := startApp(t, tool, work, "exec sleep 1000", session.Running)
	running, err := tool.Sessions(t.Context())
	if err != nil || len(running) != 1 {
		t.Fatalf("%+v, %v", running, err)
	}
	if err := syscall.Kill(running[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range s.Changed() {
	}
	if sum := s.Model.Summary(); sum.State != session.Ended || len(sum.Notices) != 1 || sum.Notices[0].Message != "the mirrord command was killed by SIGKILL, and the program with it" {
		t.Errorf("%+v", sum)
	}
	if running, err := tool.Sessions(t.Context()); err != nil || len(running) != 0 {
		t.Errorf("%+v, %v", running, err)
	}
}

// What a program has left keeps the session open, until its stop button is pressed.
func TestAppLeftovers(t *testing.T) {
	tool, work := appTool(t)
	s := startApp(t, tool, work, "cat /srv/data/motd; sleep 1000 < /dev/null > /dev/null 2>&1 & exit 3", session.Leftover)
	if sum := s.Model.Summary(); sum.Status == nil || *sum.Status != 3 || sum.Remain == 0 {
		t.Errorf("%+v", sum)
	}
	s.Stop()
	for range s.Changed() {
	}
	if sum := s.Model.Summary(); sum.State != session.Ended || sum.Remain != 0 || slices.ContainsFunc(sum.Notices, func(n session.Notice) bool { return n.Error }) {
		t.Errorf("%+v", sum)
	}
	if running, err := tool.Sessions(t.Context()); err != nil || len(running) != 0 {
		t.Errorf("%+v, %v", running, err)
	}
}

// What cannot begin is told in mirrord's own words.
func TestAppSessionThatFails(t *testing.T) {
	tool, work := appTool(t)
	s, err := runner.Start(tool, runner.Launch{Command: []string{"true"}, Folder: work, Target: "dir:nowhere"}, runner.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range s.Changed() {
	}
	sum := s.Model.Summary()
	if len(sum.Notices) != 1 || !strings.HasPrefix(sum.Notices[0].Message, "there is no pod directory") || sum.Notices[0].Hint == "" || sum.State != session.Ended {
		t.Errorf("%+v", sum)
	}
}

// What the command says of this machine and of clusters that are not well.
func TestAppAsks(t *testing.T) {
	tool, work := appTool(t)
	ctx := t.Context()
	if v, err := tool.Version(ctx); err != nil || v.Mismatch(v.Version) != nil || v.Mismatch("another") == nil {
		t.Errorf("%+v, %v", v, err)
	}
	if x, err := tool.Explain(ctx, work, []string{"sh", "-c", "true"}); err != nil || len(x.Hops) == 0 || x.Verdict != "inject" {
		t.Errorf("%+v, %v", x, err)
	}
	if x, err := tool.Explain(ctx, work, []string{"no-such-program"}); err != nil || x.Error == "" || x.Verdict != "fails" {
		t.Errorf("%+v, %v", x, err)
	}
	if findings, err := tool.Doctor(ctx, false); err != nil || len(findings) == 0 || findings[0].Message == "" {
		t.Errorf("%+v, %v", findings, err)
	}
	odd := filepath.Join(work, "odd.json")
	os.WriteFile(odd, []byte(`{"feature": {"fs": "sometimes"}}`), 0o600)
	if r, err := tool.Verify(ctx, work, odd); err != nil || r.Valid || len(r.Faults) != 1 || r.Faults[0].Line != 1 || r.Faults[0].Hint+r.Faults[0].Message == "" {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := tool.Verify(ctx, work, ""); err != nil || !r.Valid || r.File != "" || len(r.Config) == 0 {
		t.Errorf("%+v, %v", r, err)
	}

	// What a project's configuration comes to can be saved as a launch, whatever is switched then.
	store, err := launches.Open(filepath.Join(work, "launches"))
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(odd, []byte(`{"target": "dir:pod", "feature": {"fs": {"mode": "read", "local": ["^/srv/cache/"]}, "network": {"incoming": "steal"}}}`), 0o600)
	r, err := tool.Verify(ctx, work, odd)
	if err != nil || !r.Valid {
		t.Fatalf("%+v, %v", r, err)
	}
	one, err := store.Import(launches.Launch{Name: "Cart {{x}}", Folder: work, Command: []string{"true"}}, r.Config)
	if err != nil || one.Shared[launches.TrafficIn] != launches.Full || one.Target.Path != "dir:pod" {
		t.Errorf("%+v, %v", one, err)
	}
	for _, f := range launches.Features {
		for _, l := range f.Levels() {
			one.Shared[f] = l
			if one, err = store.Save(one); err != nil {
				t.Fatal(err)
			}
			if r, err := tool.Verify(ctx, work, store.File(one.ID)); err != nil || !r.Valid || !strings.Contains(string(r.Config), "^/srv/cache/") {
				t.Errorf("%v %v: %+v, %v", f, l, r, err)
			}
		}
	}

	kubeconfig := filepath.Join(work, "kubeconfig")
	inWords := func(what string, err error) {
		t.Helper()
		var e *cli.Error
		if !errors.As(err, &e) || !strings.Contains(e.Message, what) || e.Hint == "" {
			t.Errorf("%v", err)
		}
	}
	if all, err := tool.Contexts(ctx); err != nil || len(all) != 0 { // there is no kubeconfig
		t.Errorf("%+v, %v", all, err)
	}
	_, err = tool.Namespaces(ctx, "")
	inWords("", err)
	os.WriteFile(kubeconfig, []byte("clusters: [{name: near, cluster: {server: 'https://127.0.0.1:1'}}]\ncontexts: [{name: here, context: {cluster: near, user: me}}]\ncurrent-context: here\n"), 0o600)
	if all, err := tool.Contexts(ctx); err != nil || len(all) != 1 || !all[0].Current {
		t.Errorf("%+v, %v", all, err)
	}
	_, err = tool.Targets(ctx, "here", "shop")
	inWords("connection refused", err)
	os.WriteFile(kubeconfig, []byte("clusters: [{name: near\x00"), 0o600)
	_, err = tool.Contexts(ctx)
	inWords("cannot read the kubeconfig", err)
	short, cancel := context.WithTimeout(ctx, time.Nanosecond)
	defer cancel()
	_, err = tool.Contexts(short)
	inWords("took too long", err)
}
