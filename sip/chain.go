package sip

import (
	"bytes"
	"syscall"
)

// Kernel is the system that executes.
type Kernel uint8

// The kernels whose rules are known.
const (
	Linux Kernel = iota
	Darwin
)

// String is the system as people call it.
func (k Kernel) String() string {
	if k == Darwin {
		return "macOS"
	}
	return "Linux"
}

// chainRules are how a kernel and its C library execute a file that is no program itself.
//
//	                          Linux 5.1 and later              xnu of macOS 15.5
//	sources                   fs/binfmt_script.c, fs/exec.c    bsd/kern/kern_exec.c (exec_shell_imgact, exec_extract_strings)
//	bytes looked at           256                              512
//	end of the line           newline                          newline or '#'
//	without an end            cut at the limit                 ENOEXEC
//	blanks                    space, tab                       space, tab
//	CR                        a part of the word               a part of the word
//	NUL                       ends the line                    ends the words that are passed on
//	words                     interpreter, one argument        interpreter, all words
//	relative interpreter      from the working directory       from the working directory
//	a script as interpreter   up to five                       ENOEXEC
//	argv[0] of the caller     replaced by the path             replaced by the path
//
// A file without "#!" is ENOEXEC for the kernel. execvp, execlp and posix_spawnp (glibc: only the first two since 2.15) then give it to /bin/sh; execve,
// execv and posix_spawn do not. Shells interpret it themselves, in a child that has not executed anything.
type chainRules struct {
	head   int // bytes
	read   func(head []byte) (words []string, ok bool)
	nested bool // a script may be a script's interpreter
	depth  int  // interpreters that may follow each other; beyond is ELOOP

	path     string // where execvp looks when PATH is not set
	keepArg0 bool   // the shell that gets a file of unknown format is called what the caller called the file
	goOn     []syscall.Errno
}

var chains = [...]chainRules{
	Linux: {
		head: headSize, read: linuxWords, nested: true, depth: maxDepth,
		path: defaultPath, // confstr(_CS_PATH) of glibc
		goOn: []syscall.Errno{syscall.ENOENT, syscall.ENOTDIR, syscall.ESTALE, syscall.ENODEV, syscall.ETIMEDOUT},
	},
	Darwin: {
		head: darwinHead, read: darwinWords, depth: 1,
		path: "/usr/bin:/bin", keepArg0: true, // _PATH_DEFPATH; Libc gen/FreeBSD/exec.c
		goOn: []syscall.Errno{syscall.ENOENT, syscall.ENOTDIR, syscall.ELOOP, syscall.ENAMETOOLONG},
	},
}

// darwinHead is IMG_SHSIZE (bsd/sys/imgact.h).
const darwinHead = 512

// maxHead is the most that any kernel looks at.
const maxHead = darwinHead

func linuxWords(head []byte) ([]string, bool) {
	name, arg, hasArg, ok := interpreterOf(head)
	switch {
	case !ok:
		return nil, false
	case hasArg:
		return []string{name, arg}, true
	}
	return []string{name}, true
}

// darwinWords reads the "#!" line as xnu does: the interpreter, then every word. ok is false when the kernel would answer ENOEXEC.
func darwinWords(head []byte) ([]string, bool) {
	head = head[:min(len(head), darwinHead)]
	if !bytes.HasPrefix(head, []byte("#!")) {
		return nil, false
	}
	line := bytes.TrimLeft(head[2:], " \t")
	end := bytes.IndexAny(line, "\n#") // the buffer's rest is NUL, and a NUL ends no line
	if end <= 0 {
		return nil, false
	}
	line = line[:end]
	if nul := bytes.IndexByte(line, 0); nul >= 0 {
		line = line[:nul]
	}
	var words []string
	for _, w := range bytes.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' }) {
		words = append(words, string(w))
	}
	return words, len(words) > 0
}

// endsInCRLF tells that a script was written on another system: the carriage return then belongs to the last word, or is one.
func endsInCRLF(head []byte) bool {
	line, _, ok := bytes.Cut(head, []byte("\n"))
	return ok && bytes.HasSuffix(line, []byte("\r"))
}
