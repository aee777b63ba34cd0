package pod

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxProcFile bounds what is read from a file of proc, in bytes.
const maxProcFile = 4 << 20

// process is the target's program as proc shows it.
type process struct {
	proc     *os.File // /proc/PID, which names nothing any more when the process has ended, whoever has its number then
	pid      int
	uid, gid int   // effective
	groups   []int // supplementary
	// capabilities are those that it may have, as bits.
	capabilities uint64
}

// findProcess finds the first process of a container. Who shares the process namespace of the target's container alone finds it as 1, as long as its
// control group does not name another one; where the pod's containers all share one, or all processes of a node are seen, only the control group tells
// them apart. container is the id that the runtime gave it; proc is where proc is mounted, self our own pid.
func findProcess(proc, container string, self int, wholeNode bool) (*process, error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, err
	}
	type candidate struct {
		pid   int
		began uint64
	}
	var found []candidate
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == self {
			continue
		}
		dir := filepath.Join(proc, e.Name())
		if groups, err := readProc(dir, "cgroup"); err != nil || container == "" || !bytes.Contains(groups, []byte(container)) {
			continue
		}
		if began, err := startOf(dir); err == nil {
			found = append(found, candidate{pid, began})
		}
	}
	pid := 1
	switch first, err := os.ReadFile(filepath.Join(proc, "1", "cgroup")); {
	case len(found) > 0:
		pid = slices.MinFunc(found, func(a, b candidate) int {
			if a.began != b.began && a.began < b.began || a.began == b.began && a.pid < b.pid {
				return -1
			}
			return 1
		}).pid
	case wholeNode:
		return nil, fmt.Errorf("no process of the container %.12s is seen on the node\nhint: it may have ended meanwhile; try again", container)
	case self == 1:
		return nil, errors.New("the container runtime has not put the agent into the process namespace of the target\n" +
			"hint: a runtime that does is needed, as containerd and CRI-O are")
	case err == nil && namesContainer(first):
		return nil, fmt.Errorf("no process of the container %.12s is seen here\nhint: it may have ended meanwhile; try again", container)
	}
	return readProcess(proc, pid)
}

// namesContainer says whether the names of control groups tell containers apart: runtimes use ids of 64 hex digits.
func namesContainer(groups []byte) bool {
	run := 0
	for _, c := range groups {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'f' {
			if run++; run == 64 {
				return true
			}
		} else {
			run = 0
		}
	}
	return false
}

// startOf is when a process began, in ticks since the system did: field 22 of stat, see proc(5). The name in field 2 may hold anything.
func startOf(dir string) (uint64, error) {
	raw, err := readProc(dir, "stat")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("%s/stat is short", dir)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// readProcess reads whose a process is, which everybody may.
func readProcess(proc string, pid int) (*process, error) {
	dir, err := os.Open(filepath.Join(proc, strconv.Itoa(pid)))
	if err != nil {
		return nil, fmt.Errorf("cannot look at the target's process: %w", err)
	}
	p := &process{proc: dir, pid: pid, uid: -1, gid: -1}
	raw, err := p.read("status")
	if err != nil {
		dir.Close()
		return nil, fmt.Errorf("cannot look at the target's process: %w", err)
	}
	for line := range strings.Lines(string(raw)) {
		key, value, _ := strings.Cut(line, ":")
		ids := numbers(value)
		switch {
		case key == "Uid" && len(ids) > 1: // real, effective, saved, of the file system
			p.uid = ids[1]
		case key == "Gid" && len(ids) > 1:
			p.gid = ids[1]
		case key == "Groups":
			p.groups = ids
		case key == "CapPrm":
			p.capabilities, _ = strconv.ParseUint(strings.TrimSpace(value), 16, 64) // without them it has none
		}
	}
	if p.uid < 0 || p.gid < 0 {
		dir.Close()
		return nil, fmt.Errorf("%s/status does not say whose the process is", dir.Name())
	}
	return p, nil
}

func numbers(s string) (all []int) {
	for _, f := range strings.Fields(s) {
		if n, err := strconv.Atoi(f); err == nil {
			all = append(all, n)
		}
	}
	return all
}

// environ is the environment that the process was started with. What it has written over its own since then shows too.
func (p *process) environ() (map[string]string, error) {
	raw, err := p.read("environ")
	if err != nil {
		return nil, err
	}
	return parseEnviron(strings.Split(string(raw), "\x00")), nil
}

func parseEnviron(pairs []string) map[string]string {
	env := make(map[string]string)
	for _, kv := range pairs {
		if name, value, ok := strings.Cut(kv, "="); ok && name != "" {
			env[name] = value
		}
	}
	return env
}

// ownEnvironment is an agent's own without what its container has for itself: the rest it has been given.
func ownEnvironment(pairs []string) map[string]string {
	env := parseEnviron(pairs)
	delete(env, "PATH")
	delete(env, "HOME")
	return env
}

// open opens one of the process's files or the directory that a link of proc leads to.
func (p *process) open(name string) (*os.File, error) {
	fd, err := unix.Openat(int(p.proc.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: filepath.Join(p.proc.Name(), name), Err: err}
	}
	return os.NewFile(uintptr(fd), filepath.Join(p.proc.Name(), name)), nil
}

func (p *process) read(name string) ([]byte, error) {
	f, err := p.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxProcFile))
}

// ended says whether the process is gone.
func (p *process) ended() bool {
	var st unix.Stat_t
	return unix.Fstatat(int(p.proc.Fd()), "stat", &st, 0) != nil
}

func (p *process) close() error { return p.proc.Close() }

func readProc(dir, name string) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxProcFile))
}
