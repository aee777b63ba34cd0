//go:build linux

package script

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// processesOf finds the processes of a session by its work directory: it is in their environment (the layer's library lies below it, and
// nobody can take that away), or they stand in it. Zombies have neither, and are their parent's business.
func processesOf(work string) []int {
	var found []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		environ, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		cwd, _ := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		if bytes.Contains(environ, []byte(work+"/")) || strings.HasPrefix(cwd+"/", work+"/") {
			found = append(found, pid)
		}
	}
	return found
}

func parent(pid int) (int, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// pid (name, which may hold anything) state ppid
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	return strconv.Atoi(fields[1])
}

// leftovers says what a session has left once it had time to leave nothing; "" when it has. In tmp there may not even be a folder.
func leftovers(ctx context.Context, work, tmp, runtime string) string {
	var left strings.Builder
	if !eventually(ctx, func() bool { return len(processesOf(work)) == 0 }) {
		for _, pid := range processesOf(work) {
			command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			fmt.Fprintf(&left, "process %d: %s\n", pid, bytes.ReplaceAll(command, []byte{0}, []byte{' '}))
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

// socketExists says whether there is an abstract Unix socket of that name.
func socketExists(name string) bool {
	table, err := os.ReadFile("/proc/net/unix")
	return err != nil || bytes.Contains(table, []byte("@"+name))
}
