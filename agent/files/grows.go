package files

import (
	"path"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// written is how long after a change a file is expected to change again, and grown how much older it then is than its content: one that was just made, as all of a
	// new pod's are, is as it was meant to be.
	written = time.Minute
	grown   = 2 * time.Second
	// logged is how long after its last change a file in a folder of logs is one of them: programs have folders of that name, too.
	logged = 24 * time.Hour
)

// logName are the names of logs, and of those that were rotated. What was compressed does not grow.
var logName = regexp.MustCompile(`(?i)\.(log|out|err)([.-][0-9][0-9a-z.:_-]*)?$`)

var compressed = map[string]bool{".gz": true, ".bz2": true, ".xz": true, ".zst": true, ".lz4": true, ".zip": true}

// grows reports whether a regular file is likely to become more while it is read: logs by their names, and what was written to lately although it had been there.
// born is 0 where that is not known.
func grows(name string, st *unix.Stat_t, born int64, now time.Time) bool {
	mtime := st.Mtim.Nano()
	age := now.Sub(time.Unix(0, mtime))
	switch {
	case compressed[strings.ToLower(path.Ext(name))]:
		return false
	case logName.MatchString(path.Base(name)):
		return true
	case age < written && time.Duration(mtime-born) > grown:
		return true
	}
	for _, folder := range strings.Split(path.Dir(name), "/") {
		if folder == "log" || folder == "logs" {
			return age < logged
		}
	}
	return false
}
