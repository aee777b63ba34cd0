package rules

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// TestLayerAgrees: the layer's walk over the tables, in C, and ours say the same of any path, clean or not.
func TestLayerAgrees(t *testing.T) {
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("left out: there is no C compiler")
	}
	program := filepath.Join(t.TempDir(), "classify")
	if out, err := exec.Command("cc", "-std=gnu17", "-O1", "-Wno-nonnull-compare", "-o", program, "testdata/classify.c").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r := rand.New(rand.NewPCG(7, 8))
	parts := []string{"srv", "data", "etc", "hosts", "ssl", "certs", "usr", "lib", ".", "..", "", "x.so", "node_modules", "home", "u", ".kube", "\xff\xfe", "a b", "ETC", "é"}
	for range 20 {
		in := developer
		for _, list := range []*[]string{&in.NotFound, &in.ReadWrite, &in.ReadOnly, &in.Local} {
			for range r.IntN(3) {
				*list = append(*list, patterns[r.IntN(len(patterns))])
			}
		}
		f := compile(t, in)
		var paths []string
		for range 500 {
			var b strings.Builder
			for range 1 + r.IntN(6) {
				b.WriteString("/" + parts[r.IntN(len(parts))])
			}
			paths = append(paths, b.String(), randomPath(r))
		}
		file := filepath.Join(t.TempDir(), "rules")
		if err := os.WriteFile(file, f, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, file)
		cmd.Stdin = strings.NewReader(strings.Join(paths, "\x00") + "\x00")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		answers := strings.Fields(string(out))
		if len(answers) != len(paths) {
			t.Fatalf("%d answers to %d paths", len(answers), len(paths))
		}
		for i, p := range paths {
			read, write := f.Classify(path.Clean(p), false), f.Classify(path.Clean(p), true)
			if got := string([]byte{'0' + byte(read), '0' + byte(write)}); got != answers[i] {
				t.Fatalf("%q: %s here, %s in the layer", p, got, answers[i])
			}
		}
	}
}
