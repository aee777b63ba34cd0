package script

import (
	"bytes"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// libraryName is the layer's, in the folder ownLayer of layer/lib.
const (
	ownLayer    = ""
	libraryName = "libmirrord.dylib"
)

// layerFiles is how many files a launcher has of it: the library and its variant.
const layerFiles = 2

// processesOf finds the processes of a session by its work directory in their arguments or environment, as far as the system shows them: it hides the
// environment of its own guarded programs.
func processesOf(work string) []int {
	table, _ := unix.SysctlKinfoProcSlice("kern.proc.all")
	var found []int
	for i := range table {
		pid := int(table[i].Proc.P_pid)
		if pid != os.Getpid() && bytes.Contains(argumentsOf(pid), []byte(work+"/")) {
			found = append(found, pid)
		}
	}
	return found
}

// argumentsOf is what the kernel keeps of a process's exec (kern.procargs2), nil for others' processes.
func argumentsOf(pid int) []byte {
	raw, _ := unix.SysctlRaw("kern.procargs2", pid)
	return raw
}

// commandOf is what a process was started with.
func commandOf(pid int) []byte {
	raw := argumentsOf(pid)
	return bytes.ReplaceAll(raw[min(4, len(raw)):], []byte{0}, []byte{' '})
}

func parent(pid int) (int, error) {
	row, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return 0, err
	}
	if int(row.Proc.P_pid) != pid {
		return 0, syscall.ESRCH
	}
	return int(row.Eproc.Ppid), nil
}

// givesRights: files have no capabilities here.
func givesRights() bool { return false }

// canSupervise reports whether the system lets mirrord answer programs' system calls.
func canSupervise() bool { return false }
