package sip

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
)

// maxCached bounds the number of remembered files; then the memory starts afresh.
const maxCached = 4096

// Engine decides for one host. It is safe for concurrent use.
type Engine struct {
	host   Host
	kernel Kernel
	rules  *chainRules
	lists  Lists
	probes map[string]bool // of this machine; see System.Probes

	supervises bool
	cannot     error // why nothing can be supervised here
}

// Lists are what the user says of programs by their names. A name is a file's, without its folder, in its own case; that of a script counts for it.
type Lists struct {
	Skip       []string // run outside
	AllBuild   bool     // macOS: build tools are as other programs
	BuildTools []string // macOS: count as build tools besides those that are known
}

// Heed gives an engine for the same host that goes by the user's lists.
func (e *Engine) Heed(l Lists) *Engine {
	heeding := *e
	heeding.lists = l
	return &heeding
}

// Seen gives an engine for this machine that knows which copies were seen to run here: see System.Probes.
func (e *Engine) Seen(probes map[string]bool) *Engine {
	knowing := *e
	knowing.probes = probes
	return &knowing
}

// Supervises gives an engine for who answers the system calls of programs that no library helps in; cannot says why that does not work here, or is nil. Without
// it such programs are outside.
func (e *Engine) Supervises(cannot error) *Engine {
	able := *e
	able.supervises, able.cannot = true, cannot
	return &able
}

// system is what the verdicts depend on besides files.
func (e *Engine) system() System {
	s := e.host.System()
	if e.probes != nil {
		s.Probes = e.probes
	}
	return s
}

// Skips says whether a program is to run outside, by the paths of its files: what was executed, and what then runs, without symbolic links.
func (l Lists) Skips(paths ...string) bool {
	return slices.ContainsFunc(paths, func(p string) bool { return slices.Contains(l.Skip, filepath.Base(p)) })
}

// New gives an engine for this machine. It remembers what it read of each file, and holds no descriptor between calls.
func New() *Engine {
	return For(&local{host: newHost(), files: map[fileID]*file{}})
}

// For gives an engine for h.
func For(h Host) *Engine {
	k := h.System().Kernel
	return &Engine{host: h, kernel: k, rules: &chains[k]}
}

// Host is the one that the engine decides for.
func (e *Engine) Host() Host { return e.host }

func (e *Engine) look(path string) (*file, syscall.Errno) { return e.host.look(path) }

// local is this machine.
type local struct {
	host

	mu    sync.Mutex
	files map[fileID]*file
}

// fileID changes whenever a file's content or rights do (ctime cannot be set by a program).
type fileID struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64  // nanoseconds since 1970
	flags        uint32 // st_flags of macOS
}

// format is what the kernel sees in a file's first bytes.
type format uint8

const (
	formatUnknown format = iota
	formatScript
	formatBinary
)

// System is this process's view of the machine.
func (l *local) System() System {
	s := l.system()
	s.Cwd, _ = os.Getwd()
	s.Env = os.Environ()
	return s
}

func (l *local) readlink(path string) (string, bool) {
	to, err := os.Readlink(path)
	if err == nil && !filepath.IsAbs(to) {
		to = filepath.Join(filepath.Dir(path), to)
	}
	return to, err == nil
}

func (l *local) exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// look reads what is at path, or remembers it.
func (l *local) look(path string) (*file, syscall.Errno) {
	id, errno := l.executable(path)
	if errno != 0 {
		return nil, errno
	}
	l.mu.Lock()
	f := l.files[id]
	l.mu.Unlock()
	if f != nil {
		return f, 0
	}
	f, id, errno = l.inspect(path)
	if errno != 0 {
		return nil, errno
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.files) >= maxCached {
		clear(l.files)
	}
	l.files[id] = f
	return f, 0
}

func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return syscall.EIO
}
