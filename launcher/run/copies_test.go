package run

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mirrord/sip/copies"
)

// A session that needs a copy removes those that nobody has used for long.
func TestOldCopiesGo(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CACHE_HOME", dir)
	folder, err := CacheFolder()
	if err != nil {
		t.Fatal(err)
	}
	store, err := copies.Open(filepath.Join(folder, "copies"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "tool")
	if err := os.WriteFile(file, []byte("\x7fELF"), 0o755); err != nil {
		t.Fatal(err)
	}
	old, err := store.Copy(file, "")
	if err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-copies.Unused - time.Hour)
	if err := os.Chtimes(filepath.Dir(old), long, long); err != nil {
		t.Fatal(err)
	}
	if _, err := newCopier().store(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		notes, err := filepath.Glob(filepath.Join(folder, "copies", "origins", "*"))
		if _, gone := os.Stat(old); errors.Is(gone, fs.ErrNotExist) && err == nil && notes == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s is still there", old)
		}
	}
}
