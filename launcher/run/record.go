package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mirrord/launcher/procs"
)

// Session is a running session of this user. It has the program's name but none of its arguments, which may be secrets.
type Session struct {
	ID        string    `json:"id"`
	Target    string    `json:"target"` // as the user wrote it
	Program   string    `json:"program"`
	Arguments int       `json:"arguments"` // how many there are
	Cwd       string    `json:"cwd"`
	Started   time.Time `json:"started"`
	Ports     []int     `json:"ports"` // that the program has listened on, as the pod's
	Outer     Member    `json:"outer"` // has the terminal; gone when the session stays open for what the program has left
	Broker    Member    `json:"broker"`
}

// Member is a process of a session. Its start, in a unit of the system's own, tells it from a later one with the same number.
type Member struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`
}

func member(pid int) Member {
	p, _ := procs.Of(pid)
	return Member{pid, p.Start}
}

// Alive says whether the process exists. One that only waits for its parent does not.
func (m Member) Alive() bool {
	p, ok := procs.Of(m.PID)
	return ok && p.Start == m.Start && !p.Zombie
}

// signal signals the process if it is alive. Numbers below 2 mean others.
func (m Member) signal(sig syscall.Signal) {
	if m.PID > 1 && m.Alive() {
		procs.Signal(procs.Process{PID: m.PID, Start: m.Start}, sig)
	}
}

// record is a session's file while the session runs: a line with the Session, then a line for each port. The broker holds a lock on it, which
// the system takes away with the process, so a file without a lock is one that a killed session has left.
type record struct {
	mu   sync.Mutex
	file *os.File // nil before open and after close
}

// recordSuffix ends the names of records.
const recordSuffix = ".session"

func (r *record) open(s Session) error {
	folder, err := sessionsFolder()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	if err := checkOwn(folder); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(folder, s.ID+recordSuffix), os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	// Somebody who lists the sessions may hold the lock for a moment.
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	if err == nil {
		err = json.NewEncoder(f).Encode(s)
	}
	r.mu.Lock()
	r.file = f
	r.mu.Unlock()
	if err != nil {
		r.close()
	}
	return err
}

// listens adds a port. It is safe for concurrent use.
func (r *record) listens(port int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil {
		_ = json.NewEncoder(r.file).Encode(portLine{port}) // of no more use than to be shown
	}
}

type portLine struct {
	Port int `json:"port"`
}

// close removes the file.
func (r *record) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil {
		_ = os.Remove(r.file.Name())
		_ = r.file.Close()
		r.file = nil
	}
}

// removeRecord removes what a killed broker has left.
func removeRecord(id string) {
	if folder, err := sessionsFolder(); err == nil {
		_ = os.Remove(filepath.Join(folder, id+recordSuffix))
	}
}

// sessionsFolder is where the records are: in XDG_RUNTIME_DIR, which the system empties when the user logs out, or where there is none (macOS) or
// it is another user's (after su), in the cache.
func sessionsFolder() (string, error) {
	if folder := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(folder) && checkOwn(folder) == nil {
		return filepath.Join(folder, "mirrord"), nil
	}
	cache, err := CacheFolder()
	return filepath.Join(cache, "sessions"), err
}

// checkOwn refuses a folder or file that others could have put something into.
func checkOwn(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to another user", path)
	}
	if info.Mode()&fs.ModeSymlink != 0 || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is open to others\nhint: chmod go= %s", path, path)
	}
	return nil
}

// Sessions are the running sessions of this user, the oldest first. What killed ones have left is removed.
func Sessions() ([]Session, error) {
	folder, err := sessionsFolder()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = checkOwn(folder)
	}
	if err != nil {
		return nil, err
	}
	var all []Session
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), recordSuffix) {
			continue
		}
		if s, ok := readRecord(filepath.Join(folder, e.Name())); ok {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b Session) int { return a.Started.Compare(b.Started) })
	return all, nil
}

const (
	maxRecord = 1 << 20 // bytes; more is not read
	// beginning is how long a record may be without its first line or its lock while it is made.
	beginning = time.Minute
)

// readRecord reads the record of a running session, and removes that of a killed one.
func readRecord(path string) (s Session, ok bool) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return s, false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || checkOwn(path) != nil {
		return s, false
	}
	lines := json.NewDecoder(io.LimitReader(f, maxRecord))
	whole := lines.Decode(&s) == nil && s.ID+recordSuffix == filepath.Base(path)
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err == nil {
		if whole || time.Since(info.ModTime()) > beginning {
			_ = os.Remove(path)
		}
		return s, false
	}
	for {
		var p portLine
		if lines.Decode(&p) != nil {
			return s, whole
		}
		if !slices.Contains(s.Ports, p.Port) {
			s.Ports = append(s.Ports, p.Port)
		}
	}
}

// stopPatience is how long a session may take to end after SIGTERM (a variable for tests), killPatience after its outer process was killed.
var stopPatience = 10 * time.Second

const killPatience = 10 * time.Second

// Stop ends a session: the program gets SIGTERM, and what is left after some seconds SIGKILL. It returns when the session is gone.
func (s Session) Stop() error {
	folder, err := sessionsFolder()
	if err != nil {
		return err
	}
	path := filepath.Join(folder, s.ID+recordSuffix)
	for _, m := range []Member{s.Broker, s.Outer} { // the broker first: what the program leaves is then ended as well
		m.signal(syscall.SIGTERM)
		m.signal(syscall.SIGCONT) // a stopped job takes no other signal
	}
	deadline := time.Now().Add(stopPatience)
	for killed := false; ; time.Sleep(20 * time.Millisecond) {
		if _, running := readRecord(path); !running {
			return nil
		}
		switch late := time.Now().After(deadline); {
		case late && !killed:
			s.Outer.signal(syscall.SIGKILL) // the broker then ends everything
			killed, deadline = true, time.Now().Add(killPatience)
		case late:
			return fmt.Errorf("the session %s does not end; its broker is process %d\nhint: kill -KILL %d ends it, but may leave processes of the session", s.ID, s.Broker.PID, s.Broker.PID)
		}
	}
}
