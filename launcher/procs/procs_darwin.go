package procs

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// family is set by BecomeSubreaper.
var family *lineage

// processes reads the process table (sysctl kern.proc.all, which has ended processes too); orphans of the session are this process's children.
func processes() []Process {
	table := relatives()
	if family == nil {
		out := make([]Process, len(table))
		for i, p := range table {
			out[i] = p.Process
		}
		return out
	}
	return family.adopt(table)
}

func relatives() []relative {
	table, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil
	}
	out := make([]relative, 0, len(table))
	for i := range table {
		p := row(&table[i])
		who := identify(p.PID)
		out = append(out, relative{Process: p, id: who.id, parent: who.parent})
	}
	return out
}

func row(k *unix.KinfoProc) Process {
	const zombie = 5 // SZOMB, sys/proc.h
	began := k.Proc.P_starttime
	return Process{
		PID:    int(k.Proc.P_pid),
		PPID:   int(k.Eproc.Ppid),
		Start:  uint64(began.Sec)*1e6 + uint64(began.Usec),
		Zombie: k.Proc.P_stat == zombie,
	}
}

// Of is one row of it; false where there is no such process.
func Of(pid int) (Process, bool) {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return Process{}, false
	}
	return row(k), true
}

// identity is struct proc_uniqidentifierinfo, as far as it counts.
type identity struct {
	id, parent uint64 // parent: of the process that forked this one, also when that is gone (bsd/kern/kern_fork.c sets it, kern_exit.c leaves it)
	version    uint32 // another after each exec
}

// Numbers of proc_info (xnu bsd/sys/proc_info.h, proc_info_private.h). These two tell about every user's processes (bsd/kern/proc_info.c,
// NO_CHECK_SAME_USER).
const (
	procInfoPidInfo = 2  // PROC_INFO_CALL_PIDINFO
	procPath        = 11 // PROC_PIDPATHINFO
	procIdentity    = 17 // PROC_PIDUNIQIDENTIFIERINFO; with argument 1 of ended ones too
	maxProcPath     = 4 * 1024
)

// procInfo is proc_pidinfo(3), of which Go's libraries have no wrapper. It gives the number of bytes written, 0 with any error.
func procInfo(pid, flavor, arg int, buf []byte) int {
	n, _, errno := syscall.Syscall6(unix.SYS_PROC_INFO, procInfoPidInfo, uintptr(pid), uintptr(flavor), uintptr(arg),
		uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)))
	if errno != 0 || int(n) > len(buf) {
		return 0
	}
	return int(n)
}

// identify gives zeros for a process that is gone.
func identify(pid int) (who identity) {
	var raw [56]byte // 16 of the program's UUID, id, parent, version
	if procInfo(pid, procIdentity, 1, raw[:]) == len(raw) {
		who.id = binary.NativeEndian.Uint64(raw[16:])
		who.parent = binary.NativeEndian.Uint64(raw[24:])
		who.version = binary.NativeEndian.Uint32(raw[32:])
	}
	return who
}

// Generation tells a process's programs apart: it changes when the process executes another one.
func Generation(pid int) uint64 { return uint64(identify(pid).version) }

// Signal signals p unless its pid belongs to a later process.
func Signal(p Process, sig syscall.Signal) {
	if now, ok := Of(p.PID); ok && now.Start == p.Start {
		_ = unix.Kill(p.PID, sig)
	}
}

func procArgsOf(pid int) (procArgs, bool) {
	raw, err := unix.SysctlRaw("kern.procargs2", pid)
	if err != nil {
		return procArgs{}, false
	}
	return parseProcArgs(raw)
}

// Exe is the file that a process runs, "" when it cannot be known. Of a copy it is the original, as the layer in it says.
func Exe(pid int) string {
	if p, ok := procArgsOf(pid); ok && filepath.IsAbs(p.exe) {
		return p.exe
	}
	var raw [maxProcPath]byte
	n := procInfo(pid, procPath, 0, raw[:])
	if n == 0 { // the call gives 0 for a path and writes it with a zero byte behind
		n = len(raw)
	}
	return unix.ByteSliceToString(raw[:n])
}

// Arguments are the words that a process was started with, nil when they cannot be known.
func Arguments(pid int) []string {
	p, _ := procArgsOf(pid)
	return p.argv
}

// CommandOf reads how a process was started, as far as the system lets us: of a guarded program it tells no environment. Relative names cannot be read.
func CommandOf(pid int) Command {
	p, _ := procArgsOf(pid)
	return Command{Exe: Exe(pid), Argv: p.argv, Env: p.env, ReadFile: func(name string) string {
		if !filepath.IsAbs(name) {
			return ""
		}
		return readStart(name)
	}}
}

// Umask is nothing that the system tells about another process.
func Umask(int) (uint32, bool) { return 0, false }

// Loads says whether a process has mapped the file at path. What another process has mapped is not to be had without the right to debug it, so
// known is false.
func Loads(int, string) (yes, known bool) { return false, false }

// Children are the children that this process had before it started any.
func Children() map[int]bool {
	out := map[int]bool{}
	for _, p := range processes() {
		if p.PPID == os.Getpid() {
			out[p.PID] = true
		}
	}
	return out
}

// BecomeSubreaper: macOS gives orphans to launchd, so those below this process are found by their lineage, and by the mark that their environment bears.
func BecomeSubreaper(marked func(env []string) bool) error {
	me := identify(os.Getpid())
	if me.id == 0 {
		return errors.New("the system does not tell which process started which (proc_info)")
	}
	self := relative{Process: Process{PID: os.Getpid()}, id: me.id, parent: me.parent}
	family = newLineage(self, relatives(), func(p relative) bool {
		args, ok := procArgsOf(p.PID)
		return ok && marked(args.env)
	})
	return nil
}

// WatchOver makes the children of a child, which it may leave at any time, this process's to end.
func WatchOver(child int) {
	if who := identify(child); who.id != 0 {
		family.add(who.id)
	}
}
