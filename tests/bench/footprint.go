package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// footprint is what the parent of an inner program, in a session the broker, holds: resident memory and descriptors. It is empty where there is
// no /proc.
func footprint(i *inner) string {
	parent, err := i.ask("parent")
	if err != nil {
		return ""
	}
	proc := fmt.Sprintf("/proc/%d/", parent.count)
	status, _ := os.ReadFile(proc + "status")
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	resident, _, _ := strings.Cut(after, "\n")
	fds, err := os.ReadDir(proc + "fd")
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s, %d fds", strings.TrimSpace(resident), len(fds))
}

// held is what a process holds: memory in kB, all of it and its share of what it has in common with others, and descriptors.
type held struct{ rss, pss, fds int }

// launcher is what the two processes of an inner program's session hold.
func launcher(i *inner) (outer, broker held, err error) {
	parent, err := i.ask("parent")
	if err != nil {
		return outer, broker, err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", parent.count))
	if err != nil {
		return outer, broker, err
	}
	var state string
	var above int
	_, after, _ := strings.Cut(string(stat), ") ") // the name is in parentheses
	if _, err := fmt.Sscan(after, &state, &above); err != nil {
		return outer, broker, err
	}
	if broker, err = holds(parent.count); err == nil {
		outer, err = holds(above)
	}
	return outer, broker, err
}

func holds(pid int) (h held, err error) {
	proc := fmt.Sprintf("/proc/%d/", pid)
	text, err := os.ReadFile(proc + "smaps_rollup")
	if err != nil {
		return h, err
	}
	for _, line := range strings.Split(string(text), "\n") {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "Rss:" {
			h.rss, _ = strconv.Atoi(f[1])
		} else if len(f) == 3 && f[0] == "Pss:" {
			h.pss, _ = strconv.Atoi(f[1])
		}
	}
	fds, err := os.ReadDir(proc + "fd")
	h.fds = len(fds)
	return h, err
}
