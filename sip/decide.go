// Package sip decides how a program is started: can the layer be put into it, and if not, why not. It is the only code that does: the launcher
// asks it for the first program, the broker for every other one of the tree.
//
// The name is that of macOS's System Integrity Protection; Linux has its own (setuid, setgid and file capabilities make the loader ignore
// LD_PRELOAD), and programs without a loader, or that make their own system calls. Where a copy of the file would do, the verdict is Copy.
package sip

import (
	"cmp"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Request is one exec as its caller asks for it.
type Request struct {
	Path    string   // as given to exec; with Search a name that holds no slash is looked up in PathVar
	Argv0   string   // the program's argv[0]; may differ from Path
	Args    []string // argv[1:]; nil where it is not known: then Trace must not be set, and a verdict of macOS may have AskArgv
	Cwd     string   // absolute; relative paths start here
	PathVar string   // the caller's PATH; empty means the system's default, as execvp has it
	Search  bool     // execvp's manner: look the name up, and give a file of unknown format to /bin/sh
	Caller  *Creds   // who executes; nil means the host's own user
	Env     []string // the program's environment; may be nil on Linux
	Trace   bool     // fill in Hops and Argv of the verdict, for people
	AsIs    bool     // of Linux: who executes cannot put anything in the program's place: what needs that is outside
	// of Linux: the process is supervised, and so is all that it executes
	Supervised bool

	turns  int  // how many programs have been put in place of the one asked for, or are executed by it
	inside bool // another program was asked for
}

// Creds are the real user and group of a process.
type Creds struct{ UID, GID int }

// Kind is the heart of a verdict.
type Kind uint8

// The kinds. Numbers travel to the layer.
const (
	Fails    Kind = 0 // the exec will fail by itself: Verdict.Err says how
	Inject   Kind = 1 // the layer loads into the program
	Outside  Kind = 2 // the program runs, but outside the pod's context: Verdict.Reason says why
	ExecOnly Kind = 3 // the layer loads, and only follows the programs that this one starts
	Copy     Kind = 4 // a copy is executed in the program's place (of macOS: of one slice, signed anew); then as Inject, or as ExecOnly with Verdict.Light
	Resolve  Kind = 5 // of a Hop: another program is decided about in its place
	// of Linux: no library helps in the program; its system calls are answered. Its helper is executed in its place: Verdict.Helped
	Supervise Kind = 6
)

// String is the kind as events name it.
func (k Kind) String() string {
	switch k {
	case Inject:
		return "inject"
	case Outside:
		return "outside"
	case ExecOnly:
		return "exec-only"
	case Copy:
		return "copy"
	case Resolve:
		return "resolve"
	case Supervise:
		return "supervise"
	}
	return "fails"
}

// VariantARM64e is the variant of the layer for programs of macOS with pointer authentication: dyld ends them when it is to load a library without
// (dyld mach_o/GradedArchitectures.cpp). No other program should get it, though native ones would load it.
const VariantARM64e = "arm64e"

// Verdict answers a Request.
type Verdict struct {
	Kind    Kind
	Path    string   // the file to execute (with Copy: to copy), relative where the request or its PATH are; empty with Fails
	Asked   string   // with Copy: what would be executed without one: a script or the same as Path, from the same place; of macOS the same as Program
	Words   []string // of Linux: replace argv[0] when not nil: a file of unknown format is given to /bin/sh, and a copy gets the words of its script
	Argv    []string // all words of the exec; nil on Linux without Trace, where it is the caller's, with Words
	Chain   []string // every file on the way, absolute: scripts, then Program
	Program string   // the last of Chain: the program that really runs
	Slice   string   // with Copy: the architecture; empty is the whole file
	Light   bool     // with Copy: only the hooks that follow programs, as in ExecOnly
	Variant string   // with Inject and ExecOnly: VariantARM64e, or empty for the layer's plain library
	Skipped bool     // Outside only because the user's lists say so: nothing keeps the layer out of it
	Reason  string   // why the verdict is what it is, for people; empty where nothing stands in the way
	Notes   []string // what else the user should know of this program
	Edits   []Edit   // what becomes of the environment besides the layer's own variables
	AskArgv bool     // of macOS: it depends on Request.Args, which is nil
	Err     error    // with Fails: wraps ErrNotFound or ErrNotExecutable, and the errno that exec gives

	Hops []Hop    // with Trace: how Program was reached, one for each of Chain; also with Fails
	Next *Verdict // with Trace: what the program, an env, executes then; nil if it is none, runs outside, or nothing can be said
}

// Hop is one file on the way from what was asked for to what runs.
type Hop struct {
	Path   string   // as its predecessor names it
	Real   string   // without symbolic links, where that differs
	Kind   Kind     // Resolve, but for the last
	Slice  string   // with Copy
	Light  bool     // with Copy
	Reason string   // a sentence for people; may be empty with Inject
	Notes  []string // further sentences
}

// Edit changes one variable of the environment.
type Edit struct {
	Name, Value string
}

// The two ways for an exec to fail, which a shell reports as 127 and 126.
var (
	ErrNotFound      = errors.New("not found")
	ErrNotExecutable = errors.New("not executable")
)

// Error is what Verdict.Err holds.
type Error struct {
	Path  string
	Errno syscall.Errno // as this system numbers it
	Why   string        // instead of the errno's text; may be empty
	Hint  string        // what to do; may be empty
}

// Error says which file and why.
func (e *Error) Error() string {
	if e.Why != "" {
		return e.Path + ": " + e.Why
	}
	return e.Path + ": " + e.Errno.Error()
}

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

// Decide answers r. It reads a file of this machine only when it is new or has changed.
func (e *Engine) Decide(r Request) Verdict {
	if !r.Search || strings.Contains(r.Path, "/") {
		return e.decide(r, r.Path)
	}
	denied := false
	var reached Verdict // a script that is there, but not its interpreter
	path := r.PathVar
	if path == "" {
		path = e.rules.path
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
		switch {
		case failed.Errno == syscall.EACCES:
			denied = true
		case !slices.Contains(e.rules.goOn, failed.Errno):
			return v
		}
		if reached.Err == nil && len(v.Hops) > 0 {
			reached = v
		}
	}
	switch {
	case reached.Err != nil:
		return reached
	case denied:
		return fails(r.Path, syscall.EACCES)
	}
	return fails(r.Path, syscall.ENOENT)
}

// decide follows one path through its interpreters.
func (e *Engine) decide(r Request, path string) Verdict {
	v := Verdict{Path: path}
	next := path
	argv := e.words(r)
	var lead []string // what the kernel puts in the place of argv[0]
	for depth := 0; ; depth++ {
		if depth > e.rules.depth {
			return v.failed(path, syscall.ELOOP)
		}
		at := absolute(r.Cwd, next)
		f, errno := e.host.look(at)
		if errno != 0 {
			return v.failed(next, errno)
		}
		v.Chain = append(v.Chain, at)
		switch {
		case f.format == formatScript && (depth == 0 || e.rules.nested):
			if r.Trace {
				v.hop(Hop{Path: next, Real: f.differs(at), Kind: Resolve, Reason: scriptReason(f)})
			}
			if e.kernel == Darwin {
				v.Path = f.words[0] // never a copy of a script: the interpreter is executed in its place
			}
			if argv != nil {
				argv = slices.Concat(f.words, []string{next}, argv[1:])
			}
			lead = slices.Concat(f.words, []string{next}, lead[min(1, len(lead)):])
			next = f.words[0]
			continue
		case f.format != formatBinary:
			// Only the file itself is given to the shell: a script whose interpreter is unknown to the kernel fails with ENOEXEC like the
			// script, and it is again the script that execvp hands over.
			if !r.Search || v.Words != nil {
				return v.failed(next, syscall.ENOEXEC)
			}
			v.Words = []string{shell, path}
			if e.rules.keepArg0 && r.Argv0 != "" {
				v.Words[0] = r.Argv0
			}
			if argv != nil {
				argv = slices.Concat(v.Words, r.Args)
			}
			lead = v.Words
			if r.Trace {
				v.Hops = v.Hops[:min(len(v.Hops), 1)]
				if len(v.Hops) == 0 {
					v.hop(Hop{Path: next, Real: f.differs(at)})
				}
				v.Hops[0].Kind, v.Hops[0].Reason = Resolve, reasonUnknown
			}
			v.Path, v.Chain, depth, next = shell, v.Chain[:1], -1, shell
			continue
		}
		v.Program, v.Argv = at, argv
		skip := len(e.lists.Skip) > 0 && e.lists.Skips(v.Chain[0], cmp.Or(f.differs(at), at))
		if e.kernel == Darwin {
			given := v.Words
			if skip {
				v.Path = next
				v.skip()
				v.end(r, next, f)
			} else {
				v = e.decideMac(r, v, next, f)
			}
			return e.asAsked(r, path, given, v)
		}
		e.judge(&v, f, e.host.privilege(at, f, r.Caller), r)
		if skip && v.Kind != Outside && !r.Supervised {
			v.skip()
		}
		if v.Kind == Copy { // of a script never: its interpreter is executed in its place
			v.Asked, v.Path, v.Words = v.Path, next, lead
		}
		if r.Trace {
			v.hop(Hop{Path: next, Real: f.differs(at), Kind: v.Kind, Reason: v.Reason, Notes: v.Notes})
			v.Argv = e.words(r) // what the kernel makes of them is its own
			if v.Words != nil {
				v.Argv = slices.Concat(v.Words, r.Args)
			}
			if v.Kind != Outside {
				v.Next = e.next(r, argv, at)
			}
		}
		return v
	}
}

// EnvCopy tells the layer in a copy what it is to believe that it runs: the copy's path, "/", the original's, "//", the path that was asked for.
const EnvCopy = "MIRRORD_COPY"

// Copied is a Copy's verdict that can be executed: path is the copy, original the file that it was made of, both without symbolic links.
func (v Verdict) Copied(path, original string) Verdict {
	v.Path = path
	v.Edits = append(v.Edits, Edit{Name: EnvCopy, Value: path + "/" + original + "//" + v.Asked})
	return v
}

// Helped is a Supervise's verdict that can be executed: helper is the file of the program that comes under supervision, and executes what r asked for then.
func (v Verdict) Helped(helper string, r Request) Verdict {
	words := v.Words
	if words == nil {
		words = []string{r.Argv0}
	}
	v.Words = append([]string{helper, v.Path}, words...)
	v.Path = helper
	return v
}

// Unhelped is a Supervise's verdict when there can be no supervision; why is for people. The program then runs as it is.
func (v Verdict) Unhelped(why string) Verdict {
	reason, _, _ := strings.Cut(v.Reason, supervised)
	v.Kind, v.Reason = Outside, reason+"; "+why
	return v
}

// Uncopied is a Copy's verdict when there can be no copy; why is for people. The program then runs as it is.
func (v Verdict) Uncopied(why string) Verdict {
	reason, _, _ := strings.Cut(v.Reason, "; a copy ")
	v.Kind, v.Slice, v.Light, v.Notes = Outside, "", false, nil
	v.Reason = reason + "; " + why
	return v
}

// skip makes v what the user's lists ask for.
func (v *Verdict) skip() {
	v.Skipped, v.Slice, v.Light, v.Notes = v.Kind != Copy && v.Kind != Supervise, "", false, nil
	v.outside("skip_processes names it")
}

// words is argv, or nil when nobody wants to know: on Linux the kernel does what there is to do.
func (e *Engine) words(r Request) []string {
	if e.kernel == Linux && !r.Trace {
		return nil
	}
	return append([]string{r.Argv0}, r.Args...)
}

// asAsked leaves an exec of macOS as its caller asked for it when nothing can be done for the program that it leads to. given are the words
// for the shell that got a file of unknown format.
func (e *Engine) asAsked(r Request, path string, given []string, v Verdict) Verdict {
	v.Words = nil // Argv says it all
	if v.Kind != Outside || r.inside {
		return v
	}
	v.Path, v.Argv, v.Edits = path, e.words(r), nil
	if given != nil {
		v.Path, v.Argv = shell, slices.Concat(given, r.Args)
	}
	return v
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
