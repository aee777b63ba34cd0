// Package procs is the process table of this machine: whose child a process is, what it runs, and how all below one are ended.
package procs

import (
	"io"
	"os"
	"slices"
	"syscall"
	"time"
)

// Process is one row of the process table.
type Process struct {
	PID, PPID int
	Start     uint64 // when it began, in a unit of the system's own: tells it from a later one with the same pid
	Zombie    bool
}

// Descendants are the living processes below root, parents before their children. Those in except are left out with all below them.
func Descendants(root int, except map[int]bool) []Process {
	children := map[int][]Process{}
	for _, p := range processes() {
		children[p.PPID] = append(children[p.PPID], p)
	}
	var out []Process
	seen := map[int]bool{root: true}
	for next := []int{root}; len(next) > 0; next = next[1:] {
		for _, p := range children[next[0]] {
			// A table that is read while it changes may hold a loop.
			if seen[p.PID] || except[p.PID] {
				continue
			}
			seen[p.PID] = true
			next = append(next, p.PID)
			if !p.Zombie {
				out = append(out, p)
			}
		}
	}
	return out
}

// Patience is how long a process may take to end after SIGTERM.
const Patience = 2 * time.Second

// End ends every process below root: TERM, and after Patience KILL, again and again until none is left. collect takes in the
// children that have ended; exited tells that there is one.
func End(root int, except map[int]bool, exited <-chan os.Signal, collect func()) {
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	told := map[Process]bool{}
	sig := syscall.SIGTERM
	for {
		collect()
		left := Descendants(root, except)
		if len(left) == 0 {
			return
		}
		// Children first: a shell that sees its child end may start the next one.
		for _, p := range slices.Backward(left) {
			if sig == syscall.SIGKILL || !told[p] {
				told[p] = true
				Signal(p, sig)
				if sig == syscall.SIGTERM {
					Signal(p, syscall.SIGCONT) // a stopped process takes no other signal
				}
			}
		}
		// Grandchildren end without a word to us, so the table is read again soon in any case.
		again := time.NewTimer(20 * time.Millisecond)
		select {
		case <-exited:
		case <-again.C:
		case <-deadline.C:
			sig = syscall.SIGKILL
		}
		again.Stop()
	}
}

// Command is how a process was started. What cannot be read is empty.
type Command struct {
	Exe      string // the file's path
	Argv     []string
	Env      []string
	ReadFile func(name string) string // reads the start of a small file as the process would; may be nil
}

// maxStart bounds what is read of a command line, an environment or a file of options, in bytes.
const maxStart = 1 << 20

// readStart reads the start of a regular file; what cannot be read is empty.
func readStart(name string) string {
	if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, maxStart))
	return string(text)
}
