package sip

import (
	"sync"
	"syscall"
)

// maxCached bounds the number of remembered files; then the memory starts afresh.
const maxCached = 4096

// Engine decides and remembers what it read of each file. It holds no descriptor between calls.
type Engine struct {
	host host

	mu    sync.Mutex
	files map[fileID]*file
}

// fileID changes whenever a file's content or rights do (ctime cannot be set by a program).
type fileID struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64 // nanoseconds since 1970
}

// format is what the kernel sees in a file's first bytes.
type format uint8

const (
	formatUnknown format = iota
	formatScript
	formatBinary
)

// file is what its content and rights say, whoever executes it.
type file struct {
	format      format
	interpreter string // of a script
	reason      string // of a binary: why it is outside; "" when it can be injected
	mode        uint32 // st_mode
	uid, gid    int
	caps        bool // file capabilities that take effect
}

// New gives an engine for this machine.
func New() *Engine {
	return &Engine{host: newHost(), files: map[fileID]*file{}}
}

// look reads what is at path, or remembers it. The errno is the one that exec would give.
func (e *Engine) look(path string) (*file, syscall.Errno) {
	id, errno := e.host.executable(path)
	if errno != 0 {
		return nil, errno
	}
	e.mu.Lock()
	f := e.files[id]
	e.mu.Unlock()
	if f != nil {
		return f, 0
	}
	f, id, errno = e.host.inspect(path)
	if errno != 0 {
		return nil, errno
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.files) >= maxCached {
		clear(e.files)
	}
	e.files[id] = f
	return f, 0
}
