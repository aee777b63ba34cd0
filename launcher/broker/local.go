package broker

import (
	"path"
	"strconv"
	"strings"
	"sync"
)

// localPaths are paths of the pod that were written to, and so are this machine's.
type localPaths struct {
	mu    sync.RWMutex
	paths map[string]bool // true: and all below
}

func (l *localPaths) has(p string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.paths) == 0 {
		return false
	}
	p = path.Clean(p)
	if _, ok := l.paths[p]; ok {
		return true
	}
	for len(p) > 1 {
		p = path.Dir(p)
		if l.paths[p] {
			return true
		}
	}
	return false
}

// isTree reports whether all below p is local.
func (l *localPaths) isTree(p string) bool { return l.has(p + "/below") }

// add reports whether p is new.
func (l *localPaths) add(p string, tree bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p = path.Clean(p)
	if l.paths == nil {
		l.paths = map[string]bool{}
	}
	was, ok := l.paths[p]
	l.paths[p] = was || tree
	return !ok
}

// identity is a file of the pod, whatever its path.
type identity struct{ dev, ino uint64 }

// maxSnapshots bounds the files that are remembered by their identity.
const maxSnapshots = 10_000

// snapshots are the files that are written in the pod, of which copies were handed out: what a program changes by such a descriptor is the file's.
type snapshots struct {
	mu    sync.Mutex
	paths map[identity]string
}

func (s *snapshots) add(file identity, path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paths == nil || len(s.paths) >= maxSnapshots {
		s.paths = map[identity]string{}
	}
	s.paths[file] = path
}

// find looks for the file that a tag is about.
func (s *snapshots) find(tag string) (file identity, path string, ok bool) {
	parts := strings.SplitN(tag, "-", 3)
	if len(parts) < 3 {
		return file, "", false
	}
	var errs [2]error
	file.dev, errs[0] = strconv.ParseUint(parts[0], 16, 64)
	file.dev &^= podDevice
	file.ino, errs[1] = strconv.ParseUint(parts[1], 16, 64)
	s.mu.Lock()
	defer s.mu.Unlock()
	path, ok = s.paths[file]
	return file, path, ok && errs == [2]error{}
}
