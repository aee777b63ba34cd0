package run

import (
	"os"
	"slices"
	"syscall"
	"time"
)

// process is one row of the process table.
type process struct {
	pid, ppid int
	start     uint64 // when it began, in a unit of the system's own: tells it from a later one with the same pid
	zombie    bool
}

// descendants are the living processes below root, parents before their children. Those in except are left out with all below them.
func descendants(root int, except map[int]bool) []process {
	children := map[int][]process{}
	for _, p := range processes() {
		children[p.ppid] = append(children[p.ppid], p)
	}
	var out []process
	seen := map[int]bool{root: true}
	for next := []int{root}; len(next) > 0; next = next[1:] {
		for _, p := range children[next[0]] {
			// A table that is read while it changes may hold a loop.
			if seen[p.pid] || except[p.pid] {
				continue
			}
			seen[p.pid] = true
			next = append(next, p.pid)
			if !p.zombie {
				out = append(out, p)
			}
		}
	}
	return out
}

// patience is how long a process may take to end after SIGTERM.
const patience = 2 * time.Second

// endDescendants ends every process below root: TERM, and after patience KILL, again and again until none is left. collect takes in the
// children that have ended; exited tells that there is one.
func endDescendants(root int, except map[int]bool, exited <-chan os.Signal, collect func()) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	told := map[process]bool{}
	sig := syscall.SIGTERM
	for {
		collect()
		left := descendants(root, except)
		if len(left) == 0 {
			return
		}
		// Children first: a shell that sees its child end may start the next one.
		for _, p := range slices.Backward(left) {
			if sig == syscall.SIGKILL || !told[p] {
				told[p] = true
				signalProcess(p, sig)
				if sig == syscall.SIGTERM {
					signalProcess(p, syscall.SIGCONT) // a stopped process takes no other signal
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
