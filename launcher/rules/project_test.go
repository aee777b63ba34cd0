package rules

import (
	"os"
	"path/filepath"
	"testing"
)

func TestProjectRoot(t *testing.T) {
	base := t.TempDir()
	for _, file := range []string{
		"home/.git/HEAD", "home/package.json", "home/shop/.git/HEAD", "home/shop/cart/package.json", "home/plain/x/y",
		"home/lib/go.mod", "home/lib/inner/go.mod", "home/tree/.git",
	} {
		path := filepath.Join(base, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ cwd, want string }{
		{"home/shop/cart", "home/shop"}, // the repository, not the package
		{"home/shop", "home/shop"},
		{"home/plain/x", ""}, // the home is no project
		{"home", ""},
		{"home/lib/inner", "home/lib/inner"},
		{"home/lib/gone/away", "home/lib"},
		{"home/tree", "home/tree"}, // a work tree's .git is a file
	} {
		want := test.want
		if want != "" {
			want = filepath.Join(base, want)
		}
		if got := ProjectRoot(filepath.Join(base, test.cwd), filepath.Join(base, "home")); got != want {
			t.Errorf("%s: %q, want %q", test.cwd, got, want)
		}
	}
	if got := ProjectRoot("/", ""); got != "" {
		t.Errorf("the root of the file system is a project: %q", got)
	}
}
