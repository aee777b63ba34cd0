package layer

import (
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
)

// TestExtract: the library and its variants lie in one folder, and what was damaged is written again.
func TestExtract(t *testing.T) {
	built := fstest.MapFS{"l.so": {Data: []byte("plain")}, "l-v.so": {Data: []byte("variant")}}
	folder := t.TempDir()
	path, err := extract(built, "l.so", []string{"v"}, folder)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(path) != "l.so" || filepath.Dir(filepath.Dir(path)) != folder {
		t.Errorf("the library is at %s", path)
	}
	other := Variant(path, "v")
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, []byte("planted"), 0o500); err != nil {
		t.Fatal(err)
	}
	if again, err := extract(built, "l.so", []string{"v"}, folder); again != path || err != nil {
		t.Errorf("again: %s, %v", again, err)
	}
	for file, want := range map[string]string{path: "plain", other: "variant"} {
		if got, err := os.ReadFile(file); string(got) != want || err != nil {
			t.Errorf("%s holds %q, %v", file, got, err)
		}
	}
	built["l-v.so"] = &fstest.MapFile{Data: []byte("newer")}
	if newer, err := extract(built, "l.so", []string{"v"}, folder); newer == path || err != nil {
		t.Errorf("another variant is at the same place: %s, %v", newer, err)
	}
	delete(built, "l-v.so")
	if _, err := extract(built, "l.so", []string{"v"}, folder); err != ErrNotBuilt {
		t.Errorf("without the variant: %v", err)
	}
}
