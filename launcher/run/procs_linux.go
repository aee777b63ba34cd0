package run

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// processes reads the process table (proc(5)).
func processes() []process {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	out := make([]process, 0, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, ok := statOf(pid); ok {
			out = append(out, p)
		}
	}
	return out
}

// statOf reads /proc/PID/stat: pid (name) state ppid …, with the start time as field 22.
func statOf(pid int) (process, bool) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, false
	}
	// The name may hold anything, even ") R 1".
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(fields) < 20 {
		return process{}, false
	}
	ppid, _ := strconv.Atoi(fields[1])
	start, _ := strconv.ParseUint(fields[19], 10, 64)
	return process{pid: pid, ppid: ppid, start: start, zombie: fields[0] == "Z" || fields[0] == "X"}, true
}

// generationOf: what a process runs is seen by what it has mapped.
func generationOf(int) uint64 { return 0 }

// signalProcess signals p and no later process that has its pid.
func signalProcess(p process, sig syscall.Signal) {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		if err == unix.ENOSYS { // before Linux 5.3
			_ = unix.Kill(p.pid, sig)
		}
		return
	}
	defer unix.Close(fd)
	if now, ok := statOf(p.pid); ok && now.start == p.start {
		_ = unix.PidfdSendSignal(fd, sig, nil, 0)
	}
}

// exeOf is the file that a process runs, "" when it cannot be known.
func exeOf(pid int) string {
	path, _ := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	return strings.TrimSuffix(path, " (deleted)")
}

// argumentsOf are the words that a process was started with, nil when they cannot be known.
func argumentsOf(pid int) []string {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil || len(raw) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(raw), "\x00"), "\x00")
}

// loads says whether a process has mapped the file at path. known is false when that may not be seen.
func loads(pid int, path string) (yes, known bool) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/maps")
	if err != nil || len(raw) == 0 {
		return false, false
	}
	return bytes.Contains(raw, []byte(" "+path+"\n")), true
}

// ownChildren are the children that this process had before it started any, from a shell that put itself into mirrord's place by exec.
func ownChildren() map[int]bool {
	pid := strconv.Itoa(os.Getpid())
	raw, _ := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	out := map[int]bool{}
	for _, f := range strings.Fields(string(raw)) {
		if n, err := strconv.Atoi(f); err == nil {
			out[n] = true
		}
	}
	return out
}
