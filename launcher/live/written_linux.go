package live

import "sync"

// maxWritten bounds the files that are remembered as written.
const maxWritten = 200_000

// written are the files that were opened for writing, whatever their paths.
type written struct {
	mu    sync.RWMutex
	files map[identity]struct{}
	all   bool // there were too many: any may be one
}

func (w *written) add(file identity) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.files == nil {
		w.files = map[identity]struct{}{}
	}
	if w.all = w.all || len(w.files) >= maxWritten; !w.all {
		w.files[file] = struct{}{}
	}
}

// Wrote reports whether the file with these numbers in the pod was ever opened for writing here: what it holds may change at any time.
func (fs *FS) Wrote(dev, ino uint64) bool {
	fs.wrote.mu.RLock()
	defer fs.wrote.mu.RUnlock()
	_, ok := fs.wrote.files[identity{dev, ino}]
	return ok || fs.wrote.all
}
