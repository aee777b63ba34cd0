package procs

import (
	"bytes"
	"encoding/binary"
)

// procArgs is what a Mac's kernel keeps of a process's exec.
type procArgs struct {
	exe  string   // as it was given to exec, so it may be relative
	argv []string // with the name that it was called by
	env  []string // of its start; empty when the system hides it
}

// parseProcArgs reads what sysctl kern.procargs2 says (xnu bsd/kern/kern_sysctl.c, sysctl_procargsx): the number of arguments as a native 32-bit
// integer, the path, zero bytes up to a word's end, the arguments and the environment, each ended by a zero byte, and an empty string. Of a
// guarded program another process gets no environment, and what there is may be cut off anywhere. The strings are of the process's own memory, so
// it can have changed them.
func parseProcArgs(raw []byte) (p procArgs, ok bool) {
	if len(raw) < 4 {
		return p, false
	}
	count := binary.NativeEndian.Uint32(raw)
	path, rest, ok := bytes.Cut(raw[4:], []byte{0})
	if !ok || len(path) == 0 {
		return p, false
	}
	p.exe = string(path)
	rest = bytes.TrimLeft(rest, "\x00")
	for n := uint32(0); len(rest) > 0; n++ {
		var word []byte
		word, rest, _ = bytes.Cut(rest, []byte{0})
		switch {
		case n < count:
			p.argv = append(p.argv, string(word))
		case len(word) == 0:
			return p, true // what follows is the kernel's own: "executable_path=…" and the like
		default:
			p.env = append(p.env, string(word))
		}
	}
	return p, true
}
