package procs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// processes reads the process table (proc(5)).
func processes() []Process {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	out := make([]Process, 0, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, ok := Of(pid); ok {
			out = append(out, p)
		}
	}
	return out
}

// Of is one row of it: /proc/PID/stat, which has pid (name) state ppid …, with the start time as field 22; false where there is no such process.
func Of(pid int) (Process, bool) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Process{}, false
	}
	// The name may hold anything, even ") R 1".
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(fields) < 20 {
		return Process{}, false
	}
	ppid, _ := strconv.Atoi(fields[1])
	start, _ := strconv.ParseUint(fields[19], 10, 64)
	return Process{PID: pid, PPID: ppid, Start: start, Zombie: fields[0] == "Z" || fields[0] == "X"}, true
}

// Generation tells the programs apart that one process runs after each other; always 0 here, where what it has mapped shows that.
func Generation(int) uint64 { return 0 }

// Signal signals p and no later process that has its pid.
func Signal(p Process, sig syscall.Signal) {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		if err == unix.ENOSYS { // before Linux 5.3
			_ = unix.Kill(p.PID, sig)
		}
		return
	}
	defer unix.Close(fd)
	if now, ok := Of(p.PID); ok && now.Start == p.Start {
		_ = unix.PidfdSendSignal(fd, sig, nil, 0)
	}
}

// Exe is the file that a process runs, "" when it cannot be known.
func Exe(pid int) string {
	path, _ := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	return strings.TrimSuffix(path, " (deleted)")
}

// Arguments are the words that a process was started with, nil when they cannot be known.
func Arguments(pid int) []string {
	return words(readStart("/proc/" + strconv.Itoa(pid) + "/cmdline"))
}

// CommandOf reads how a process was started from /proc, as far as it lets us.
func CommandOf(pid int) Command {
	proc := fmt.Sprintf("/proc/%d/", pid)
	return Command{
		Exe:  Exe(pid),
		Argv: words(readStart(proc + "cmdline")),
		Env:  words(readStart(proc + "environ")),
		ReadFile: func(name string) string {
			if !filepath.IsAbs(name) {
				name = filepath.Join(proc+"cwd", name)
			}
			return readStart(name)
		},
	}
}

// words are strings that end in NUL each.
func words(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\x00"), "\x00")
}

// Umask is that of a process, as /proc tells since Linux 4.7.
func Umask(pid int) (uint32, bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, false
	}
	_, rest, _ := bytes.Cut(text, []byte("\nUmask:\t"))
	octal, _, _ := bytes.Cut(rest, []byte("\n"))
	mask, err := strconv.ParseUint(string(octal), 8, 32)
	return uint32(mask), err == nil
}

// Loads says whether a process has mapped the file at path. known is false when that may not be seen.
func Loads(pid int, path string) (yes, known bool) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/maps")
	if err != nil || len(raw) == 0 {
		return false, false
	}
	return bytes.Contains(raw, []byte(" "+path+"\n")), true
}

// Children are the children that this process had before it started any, from a shell that put itself into mirrord's place by exec.
func Children() map[int]bool {
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

// BecomeSubreaper makes orphans below this process its own children (prctl(2)). It holds for the process, is not inherited, and ends with it.
func BecomeSubreaper(func(env []string) bool) error {
	return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
}

// WatchOver is nothing here: this process is the next subreaper above the child.
func WatchOver(int) {}
