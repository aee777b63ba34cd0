package live

import (
	"testing"
	"time"
)

// What was said of a file is right again when its last writer had closed it before it was asked for.
func TestSettled(t *testing.T) {
	fs, file, begun := &FS{}, identity{1, 2}, time.Now()
	at := func(seconds int) time.Time { return begun.Add(time.Duration(seconds) * time.Second) }
	check := func(when string, asked int, wrote, settled bool) {
		t.Helper()
		if got := fs.Wrote(1, 2); got != wrote {
			t.Errorf("%s: written: %v", when, got)
		}
		if got := fs.Settled(1, 2, at(asked)); got != settled {
			t.Errorf("%s, asked at %d: settled: %v", when, asked, got)
		}
	}
	check("never opened", 0, false, true)
	fs.wrote.closed(file, at(0))
	check("only read", 0, false, true)
	fs.wrote.opened(file)
	check("open", 5, true, false)
	fs.wrote.closed(file, at(2))
	check("closed", 1, true, false)
	check("closed", 3, true, true)
	fs.wrote.opened(file)
	check("open again", 9, true, false)
	if !fs.Settled(1, 3, at(0)) {
		t.Error("another file")
	}
}
