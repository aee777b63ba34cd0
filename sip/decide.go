// Package sip decides how a program is started: can the layer be put into it, and if not, why not. It is the only code that does: the launcher
// asks it for the first program, the broker for every other one of the tree.
//
// The name is that of macOS's System Integrity Protection; Linux has its own (setuid, setgid and file capabilities make the loader ignore
// LD_PRELOAD), and programs without a loader, or that make their own system calls.
package sip

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
)

// Request is one exec as its caller asks for it.
type Request struct {
	Path    string   // as given to exec; with Search a name that holds no slash is looked up in PathVar
	Argv0   string   // the program's argv[0]; may differ from Path
	Args    []string // argv[1:]; may be nil: nothing on Linux depends on it
	Cwd     string   // absolute; relative paths start here
	PathVar string   // the caller's PATH; empty means the system's default, as execvp has it
	Search  bool     // execvp's manner: look the name up, and give a file of unknown format to /bin/sh
	Caller  *Creds   // who executes; nil means this process
}

// Creds are the real user and group of a process.
type Creds struct{ UID, GID int }

// Kind is the heart of a verdict.
type Kind uint8

// The kinds. Numbers travel to the layer.
const (
	Fails   Kind = 0 // the exec will fail by itself: Verdict.Err says how
	Inject  Kind = 1 // the layer loads into the program
	Outside Kind = 2 // the program runs, but outside the pod's context: Verdict.Reason says why
)

// String is the kind as events name it.
func (k Kind) String() string {
	switch k {
	case Inject:
		return "inject"
	case Outside:
		return "outside"
	}
	return "fails"
}

// Verdict answers a Request.
type Verdict struct {
	Kind    Kind
	Path    string   // the file to execute, relative where the request or its PATH are; empty with Fails
	Words   []string // replace argv[0] when not nil: a file of unknown format is given to /bin/sh
	Chain   []string // every file on the way, absolute: scripts, then Program
	Program string   // the last of Chain: the program that really runs
	Reason  string   // why Outside, for people
	Err     error    // with Fails: wraps ErrNotFound or ErrNotExecutable, and the errno that exec gives
}

// The two ways for an exec to fail, which a shell reports as 127 and 126.
var (
	ErrNotFound      = errors.New("not found")
	ErrNotExecutable = errors.New("not executable")
)

// Error is what Verdict.Err holds.
type Error struct {
	Path  string
	Errno syscall.Errno
}

// Error says which file and why.
func (e *Error) Error() string { return e.Path + ": " + e.Errno.Error() }

// Unwrap gives the errno, and the sentinel that it falls under.
func (e *Error) Unwrap() []error {
	if e.Errno == syscall.ENOENT || e.Errno == syscall.ENOTDIR {
		return []error{ErrNotFound, e.Errno}
	}
	return []error{ErrNotExecutable, e.Errno}
}

// shell gets files of unknown format, as in execvp.
const shell = "/bin/sh"

// defaultPath is execvp's when PATH is not set (confstr(_CS_PATH) of glibc).
const defaultPath = "/bin:/usr/bin"

// maxDepth is how many interpreters may follow each other (fs/exec.c: exec_binprm gives ELOOP beyond).
const maxDepth = 5

// Decide answers r. It is safe for concurrent use and reads a file only when it is new or has changed.
func (e *Engine) Decide(r Request) Verdict {
	if !r.Search || strings.Contains(r.Path, "/") {
		return e.decide(r, r.Path)
	}
	denied := false
	path := r.PathVar
	if path == "" {
		path = defaultPath
	}
	for dir := range strings.SplitSeq(path, ":") {
		if r.Path == "" {
			break
		}
		if dir == "" {
			dir = "."
		}
		v := e.decide(r, dir+"/"+r.Path)
		var failed *Error
		if !errors.As(v.Err, &failed) {
			return v
		}
		switch failed.Errno {
		case syscall.EACCES:
			denied = true
		case syscall.ENOENT, syscall.ENOTDIR, syscall.ESTALE, syscall.ENODEV, syscall.ETIMEDOUT:
		default:
			return v
		}
	}
	if denied {
		return fails(r.Path, syscall.EACCES)
	}
	return fails(r.Path, syscall.ENOENT)
}

// decide follows one path through its interpreters.
func (e *Engine) decide(r Request, path string) Verdict {
	v := Verdict{Path: path}
	next := path
	for depth := 0; ; depth++ {
		if depth > maxDepth {
			return fails(path, syscall.ELOOP)
		}
		at := absolute(r.Cwd, next)
		f, errno := e.look(at)
		if errno != 0 {
			return fails(next, errno)
		}
		v.Chain = append(v.Chain, at)
		switch f.format {
		case formatScript:
			next = f.interpreter
			continue
		case formatUnknown:
			// Only the file itself is given to the shell: a script whose interpreter is unknown to the kernel fails with ENOEXEC like the
			// script, and it is again the script that execvp hands over.
			if !r.Search || v.Words != nil {
				return fails(next, syscall.ENOEXEC)
			}
			v.Words = []string{shell, path}
			v.Path, v.Chain, depth, next = shell, v.Chain[:1], -1, shell
			continue
		}
		v.Program = at
		v.Kind, v.Reason = judge(f, e.host.privilege(at, f, r.Caller))
		return v
	}
}

// judge turns what is known of a binary into a verdict.
func judge(f *file, privilege string) (Kind, string) {
	switch {
	case f.reason != "":
		return Outside, f.reason
	case privilege != "":
		return Outside, privilege
	}
	return Inject, ""
}

func fails(path string, errno syscall.Errno) Verdict {
	return Verdict{Err: &Error{Path: path, Errno: errno}}
}

// absolute keeps the rest of path as it is: cleaning "a/../b" would be wrong where a is a symbolic link.
func absolute(cwd, path string) string {
	if filepath.IsAbs(path) || path == "" {
		return path
	}
	return strings.TrimSuffix(cwd, "/") + "/" + strings.TrimPrefix(path, "./")
}
