package run

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// processes reads the process table (sysctl kern.proc.all).
func processes() []process {
	table, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil
	}
	out := make([]process, 0, len(table))
	for i := range table {
		out = append(out, row(&table[i]))
	}
	return out
}

func row(k *unix.KinfoProc) process {
	const zombie = 5 // SZOMB, sys/proc.h
	began := k.Proc.P_starttime
	return process{
		pid:    int(k.Proc.P_pid),
		ppid:   int(k.Eproc.Ppid),
		start:  uint64(began.Sec)*1e6 + uint64(began.Usec),
		zombie: k.Proc.P_stat == zombie,
	}
}

// statOf reads one row of it.
func statOf(pid int) (process, bool) {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return process{}, false
	}
	return row(k), true
}

// signalProcess signals p unless its pid belongs to a later process.
func signalProcess(p process, sig syscall.Signal) {
	if now, ok := statOf(p.pid); ok && now.start == p.start {
		_ = unix.Kill(p.pid, sig)
	}
}

// exeOf is the file that a process runs, "" when it cannot be known.
func exeOf(int) string { return "" }

// argumentsOf are the words that a process was started with, nil when they cannot be known.
func argumentsOf(int) []string { return nil }

// loads says whether a process has mapped the file at path. known is false when that may not be seen.
func loads(int, string) (yes, known bool) { return false, false }

// ownChildren are the children that this process had before it started any.
func ownChildren() map[int]bool {
	out := map[int]bool{}
	for _, p := range processes() {
		if p.ppid == os.Getpid() {
			out[p.pid] = true
		}
	}
	return out
}
