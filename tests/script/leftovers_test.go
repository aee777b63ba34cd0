//go:build linux || darwin

package script

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// leftovers says what a session has left once it had time to leave nothing; "" when it has. In tmp there may not even be a folder.
func leftovers(ctx context.Context, work, tmp, runtime string) string {
	var left strings.Builder
	if !eventually(ctx, func() bool { return len(processesOf(work)) == 0 }) {
		for _, pid := range processesOf(work) {
			fmt.Fprintf(&left, "process %d: %s\n", pid, commandOf(pid))
		}
	}
	_ = filepath.WalkDir(tmp, func(path string, _ fs.DirEntry, _ error) error {
		if path != tmp {
			fmt.Fprintf(&left, "file %s\n", path)
		}
		return nil
	})
	_ = filepath.WalkDir(runtime, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			fmt.Fprintf(&left, "file %s\n", path)
		}
		return nil
	})
	return left.String()
}

// endAll ends what a failed test has left.
func endAll(work string) {
	for _, pid := range processesOf(work) {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}
