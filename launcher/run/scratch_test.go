package run

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestScratchFolder(t *testing.T) {
	short := t.TempDir()
	long := filepath.Join(short, strings.Repeat("x", 100))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	for temp, parent := range map[string]string{short: short, long: "/tmp"} {
		t.Setenv("TMPDIR", temp)
		session := newSession()
		folder, err := scratchFolder(session)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(folder)
		if err != nil || info.Mode() != fs.ModeDir|0o700 || filepath.Dir(folder) != parent {
			t.Errorf("%s in %s: %v %v", folder, temp, info, err)
		}
		if len(folder+"/12345678") > 103 || !strings.Contains(folder, session) {
			t.Errorf("%s: %d bytes", folder, len(folder))
		}
		if _, err := scratchFolder(session); err == nil {
			t.Error("a folder that somebody has put there is used")
		}
		removeScratch(session)
		if _, err := os.Stat(folder); err == nil {
			t.Errorf("%s is still there", folder)
		}
	}
}
