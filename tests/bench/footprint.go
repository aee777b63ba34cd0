package main

import (
	"fmt"
	"os"
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
