//go:build linux

package script

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReadme does what the README tells a newcomer to do first, and expects what it says will be seen. Ports are others: several of these tests
// may run at once.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, session, ok := strings.Cut(string(text), "\n## A first session\n")
	if session, _, _ = strings.Cut(session, "\n## "); !ok {
		t.Fatal("the README has no first session")
	}
	blocks := regexp.MustCompile("(?ms)^```\n(.*?)^```$").FindAllStringSubmatch(session, -1)
	if len(blocks) != 2 {
		t.Fatalf("the first session has %d blocks, not what is typed and what is printed", len(blocks))
	}
	script := blocks[0][1]
	for _, port := range []string{"18080", "18081", "18090"} {
		script = strings.ReplaceAll(script, port, fmt.Sprint(freePort(t)))
	}
	// The last line starts a server, which the scripts about stealing do in their way.
	script, server, ok := cutLast(script, "mirrord exec ")
	if !ok || !strings.Contains(server, "--steal") {
		t.Fatalf("the last line of the first session is %q", server)
	}
	work := t.TempDir()
	bash := exec.Command("bash", "-euc", script)
	bash.Dir = work
	bash.Env = []string{"PATH=" + bin + ":" + systemPath, "HOME=" + work, "XDG_CACHE_HOME=" + filepath.Join(work, "cache"), "TMPDIR=" + work, "GORACE=" + raceOptions(work)}
	out, err := bash.CombinedOutput()
	if diff := cmp.Diff(blocks[1][1], string(out)); err != nil || diff != "" {
		t.Errorf("%v (-README +printed):\n%s", err, diff)
	}
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i:], true
}
