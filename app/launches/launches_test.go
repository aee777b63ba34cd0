package launches

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func store(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "launches"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func save(t *testing.T, s *Store, l Launch) Launch {
	t.Helper()
	saved, err := s.Save(l)
	if err != nil {
		t.Fatal(err)
	}
	return saved
}

var same = cmp.Options{cmpopts.IgnoreUnexported(Launch{}), cmpopts.EquateErrors()}

func TestSavedLaunchesAreListed(t *testing.T) {
	s := store(t)
	if all, err := s.List(); err != nil || len(all) != 0 {
		t.Fatalf("%v, %v", all, err)
	}
	one := save(t, s, Launch{Name: "Cart (npm)", Folder: "/home/me/cart", Command: []string{"npm", "start"}, Target: Target{"staging", "shop", "deployment/cart"}, Shared: Default()})
	two := save(t, s, Launch{Folder: "/x", Command: []string{"docker", "ps", "--format", "{{.Names}} {% x %} {{{"}, Plain: true, Shared: Shared{Off, Full, Off, Off}})
	again := save(t, s, Launch{Name: "cart npm", Folder: "/y", Command: []string{"make"}, Shared: Shared{Full, Off, Full, Full}})
	if one.ID != "cart-npm" || again.ID != "cart-npm-2" || !strings.HasPrefix(two.ID, "docker-ps-format") {
		t.Errorf("%q, %q, %q", one.ID, two.ID, again.ID)
	}
	status := 0
	two.Last = Result{Time: time.Date(2026, 11, 21, 7, 0, 0, 0, time.UTC), Took: time.Second, Status: &status}
	if err := s.Ran(two.ID, two.Last); err != nil {
		t.Fatal(err)
	}
	all, err := s.List()
	if diff := cmp.Diff([]Launch{two, one, again}, all, same); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	text, _ := os.ReadFile(s.File(two.ID))
	if strings.Contains(string(text), "{{") || strings.Contains(string(text), "{%") {
		t.Errorf("the command line takes this for a template:\n%s", text)
	}
	if info, err := os.Stat(s.File(two.ID)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestChangesKeepTheRestOfTheFile(t *testing.T) {
	s := store(t)
	config := `{"target": {"path": {"deployment": "cart", "container": "web"}, "namespace": "shop"}, "agent": {"ttl": 12345678901234567890},
		"feature": {"env": {"exclude": "SECRET_*"}, "fs": "write", "network": {"incoming": {"mode": "steal", "ports": [80]}, "outgoing": {"ignore_localhost": true}, "dns": false}}}`
	l, err := s.Import(Launch{Name: "x", Folder: "/x", Command: []string{"a"}}, []byte(config))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Target{"", "shop", "deployment/cart/container/web"}); l.Target != want || l.Shared != (Shared{Full, Full, Full, Full}) {
		t.Errorf("%+v", l)
	}
	before, _ := parse([]byte(config))
	read := func() document {
		text, _ := os.ReadFile(s.File(l.ID))
		d, err := parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	after := read()
	delete(after, "launch")
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("what was not changed (-before +after):\n%s", diff)
	}
	l.Shared = Shared{Off, Read, Off, Read}
	l.Target.Namespace = ""
	save(t, s, l)
	after = read()
	delete(after, "launch")
	want, _ := parse([]byte(`{"target": {"path": "deployment/cart/container/web"}, "agent": {"ttl": 12345678901234567890},
		"feature": {"env": false, "fs": {"mode": "read"}, "network": {"incoming": {"mode": "mirror", "ports": [80]}, "outgoing": {"ignore_localhost": true, "tcp": false, "udp": false}, "dns": {"enabled": false}}}}`))
	if diff := cmp.Diff(want, after); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if all, _ := s.List(); len(all) != 1 || all[0].Shared != l.Shared || all[0].Target != l.Target {
		t.Errorf("%+v", all)
	}
	if _, err := s.Import(l, []byte("[]")); err == nil {
		t.Error("a list is no configuration")
	}
}

func TestBrokenFilesAreFaults(t *testing.T) {
	s := store(t)
	save(t, s, Launch{Name: "good", Folder: "/", Command: []string{"a"}})
	dir := filepath.Dir(s.File("x"))
	for name, text := range map[string]string{
		"no-json.json": "{", "list.json": "[]", "null.json": "null", "two.json": "{} {}", "no-command.json": `{"launch": {"name": 7, "command": "npm"}, "target": [], "feature": 3}`,
		"odd-command.json": `{"launch": {"command": ["a", 7]}}`, "zero.json": `{"launch": {"command": ["a\u0000"]}}`, "large.json": strings.Repeat(" ", maxFile+1), ".hidden.json": "{", "other.txt": "",
		"deep.json": strings.Repeat(`{"a":`, 50000),
	} {
		os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)
	}
	syscall.Mkfifo(filepath.Join(dir, "fifo.json"), 0o600)
	os.Mkdir(filepath.Join(dir, "folder.json"), 0o700)
	os.Symlink("/does/not/exist", filepath.Join(dir, "link.json"))
	os.WriteFile(s.stateFile(), []byte("garbage"), 0o600)
	all, err := s.List()
	if err != nil || len(all) != 13 {
		t.Fatalf("%d launches, %v", len(all), err)
	}
	for _, l := range all {
		if (l.Fault == nil) != (l.ID == "good") || l.Name == "" {
			t.Errorf("%+v", l)
		}
	}
	if err := s.Ran("good", Result{Signal: "SIGTERM"}); err != nil {
		t.Error(err)
	}
	if all, _ := s.List(); len(s.readState().Results) != 1 || len(all) != 13 {
		t.Error("the state is not mended")
	}
}

func TestWhatCannotBeSaved(t *testing.T) {
	s := store(t)
	for _, l := range []Launch{{Folder: "/"}, {Command: []string{"a"}}, {Folder: "relative", Command: []string{"a"}}, {Folder: "/", Command: []string{""}}, {Folder: "/", Command: []string{strings.Repeat("x", maxFile)}}} {
		if _, err := s.Save(l); err == nil {
			t.Errorf("%+v", l)
		}
	}
	if all, err := s.List(); len(all) != 0 || err != nil {
		t.Errorf("%v, %v", all, err)
	}
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	blocked, _ := Open(file)
	if _, err := blocked.Save(Launch{Folder: "/", Command: []string{"a"}}); err == nil {
		t.Error("saved in a file")
	}
	if err := blocked.Ran("x", Result{}); err == nil {
		t.Error("noted in a file")
	}
}

func TestRemoveAndRestore(t *testing.T) {
	s := store(t)
	if _, err := s.Restore(); err == nil {
		t.Error("nothing was removed")
	}
	l := save(t, s, Launch{Name: "x", Folder: "/", Command: []string{"a"}, Shared: Default()})
	if err := s.Remove("../x"); err != nil { // only ever in its folder
		t.Fatal(err)
	}
	if all, _ := s.List(); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	if err := s.Remove("x"); err == nil {
		t.Error("removed twice")
	}
	if got, err := s.Restore(); err != nil || cmp.Diff(l, got, same) != "" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s.Restore(); err == nil {
		t.Error("restored twice")
	}
}

func TestDrafts(t *testing.T) {
	s := store(t)
	l := Launch{Folder: "/x", Command: []string{"a"}, Target: Target{"far", "shop", "pod/x"}, Shared: Shared{Off, Off, Full, Off}}
	file, err := s.Draft(l)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(file)
	if d, err := parse(text); err != nil || d.launch().Target != l.Target || d.launch().Shared != l.Shared {
		t.Errorf("%v:\n%s", err, text)
	}
	if all, _ := s.List(); len(all) != 0 {
		t.Errorf("a draft is listed: %+v", all)
	}
	old := time.Now().Add(-2 * draftTime)
	os.Chtimes(file, old, old)
	if _, err := s.Draft(l); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the old draft: %v", err)
	}
	if _, err := s.Draft(Launch{}); err == nil {
		t.Error("a draft of nothing")
	}
}

func TestRecentTargets(t *testing.T) {
	s := store(t)
	if len(s.Recent()) != 0 {
		t.Error("of nothing")
	}
	for i := range 15 {
		if err := s.Used(Target{Path: fmt.Sprint("pod/", i)}); err != nil {
			t.Fatal(err)
		}
	}
	s.Used(Target{Path: "pod/8"})
	s.Used(Target{})
	s.Used(Target{Context: "far", Path: "pod/8"})
	recent := s.Recent()
	if len(recent) != maxRecent || recent[0].Context != "far" || recent[1].Path != "pod/8" || recent[2].Path != "pod/14" || recent[9].Path != "pod/6" {
		t.Errorf("%+v", recent)
	}
}

func TestConcurrentUse(t *testing.T) {
	s := store(t)
	other, _ := Open(filepath.Dir(s.File("x")))
	var all sync.WaitGroup
	for i := range 20 {
		at := []*Store{s, other}[i%2]
		all.Go(func() {
			l, err := at.Save(Launch{Name: "same", Folder: "/", Command: []string{"a"}})
			if err == nil {
				err = at.Ran(l.ID, Result{Signal: l.ID})
			}
			if err != nil {
				t.Error(err)
			}
			at.List()
			at.Used(Target{Path: l.ID})
		})
	}
	all.Wait()
	list, err := s.List()
	if err != nil || len(list) != 20 {
		t.Fatalf("%d, %v", len(list), err)
	}
	for _, l := range list {
		if l.Last.Signal != l.ID || l.Fault != nil {
			t.Errorf("%+v", l)
		}
	}
}

func TestAsCommand(t *testing.T) {
	s := store(t)
	base := Launch{Folder: "/home/me/it's", Command: []string{"npm", "run", "a b"}, Target: Target{"far", "shop", "deployment/cart"}, Shared: Default()}
	with := func(change func(*Launch)) Launch {
		l := base
		change(&l)
		return l
	}
	for _, tt := range []struct {
		launch Launch
		want   string
	}{
		{base, `cd '/home/me/it'\''s' && mirrord exec -t deployment/cart -n shop --context far -- npm run 'a b'`},
		{with(func(l *Launch) { l.Plain = true }), `cd '/home/me/it'\''s' && npm run 'a b'`},
		{with(func(l *Launch) {
			l.Folder, l.Target, l.Shared = "/x", Target{Path: "dir:/a b"}, Shared{Off, Off, Off, Full}
		}),
			`cd /x && mirrord exec -t 'dir:/a b' -x '*' --fs-mode local --no-outgoing --no-remote-dns --steal -- npm run 'a b'`},
		{with(func(l *Launch) { l.Folder, l.Target, l.Shared = "/x", Target{}, Shared{Full, Full, Full, Off} }),
			`cd /x && MIRRORD_AGENT_TCP_STEAL_TRAFFIC=off mirrord exec --fs-mode write -- npm run 'a b'`},
	} {
		if got := s.AsCommand(tt.launch); got != tt.want {
			t.Errorf("%s\nnot %s", got, tt.want)
		}
	}
	saved, err := s.Import(Launch{Name: "x", Folder: "/x", Command: []string{"a"}}, []byte(`{"agent": {"image": "i"}, "feature": {"network": {"incoming": "off"}}}`))
	if want := "cd /x && mirrord exec -f " + s.File("x") + " -- a"; err != nil || s.AsCommand(saved) != want {
		t.Errorf("%s, %v", s.AsCommand(saved), err)
	}
	// A folder's own configuration would have its say.
	folder := t.TempDir()
	os.MkdirAll(filepath.Join(folder, ".mirrord"), 0o700)
	os.WriteFile(filepath.Join(folder, ".mirrord", "mirrord.json"), []byte("{}"), 0o600)
	saved = save(t, s, Launch{Name: "y", Folder: folder, Command: []string{"a"}, Shared: Default()})
	if got := s.AsCommand(saved); !strings.HasSuffix(got, "mirrord exec -f "+s.File("y")+" -- a") {
		t.Error(got)
	}
}

func TestFeatures(t *testing.T) {
	for _, f := range Features {
		if !strings.Contains(" "+fmt.Sprint(f.Levels()), fmt.Sprint(Default()[f])) || f.String() == "" {
			t.Errorf("%v has not its default", f)
		}
		for _, l := range f.Levels() {
			sentence, danger := f.Effect(l)
			if !strings.HasSuffix(sentence, ".") || danger != (l == Full && (f == Files || f == TrafficIn)) {
				t.Errorf("%v %v: %q, %v", f, l, sentence, danger)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{`{"launch":{"command":["a"]},"target":"pod/x"}`, `{"target":{"path":{"pod":"x"}},"feature":{"network":{"incoming":true}}}`, `{"feature":{"fs":"write","env":false,"network":false}}`, `{"feature":[],"target":7}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := parse(text)
		if err != nil {
			return
		}
		l := d.launch()
		l.Name, l.Folder, l.Command = "n", "/f", []string{"c"}
		l.Shared = Shared{Off, Full, Off, Full}
		d.put(l)
		out, err := d.text()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parse(out)
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if got := again.launch(); got.Shared != l.Shared || got.Target.Path != l.Target.Path || got.Folder != l.Folder {
			t.Fatalf("%+v, not %+v", got, l)
		}
	})
}
