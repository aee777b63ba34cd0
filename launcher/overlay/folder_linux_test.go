package overlay

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A killed session's folder goes with the next session, that of one that runs stays.
func TestTemporary(t *testing.T) {
	parent := t.TempDir()
	open := func() *Overlay {
		t.Helper()
		o, err := NewTemporary(parent, nil)
		must(t, err)
		t.Cleanup(func() { o.Close() })
		return o
	}
	folders := func() []string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(parent, "*"))
		must(t, err)
		return found
	}
	killed, running := open(), open()
	must(t, os.WriteFile(killed.upper("/file"), nil, 0o600))
	killed.lock.Close() // as the system does
	user := filepath.Join(parent, "mirrord-overlay-mine")
	must(t, os.Mkdir(user, 0o700))
	next := open()
	want := map[string]bool{running.dir: true, next.dir: true, user: true}
	got := map[string]bool{}
	for _, dir := range folders() {
		got[dir] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("folders (-want +got):\n%s", diff)
	}
	for range 2 {
		must(t, running.Close())
		must(t, next.Close())
	}
	if diff := cmp.Diff([]string{user}, folders()); diff != "" {
		t.Errorf("after the end (-want +got):\n%s", diff)
	}
}

// Two sessions in one folder would take each other's files away.
func TestKeptIsOnes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "kept")
	o, err := New(dir, nil)
	must(t, err)
	if other, err := New(dir, nil); err == nil {
		other.Close()
		t.Error("a second session was given the folder of the first")
	}
	must(t, o.Close())
	o, err = New(dir, nil)
	must(t, err)
	must(t, o.Close())
}
