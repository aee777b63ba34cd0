package shell

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// hard are words that shells do something with.
var hard = []string{
	"plain", "", " ", "two words", "it's", `"`, `\`, "$HOME", "`id`", "*", "?", "[a]", "~", "~root", "a;b", "a&b", "a|b", "<x", ">x", "(", ")", "{a,b}", "!!", "#c", "a\nb", "\t",
	"-n", "A=b", "é", "\xff", "if", "'", "''", "--flag=it's", "^x", "%1",
}

// Every shell that is there reads the words as they are.
func TestShellsReadTheWords(t *testing.T) {
	tried := 0
	for _, name := range []string{"sh", "bash", "dash", "zsh", "busybox", "ksh"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		tried++
		command := Command(append([]string{"/usr/bin/printf", "%s\\0"}, hard...))
		words := []string{path, "-c", command}
		if name == "busybox" {
			words = []string{path, "sh", "-c", command}
		}
		out, err := exec.Command(words[0], words[1:]...).Output()
		want := ""
		for _, w := range hard {
			want += w + "\x00"
		}
		if diff := cmp.Diff(want, string(out)); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	if tried == 0 {
		t.Skip("left out: there is no shell here")
	}
}

func TestFirstWords(t *testing.T) {
	for first, want := range map[string]string{"A=b": "'A=b' x", "if": "'if' x", "npm": "npm x", "./run me": "'./run me' x"} {
		if got := Command([]string{first, "x"}); got != want {
			t.Errorf("%q: %s", first, got)
		}
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"one/tool": 0o644, "two/tool": 0o755, "three/tool": 0o755} {
		os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755)
		os.WriteFile(filepath.Join(dir, name), nil, mode)
	}
	os.MkdirAll(filepath.Join(dir, "folder/tool"), 0o755)
	path := ":relative:" + filepath.Join(dir, "folder") + ":" + filepath.Join(dir, "one") + ":" + filepath.Join(dir, "two") + ":" + filepath.Join(dir, "three")
	if got := Find("tool", path); got != filepath.Join(dir, "two/tool") {
		t.Errorf("%q", got)
	}
	if got := Find("none", path); got != "" {
		t.Errorf("%q", got)
	}
	if got := Lookup([]string{"A=1", "AB=2", "A=3=4", "B"}, "A"); got != "3=4" {
		t.Errorf("%q", got)
	}
}

func FuzzQuote(f *testing.F) {
	for _, w := range hard {
		f.Add(w)
	}
	f.Fuzz(func(t *testing.T, word string) {
		for _, c := range []byte(word) {
			if c == 0 {
				return // no word has one
			}
		}
		if len(word) > 1000 {
			return
		}
		out, err := exec.Command("/bin/sh", "-c", "printf '%s' "+Quote(word)).Output()
		if err != nil || string(out) != word {
			shown, _ := json.Marshal(word)
			t.Fatalf("%s: %q, %v", shown, out, err)
		}
	})
}

func TestSplit(t *testing.T) {
	for line, want := range map[string][]string{
		`npm run dev`: {"npm", "run", "dev"}, ` a  'b c' "d'e" f\ g '' `: {"a", "b c", "d'e", "f g", ""}, `'open`: {"open"}, ``: nil, `x\`: {`x\`},
	} {
		if diff := cmp.Diff(want, Split(line)); diff != "" {
			t.Errorf("%q: %s", line, diff)
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add("a b")
	f.Add(`it's "so" \ $x`)
	f.Fuzz(func(t *testing.T, word string) {
		words := []string{word, "", word}
		if diff := cmp.Diff(words, Split(Command(words))); diff != "" && !strings.ContainsRune(word, '�') {
			t.Error(diff)
		}
	})
}
