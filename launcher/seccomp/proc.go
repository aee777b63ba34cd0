//go:build linux && (amd64 || arm64)

package seccomp

import (
	"bytes"
	"fmt"
	"math/bits"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// readProc reads a small file of proc with as few system calls as there can be.
func readProc(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	b := make([]byte, 4096)
	n, err := unix.Read(fd, b)
	return b[:max(n, 0)], err
}

// text is what stands behind a label, to the end of its line.
func text(status []byte, label string) (string, bool) {
	at := bytes.Index(status, []byte(label))
	if at < 0 {
		return "", false
	}
	line, _, _ := bytes.Cut(status[at+len(label):], []byte{'\n'})
	return string(bytes.TrimSpace(line)), true
}

func field(status []byte, label string) (int, bool) {
	value, ok := text(status, label)
	n, err := strconv.Atoi(value)
	return n, ok && err == nil
}

// Interrupted reports whether a signal waits for the thread that it has a handler for. The kernel lets only deadly ones end a call that is being answered, so
// who lets it wait for long has to look.
func (c *Call) Interrupted() bool {
	status, err := readProc(fmt.Sprintf("/proc/%d/status", c.TID))
	if err != nil {
		return true
	}
	mask := func(label string) uint64 {
		value, _ := text(status, label)
		n, _ := strconv.ParseUint(value, 16, 64)
		return n
	}
	waiting := (mask("\nSigPnd:\t") | mask("\nShdPnd:\t")) &^ mask("\nSigBlk:\t") & mask("\nSigCgt:\t")
	return bits.OnesCount64(waiting) > 0
}

// Full reports whether the program has no room for another descriptor, as far as the kernel tells: the size of /proc/PID/fd is how many there are since Linux 6.2.
func (c *Call) Full() bool {
	var limit unix.Rlimit
	var open unix.Stat_t
	return unix.Prlimit(c.TID, unix.RLIMIT_NOFILE, nil, &limit) == nil && unix.Stat(fmt.Sprintf("/proc/%d/fd", c.TID), &open) == nil && uint64(open.Size) >= limit.Cur
}

// Supervised reports whether a process runs under more filters than this one does.
func Supervised(pid int) bool {
	filters := func(path string) int {
		status, err := readProc(path)
		if err != nil {
			return 0
		}
		n, _ := field(status, "\nSeccomp_filters:\t")
		return n
	}
	n := filters(fmt.Sprintf("/proc/%d/status", pid))
	return n > 0 && n > filters("/proc/self/status")
}

// Info is what proc tells of a process.
type Info struct {
	PID, Parent int
	Since       uint64 // when it began, in ticks since the machine did: with PID it names one process
}

// About tells of the process that a thread belongs to.
func About(tid int) (Info, error) {
	pid, err := Process(tid)
	if err != nil {
		return Info{}, err
	}
	stat, err := readProc(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Info{}, err
	}
	// pid (name) state ppid … starttime is the 22nd (proc(5)); the name may hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return Info{}, unix.ESRCH
	}
	parent, _ := strconv.Atoi(string(fields[1]))
	since, _ := strconv.ParseUint(string(fields[19]), 10, 64)
	return Info{pid, parent, since}, nil
}

// Children are the processes that a process has started and that are its own still; those of all its threads. A kernel without CONFIG_PROC_CHILDREN tells of none.
func Children(pid int) (all []int) {
	tasks := fmt.Sprintf("/proc/%d/task", pid)
	threads, err := os.ReadDir(tasks)
	if err != nil {
		return nil
	}
	for _, thread := range threads {
		list, _ := os.ReadFile(tasks + "/" + thread.Name() + "/children")
		for _, child := range bytes.Fields(list) {
			if n, err := strconv.Atoi(string(child)); err == nil {
				all = append(all, n)
			}
		}
	}
	return all
}
